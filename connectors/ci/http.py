"""Asking the API of a CI system: retries, rate limits, and downloads that leak no token and have an end."""

import random
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO
from urllib.parse import urljoin, urlsplit

import httpx

from bifrost_flow.errors import SettingsError
from bifrost_flow.language import t
from bifrost_flow.progress import progress, stop_requested
from connectors.models.http import hide_password, is_loopback, parse_retry_after, read_error

MAX_JSON_BYTES = 32_000_000
MAX_REDIRECTS = 3
_CONNECT_TIMEOUT_S = 10.0
_FIRST_WAIT_S = 0.5
_POLL_S = 0.1
_RETRIED = (408, 425, 429, 500, 502, 503, 504)
_REDIRECTS = (301, 302, 303, 307, 308)


class CiFault(Exception):
    """Something could not be had; `status` is that of an input in the tables, the message tells a person."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how often a server is waited for."""

    timeout_s: float
    max_retries: int
    max_wait_s: float
    max_bytes: int


class _TryAgain(Exception):
    """A request failed in a way that may pass; `wait_s` is what the server asked for, if it did."""

    def __init__(self, fault: CiFault, wait_s: float | None = None) -> None:
        super().__init__(str(fault))
        self.fault = fault
        self.wait_s = wait_s


class CiClient:
    """A CI system's API at `base_url`; usable from several threads. `key` names the setting of its token.

    Raises:
        SettingsError: the token can't be sent.
    """

    def __init__(
        self,
        base_url: str,
        patience: Patience,
        *,
        key: str,
        headers: Mapping[str, str],
        auth: tuple[str, str] | None = None,
    ) -> None:
        self.base_url = base_url
        self._patience = patience
        self._key = key
        if any(not (value.isascii() and value.isprintable()) for value in headers.values()):
            # The client's own complaint would quote it.
            raise SettingsError(t("ci.bad_token", key=key))
        timeout = httpx.Timeout(
            patience.timeout_s, connect=min(patience.timeout_s, _CONNECT_TIMEOUT_S), pool=None
        )
        trusted = not is_loopback(base_url)
        named = {"User-Agent": "bifrost-flow", **headers}
        self._client = httpx.Client(headers=named, auth=auth, timeout=timeout, trust_env=trusted)
        # Where a redirect leads is no business of our token's, nor of our cookies'.
        agent = {"User-Agent": "bifrost-flow"}
        self._stranger = httpx.Client(headers=agent, timeout=timeout, trust_env=trusted)

    @property
    def shown(self) -> str:
        """The address, without a password."""
        return hide_password(self.base_url)

    def close(self) -> None:
        self._client.close()
        self._stranger.close()

    def get_json(self, path: str, parameters: Mapping[str, Any] | None = None) -> tuple[Any, httpx.Headers]:
        """Return what the API says at `path`, and its headers.

        Raises:
            CiFault: it doesn't, even after retries.
        """

        def ask() -> tuple[Any, httpx.Headers]:
            with self._open(path, parameters) as response:
                content = bytearray()
                for piece in response.iter_bytes():
                    content += piece
                    if len(content) > MAX_JSON_BYTES:
                        message = t("ci.too_large", url=self._show(path), limit=MAX_JSON_BYTES)
                        raise CiFault("too_large", message)
            try:
                return httpx.Response(200, content=bytes(content)).json(), response.headers
            except ValueError as error:
                raise CiFault("unreadable", t("ci.not_json", url=self._show(path))) from error

        return self._retry(path, ask)

    def download(
        self, path: str, file: BinaryIO, parameters: Mapping[str, Any] | None = None
    ) -> tuple[int, httpx.Headers]:
        """Write what lies at `path` to `file` from where it stands, and return its bytes and its headers.

        Raises:
            CiFault: it can't be had, even after retries, or is larger than allowed.
        """
        start = file.tell()

        def fetch() -> tuple[int, httpx.Headers]:
            file.seek(start)
            file.truncate()
            size = 0
            with self._open(path, parameters) as response:
                for piece in response.iter_bytes():
                    size += len(piece)
                    if start + size > self._patience.max_bytes:
                        message = t("ci.too_large", url=self._show(path), limit=self._patience.max_bytes)
                        raise CiFault("too_large", message)
                    file.write(piece)
                    if stop_requested():
                        break
            return size, response.headers

        return self._retry(path, fetch)

    @contextmanager
    def _open(self, path: str, parameters: Mapping[str, Any] | None) -> Generator[httpx.Response]:
        """Yield a good response, of which nothing is read yet; redirects are followed without the token."""
        url, client = self.base_url + path, self._client
        for _ in range(MAX_REDIRECTS + 1):
            try:
                with client.stream("GET", url, params=parameters) as response:
                    if response.status_code not in _REDIRECTS:
                        self._check(path, response)
                        yield response
                        return
                    url, parameters = self._follow(path, str(response.url), response.headers), None
                    client = self._client if _origin(url) == _origin(self.base_url) else self._stranger
            except httpx.InvalidURL as error:
                raise CiFault("unreadable", t("ci.bad_redirect", url=self._show(path))) from error
            except httpx.RequestError as error:
                key = "ci.timed_out" if isinstance(error, httpx.TimeoutException) else "ci.no_answer"
                quotes = isinstance(error, httpx.LocalProtocolError)  # what was to be sent, a token maybe
                detail = type(error).__name__ if quotes or not str(error) else str(error)
                fault = CiFault("unreadable", t(key, url=self._show(path), detail=detail))
                raise _TryAgain(fault) from error
        raise CiFault("unreadable", t("ci.bad_redirect", url=self._show(path)))

    def _follow(self, path: str, at: str, headers: httpx.Headers) -> str:
        # What is asked for over TLS doesn't come in the clear.
        allowed = ("https",) if self.base_url.startswith("https:") else ("https", "http")
        try:
            url = urljoin(at, headers["location"])
            if urlsplit(url).scheme in allowed:
                return url
        except (KeyError, ValueError):
            pass
        raise CiFault("unreadable", t("ci.bad_redirect", url=self._show(path)))

    def _check(self, path: str, response: httpx.Response) -> None:
        status = response.status_code
        if status == httpx.codes.OK:
            return
        detail = read_error(_read_start(response)) or "–"
        shown = {"url": self._show(path), "status": str(status), "detail": detail, "key": self._key}
        if _is_rate_limit(status, response.headers, detail):
            wait_s = _find_wait(response.headers)
            asked = f"{wait_s:.0f}" if wait_s is not None else "?"
            raise _TryAgain(CiFault("unreadable", t("ci.rate_limited", seconds=asked, **shown)), wait_s)
        if status in _RETRIED:
            fault = CiFault("unreadable", t("ci.http_status", **shown))
            raise _TryAgain(fault, parse_retry_after(response.headers.get("retry-after")))
        known = {401: "ci.unauthorized", 403: "ci.forbidden", 404: "ci.not_found", 410: "ci.expired"}
        key = known.get(status, "ci.http_status")
        raise CiFault("missing" if status in (404, 410) else "unreadable", t(key, **shown))

    def _retry(self, path: str, call: Any) -> Any:
        for attempt in range(self._patience.max_retries + 1):
            try:
                return call()
            except _TryAgain as again:
                backoff_s = _FIRST_WAIT_S * 2**attempt * random.uniform(0.5, 1.5)
                wait_s = backoff_s if again.wait_s is None else again.wait_s
                last = attempt == self._patience.max_retries
                if last or wait_s > self._patience.max_wait_s or stop_requested():
                    raise again.fault from again
                if wait_s > 5:
                    progress().tell(t("ci.waiting", url=self._show(path), seconds=f"{wait_s:.0f}"))
                _sleep(wait_s)
        raise AssertionError("unreachable")

    def _show(self, path: str) -> str:
        return self.shown + path


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.rpartition("@")[2].lower()


