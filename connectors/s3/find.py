"""Find the logs that an `s3://` target names: an object, all below a prefix, or what a pattern matches.

Names and heads of objects are judged as those of files in a folder are, and many heads at once.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from bifrost_flow.language import t
from connectors.archives import find_members, is_archive
from connectors.lognames import OBJECT_SUFFIXES, OTHER_FOLDERS, holds_events, judge_name
from connectors.reading import SNIFF_BYTES, Source, is_binary
from connectors.s3.access import S3Access, current_access, split_url
from connectors.s3.stream import ObjectPlace
from connectors.s3.transfer import Listed, find_object, list_objects

Report = Callable[[str, str, str], None]  # path, status, message

WAREHOUSE_MARKER = "warehouse.json"
_MAGIC = re.compile(r"[*?\[]")
_JUDGES = 16


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An object that may be a log; one that was `named` is read whatever its name."""

    place: ObjectPlace
    named: bool

    @property
    def path(self) -> str:
        return self.place.url


def find_in_bucket(target: str, *, report: Report, max_bytes: int | None = None) -> Iterator[Source]:
    """Yield the logs that `target` names, sorted by key.

    What can't be read, or isn't there, is told to `report`; nothing is raised for it.
    """
    access = current_access()
    bucket, key = split_url(target)
    told: list[str] = []

    def tell(path: str, status: str, message: str) -> None:
        told.append(path)
        report(path, status, message)

    try:
        candidates = _find_candidates(access, bucket, key)
        found = _judge(candidates, tell, max_bytes)
    except OSError as error:
        reason = error.strerror or error
        tell(target, "unreadable", t("source.unreadable", path=target, reason=reason))
        return
    yield from found
    if found or told:
        return
    if _MAGIC.search(key):
        tell(target, "missing", t("source.no_match", path=target))
    elif not candidates:
        tell(target, "missing", t("source.no_object", path=target.rstrip("/")))
    elif is_archive(target):
        tell(target, "missing", t("archive.no_logs", path=target))
    else:
        tell(target, "missing", t("source.empty_prefix", path=target))


def _find_candidates(access: S3Access, bucket: str, key: str) -> list[_Candidate]:
    if key and not key.endswith("/"):
        named = _find_named(access, bucket, key)
        if named is not None:
            return [_Candidate(_locate(access, bucket, named), named=True)]
        if _MAGIC.search(key):
            return _match(access, bucket, key)
        key += "/"
    return [
        _Candidate(_locate(access, bucket, each), named=False)
        for each in _leave_out(key, list_objects(access, bucket, key))
    ]


def _find_named(access: S3Access, bucket: str, key: str) -> Listed | None:
    try:
        return find_object(access, bucket, key)
    except PermissionError:
        # Without the right to list, S3 says so of each object that isn't there, and of each prefix. Listing
        # will say the same, in more words.
        return None


def _match(access: S3Access, bucket: str, pattern: str) -> list[_Candidate]:
    """Return the objects that `pattern` matches, and those below a prefix that it matches, as a folder."""
    first = _MAGIC.search(pattern)
    prefix = pattern[: first.start()] if first else pattern
    whole = re.compile(translate_pattern(pattern))
    below = re.compile(f"({translate_pattern(pattern)})/") if "**" not in pattern else None
    listed = list_objects(access, bucket, prefix)
    candidates = []
    for each in _leave_out(prefix.rpartition("/")[0], listed):
        if whole.fullmatch(each.key):
            candidates.append(_Candidate(_locate(access, bucket, each), named=True))
        elif below and below.match(each.key):
            candidates.append(_Candidate(_locate(access, bucket, each), named=False))
    return candidates


def translate_pattern(pattern: str) -> str:
    """Return a glob as a regular expression: `**` is any folders, `*` and `?` stay within one, `[ab]` and
    `[!ab]` are sets.

    >>> bool(re.fullmatch(translate_pattern("logs/**/*.gz"), "logs/a/b/c.gz"))
    True
    """
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[!?\]?[^\]]*\])", pattern)
    meanings = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(meanings.get(part) or _translate_set(part) for part in parts)


