"""Find passwords behind a user's name: in URLs, in commands' `-u user:password`, in what `Basic …` encodes."""

# ruff: noqa: E501 -- a pattern is read as a whole

import re
from binascii import Error, a2b_base64
from collections.abc import Iterator

from bifrost_flow.evidence.redact_values import HARMLESS, PLAIN, Span

_USER = re.compile(r"[^\s/:@\"'<>?#]{0,128}:")
_USER_PASSWORD = re.compile(r"([^\s/@\"'<>\\]{1,256})@(?=[\w\[*$%{.-])")
_ODD_PASSWORD = re.compile(r"([^\s\"'<>\\]{1,256})@(?=(?:[\w-]+\.)+[\w-]+|localhost|[\w-]+:\d|\[)")
_URL_TOKEN = re.compile(r"((?=[A-Za-z_.~-]{0,60}\d)[A-Za-z0-9_.~-]{20,255})@[\w.\[-]")
_PORT = re.compile(r"\d{1,5}(?:/|$)")


def find_url_passwords(text: str) -> Iterator[Span]:
    """Yield the passwords of `scheme://user:password@host`, with what they hold unescaped."""
    at = text.find("://")
    while at >= 0:
        after = at + 3
        user = _USER.match(text, after)
        if user is None:
            if bare := _URL_TOKEN.match(text, after):
                yield bare.start(1), bare.end(1), "url-token"
        else:
            found = _USER_PASSWORD.match(text, user.end()) or _ODD_PASSWORD.match(text, user.end())
            if found is not None and _is_url_password(found[1], text, found.end()):
                yield found.start(1), found.end(1), "url-password"
                after = found.end()
        at = text.find("://", after)


def _is_url_password(value: str, text: str, host: int) -> bool:
    if (
        HARMLESS.match(value)
        and not value.isdigit()
        and value.lower() not in ("password", "secret", "token", "pwd", "passwd", "changeme")
    ):
        return False
    return not ((_PORT.match(value) and "/" in value) or text.startswith("sha256:", host) or "://" in value)


_CURL = re.compile(
    r"(?:[ \t](?:-[a-zA-Z]{0,6}u|--(?:proxy-)?user)|[\"']--?u(?:ser)?[\"'],)[ =]{0,2}([\"']?)((?:[\w.@][\w.@+-]{0,80})?):(?!//)"
)
_BASIC = re.compile(r"(?i)\bbasic(?:\s+|%20)([A-Za-z0-9+/_-]{8,2000}={0,2})")


def find_user_passwords(text: str, lowered: str) -> Iterator[Span]:
    """Yield the passwords of `curl -u user:password` and what `Basic …` encodes."""
    done = 0
    for hint in ("curl", "--user", " -u ", '"-u"'):
        at = lowered.find(hint)
        while at >= 0:
            for found in _CURL.finditer(text, max(done, at - 1), at + 600):
                mark, start = found[1], found.end()
                end = text.find(mark, start, start + 256) if mark else -1
                if end < 0 and (plain := PLAIN.match(text, start)):
                    end = plain.end()
                value = text[start:end]
                if end > start and "\n" not in value and len(value) >= 3 and not HARMLESS.match(value):
                    yield start, end, "curl-user"
            done = at + 600
            at = lowered.find(hint, at + len(hint))
        done = 0
    if "basic" in lowered:
        for found in _BASIC.finditer(text):
            if _holds_password(found[1]):
                yield found.start(1), found.end(1), "authorization"


def _holds_password(encoded: str) -> bool:
    """Tell whether base64 holds `user:password`: by its first bytes, which must be printable."""
    body = encoded.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        plain = a2b_base64(body + "=" * (-len(body) % 4))
    except (Error, ValueError):
        return False
    return b":" in plain and all(32 <= byte < 127 for byte in plain[:40])
