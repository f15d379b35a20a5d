"""What counts as a hit, as a right answer and as a labelled log."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bifrost_flow.cli.evaluate import parse_budgets
from bifrost_flow.errors import SettingsError
from bifrost_flow.evaluation import (
    BudgetResult,
    ExpectedAnswer,
    Label,
    LabelledLog,
    Place,
    find_rank,
    list_metrics,
    measure_share,
    pick_question,
    score_answer,
    score_log,
    sum_up,
)
from bifrost_flow.records import Chunk, Evidence, FileEvidence, LogFile
from connectors.labels import read_labelled_folder
from tests import warehouse_rows
from tests.console import LOGS
from tests.samples import make_chunk

FINDING = replace(
    warehouse_rows.FINDING,
    fingerprint="f1:0001",
    title="Prettier found  unformatted files",
    category="lint_error",
    root_cause="The FORMATTING of a.js differs.",
    explanation="It is no type error.",
    suggestion="Run yarn prettier.",
    confidence=0.8,
    evidence=(Evidence("a.log", 12, "a.js"),),
)


def make_label(
    *places: Sequence[int], probes: tuple[str, ...] = (), partial: bool = True, cause: bool = True
) -> Label:
    return Label(Place(0, 0, ""), tuple(map(tuple, places)), probes, partial, cause)


def make_evidence(*chunks: tuple[int, str], outcome: str = "failed", path: str = "a.log") -> FileEvidence:
    """Return evidence of chunks given as first line and text, best first."""
    made = [
        replace(make_chunk(text, anchor=0, first_line=first, path=path), rank=rank)
        for rank, (first, text) in enumerate(chunks, start=1)
    ]
    file = LogFile(path, None, 1, 99, "utf-8", "plain", None, None, None, None, outcome, "read", None)
    return FileEvidence(file, tuple(made))


def make_log(*labels: Label, expected: ExpectedAnswer | None = None, path: str = "a.log") -> LabelledLog:
    lines = frozenset(number for label in labels for place in label.places for number in place)
    return LabelledLog(path, "travis", True, "failed", labels, lines, expected)


@pytest.mark.parametrize(
    ("label", "share"),
    [
        (make_label((1, 2)), 1.0),
        (make_label((1, 2, 3, 4)), 0.5),
        (make_label((3, 4), (2,)), 1.0),
        (make_label((3, 4), (2, 3, 4)), 1 / 3),
        (make_label((1, 3), partial=False), 0.0),
        (make_label((1, 2), partial=False), 1.0),
        (make_label((9,), probes=("E0658",), partial=False), 1.0),
        (make_label((9,), probes=("E0599",), partial=False), 0.0),
        (make_label(probes=("E0599",), partial=False), 0.0),
    ],
)
def test_share_of_a_label(label: Label, share: float) -> None:
    """The best place counts; a signal is there whole or not at all, and its words stand for its lines."""
    assert measure_share(label, {1, 2}, "error[E0658]: unstable") == share


def test_scores_of_a_log() -> None:
    """Recall is the mean over labels, one that is not whole spoils the full hit, tokens are bytes / 4."""
    log = make_log(make_label((10, 11)), make_label((20, 21)))
    score = score_log(log, make_evidence((20, "é"), (10, "ab\ncd"), outcome="passed"))
    assert (score.recall, score.full_hit, score.tokens) == (0.75, False, len("é\nab\ncd".encode()) / 4)
    assert score.missed == (log.labels[1].shown,)
    assert (score.outcome, score.outcome_found) == ("failed", "passed")
    whole = score_log(make_log(make_label((10,))), make_evidence((10, "ab")))
    assert (whole.recall, whole.full_hit, whole.missed) == (1.0, True, ())


def test_rank_is_that_of_the_chunk_with_the_most_of_a_cause() -> None:
    """A chunk with a line of a label is not the cause when another has more of it; exit codes are none."""
    chunks: tuple[Chunk, ...] = make_evidence((30, "a"), (10, "b\nc"), (50, "exit 1")).chunks
    assert find_rank([make_label((10, 11, 30))], chunks) == 2
    assert find_rank([make_label((10, 11, 30)), make_label((30,))], chunks) == 1
    assert find_rank([make_label((70,))], chunks) is None
    assert find_rank([make_label((30,), cause=False), make_label((50,))], chunks) == 3
    assert find_rank([make_label((30,), cause=False)], chunks) == 1
    assert find_rank([make_label(probes=("exit 1",))], chunks) == 3


def test_the_first_ranked_chunk_is_asked_about() -> None:
    """One question a log; none about a log without evidence."""
    evidence = make_evidence((30, "a"), (10, "b"))
    group = pick_question(evidence)
    assert group is not None
    assert (group.exemplar, group.chunks) == (evidence.chunks[0], evidence.chunks[:1])
    assert pick_question(make_evidence()) is None


def test_answers_are_matched_without_case_and_white_space() -> None:
    """Words are found across the answer's fields, whatever the case and white space; a negation too."""
    expected = ExpectedAnswer(
        "lint_error", ("prettier found unformatted", "formatting of", "eslint"), ("type error", "timeout")
    )
    answer = score_answer(make_log(make_label((12,)), expected=expected), FINDING)
    assert (answer.valid, answer.cited, answer.grounded, answer.on_label) == (True, True, True, True)
    assert answer.category_right
    assert answer.mentioned == pytest.approx(2 / 3)
    assert (answer.claimed, answer.confident_error) == (1, True)


