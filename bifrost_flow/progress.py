"""How far a run is: told by the stages, shown by whoever listens (the command line, a log, nobody)."""

import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from bifrost_flow.draft import Draft
    from bifrost_flow.records import Finding


class Progress(Protocol):
    """Hears what the stages do; called from any thread."""

    def start_stage(self, stage: str, total: int | None) -> None:
        """A stage begins; `total` is in the unit that `advance` counts, None when it is not known."""

    def advance(self, stage: str, done: int) -> None:
        """`done` units of the stage are complete now."""

    def end_stage(self, stage: str, summary: str) -> None:
        """A stage has ended; `summary` is a sentence for a person."""

    def tell(self, message: str) -> None:
        """Say something that a person should know now, such as which provider was taken."""

    def show_draft(self, draft: "Draft") -> None:
        """An answer is being written; this is what there is of it."""

    def show_finding(self, finding: "Finding") -> None:
        """An answer is complete and checked; its status is not known yet."""


class Silent:
    """Progress that nobody watches."""

    def start_stage(self, stage: str, total: int | None) -> None:
        pass

    def advance(self, stage: str, done: int) -> None:
        pass

    def end_stage(self, stage: str, summary: str) -> None:
        pass

    def tell(self, message: str) -> None:
        pass

    def show_draft(self, draft: "Draft") -> None:
        pass

    def show_finding(self, finding: "Finding") -> None:
        pass


_listener: Progress = Silent()
_stop = threading.Event()


def watch(listener: Progress) -> None:
    """Send the progress of runs in this process to `listener` from now on."""
    global _listener
    _listener = listener
    _stop.clear()


def progress() -> Progress:
    """Return who listens."""
    return _listener


def request_stop() -> None:
    """Ask the run in this process to end early and to save what it has (Ctrl-C does)."""
    _stop.set()


def stop_requested() -> bool:
    """Return whether the run in this process was asked to end early."""
    return _stop.is_set()
