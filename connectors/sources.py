"""Find the logs that a user names: files, folders, globs, archives, standard input, and what CI systems hold;
loops of links end."""

# ruff: noqa: PTH110, PTH116, PTH118, PTH123, PTH207 -- paths stay as typed; pathlib would rewrite `./a//b`

import glob
import os
import select
import stat
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from bifrost_flow.language import t
from bifrost_flow.progress import stop_requested
from bifrost_flow.records import LogFile, Problem
from connectors.archives import find_members, is_archive
from connectors.ci.access import CiAccess, is_ci_target
from connectors.lognames import OBJECT_SUFFIXES, OTHER_FOLDERS, holds_events, judge_name
from connectors.permitted import Permitted
from connectors.reading import (
    BLOCK_BYTES,
    MAX_LINE_BYTES,
    SNIFF_BYTES,
    ReadFacts,
    Source,
    fetch_ahead,
    is_binary,
    read_blocks,
)
from connectors.s3.access import is_s3

__all__ = [
    "BLOCK_BYTES",
    "MAX_LINE_BYTES",
    "ReadFacts",
    "Source",
    "describe_unread",
    "fetch_ahead",
    "find_sources",
    "is_spooled",
    "read_blocks",
    "remove_spooled",
    "show_path",
]

STDIN_NAMES = ("-",)
_SPOOL_BYTES = 1 << 20
_STOP_POLL_S = 0.1

WAREHOUSE_MARKER = "bifrost.duckdb"


@dataclass(slots=True)
class _Found:
    sources: list[Source] = field(default_factory=list)
    files: list[LogFile] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    permitted: Permitted | None = None

    def report(self, path: str, status: str, message: str) -> None:
        self.files.append(describe_unread(show_path(path), status, show_path(message)))
        self.problems.append(Problem("ingest", show_path(path), show_path(message)))


def describe_unread(path: str, status: str, message: str, *, size: int = 0) -> LogFile:
    """Return the `files` row of an input that gave no lines."""
    return LogFile(path, None, size, 0, "utf-8", "plain", None, None, None, None, "unknown", status, message)


def find_sources(
    targets: Sequence[str],
    *,
    stdin: BinaryIO | None = None,
    stdin_name: str = "-",
    permitted: Permitted | None = None,
    max_bytes: int | None = None,
    ci: CiAccess | None = None,
) -> tuple[list[Source], list[LogFile], list[Problem]]:
    """Return the logs that `targets` name, and a row and a problem for each that can't be read.

    A target is a file (read whatever its name), a folder (its logs, recursively, sorted, without hidden
    folders), a glob (`**` included), any of these in a bucket (`s3://`), or `-` for standard input. A zip or
    tar, named or in a folder, gives the logs in it. `gha://…`, `gitlab://…` and `jenkins://…` name logs of
    CI systems, which `ci` says how to reach. What `stdin` held is called `stdin_name`. `max_bytes` leaves
    larger files and members out; `permitted` those files to which a link leads and that it does not name.
    Hand what is found to `remove_spooled` when it is read.

    Raises:
        SettingsError: a target of a CI system is wrong, or its host is not in the settings.
    """
    found = _Found(permitted=permitted)
    try:
        for target in dict.fromkeys(targets):
            if target in STDIN_NAMES:
                _spool_stdin(found, stdin, stdin_name)
            elif is_ci_target(target):
                _add_ci_logs(found, target, max_bytes, ci or CiAccess())
            elif is_s3(target):
                _add_objects(found, target, max_bytes)
            elif os.path.lexists(target):
                _add_path(found, target, max_bytes)
            elif glob.has_magic(target):
                _add_glob(found, target, max_bytes)
            else:
                found.report(target, "missing", t("source.missing", path=target))
    except BaseException:
        remove_spooled(found.sources)
        raise
    return found.sources, found.files, found.problems


def _add_ci_logs(found: _Found, target: str, max_bytes: int | None, ci: CiAccess) -> None:
    from connectors.ci.fetch import find_ci_logs  # with httpx, which files don't need

    found.sources.extend(find_ci_logs(target, ci, report=found.report, max_bytes=max_bytes))


def _add_objects(found: _Found, target: str, max_bytes: int | None) -> None:
    # Costs botocore, which files can do without.
    from connectors.s3.find import find_in_bucket

    for source in find_in_bucket(target, report=found.report, max_bytes=max_bytes):
        if source.path not in found.seen:
            found.seen.add(source.path)
            found.sources.append(source)


def _spool_stdin(found: _Found, stdin: BinaryIO | None, called: str) -> None:
    source = stdin if stdin is not None else sys.stdin.buffer
    handle, name = tempfile.mkstemp(prefix="bifrost-stdin-", suffix=".log")
    with os.fdopen(handle, "wb") as spool:
        while block := _read_block(source):
            spool.write(block)
    found.sources.append(Source(called, Path(name), Path(name).stat().st_size, spooled=True))


def _read_block(source: BinaryIO) -> bytes:
    """Return what comes next, nothing at its end; nothing either once the run is asked to stop while it
    waits."""
    try:
        handle = source.fileno()
    except OSError:  # in memory
        return source.read(_SPOOL_BYTES)
    while not select.select([handle], [], [], _STOP_POLL_S)[0]:
        if stop_requested():
            return b""
    return os.read(handle, _SPOOL_BYTES)