@pytest.mark.parametrize(
    ("confidence", "category", "wrong"),
    [(0.7, "crash", True), (0.69, "crash", False), (0.7, "lint_error", False)],
)
def test_confident_errors(confidence: float, category: str, wrong: bool) -> None:
    """Only an answer that is sure of itself and wrong is a confident error."""
    log = make_log(expected=ExpectedAnswer("lint_error"))
    answer = score_answer(log, replace(FINDING, confidence=confidence, category=category))
    assert answer.confident_error is wrong


def test_a_missing_answer_has_no_merit() -> None:
    """A failed call counts against every share, and only where the labels say what is right."""
    expected = ExpectedAnswer("lint_error", ("a",), ("b",))
    answer = score_answer(make_log(make_label((12,)), expected=expected), None)
    assert (answer.valid, answer.on_label, answer.category_right, answer.mentioned) == (
        False,
        False,
        False,
        0.0,
    )
    bare = score_answer(make_log(), None)
    assert (bare.on_label, bare.category_right, bare.mentioned, bare.claimed) == (None, None, None, None)


def test_sums_by_source_and_headline() -> None:
    """ALL holds each log, CORE those that count; passed logs count for outcomes alone; metrics are flat."""
    hit, missed = make_log(make_label((10,))), replace(make_log(make_label((90,))), core=False, source="cut")
    passed = LabelledLog("p.log", "passed", False, "passed")
    evidence = make_evidence((30, "a"), (10, "b"))
    scores = [
        score_log(hit, evidence, score_answer(hit, FINDING)),
        score_log(missed, evidence, score_answer(missed, None)),
        score_log(passed, make_evidence(outcome="passed", path="p.log")),
    ]
    totals = sum_up(scores)
    assert list(totals) == ["ALL", "CORE", "cut", "passed", "travis"]
    every = totals["ALL"]
    assert (every.logs, every.full_hit, every.recall, every.first, every.reciprocal_rank) == (
        2, 0.5, 0.5, 0.0, 0.25,
    )  # fmt: skip
    assert (every.failed, every.failed_right, every.passed, every.passed_right) == (2, 2, 1, 1)
    assert (totals["CORE"].logs, totals["CORE"].full_hit) == (1, 1.0)
    assert (totals["passed"].logs, totals["passed"].full_hit, totals["passed"].answers) == (0, None, None)
    assert every.answers is not None
    assert (every.answers.asked, every.answers.valid, every.answers.category_right) == (2, 0.5, None)
    metrics = list_metrics(BudgetResult(500, totals, tuple(scores)))
    assert (metrics["CORE.full_hit"], metrics["ALL.answers.valid"]) == (1.0, 0.5)
    assert "passed.full_hit" not in metrics


def write_labels(folder: Path, *rows: Mapping[str, object] | str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "travis").mkdir(exist_ok=True)
    (folder / "travis" / "a.log").write_bytes(
        b"start\n\nerror: \x1b[31mtoken=ghp_" + b"a" * 36 + b"\r\n \nend"
    )
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "labels.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_labels_are_read(tmp_path: Path) -> None:
    """Empty lines don't count, optional labels only for citations, service rows not at all; texts are
    redacted."""
    rows = [
        {
            "file": "travis/a.log",
            "outcome": "failed",
            "labels": [
                {"line_start": 2, "line_end": 4, "alt": [[2, 2], [5, 5]]},
                {"line_start": 1, "line_end": 1, "optional": True},
            ],
            "category": "crash",
            "must_mention": ["token"],
        },
        {"file": "travis/a.log", "kind": "service", "labels": [{"line_start": 1, "line_end": 1}]},
    ]
    read = read_labelled_folder(str(write_labels(tmp_path, *rows, "")))
    (log,) = read.logs
    assert (log.path, log.source, log.core) == (str(tmp_path / "travis" / "a.log"), "travis", True)
    assert log.labels[0].places == ((3,), (2,), (5,))
    assert len(log.labels) == 1
    assert log.labelled_lines == {1, 2, 3, 4, 5}
    assert log.expected == ExpectedAnswer("crash", ("token",))
    assert "error" in log.labels[0].shown.text
    assert "ghp_" not in log.labels[0].shown.text


