"""What a target such as `gha://owner/repo?branch=main&status=failure` asks for, and where it may be asked.

A host is contacted only where it is the one in the settings: so a token never goes to a host that somebody
else named, and neither a log nor a request to a served flow can have an address of its choice fetched.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl, unquote, urlsplit

from bifrost_flow.errors import SettingsError
from bifrost_flow.language import t

SCHEMES = ("gha", "gitlab", "jenkins")
DEFAULT_LIMIT = 10
MAX_LIMIT = 1000  # GitHub's list ends there

_TARGET = re.compile(rf"(?:{'|'.join(SCHEMES)})://", re.IGNORECASE)
_COMMON = ("status", "branch", "since", "limit", "job")
OPTIONS = {
    "gha": ("run", "workflow", "event", *_COMMON),
    "gitlab": ("pipeline", *_COMMON),
    "jenkins": ("build", "status", "since", "limit"),
}


@dataclass(frozen=True, slots=True)
class CiAccess:
    """Where the CI systems are, who asks, and how patiently. Addresses have no slash at their end."""

    github_api_url: str = "https://api.github.com"
    github_token: str | None = None
    gitlab_url: str = "https://gitlab.com"
    gitlab_token: str | None = None
    jenkins_url: str | None = None
    jenkins_user: str | None = None
    jenkins_token: str | None = None
    timeout_s: float = 60.0  # without a byte
    max_retries: int = 3
    max_wait_s: float = 120.0  # that a server may ask for before the next try
    max_download_bytes: int = 1_000_000_000  # of one log or archive


@dataclass(frozen=True, slots=True)
class CiTarget:
    """A target, understood."""

    text: str  # without what follows the question mark
    scheme: str
    host: str  # lower case, with a port if one is named; empty for GitHub
    parts: tuple[str, ...]  # of the path, unquoted
    options: Mapping[str, str]
    since: datetime | None
    limit: int

    def option(self, name: str) -> str | None:
        return self.options.get(name)


def is_ci_target(target: str) -> bool:
    """Tell whether `target` names logs of a CI system."""
    return _TARGET.match(target) is not None


def parse_ci_target(target: str, *, now: datetime | None = None) -> CiTarget:
    """Return what `target` asks for.

    Raises:
        SettingsError: it isn't whole, or asks for something that its system doesn't know.
    """
    url = urlsplit(target)
    scheme = url.scheme.lower()
    if url.username is not None or url.password is not None:
        raise SettingsError(t("ci.no_password", scheme=scheme))
    pieces = [unquote(piece) for piece in url.path.split("/") if piece]
    host = url.netloc.lower()
    if scheme == "gha":
        pieces, host = [unquote(url.netloc), *pieces], ""
    options = dict(parse_qsl(url.query, keep_blank_values=True))
    _check_options(scheme, options)
    if url.fragment or not _is_whole(scheme, host, pieces):
        raise SettingsError(t("ci.bad_target", target=target, form=t(f"ci.form.{scheme}")))
    from bifrost_flow.evidence.moments import parse_when  # with Polars, which reading a target doesn't need

    since = options.get("since")
    return CiTarget(
        text=f"{scheme}://{'/'.join([host, *pieces] if host else pieces)}",
        scheme=scheme,
        host=host,
        parts=tuple(pieces),
        options={name: value for name, value in options.items() if value},
        since=parse_when(since, now or datetime.now(UTC)) if since else None,
        limit=_parse_limit(options.get("limit") or str(DEFAULT_LIMIT)),
    )


def _check_options(scheme: str, options: Mapping[str, str]) -> None:
    for name, value in options.items():
        if name not in OPTIONS[scheme]:
            known = ", ".join(OPTIONS[scheme])
            raise SettingsError(t("ci.bad_option", scheme=scheme, name=name, known=known))
        if name in ("run", "pipeline") and value and not value.isdecimal():
            raise SettingsError(t("ci.bad_number", name=name, value=value))


def _is_whole(scheme: str, host: str, pieces: list[str]) -> bool:
    # A part of only dots would lead to another address than the one that is read here.
    if any(set(piece) <= {"."} for piece in pieces):
        return False
    if scheme == "gha":
        return len(pieces) == 2 and all(re.fullmatch(r"[\w.-]+", piece) for piece in pieces)
    if scheme == "gitlab":
        return bool(host) and len(pieces) >= 2
    return bool(host) and "job" in pieces[:-1]


def _parse_limit(text: str) -> int:
    if text.isdecimal() and 1 <= int(text) <= MAX_LIMIT:
        return int(text)
    raise SettingsError(t("ci.bad_limit", value=text, most=MAX_LIMIT))


def check_host(target: CiTarget, configured: str | None, *, key: str) -> None:
    """Check that `target` names the host of the address in the settings (`key`).

    Raises:
        SettingsError: the setting is missing, or names another host.
    """
    if configured and urlsplit(configured).netloc.rpartition("@")[2].lower() == target.host:
        return
    shown = urlsplit(configured).netloc.rpartition("@")[2] if configured else "–"
    raise SettingsError(t("ci.other_host", host=target.host, key=key, configured=shown))
