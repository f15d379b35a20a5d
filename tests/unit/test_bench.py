"""The inputs and the arithmetic of the bench; its figures are no tests."""

import json
import math
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.bench.inputs import about_log, make_distinct, make_runs, make_small, make_words
from tests.bench.make_log import CORPUS, STYLES, list_marked, read_texts, write_log
from tests.bench.measure import ROOT, CannotMeasure, Figure, render_table, run, take_turns
from tests.bench.plot import Curve, draw
from tests.bench.runs import LOOKS
from tests.bench.scale import find_exponent

LARGE = "x = b'1' * 200_000_000; import time; time.sleep(1.5)"


@pytest.mark.parametrize("style", STYLES)
def test_a_log_is_the_same_each_time_and_says_where_its_failures_are(tmp_path: Path, style: str) -> None:
    """Bytes are reproduced, the size is met, and the needles are at the lines that are named."""
    one, two = tmp_path / "one.log", tmp_path / "two.log"
    for path in (one, two):
        write_log(path, size=500_000, style=style, needles=3)
    text = one.read_bytes()
    assert text == two.read_bytes()
    about = json.loads(about_log(one).read_text())
    assert 500_000 <= len(text) == about["bytes"] < 505_000
    lines = text.split(b"\n")
    assert about["lines"] == len(lines) - 1
    assert len(about["needles"]) == 3
    for needle in about["needles"]:
        found = lines[needle["line_start"] - 1 : needle["line_end"]]
        marked = read_texts(CORPUS / needle["file"])
        # The end of a line, since its start may be a timestamp in one or the other.
        assert all(any(text[-12:] == each[-12:] for text in marked) for each in found if len(each) > 60)


def test_marked_lines_are_not_repeated() -> None:
    """What people marked in a log is not among the lines that fill it."""
    row = {"file": "a.log", "labels": [{"line_start": 2, "line_end": 3, "alt": [[5, 5]]}]}
    assert list_marked(row) == {2, 3, 5}


def test_time_goes_on_in_a_log(tmp_path: Path) -> None:
    """No line is older than the one before."""
    write_log(tmp_path / "a.log", size=300_000, style="gha", needles=1)
    stamps = [line[:28] for line in (tmp_path / "a.log").read_bytes().split(b"\n")[:-1]]
    assert stamps == sorted(stamps)
    assert stamps[0] < stamps[-1]


def test_other_inputs_are_of_the_shape_that_is_named(tmp_path: Path) -> None:
    """Small files hold whole lines of the log, in order; distinct lines are distinct, without digits."""
    log = tmp_path / "a.log"
    write_log(log, size=100_000, style="raw", needles=1)
    make_small(tmp_path / "small", str(log), "3")
    pieces = [path.read_bytes() for path in sorted((tmp_path / "small").iterdir())]
    assert log.read_bytes().startswith(b"".join(pieces))
    assert all(piece.endswith(b"\n") and 20_000 <= len(piece) < 25_000 for piece in pieces)
    make_distinct(tmp_path / "distinct", "1000")
    lines = (tmp_path / "distinct").read_text().splitlines()
    assert len({line.partition("Z ")[2] for line in lines}) == len(lines) == 1000
    words = list(make_words(5000))
    assert len(set(words)) == 5000
    assert all(word.isalpha() for word in words)


# In a process of its own: a child takes no less than its parent does, and that of the tests is large.
MEASURED = f"""
import json, sys
from tests.bench.measure import run
child = "import subprocess, sys; subprocess.run([sys.executable, '-c', " + repr({LARGE!r}) + "])"
commands = ({LARGE!r}, "pass", {LARGE!r} + "; " + child)
print(json.dumps([run([sys.executable, "-c", command]).peak_mib for command in commands]))
"""


def test_what_a_process_takes_is_its_own() -> None:
    """Memory is that of the command that ran and of its children together, not of one before it."""
    done = subprocess.run([sys.executable, "-c", MEASURED], cwd=ROOT, capture_output=True, check=True)
    large, small, both = json.loads(done.stdout)
    assert large > small + 50
    assert both > 1.7 * large


def test_a_command_that_fails_is_told_with_its_words() -> None:
    """What can't be measured says why."""
    with pytest.raises(CannotMeasure, match="told"):
        run([sys.executable, "-c", "raise SystemExit('told')"])


def test_medians_of_turns() -> None:
    """Each is measured in turn, and a spell that is slow does not count."""
    calls = []

    def measure(name: str):
        calls.append(name)
        return run([sys.executable, "-c", "pass"])

    taken = take_turns(3, a=lambda: measure("a"), b=lambda: measure("b"))
    assert calls == ["a", "b"] * 3
    assert set(taken) == {"a", "b"}


def test_bars_are_met_from_their_side() -> None:
    """A bar is not to be passed, or is to be reached; a figure without one is neither met nor missed."""
    figures = [
        Figure("t", "low", 2.0, "×", 2.0),
        Figure("t", "high", 2.1, "×", 2.0),
        Figure("t", "reached", 45.0, "MB/s", 45.0, least=True),
        Figure("t", "short", 44.0, "MB/s", 45.0, least=True),
        Figure("t", "free", 1.0, "s"),
    ]
    assert [each.met for each in figures] == [True, False, True, False, None]
    table = render_table(figures).splitlines()
    assert [line.split()[-1] for line in table[1:]] == ["yes", "NO", "yes", "NO", "s"]


def test_all_looks_at_a_warehouse_still_work(tmp_path: Path) -> None:
    """What the bench asks is what the commands ask: a query that has changed is noticed."""
    make_runs(tmp_path / "w", "2")
    for look in LOOKS.values():
        look(str(tmp_path / "w"))


def test_an_exponent_is_that_of_the_curve() -> None:
    """Linear growth has 1, that of a square 2, none 0; and one point tells nothing."""
    sizes = (1, 10, 100, 1000)
    for power in (0, 1, 2):
        assert find_exponent([(size, 3.0 * size**power) for size in sizes]) == pytest.approx(power)
    assert math.isnan(find_exponent([(1, 1)]))


def test_a_plot_is_xml_with_each_point_within_its_frame() -> None:
    """Every curve has its marks, names are escaped, and nothing lies outside."""
    curves = [Curve("a <b>", [(1, 0.02), (1_000, 7), (50_000, 900)], "1.01"), Curve("c", [(10, 5)], "0.00")]
    root = ElementTree.fromstring(draw({"seconds": curves}, across="size"))
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    marks = [each for each in root.iter() if each.tag.endswith("circle")]
    assert len(marks) == 3 + 1  # one more in the legend
    for mark in marks:
        assert 0 < float(mark.attrib["cx"]) < width and 0 < float(mark.attrib["cy"]) < height
    assert "a <b>" in [each.text for each in root.iter() if each.tag.endswith("text")]