def test_signals_are_read(tmp_path: Path) -> None:
    """Critical signals alone count, by all their lines or by their words; an exit code is no cause."""
    case = tmp_path / "logdx" / "case-1"
    case.mkdir(parents=True)
    (case / "raw.log").write_text("one\n\nthree\nfour\n", encoding="utf-8")
    signals = [
        {
            "type": "x",
            "value": "three",
            "file": " a.py ",
            "importance": "critical",
            "evidence_lines": [[2, 3]],
        },
        {"type": "exit_code", "value": "1", "importance": "critical", "evidence_lines": [[4, 4]]},
        {"type": "x", "value": "no", "importance": "important", "evidence_lines": [[1, 1]]},
    ]
    truth = {
        "required_signals": signals,
        "root_cause": {"category": "crash"},
        "expected_diagnosis": {"must_mention": ["m"], "must_not_claim": ["n"]},
    }
    (case / "ground_truth.json").write_text(json.dumps(truth), encoding="utf-8")
    (log,) = read_labelled_folder(str(tmp_path)).logs
    assert [(label.places, label.probes, label.partial, label.cause) for label in log.labels] == [
        (((2, 3),), ("three", "a.py"), False, True),
        (((4,),), ("1",), False, False),
    ]
    assert (log.source, log.outcome, log.labelled_lines) == ("logdx", "failed", {1, 2, 3, 4})
    assert log.expected == ExpectedAnswer("crash", ("m",), ("n",))


def test_a_log_that_is_missing_is_told(tmp_path: Path) -> None:
    """One log that is not there is a problem; when none is there the folder is refused."""
    there = {"file": "travis/a.log", "outcome": "failed"}
    gone = {"file": "travis/gone.log", "outcome": "passed"}
    read = read_labelled_folder(str(write_labels(tmp_path, there, gone)))
    assert len(read.logs) == 1
    assert "gone.log" in read.problems[0].message
    with pytest.raises(SettingsError, match=r"gone\.log"):
        read_labelled_folder(str(write_labels(tmp_path, gone)))


@pytest.mark.parametrize(
    ("row", "trouble"),
    [
        ("{", r"labels\.jsonl, line 1: .*can't be understood"),
        ("[1]", "can't be understood"),
        ({"labels": []}, "file"),
        ({"file": "travis/a.log", "labels": [{"line_start": 0, "line_end": 1}]}, "line_start"),
        ({"file": "travis/a.log", "labels": [{"line_start": 2, "line_end": 1}]}, "lines 2 to 1"),
        ({"file": "travis/a.log", "labels": [{"line_start": 1, "line_end": 10**12}]}, "no label"),
        ({"file": "travis/a.log", "labels": [{"line_start": 6, "line_end": 6}]}, "has 5 lines"),
        ({"file": "../a.log", "outcome": "failed"}, "outside the folder"),
        ({"file": "/etc/hostname", "outcome": "failed"}, "outside the folder"),
        ({"file": "travis/a.log", "outcome": "n/a"}, "passed or failed"),
    ],
)
def test_labels_that_make_no_sense_are_refused(
    tmp_path: Path, row: Mapping[str, object] | str, trouble: str
) -> None:
    """What is wrong, and where, is in the message."""
    with pytest.raises(SettingsError, match=trouble):
        read_labelled_folder(str(write_labels(tmp_path, row)))


def test_the_shipped_labels_fit_the_shipped_logs() -> None:
    """Each log that ships is labelled, and each failing one names lines that are there."""
    read = read_labelled_folder(str(LOGS.parent))
    assert read.problems == ()
    assert {log.path for log in read.logs} == {str(path) for path in LOGS.rglob("*") if path.is_file()}
    assert all(bool(log.labels) == (log.outcome == "failed") for log in read.logs)
    assert all(label.shown.text for log in read.logs for label in log.labels)


def test_budgets_are_read_with_and_without_commas() -> None:
    """The option may be repeated or hold several numbers; a word is refused."""
    assert parse_budgets(["500,1000", "2000"]) == [500, 1000, 2000]
    with pytest.raises(SettingsError, match="many"):
        parse_budgets(["many"])