def _translate_set(part: str) -> str:
    if not re.fullmatch(r"\[!?\]?[^\]]*\]", part):
        return re.escape(part)
    inner = part[1:-1].replace("\\", r"\\").replace("[", r"\[")
    return f"[^/{inner[1:]}]" if inner.startswith("!") else f"[{inner}]"


def _leave_out(prefix: str, listed: Sequence[Listed]) -> list[Listed]:
    """Return what a search in a folder would look at: nothing hidden, no dependency's and no warehouse's."""
    cut = prefix.rpartition("/")[0]
    start = len(cut) + 1 if cut else 0
    ours = tuple(
        each.key.removesuffix(WAREHOUSE_MARKER)
        for each in listed
        if each.key.rpartition("/")[2] == WAREHOUSE_MARKER and len(each.key) > start + len(WAREHOUSE_MARKER)
    )
    kept = []
    for each in listed:
        parts = each.key[start:].split("/")
        hidden = any(part.startswith(".") for part in parts) or OTHER_FOLDERS & set(parts[:-1])
        # A key that ends in a slash is what some tools make for a folder.
        if not hidden and not each.key.endswith("/") and not (ours and each.key.startswith(ours)):
            kept.append(each)
    return kept


def _locate(access: S3Access, bucket: str, listed: Listed) -> ObjectPlace:
    return ObjectPlace(access, bucket, listed.key, listed.size, listed.etag)


def _judge(candidates: Sequence[_Candidate], report: Report, max_bytes: int | None) -> list[Source]:
    """Return the logs among `candidates`; members of archives in place of these."""
    found: list[Source] = []
    for sources, told in _judge_side_by_side(partial(_judge_one, max_bytes=max_bytes), candidates):
        for path, status, message in told:
            report(path, status, message)
        found.extend(sources)
    return found


def _judge_side_by_side(
    judge: Callable[[_Candidate], tuple[list[Source], list[tuple[str, str, str]]]],
    candidates: Sequence[_Candidate],
) -> Iterator[tuple[list[Source], list[tuple[str, str, str]]]]:
    """Judge side by side those that must be looked into; in order."""
    # Not by `fetchers`, which those that look into archives wait for themselves.
    with ThreadPoolExecutor(_JUDGES, thread_name_prefix="s3-find") as threads:
        waiting = [threads.submit(judge, each) if _needs_look(each) else None for each in candidates]
        for candidate, future in zip(candidates, waiting, strict=True):
            yield judge(candidate) if future is None else future.result()


def _needs_look(candidate: _Candidate) -> bool:
    if is_archive(candidate.path):
        return True
    return not candidate.named and judge_name(candidate.place.name) is None


def _judge_one(
    candidate: _Candidate, *, max_bytes: int | None
) -> tuple[list[Source], list[tuple[str, str, str]]]:
    """Return the logs that are in an object, and what of it can't be read."""
    told: list[tuple[str, str, str]] = []
    place, path = candidate.place, candidate.path

    def tell(path: str, status: str, message: str) -> None:
        told.append((path, status, message))

    if is_archive(path):
        members = find_members(path, report=tell, max_bytes=max_bytes, location=place)
        return [replace(member, stamp=f"etag:{place.etag}") for member in members], told
    if not candidate.named and not _looks_like_log(place):
        return [], told
    if max_bytes is not None and place.size > max_bytes:
        tell(path, "too_large", t("source.too_large", path=path, bytes=place.size, limit=max_bytes))
        return [], told
    return [Source(path, place, place.size)], told


def _looks_like_log(place: ObjectPlace) -> bool:
    judged = judge_name(place.name)
    if judged is not None:
        return judged
    try:
        head = place.fetch(0, min(SNIFF_BYTES, place.size)) if place.size else b""
    except OSError:
        return True  # reported as unreadable when its turn comes
    suffix = f".{place.name.rpartition('.')[2]}".lower()
    return not is_binary(head) and (suffix not in OBJECT_SUFFIXES or holds_events(head))
