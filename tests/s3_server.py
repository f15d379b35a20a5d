"""S3 on loopback for tests: moto's server, or a real one, behind a proxy that makes faults.

`TEST_S3_URL` is the URL of a real server (see `make e2e-s3`), which must take the credentials below.
"""

import os
import socket
import struct
import threading
import uuid
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from connectors.s3.access import S3Access
from connectors.s3.client import open_client
from connectors.s3.transfer import put

REAL = os.environ.get("TEST_S3_URL", "")
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secretsecret"}
REGION = "us-east-1"

_REFUSALS = {
    "slow": (503, "SlowDown"),
    "gone": (404, "NoSuchKey"),
    "denied": (403, "AccessDenied"),
    "expired": (400, "ExpiredToken"),
    "skewed": (403, "RequestTimeTooSkewed"),
    "unknown": (403, "InvalidAccessKeyId"),
    "elsewhere": (301, "PermanentRedirect"),
    "archived": (403, "InvalidObjectState"),
}


@dataclass(frozen=True, slots=True)
class Request:
    """What the proxy was asked; `range` and `condition` are headers."""

    method: str
    path: str  # with its query
    range: str
    condition: str


Plan = Callable[[Request], str | None]


@dataclass
class Bucket:
    """A bucket of its own for a test, and what the proxy before it does and sees."""

    name: str
    endpoint: str
    plan: Plan = lambda _: None
    requests: list[Request] = field(default_factory=list)
    most_at_once: int = 0
    guard: threading.Lock = field(default_factory=threading.Lock)
    at_once: int = 0

    @property
    def url(self) -> str:
        return f"s3://{self.name}"

    @property
    def access(self) -> S3Access:
        return S3Access(endpoint=self.endpoint, region=REGION)

    def fill(self, objects: Mapping[str, bytes]) -> None:
        """Put many objects, past the proxy's plan."""
        if not REAL:
            _fill_moto(self.name, objects)
            return
        before, self.plan = self.plan, lambda _: None
        with ThreadPoolExecutor(16) as threads:
            list(threads.map(lambda item: put(self.access, self.name, *item), objects.items()))
        self.plan = before
        self.requests.clear()

    def fail_first(self, fault: str, times: int, *, part: str = "", method: str = "GET") -> None:
        """Do `fault` to the first requests whose path holds `part`."""
        left = [times]

        def plan(request: Request) -> str | None:
            if left[0] and request.method == method and part in request.path:
                left[0] -= 1
                return fault
            return None

        self.plan = plan


def _fill_moto(bucket: str, objects: Mapping[str, bytes]) -> None:
    """Put objects without the server's 3 ms each."""
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    for key, content in objects.items():
        backend.put_object(bucket, key, content)


@contextmanager
def serve_s3() -> Generator[str]:
    """Run moto's server, or use the real one; gives its URL."""
    if REAL:
        yield REAL
        return
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@contextmanager
def open_bucket(server: str) -> Generator[Bucket]:
    """Make a bucket, and a proxy to it."""
    bucket = Bucket(f"bifrost-{uuid.uuid4().hex[:12]}", "")
    handler = type("Handler", (_Handler,), {"bucket": bucket, "server_url": urlsplit(server)})
    proxy = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    bucket.endpoint = f"http://127.0.0.1:{proxy.server_port}"
    try:
        open_client(bucket.access).create_bucket(Bucket=bucket.name)
        bucket.requests.clear()
        yield bucket
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that hang up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bucket: Bucket
    server_url: object

    def handle_one(self) -> None:
        bucket = self.bucket
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(
            self.command, self.path, self.headers.get("Range") or "", self.headers.get("If-Match") or ""
        )
        with bucket.guard:
            bucket.requests.append(request)
            bucket.at_once += 1
            bucket.most_at_once = max(bucket.most_at_once, bucket.at_once)
            fault = bucket.plan(request)
        try:
            if fault == "reset":
                self._reset()
            elif fault in _REFUSALS:
                self._refuse(*_REFUSALS[fault])
            else:
                self._forward(content, cut=fault == "cut")
        finally:
            with bucket.guard:
                bucket.at_once -= 1

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = handle_one  # noqa: N815

    def _reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True
        self.connection.close()

    def _refuse(self, status: int, code: str) -> None:
        body = f"<Error><Code>{code}</Code><Message>as planned</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-amz-bucket-region", "eu-north-1")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _forward(self, content: bytes, *, cut: bool) -> None:
        url = self.server_url
        connection = HTTPConnection(url.hostname, url.port, timeout=60)  # ty: ignore[missing-attribute]
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(content or None)
            self._answer(connection.getresponse(), cut=cut)
        finally:
            connection.close()

    def _answer(self, answer: HTTPResponse, *, cut: bool) -> None:
        body = answer.read()
        size = answer.headers.get("Content-Length") or str(len(body))
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", size)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.close_connection = True

    def log_message(self, format: str, *_: object) -> None:
        """Say nothing."""