def _read_start(response: httpx.Response) -> bytes:
    """Return the first bytes of an error's body; it may be long, or not come."""
    try:
        return next(response.iter_bytes(4096), b"")
    except httpx.RequestError:
        return b""


def _is_rate_limit(status: int, headers: httpx.Headers, detail: str) -> bool:
    """GitHub says 403 for its limits as well as for what is forbidden.

    See "Exceeding the rate limit" in GitHub's "Rate limits for the REST API".
    """
    if status == 429:
        return True
    told = headers.get("x-ratelimit-remaining") == "0" or "retry-after" in headers
    return status == 403 and (told or "rate limit" in detail.lower())


def _find_wait(headers: httpx.Headers) -> float | None:
    """Return the seconds that a server asks to wait; the time of a reset is by the server's own clock."""
    if (wait_s := parse_retry_after(headers.get("retry-after"))) is not None:
        return wait_s
    reset = headers.get("x-ratelimit-reset") or headers.get("ratelimit-reset") or ""  # GitHub, GitLab
    if not reset.isdecimal():
        return None
    try:
        now = parsedate_to_datetime(headers.get("date", "")).timestamp()
    except ValueError:
        now = datetime.now(UTC).timestamp()
    return max(0.0, int(reset) - now)


def _sleep(seconds: float) -> None:
    """Sleep, but not past a request to stop."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not stop_requested():
        time.sleep(min(left, _POLL_S))
