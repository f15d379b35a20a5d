"""The table of findings fits its terminal, and nothing in a log steers it."""

import io
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from bifrost_flow.records import Problem, Report
from bifrost_flow.render.defuse import make_visible
from bifrost_flow.render.terminal import render_terminal

STYLE = re.compile(r"\x1b\[[0-9;]*m")


def show(report: Report, width: int = 120, *, terminal: bool = True) -> str:
    out = io.StringIO()
    colours = "truecolor" if terminal else None
    console = Console(file=out, width=width, force_terminal=terminal, color_system=colours)
    render_terminal(report, console)
    return out.getvalue()


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("width", [40, 60, 80, 100, 160])
def test_fits_the_width(report: Report, language: str, width: int) -> None:
    """No line is wider than the terminal, wide characters counted as two cells."""
    text = STYLE.sub("", show(replace(report, language=language), width))
    assert max(cell_len(line) for line in text.splitlines()) <= width
    assert ("재발" if language == "ko" else "Regressed") in text


def test_columns_go_when_there_is_no_room(report: Report) -> None:
    """A wide terminal shows category and place; a narrow one keeps status, title and count."""
    wide, narrow = show(report, 160), show(report, 40)
    assert "Dependency error" in wide and "ci/build-1184/install-node-20.log:88" in wide
    assert "Dependency error" not in narrow and "npm cannot find a" in narrow and "Times" in narrow


def test_shortened_paths_keep_their_end(report: Report) -> None:
    """Where a path does not fit, the end with the line number stays."""
    assert "…/install-node-20.log:88" in show(report, 80)


def test_a_pipe_gets_plain_whole_lines(report: Report) -> None:
    """Without a terminal each finding is one complete line without colours, whatever the width."""
    text = show(report, 40, terminal=False)
    assert "\x1b" not in text and "─" not in text
    (line,) = [line for line in text.splitlines() if line.startswith("Regressed")]
    assert line.split("  ")[0] == "Regressed"
    assert "Deployment web exceeds its progress deadline: readiness probe gets 503" in line
    assert line.endswith("deploy/prod/rollout-2026-11-23.log:412")
    starts = {
        line.index("ci/") if "ci/" in line else line.index("deploy/prod")
        for line in text.splitlines()[2:8]
        if cell_len(line) == len(line)
    }
    assert len(starts) == 1, "columns are aligned"


def test_no_color_is_honoured(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    """With NO_COLOR set no colour is written."""
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", show(report))


def test_troubles_are_listed(report: Report) -> None:
    """Inputs that could not be read and calls that failed follow the table, each once."""
    text = show(report, 200)
    assert text.count("ci/build-1184/core.4411: Looks like a binary file (ELF), not a log.") == 1
    assert "f1:deadbeef00000000: Ollama did not answer within 120 s" in text


def test_troubles_name_their_subject_once(report: Report) -> None:
    """A message that holds its subject already is printed alone."""
    file = replace(report.files[0], path="no.log", status="missing", error="no.log: there is no such file.")
    problem = Problem("track", "mlflow", "mlflow: the server did not answer.")
    lines = show(replace(report, files=(file,), problems=(problem,)), 200).splitlines()
    assert "  no.log: there is no such file." in lines
    assert "  mlflow: the server did not answer." in lines


def test_failures_without_answers_are_no_all_clear(unanswered: Report, half_answered: Report) -> None:
    """Where no model answered, the first line counts what was found, and the next says what to do."""
    text = STYLE.sub("", show(unanswered))
    assert text.startswith("5 failures could not be explained · ")
    assert "no model answered" in text and "Nothing" not in text
    half = STYLE.sub("", show(half_answered, 200)).splitlines()[0]
    assert half.startswith("3 failures to look at") and half.endswith("2 more could not be explained")


def test_a_stopped_run_is_no_all_clear(clean: Report) -> None:
    """Only a run that was completed says that nothing failed."""
    assert "Nothing failed" in show(clean)
    stopped = show(replace(clean, run=replace(clean.run, status="interrupted")))
    assert "Stopped before the end" in stopped and "Nothing failed" not in stopped


@pytest.mark.parametrize("terminal", [True, False])
def test_hostile_text_does_nothing(
    build_report: Callable[[list[str]], Report], hostile_strings: list[str], terminal: bool
) -> None:
    """Escapes and direction marks are gone; Rich's markup, links and emoji codes are printed as they are."""
    text = STYLE.sub("", show(build_report(hostile_strings), 2000, terminal=terminal))
    assert "\x1b" not in text
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2066-\u2069\ufeff]", text)
    assert "[bold red]markup[/bold red] [link=https://evil.example]x[/link] :boom: [/]" in text
    for hostile in hostile_strings:
        assert " ".join(make_visible(hostile).split()) in text
