"""An HTTP server on loopback that records what it is sent, and answers as it is told."""

import json
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")


@dataclass
class Recorder:
    """What came in, and what to answer: (status, headers, body) in turn, the last one again and again."""

    url: str = ""
    answers: list[tuple[int, dict[str, str], str]] = field(default_factory=lambda: [(200, {}, "ok")])
    requests: list[tuple[str, dict[str, str], str]] = field(default_factory=list)
    delay_s: float = 0.0

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, body in self.requests]


@contextmanager
def record_requests(monkeypatch: pytest.MonkeyPatch) -> Generator[Recorder]:
    """Run a recorder that no proxy of the environment stands before."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    record = Recorder()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            answer = record.answers[min(len(record.requests), len(record.answers) - 1)]
            record.requests.append((self.path, dict(self.headers), body))
            time.sleep(record.delay_s)
            self.send_response(answer[0])
            for name, value in answer[1].items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer[2].encode())

        def do_GET(self) -> None:
            record.requests.append((f"GET {self.path}", dict(self.headers), "{}"))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    record.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield record
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
