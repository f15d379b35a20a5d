"""Answers on standard output while models write them: live Markdown, plain text, or whole ones."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, TextIO

from bifrost_flow.language import current_language, t
from bifrost_flow.progress import Silent
from bifrost_flow.render.defuse import make_visible

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.segment import Segment

    from bifrost_flow.draft import Draft
    from bifrost_flow.records import Finding
    from bifrost_flow.render.plain import PlainAnswer


class Notes(Silent):
    """Says what a person should know on standard error, unless `quiet`, and shows no answer."""

    quiet = False

    def tell(self, message: str) -> None:
        if not self.quiet:
            print(make_visible(message), file=sys.stderr, flush=True)

    def finish(self) -> None:
        """Nothing more will come."""


class PlainAnswers(Notes):
    """Answers as plain text that grows, one after the other: what others write meanwhile waits."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._current: tuple[str, PlainAnswer] | None = None
        self._waiting: list[Finding] = []
        self._shown = 0

    def show_draft(self, draft: "Draft") -> None:
        if not draft.texts and not draft.evidence and self._current is None:
            return
        if self._current is None:
            self._current = draft.fingerprint, self._begin()
        fingerprint, answer = self._current
        if draft.fingerprint == fingerprint:
            self._write(answer.grow(draft))

    def show_finding(self, finding: "Finding") -> None:
        if self._current and self._current[0] != finding.fingerprint:
            self._waiting.append(finding)
            return
        answer = self._current[1] if self._current else self._begin()
        self._current = None
        self._write(answer.end(finding))
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            self.show_finding(each)

    def finish(self) -> None:
        if self._current:
            self._write(f"\n\n({t('analyze.broke_off')})\n")
            self._current = None
        for finding in self._waiting:
            self.show_finding(finding)

    def _begin(self) -> "PlainAnswer":
        from bifrost_flow.render.plain import PlainAnswer

        if self._shown:
            self._write("\n")
        self._shown += 1
        return PlainAnswer(current_language())

    def _write(self, text: str) -> None:
        # A path that is no UTF-8 must not end the answer.
        self._out.write(text.encode("utf-8", "backslashreplace").decode("utf-8"))
        self._out.flush()


class MarkdownAnswers(Notes):
    """Answers as Markdown, each when it is complete."""

    def show_finding(self, finding: "Finding") -> None:
        from bifrost_flow.render.markdown import render_finding

        print(render_finding(finding, current_language(), heading="##"), end="\n\n", flush=True)


class LiveAnswers(Notes):
    """Answers as Markdown in a terminal: the end of the one that is being written, then the whole of it."""

    def __init__(self, console: "Console") -> None:
        from rich.live import Live

        self._console = console
        self._fingerprint: str | None = None
        self._shown = False
        self._draft = ""
        self.live = Live(console=console, transient=True, refresh_per_second=8, vertical_overflow="crop")

    def start_stage(self, stage: str, total: int | None) -> None:
        from rich.spinner import Spinner
        from rich.text import Text

        if self._fingerprint is None and not self._shown:
            self.live.update(Spinner("dots", Text(t(f"stage.{stage}"), "dim")))

    def tell(self, message: str) -> None:
        if sys.stderr.isatty() and not self.quiet:
            self._console.print(make_visible(message), style="dim", markup=False, highlight=False)
        else:
            super().tell(message)

    def show_draft(self, draft: "Draft") -> None:
        from bifrost_flow.render.markdown import render_draft

        self._fingerprint = self._fingerprint or draft.fingerprint
        if draft.fingerprint == self._fingerprint:
            self._draft = render_draft(draft, current_language())
            self.live.update(_Tail(self._draft))

    def show_finding(self, finding: "Finding") -> None:
        from rich.markdown import Markdown

        from bifrost_flow.render.markdown import render_finding

        self._shown = True
        if self._fingerprint in (None, finding.fingerprint):
            self._fingerprint = None
            self.live.update("", refresh=True)
        text = render_finding(finding, current_language(), heading="##")
        self._console.print(Markdown(text, hyperlinks=False), "")

    def finish(self) -> None:
        if self._fingerprint is not None:
            from rich.markdown import Markdown

            self.live.update("", refresh=True)
            self._console.print(Markdown(self._draft, hyperlinks=False), "", f"({t('analyze.broke_off')})")


class _Tail:
    """The last lines of a Markdown text, as many as the terminal has room for."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.markdown import Markdown

        lines = console.render_lines(Markdown(self._text, hyperlinks=False), options.update(height=None))
        yield from _join_lines(lines[-max(1, console.height - 2) :])


def _join_lines(lines: "list[list[Segment]]") -> "Iterator[Segment]":
    from rich.segment import Segment

    for line in lines:
        yield from line
        yield Segment.line()


def open_answers(output: str) -> tuple[Notes, AbstractContextManager[object]]:
    """Return who shows answers as `output` (markdown, text or json), and the context in which it does."""
    if output == "json":
        return Notes(), nullcontext()
    if output == "text":
        return PlainAnswers(sys.stdout), nullcontext()
    if not sys.stdout.isatty():
        return MarkdownAnswers(), nullcontext()
    from rich.console import Console

    live = LiveAnswers(Console())
    return live, live.live
