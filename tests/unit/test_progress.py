"""Live bars keep their columns in any terminal; nothing in a name steers it."""

import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from bifrost_flow.cli.progress import LiveProgress, PlainProgress
from bifrost_flow.language import current_language, set_language, t

PATHS = ", ".join(f"/srv/ci/storefront/nightly-{n}/bifrost-warehouse/reports/report.html" for n in range(2))
STAGES = (
    ("ingest", 1, "13 logs found"),
    ("analyse", 1184, "1,184 calls, 12 answered from the cache, none failed"),
    ("export", 2, PATHS),
)


@pytest.fixture(params=["en", "ko"])
def language(request: pytest.FixtureRequest):
    """Speak each language, and the former one afterwards."""
    before = current_language()
    set_language(request.param)
    yield request.param
    set_language(before)


def draw_last_frame(width: int) -> list[str]:
    """Return the lines that stand in a terminal when all stages are done."""
    console = Console(width=width, force_terminal=True, record=True, file=io.StringIO())
    live = LiveProgress(console)
    for stage, total, summary in STAGES:
        live.start_stage(stage, total)
        live.advance(stage, total)
        live.end_stage(stage, summary)
    console.print(live.bars)
    return console.export_text().splitlines()


@pytest.mark.parametrize("width", [60, 100, 160])
def test_every_column_stays(language: str, width: int) -> None:
    """Sign, stage, bar, count and time are there on every line, however long a summary is."""
    lines = draw_last_frame(width)
    assert len(lines) == len(STAGES)
    for line, (stage, total, summary) in zip(lines, STAGES, strict=True):
        name = re.escape(t(f"stage.{stage}"))
        shape = re.compile(rf"✓ {name} +━{{8,24}} +{total}/{total} +0:00:00 (\S.*)")
        shown = shape.fullmatch(line.rstrip())
        assert shown, line
        said = shown[1]
        assert said == summary or (said.endswith("…") and summary.startswith(said[:-1])), line
        assert cell_len(line) <= width
    assert lines[0].rstrip().endswith("13 logs found")


def test_columns_do_not_shift(language: str) -> None:
    """Bars begin in the same cell on each line."""
    assert len({cell_len(line[: line.index("━")]) for line in draw_last_frame(100)}) == 1


def test_what_is_told_steers_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Escapes and Rich's markup in names come out as text, live and plain."""
    out = io.StringIO()
    live = LiveProgress(Console(width=100, file=out, force_terminal=True, color_system=None))
    live.tell("\x1b]0;title\x07[red]a.log[/red]")
    live.start_stage("export", 1)
    live.end_stage("export", "\x1b[31m[b]out[/b].html")
    live.bars.console.print(live.bars)
    assert "\x1b" not in out.getvalue()
    assert "[red]a.log[/red]" in out.getvalue() and "[b]out[/b].html" in out.getvalue()
    PlainProgress().tell("\x1b[31mred.log")
    assert capsys.readouterr().err == "red.log\n"
