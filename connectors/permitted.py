"""What a served run may be asked to read: what the settings name, and what lies beneath it."""

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from bifrost_flow.errors import SettingsError
from bifrost_flow.language import t
from bifrost_flow.window import to_glob

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_FILES = "file"


@dataclass(frozen=True, slots=True)
class Permitted:
    """`roots` are files, folders, globs, prefixes of buckets and targets of CI systems, as settings name
    them. `/` stands for all files, `s3://` for all buckets, `gha://owner` for all of an owner's repositories.
    """

    roots: tuple[str, ...]

    def check(self, targets: Sequence[str]) -> None:
        """Check that `targets` may be read; that one is not there is not told of one that may not be.

        Raises:
            SettingsError: one may not.
        """
        for target in targets:
            if not self.names(target) and not self.covers(target):
                raise SettingsError(t("serve.not_permitted", path=target))

    def names(self, target: str) -> bool:
        """Tell whether `target` is one of the roots themselves, which are read as they are, wherever links in
        them lead."""
        return _make_absolute(target) in {_make_absolute(root) for root in self.roots}

    def covers(self, target: str) -> bool:
        """Tell whether `target`, its links resolved, is a root or beneath one; not where it leads up again
        from what a pattern finds."""
        return not _climbs(target) and self._hold(*_parse(target, literally=False))

    def holds(self, path: str) -> bool:
        """Tell whether a file that was found at `path`, its links resolved, is a root or beneath one; what
        reads like a pattern is part of its name."""
        return self._hold(_FILES, tuple(step for step in path.split("/") if step))

    def _hold(self, scheme: str, steps: tuple[str, ...]) -> bool:
        return any(
            scheme == allowed and _match(pattern, steps)
            for allowed, pattern in (_parse(root, literally=True) for root in self.roots)
        )


def _make_absolute(target: str) -> str:
    # `..` stays: of a link to a folder it leads to where that folder is.
    return target if _SCHEME.match(target) else str(Path(target).expanduser().absolute())


def _climbs(target: str) -> bool:
    steps = to_glob(target).split("/")
    first = next((n for n, step in enumerate(steps) if glob.has_magic(step)), len(steps))
    return ".." in steps[first:]


def _parse(target: str, *, literally: bool) -> tuple[str, tuple[str, ...]]:
    """Return the scheme and the steps of a target's path. Unless `literally`, only those before the first one
    that stands for several: whatever it finds must be beneath."""
    scheme = _SCHEME.match(target)
    if scheme:
        path = to_glob(target[scheme.end() :])
        if scheme[1].lower() != "s3":
            path = path.partition("?")[0]  # what is asked of a CI system, not where
        steps = path.rstrip("/").split("/") if path else []
    else:
        steps = [step for step in to_glob(_make_absolute(target)).split("/") if step]
    fixed = next((n for n, step in enumerate(steps) if glob.has_magic(step)), len(steps))
    if not scheme:
        real = os.path.realpath("/" + "/".join(steps[:fixed]))
        steps, fixed = [*real.split("/")[1:], *steps[fixed:]], real.rstrip("/").count("/")
        steps = [step for step in steps if step]
    return (scheme[1].lower() if scheme else _FILES), tuple(steps if literally else steps[:fixed])


def _match(pattern: Sequence[str], steps: Sequence[str]) -> bool:
    """Tell whether `steps` begin with what `pattern` stands for."""
    if not pattern:
        return ".." not in steps
    if pattern[0] == "**":
        return any(_match(pattern[1:], steps[n:]) for n in range(len(steps) + 1))
    return bool(steps) and fnmatchcase(steps[0], pattern[0]) and _match(pattern[1:], steps[1:])
