"""Download the logs that targets of CI systems name, and hand them over as sources.

Downloads lie in temporary files, which `remove_spooled` deletes when they are read. Of GitHub's archive of a
run the logs of single steps are taken, and a whole job's log only where its steps have none.
"""

import os
import re
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from bifrost_flow.language import t
from bifrost_flow.progress import progress, stop_requested
from connectors.archives import find_members
from connectors.ci.access import CiAccess, CiTarget, is_ci_target, parse_ci_target
from connectors.ci.github import GitHub
from connectors.ci.gitlab import GitLab
from connectors.ci.http import CiFault, Patience
from connectors.ci.jenkins import Jenkins
from connectors.ci.pieces import CiSystem, Piece, name_part
from connectors.listing import Report
from connectors.reading import Source

_AT_ONCE = 8
_SYSTEMS: dict[str, Callable[[CiTarget, CiAccess, Patience], CiSystem]] = {
    "gha": GitHub,
    "gitlab": GitLab,
    "jenkins": Jenkins,
}
_WHOLE_JOB = re.compile(r"-?\d+_(?P<job>[^/]+)\.txt$")


def check_ci_target(target: str, access: CiAccess) -> None:
    """Check what can be checked of `target` without asking anybody; other targets are fine.

    Raises:
        SettingsError: it isn't whole, asks for what there isn't, or its host is not in the settings.
    """
    if is_ci_target(target):
        _open_system(parse_ci_target(target), access).close()


def _open_system(target: CiTarget, access: CiAccess) -> CiSystem:
    patience = Patience(
        access.timeout_s, access.max_retries, access.max_wait_s, max_bytes=access.max_download_bytes
    )
    return _SYSTEMS[target.scheme](target, access, patience)


def find_ci_logs(
    text: str, access: CiAccess, *, report: Report, max_bytes: int | None = None
) -> list[Source]:
    """Return the logs that the target `text` names, in its system's order, downloaded.

    What can't be had is told to `report` with a status and a message. `max_bytes` leaves larger logs out.

    Raises:
        SettingsError: as `check_ci_target`.
    """
    told = []

    def tell(path: str, status: str, message: str) -> None:
        told.append(path)
        report(path, status, message)

    system = _open_system(parse_ci_target(text), access)
    progress().tell(t("ci.fetching", target=text))
    found: list[Source] = []
    try:
        pieces = _list_pieces(system, text, tell)
        for piece, path in _download_all(pieces, tell):
            found.extend(_open_piece(piece, path, tell, max_bytes))
    finally:
        system.close()
    if not found and not told and not stop_requested():
        report(text, "missing", t("ci.nothing", target=text))
    return found


def _list_pieces(system: CiSystem, text: str, tell: Report) -> list[Piece]:
    pieces = []
    try:
        for piece in system.list_pieces():
            pieces.append(piece)
            if stop_requested():
                break
    except CiFault as fault:
        tell(text, fault.status, t("ci.fault", path=text, reason=fault))
    return pieces


def _download_all(pieces: Iterable[Piece], tell: Report) -> list[tuple[Piece, Path]]:
    """Download some pieces at a time, and return where they lie, in order; nothing is left if it ends
    early."""
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="ci") as pool:
        running = [(piece, pool.submit(_download, piece)) for piece in pieces]
        downloaded = []
        try:
            for piece, future in running:
                try:
                    downloaded.append((piece, future.result()))
                except CiFault as fault:
                    tell(piece.path, fault.status, t("ci.fault", path=piece.path, reason=fault))
        except BaseException:
            _discard([future for _, future in running])
            raise
    return downloaded


def _discard(running: Iterable[Future[Path]]) -> None:
    for future in running:
        if not future.cancel():
            with suppress(Exception):
                future.result().unlink(missing_ok=True)


def _download(piece: Piece) -> Path:
    """Write what `piece` fetches to a temporary file, and return its path."""
    handle, name = tempfile.mkstemp(prefix="bifrost-ci-", suffix=".zip" if piece.archive else ".log")
    path = Path(name)
    try:
        with os.fdopen(handle, "w+b") as file:
            piece.fetch(file)
    except OSError as error:
        path.unlink()
        raise CiFault("unreadable", str(error.strerror or error)) from error
    except BaseException:
        path.unlink()
        raise
    return path


def _open_piece(piece: Piece, path: Path, tell: Report, max_bytes: int | None) -> list[Source]:
    """Return the sources in a download; without any it is deleted."""
    if piece.archive:
        opened = _open_archive(piece, path, tell)
    else:
        opened = [Source(piece.path, path, path.stat().st_size, spooled=True)]
    found = []
    for source in opened:
        if max_bytes is None or source.size <= max_bytes:
            found.append(source)
        else:
            message = t("source.too_large", path=source.path, bytes=source.size, limit=max_bytes)
            tell(source.path, "too_large", message)
    if not found:
        path.unlink()
    return found


def _open_archive(piece: Piece, path: Path, tell: Report) -> list[Source]:
    inside = f"{path}!/"

    def rename(text: str) -> str:
        return text.replace(inside, f"{piece.path}/").replace(str(path), piece.path)

    def report(shown: str, status: str, message: str) -> None:
        tell(rename(shown), status, rename(message))

    members = list(find_members(str(path), report=report))
    kept = _pick_logs([source.path.removeprefix(inside) for source in members], piece.job)
    if members and not kept:
        tell(piece.path, "missing", t("ci.no_job", path=piece.path, job=piece.job))
    return [
        replace(source, path=rename(source.path), spooled=True)
        for source in members
        if source.path.removeprefix(inside) in kept
    ]


def _pick_logs(names: list[str], job: str | None) -> set[str]:
    """Return those of a run's logs that say everything once: of `job` alone, if one is named."""
    stepped = {
        name.partition("/")[0] for name in names if "/" in name and _WHOLE_JOB.match(name.rpartition("/")[2])
    }
    kept = set()
    for name in names:
        folder, inside, _ = name.partition("/")
        whole = None if inside else _WHOLE_JOB.match(name)
        if whole and whole["job"] in stepped:
            continue
        owner = folder if inside else (whole["job"] if whole else "")
        if job is None or owner.casefold() == name_part(job).casefold():
            kept.add(name)
    return kept
