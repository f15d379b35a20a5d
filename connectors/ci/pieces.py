"""What a CI system has for a target: one piece for each log or archive that can be downloaded."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

from bifrost_flow.language import t
from connectors.ci.http import CiFault

PAGE = 100  # rows that are asked for at once, the most that GitHub and GitLab give


@dataclass(frozen=True, slots=True)
class Piece:
    """One thing to download: `path` is what a person sees, `fetch` writes it to a file."""

    path: str
    fetch: Callable[[BinaryIO], object]
    archive: bool = False
    job: str | None = None  # only what this job wrote is wanted of an archive


class CiSystem(Protocol):
    """One CI system, asked for one target."""

    def list_pieces(self) -> Iterator[Piece]:
        """Yield what the target names, newest first.

        Raises:
            CiFault: the system can't say.
        """

    def close(self) -> None:
        """Close the connections."""


def name_part(text: str) -> str:
    """Return `text` as one part of a path that is shown: nothing in it ends the part or steers a terminal."""
    shown = "".join(char if char.isprintable() else "\ufffd" for char in text)
    return re.sub(r"[/\\]", "_", shown).strip() or "_"


def read_rows(answer: Any, name: str | None, url: str) -> list[dict[str, Any]]:
    """Return the rows of a page: `answer` itself, or what it holds under `name`.

    Raises:
        CiFault: there are none in it.
    """
    rows = answer.get(name) if name is not None and isinstance(answer, dict) else answer
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise CiFault("unreadable", t("ci.not_json", url=url))
    return rows


def read_number(row: dict[str, Any], name: str, url: str) -> int:
    """Return the number under `name`, which becomes part of an address.

    Raises:
        CiFault: it is none.
    """
    number = row.get(name)
    if isinstance(number, bool) or not isinstance(number, int):
        raise CiFault("unreadable", t("ci.not_json", url=url))
    return number
