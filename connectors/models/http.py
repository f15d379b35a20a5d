"""HTTP for model servers: a client that scales, and its errors in our terms."""

import asyncio
import email.utils
import ipaddress
import json
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary

import httpx

from bifrost_flow.answer import clean_text
from bifrost_flow.errors import ModelRefused, ModelUnavailable
from bifrost_flow.language import t

MAX_BODY_BYTES = 8_000_000  # an answer of 1,536 tokens takes some 300 kB as a stream
STREAM_TIMEOUTS = 5  # how many times the limit of a whole call a stream may take, as a person sees it come

_MAX_CONNECTIONS = 1024
_CONNECT_TIMEOUT_S = 10.0
_MAX_DETAIL_CHARS = 300
_USER = re.compile(r"//[^/@]*@")


def is_loopback(url: str) -> bool:
    """Return whether `url` names this machine."""
    host = httpx.URL(url).host
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def hide_password(url: str) -> str:
    """Return `url` without a user and password, for messages."""
    return _USER.sub("//", url)


class LoopClients:
    """A client for each event loop: batches may run in loops of their own, and connections can't cross over.

    Args:
        headers: sent with each request; an Authorization among them goes before a password in `base_url`.
    """

    def __init__(self, base_url: str, timeout_s: float, *, headers: Mapping[str, str] | None = None) -> None:
        self._base_url = base_url
        self._timeout_s = timeout_s
        self._headers = headers
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()

    def open(self) -> httpx.AsyncClient:
        """Return the client of the running loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self._clients[loop] = open_client(self._base_url, self._timeout_s, headers=self._headers)
        return self._clients[loop]

    async def aclose(self) -> None:
        """Close the connections of the running loop; each loop that asked has to."""
        if client := self._clients.pop(asyncio.get_running_loop(), None):
            await client.aclose()


def open_client(
    base_url: str, timeout_s: float, *, headers: Mapping[str, str] | None = None
) -> httpx.AsyncClient:
    """Return a client for the model server at `base_url`; close it in the loop that used it.

    httpx's own pool walks all its connections for each request, which costs 18 to 30 ms of CPU a request at
    64 at once; aiohttp's does not.
    """
    # Late: it costs 0.1 s, which a run without a model server need not pay.
    from httpx_aiohttp import AiohttpTransport

    # Proxies of the environment never stand between this machine and itself. Certificates are only read for
    # https.
    transport = AiohttpTransport(
        verify=base_url.startswith("https:"),
        limits=httpx.Limits(max_connections=_MAX_CONNECTIONS, keepalive_expiry=30.0),
    )
    timeout = httpx.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_TIMEOUT_S))
    url = httpx.URL(base_url)
    # The transport refuses an address that holds a password beside the header made of it.
    auth = (url.username, url.password) if url.username and "Authorization" not in (headers or {}) else None
    return httpx.AsyncClient(
        base_url=hide_password(base_url),
        headers=headers,
        auth=auth,
        timeout=timeout,
        transport=transport,
        trust_env=not is_loopback(base_url),
    )


@asynccontextmanager
async def translate_errors(
    server: str, timeout_s: float | None, *, setting: str = "ollama.timeout"
) -> AsyncGenerator[None]:
    """Bound what is inside by `timeout_s` seconds, and turn errors of transport into `ModelUnavailable`.

    Args:
        server: name and address of the server, for messages.
        timeout_s: for all of it; None for a stream, where each read has its own limit.
        setting: the one that lengthens the limit.
    """
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError as error:
        raise ModelUnavailable(
            t("model.timed_out", server=server, setting=setting), may_have_cost=True
        ) from error
    except httpx.TransportError as error:
        raise _translate(server, error, setting) from error


def _translate(server: str, error: httpx.TransportError, setting: str) -> ModelUnavailable:
    import aiohttp

    # The transport calls every trouble with a connection a time-out to connect; its cause says what it was.
    match error.__cause__:
        case aiohttp.ClientSSLError() as trouble:
            message = t("model.certificate", server=server, detail=shorten(str(trouble)))
            return ModelUnavailable(message, unreachable=True)
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            return ModelUnavailable(t("model.no_answer", server=server), unreachable=True)
        case TimeoutError():
            return ModelUnavailable(t("model.timed_out", server=server, setting=setting), may_have_cost=True)
        case aiohttp.ServerDisconnectedError():
            return ModelUnavailable(t("model.closed", server=server), may_have_cost=True)
    message = t("model.broke_off", server=server, detail=shorten(str(error)))
    return ModelUnavailable(message, may_have_cost=True)


async def post_json(
    client: httpx.AsyncClient, path: str, body: Mapping[str, Any], *, server: str
) -> tuple[httpx.Response, bytes]:
    """Return the response to a call and its body, which is read no further than any answer goes.

    Raises:
        ModelRefused: the body is too long for an answer.
    """
    async with client.stream("POST", path, json=body) as response:
        content = bytearray()
        async for piece in response.aiter_bytes():
            content += piece
            if len(content) > MAX_BODY_BYTES:
                raise ModelRefused(t("model.too_long", server=server, limit=MAX_BODY_BYTES))
        return response, bytes(content)


async def iterate_lines(
    response: httpx.Response, *, server: str, timeout_s: float, setting: str
) -> AsyncIterator[str]:
    """Yield the lines of a stream, which may have as many bytes as any answer, and take a few time limits.

    Raises:
        ModelRefused: it goes on after that many bytes.
        ModelUnavailable: it trickles.
    """
    deadline = time.monotonic() + STREAM_TIMEOUTS * timeout_s
    rest, size = b"", 0
    async for piece in response.aiter_bytes():
        size += len(piece)
        if size > MAX_BODY_BYTES:
            raise ModelRefused(t("model.too_long", server=server, limit=MAX_BODY_BYTES))
        if time.monotonic() > deadline:
            raise ModelUnavailable(t("model.timed_out", server=server, setting=setting), may_have_cost=True)
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line.decode("utf-8", "replace")
    if rest:
        yield rest.decode("utf-8", "replace")


def check_status(server: str, response: httpx.Response, body: bytes) -> None:
    """Check that `response` is a success.

    Raises:
        ModelUnavailable: 408, 425, 429 or 5xx: the same call may succeed later.
        ModelRefused: any other status that is not 200.
    """
    status = response.status_code
    if status == httpx.codes.OK:
        return
    message = t("model.http_status", server=server, status=status, detail=read_error(body) or "–")
    if 300 <= status < 400:
        # Followed, it would take the log and the key to wherever a server says.
        raise ModelRefused(t("model.redirected", server=server, status=status))
    if status in (408, 425, 429) or status >= 500:
        raise ModelUnavailable(message, retry_after_s=parse_retry_after(response.headers.get("retry-after")))
    raise ModelRefused(message)


def read_error(body: bytes) -> str:
    """Return what a server's error body says, shortened."""
    text = body.decode("utf-8", "replace")
    try:
        value = json.loads(text)
    except ValueError:
        return shorten(text)
    error = value.get("error", value) if isinstance(value, dict) else value
    if isinstance(error, dict):
        error = error.get("message", error)
    return shorten(error if isinstance(error, str) else json.dumps(error))


def parse_retry_after(value: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for, as a number or a date (RFC 9110, 10.2.3)."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def encodable(text: str) -> str:
    """Return `text` without lone surrogates, which JSON in UTF-8 can't carry."""
    return text.encode("utf-8", "replace").decode("utf-8")


def shorten(text: str) -> str:
    """Return a server's words in one line of bounded length that can't steer a terminal."""
    text = " ".join(clean_text(text).split())
    return text if len(text) <= _MAX_DETAIL_CHARS else text[: _MAX_DETAIL_CHARS - 1] + "…"
