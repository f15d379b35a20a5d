"""Which members of an archive are logs, within limits. Names in it are shown, never used on disk."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePath

from bifrost_flow.language import t
from connectors.lognames import OBJECT_SUFFIXES, OTHER_FOLDERS, holds_events, judge_name
from connectors.members import Location, Member
from connectors.reading import BROKEN_ERRORS, MAX_EXPANDED_BYTES, MAX_RATIO, is_binary

ARCHIVE_NAME = re.compile(r"\.(zip|tar|tgz|tbz2?|txz|tzst|tar\.(gz|bz2|xz|zstd?|lzma))$", re.IGNORECASE)
MAX_MEMBERS = 100_000

Report = Callable[[str, str, str], None]  # path, status, message


class Enough(Exception):
    """The archive is beyond a limit; the message says which, and nothing more of it is read."""


def is_archive(path: str) -> bool:
    """Tell by its name whether a file is an archive whose members are read."""
    return ARCHIVE_NAME.search(path) is not None


@dataclass(slots=True)
class Listing:
    """What has been seen of one archive, and what of it is let through."""

    archive: str
    location: Location
    report: Report
    max_bytes: int | None
    shown: set[str] = field(default_factory=set)
    repeats: dict[str, int] = field(default_factory=dict)  # how often a name came that came more than once
    seen: int = 0
    expanded: int = 0  # bytes that reading the members so far gives at most

    def count(self) -> None:
        self.seen += 1
        if self.seen > MAX_MEMBERS:
            raise Enough(t("archive.too_many", path=self.archive, limit=MAX_MEMBERS))

    def report_broken(self, reason: object) -> None:
        status = "truncated" if self.seen else "unreadable"
        self.report(self.archive, status, t("archive.broken", path=self.archive, reason=reason))

    def report_unreadable(self, shown: str, reason: str) -> None:
        self.report(shown, "unreadable", t("source.unreadable", path=shown, reason=reason))

    def admit(self, name: str, member: Member, read_head: Callable[[], bytes]) -> str | None:
        """Return the path to show for a member that is a log and within the limits, else None."""
        parts = _clean_name(name)
        if not parts or any(part.startswith(".") for part in parts) or OTHER_FOLDERS & set(parts[:-1]):
            return None
        shown = f"{self.archive}!/{'/'.join(parts)}"
        if is_archive(shown):
            self.report(shown, "unreadable", t("archive.nested", path=shown))
            return None
        if not _looks_like_log(parts[-1], read_head):
            return None
        if self.max_bytes is not None and member.size > self.max_bytes:
            message = t("source.too_large", path=shown, bytes=member.size, limit=self.max_bytes)
            self.report(shown, "too_large", message)
            return None
        self.expanded += min(member.size, MAX_RATIO * max(member.packed, 1 << 16))
        if self.expanded > MAX_EXPANDED_BYTES:
            raise Enough(t("source.bomb", path=self.archive, bytes=MAX_EXPANDED_BYTES))
        # Twice the same name is allowed in both formats. Counted on from the last one: an archive may hold a
        # hundred thousand of one name.
        base = shown
        while shown in self.shown:
            number = self.repeats[base] = self.repeats.get(base, 1) + 1
            shown = f"{base} ({number})"
        self.shown.add(shown)
        return shown


def _clean_name(name: str) -> list[str]:
    """Return the parts of a member's name, without what would lead out of the archive or confuse a
    terminal."""
    safe = "".join(char if char.isprintable() else "\ufffd" for char in name.replace("\\", "/"))
    return [part for part in safe.split("/") if part not in ("", ".", "..") and not part.endswith(":")]


def _looks_like_log(name: str, read_head: Callable[[], bytes]) -> bool:
    judged = judge_name(name)
    if judged is not None:
        return judged
    try:
        head = read_head()
    except BROKEN_ERRORS:
        return True  # reported when its turn comes
    return not is_binary(head) and (
        PurePath(name).suffix.lower() not in OBJECT_SUFFIXES or holds_events(head)
    )