def is_spooled(source: Source) -> bool:
    """Tell whether `source` is a temporary copy on this machine."""
    in_copy = source.member is not None and source.member.spooled
    return source.spooled or in_copy


def remove_spooled(sources: Sequence[Source]) -> None:
    """Delete the temporary copies among `sources`: of standard input, compressed tars and downloads."""
    for source in sources:
        if is_spooled(source) and isinstance(source.location, Path):
            source.location.unlink(missing_ok=True)


def _add_glob(found: _Found, target: str, max_bytes: int | None) -> None:
    matches = sorted(glob.glob(target, recursive=True))
    if not matches:
        found.report(target, "missing", t("source.no_match", path=target))
    for match in matches:
        if Path(match).is_dir():
            # `logs/**` names folders too; what they hold is matched by itself.
            if "**" not in target:
                _add_folder(found, match, max_bytes)
        elif not _is_special(match):
            _add_path(found, match, max_bytes)


def _add_path(found: _Found, target: str, max_bytes: int | None) -> None:
    try:
        mode = os.stat(target).st_mode
    except OSError as error:
        found.report(
            target, "unreadable", t("source.unreadable", path=target, reason=error.strerror or error)
        )
        return
    if stat.S_ISDIR(mode):
        _add_folder(found, target, max_bytes)
        return
    if not stat.S_ISREG(mode) and not stat.S_ISFIFO(mode):
        found.report(target, "unreadable", t("source.unreadable", path=target, reason=t("source.no_file")))
        return
    before = len(found.sources) + len(found.problems)
    known = os.path.realpath(target) in found.seen
    _add_file(found, target, max_bytes)
    if is_archive(target) and not known and before == len(found.sources) + len(found.problems):
        found.report(target, "missing", t("archive.no_logs", path=target))


def _add_folder(found: _Found, folder: str, max_bytes: int | None) -> None:
    before = len(found.sources) + len(found.problems)
    visited: set[tuple[int, int]] = set()

    def report(error: OSError) -> None:
        path = str(error.filename or folder)
        found.report(path, "unreadable", t("source.unreadable", path=path, reason=error.strerror or error))

    for root, folders, names in os.walk(folder, followlinks=True, onerror=report):
        place = os.stat(root)
        if (place.st_dev, place.st_ino) in visited:
            folders.clear()
            continue
        visited.add((place.st_dev, place.st_ino))
        folders[:] = sorted(name for name in folders if _is_searched(os.path.join(root, name)))
        for name in sorted(names):
            path = os.path.join(root, name)
            if name.startswith(".") or _is_special(path):
                continue
            if is_archive(path) or _looks_like_log(path):
                _add_file(found, path, max_bytes)
    if before == len(found.sources) + len(found.problems):
        found.report(folder, "missing", t("source.no_logs", path=folder))


def show_path(path: str) -> str:
    """Return `path` as text for people and tables: bytes of a name that are no UTF-8 are spelled out."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _is_special(path: str) -> bool:
    """Tell whether something that a search has found is no file: a pipe would be waited for without end, a
    device has none. A pipe that is named on its own is read."""
    return os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode)


def _is_searched(folder: str) -> bool:
    """Tell whether a folder may hold logs: not a hidden one, a dependency's or one of our warehouses."""
    name = Path(folder).name
    if name.startswith(".") or name in OTHER_FOLDERS:
        return False
    return not os.path.exists(os.path.join(folder, WAREHOUSE_MARKER))


def _looks_like_log(path: str) -> bool:
    """Tell whether a file that was found in a folder is one that its owner would call a log."""
    judged = judge_name(path)
    if judged is not None:
        return judged
    try:
        with open(path, "rb") as stream:
            head = stream.read(SNIFF_BYTES)
    except OSError:
        return True  # reported as unreadable when its turn comes
    return not is_binary(head) and (Path(path).suffix.lower() not in OBJECT_SUFFIXES or holds_events(head))


def _add_file(found: _Found, path: str, max_bytes: int | None) -> None:
    try:
        status = os.stat(path)
        identity = os.path.realpath(path)
    except OSError as error:
        found.report(path, "unreadable", t("source.unreadable", path=path, reason=error.strerror or error))
        return
    if identity in found.seen:
        return
    found.seen.add(identity)
    if found.permitted is not None and not found.permitted.holds(identity):
        found.report(path, "unreadable", t("serve.not_permitted", path=path))
        return
    # As it was before anything is read: what is written to it meanwhile makes it another one.
    stamp = f"stat:{status.st_size}:{status.st_mtime_ns}" if stat.S_ISREG(status.st_mode) else None
    if is_archive(path):
        members = find_members(path, report=found.report, max_bytes=max_bytes)
        found.sources.extend(replace(member, stamp=stamp) for member in members)
        return
    if max_bytes is not None and status.st_size > max_bytes:
        found.report(
            path, "too_large", t("source.too_large", path=path, bytes=status.st_size, limit=max_bytes)
        )
        return
    found.sources.append(Source(show_path(path), Path(path), status.st_size, stamp=stamp))
