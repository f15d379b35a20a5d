"""`bifrost-flow evaluate` on a labelled folder made of real logs: scores, answers, MLflow, exit codes."""

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.console import LOGS, Console
from tests.model_server import Fault, ModelServer

RUST = LOGS / "travis" / "alacritty-rust-564527447.log"
PRETTIER = LOGS / "github-actions" / "react-prettier.log"
PASSED = LOGS / "zuul" / "console-pep8.good.log"
ANSWER = {
    "evidence": [1],
    "root_cause": "A feature of the compiler is UNSTABLE.",
    "title": "The build failed",
    "category": "compile_error",
    "severity": "error",
    "explanation": "The network failed.",
    "suggestion": "Use a newer compiler.",
    "confidence": 0.9,
}


def find_line(path: Path, text: str) -> int:
    """Return the number of the first line that holds `text`."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    return next(number for number, line in enumerate(lines, start=1) if text in line)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Return a folder with a hit, a miss, a case with signals and a log of a job that passed."""
    folder = tmp_path / "labelled"
    (folder / "ci" / "travis").mkdir(parents=True)
    (folder / "ci" / "zuul").mkdir()
    (folder / "logdx" / "prettier").mkdir(parents=True)
    shutil.copy(RUST, folder / "ci" / "travis" / "hit.log")
    shutil.copy(RUST, folder / "ci" / "travis" / "miss.log")
    shutil.copy(PASSED, folder / "ci" / "zuul" / "good.log")
    shutil.copy(PRETTIER, folder / "logdx" / "prettier" / "raw.log")
    line = find_line(RUST, "error[E0658]")
    answers = {
        "category": "crash",
        "must_mention": ["is unstable", "E0658"],
        "must_not_claim": ["network  failed"],
    }
    rows = [
        {"file": "ci/travis/hit.log", "labels": [{"line_start": line, "line_end": line}], **answers},
        {
            "file": "ci/travis/miss.log",
            "labels": [{"line_start": 2, "line_end": 2}, {"line_start": line, "line_end": line}],
        },
    ]
    rows = [{**row, "outcome": "failed"} for row in rows]
    rows.append({"file": "ci/zuul/good.log", "outcome": "passed", "label_quality": "none", "labels": []})
    (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    warned = find_line(PRETTIER, "This project uses prettier")
    signals = [
        {"type": "assertion", "importance": "critical", "evidence_lines": [[warned, warned + 1]]},
        {"type": "file", "value": "never said", "importance": "critical", "evidence_lines": [[1, 1]]},
    ]
    truth = {"required_signals": signals, "root_cause": {"category": "lint_error"}}
    (folder / "logdx" / "prettier" / "ground_truth.json").write_text(json.dumps(truth), encoding="utf-8")
    return folder


def score_by_hand(console: Console, folder: Path, name: str, wanted: list[int]) -> tuple[float, float]:
    """Return recall of single-line labels, and tokens, from what `extract` prints."""
    done = console.call("extract", folder / name, "--format", "jsonl", "--budget-tokens", "600")
    chunks = [json.loads(line) for line in done.out.splitlines()]
    kept = {number for chunk in chunks for first, last in chunk["lines"] for number in range(first, last + 1)}
    text = "\n".join(chunk["text"] for chunk in chunks)
    return sum(number in kept for number in wanted) / len(wanted), len(text.encode()) / 4


def read_tracked(console: Console) -> list[dict[str, Any]]:
    """Return name, parent and metrics of each run in the warehouse's MLflow store."""
    with sqlite3.connect(console.folder / "bifrost-warehouse" / "mlflow.db") as store:
        runs = store.execute("SELECT run_uuid, name FROM runs WHERE status = 'FINISHED'").fetchall()
        tags = store.execute("SELECT run_uuid, value FROM tags WHERE key = 'mlflow.parentRunId'").fetchall()
        metrics = store.execute("SELECT run_uuid, key, value FROM metrics").fetchall()
        params = store.execute("SELECT run_uuid, key, value FROM params").fetchall()
    return [
        {
            "id": run,
            "name": name,
            "parent": dict(tags).get(run),
            "metrics": {key: value for owner, key, value in metrics if owner == run},
            "params": {key: value for owner, key, value in params if owner == run},
        }
        for run, name in runs
    ]


def test_scores_are_those_of_what_extract_keeps(console: Console, labelled: Path) -> None:
    """Recall and tokens are what anybody gets who compares `extract` with the labels; MLflow has them."""
    done = console.call("evaluate", labelled, "--budget", "600", "--format", "json", "--quiet")
    assert (done.code, done.err) == (0, "")
    (result,) = done.json["budgets"]
    line = find_line(RUST, "error[E0658]")
    logs = {Path(log["path"]).name: log for log in result["logs"]}
    for name, wanted in (("hit.log", [line]), ("miss.log", [2, line])):
        expected = score_by_hand(console, labelled, f"ci/travis/{name}", wanted)
        assert (logs[name]["recall"], logs[name]["tokens"]) == expected
    assert (logs["hit.log"]["full_hit"], logs["miss.log"]["full_hit"]) == (True, False)
    assert (logs["raw.log"]["recall"], logs["good.log"]["recall"]) == (0.5, None)
    core, every = result["sources"]["CORE"], result["sources"]["ALL"]
    assert (core["logs"], core["full_hit"], core["recall"], core["first"]) == (2, 0.5, 0.75, 1.0)
    assert (every["failed_right"], every["failed"], every["passed_right"], every["passed"]) == (3, 3, 1, 1)
    assert (done.json["provider"], every["answers"]) == (None, None)
    (tracked,) = read_tracked(console)
    assert tracked["metrics"]["CORE.full_hit"] == 0.5
    assert tracked["params"]["budget_tokens"] == "600"


def test_the_curve_and_the_misses_are_shown(console: Console, labelled: Path) -> None:
    """Each source has a line a budget, missed labels are listed, and each budget has its run in MLflow."""
    done = console.call("evaluate", labelled, "--budget", "2000,500", "--misses")
    assert done.code == 0, done.err
    table = [line.split() for line in done.out.partition("\n\n")[0].splitlines()[1:]]
    assert [row[:2] for row in table if row[0] == "CORE"] == [["CORE", "500"], ["CORE", "2,000"]]
    assert {row[0] for row in table} == {"ALL", "CORE", "logdx", "travis", "zuul"}
    assert "Not fully hit at 500 tokens: 2 logs" in done.out
    assert f"{labelled / 'ci' / 'travis' / 'miss.log'}\n" in done.out
    assert any(line.split()[:1] == ["2-2"] for line in done.out.splitlines())
    assert "never said" in done.out
    assert "prefect" not in done.err.lower()
    runs = read_tracked(console)
    (whole,) = [run for run in runs if run["parent"] is None]
    nested = [run for run in runs if run["parent"] == whole["id"]]
    assert sorted(run["params"]["budget_tokens"] for run in nested) == ["2000", "500"]
    assert all("ALL.full_hit" in run["metrics"] for run in nested)


def test_answers_are_scored_and_paid_for_once(console: Console, labelled: Path) -> None:
    """Equal questions are asked once, answers are judged for each log, and the cache serves them again."""
    with ModelServer(answer=lambda _: json.dumps(ANSWER)) as server:
        words = (
            "evaluate",
            labelled,
            "--provider",
            "ollama",
            "--model",
            "scripted",
            "--format",
            "json",
            "-q",
        )
        done = console.call(*words, BIFROST_OLLAMA_URL=server.url)
        assert (done.code, done.err) == (0, "")
        # Two of the three failing logs are the same one under two names.
        assert (done.json["llm_calls"], done.json["cache_hits"], len(server.chats)) == (2, 1, 2)
        again = console.call(*words, BIFROST_OLLAMA_URL=server.url)
        assert (again.json["llm_calls"], again.json["cache_hits"], len(server.chats)) == (0, 3, 2)
    (result,) = done.json["budgets"]
    assert result["sources"] == again.json["budgets"][0]["sources"]
    answers = {Path(log["path"]).name: log["answer"] for log in result["logs"]}
    assert answers["good.log"] is None
    hit = answers["hit.log"]
    assert (hit["valid"], hit["cited"], hit["mentioned"], hit["claimed"]) == (True, True, 0.5, 1)
    assert (hit["category_right"], hit["confident_error"]) == (False, True)
    totals = result["sources"]["ALL"]["answers"]
    assert (totals["asked"], totals["valid"], totals["claimed"], totals["confident_errors"]) == (3, 1.0, 1, 2)
    shown = console.call(*words[:-3], "-q", BIFROST_OLLAMA_URL="http://127.0.0.1:9")
    assert "sure and wrong" in shown.out


def test_models_and_prompts_are_compared(console: Console, labelled: Path) -> None:
    """Each of two models is asked by each of two prompts; table and MLflow have a point for each pair."""
    with ModelServer(models=("small:1b", "large:7b"), answer=lambda _: json.dumps(ANSWER)) as server:
        words = (
            "--model",
            "small:1b",
            "--model",
            "large:7b",
            "--prompt",
            "error_analysis",
            "--prompt",
            "security",
        )
        done = console.call(
            "evaluate", labelled, "--provider", "ollama", *words, "-q", BIFROST_OLLAMA_URL=server.url
        )
    assert (done.code, done.err) == (0, "")
    pairs = {
        (model, prompt) for model in ("small:1b", "large:7b") for prompt in ("error_analysis", "security")
    }
    lines = [line.split() for line in done.out.splitlines() if line.startswith("ALL")]
    assert [line[1] for line in lines].count("2,000") == 1 + len(pairs)
    assert {(line[2], line[3]) for line in lines[1:]} == pairs
    # Two questions, since two of the three failing logs are the same.
    assert "8 calls" in done.out
    runs = read_tracked(console)
    (whole,) = [run for run in runs if run["parent"] is None]
    nested = [run for run in runs if run["parent"] == whole["id"]]
    assert {(run["params"]["model"], run["params"]["version_prompt"].split()[0]) for run in nested} == pairs
    assert len(nested) == len(pairs)
    assert all(run["metrics"]["ALL.answers.asked"] == 3 for run in nested)
    assert whole["params"]["model"] == "small:1b, large:7b"
    assert whole["metrics"]["llm_calls"] == 8
    with sqlite3.connect(console.folder / "bifrost-warehouse" / "mlflow.db") as store:
        inputs = store.execute("SELECT count(*) FROM inputs").fetchone()
        datasets = store.execute("SELECT count(*) FROM datasets").fetchone()
    store.close()
    assert (inputs, datasets) == ((1 + len(pairs),), (1,))


def test_an_answer_that_fails_is_exit_code_3(console: Console, labelled: Path) -> None:
    """What the model would not answer counts as invalid; the rest is scored and the code says partial."""
    with ModelServer() as server:
        server.script(Fault(status=400))
        words = ("--model", "scripted", "--concurrency", "1", "--format", "json", "-q")
        done = console.call(
            "evaluate", labelled, "--provider", "ollama", *words, BIFROST_OLLAMA_URL=server.url
        )
    assert done.code == 3
    assert done.json["status"] == "partial"
    assert len(done.json["problems"]) == 1
    assert 0 < done.json["budgets"][0]["sources"]["ALL"]["answers"]["valid"] < 1


def test_a_missing_log_is_exit_code_3(console: Console, labelled: Path) -> None:
    """A labelled log that is not there is told, and the others are scored."""
    (labelled / "ci" / "travis" / "hit.log").unlink()
    done = console.call("evaluate", labelled, "-q")
    assert done.code == 3
    assert "hit.log" in done.err
    assert "CORE" in done.out


@pytest.mark.parametrize(
    ("words", "trouble"),
    [
        (("nowhere",), "no such folder"),
        (("empty",), "labels.jsonl"),
        (("labelled", "--budget", "many"), "whole numbers"),
        (("labelled", "--budget", "10"), "at least 50"),
        (("labelled", "--prompt", "none"), "none"),
    ],
)
def test_wrong_usage_is_exit_code_2(
    console: Console, labelled: Path, words: tuple[str, ...], trouble: str
) -> None:
    """A folder, budget or prompt that is none ends with one line that says so."""
    (console.folder / "empty").mkdir()
    done = console.call("evaluate", *words, "-q")
    assert (done.code, done.out) == (2, "")
    assert trouble in done.err
    assert done.err.count("\n") == 1


def test_the_shipped_logs_are_fully_hit(console: Console) -> None:
    """What `make eval` runs works on the shipped labels, and Korean is spoken."""
    done = console.call("evaluate", LOGS.parent, "--lang", "ko", "-q")
    assert (done.code, done.err) == (0, "")
    core = next(line.split() for line in done.out.splitlines() if line.startswith("CORE"))
    assert core[2:4] == ["10", "1.000"]
    assert "완전 적중" in done.out


def test_events_are_scored_on_request(console: Console, labelled: Path) -> None:
    """Scores of events are of what `events` prints, are in the table and in MLflow; without labels of events
    it is wrong usage."""
    assert console.call("evaluate", labelled, "--events", "-q").code == 2
    log = labelled / "app.log"
    log.write_text(
        "2026-03-01 12:00:00,123 ERROR boom\n  at here\n2026-03-01 12:00:01,000 INFO well\n", encoding="utf-8"
    )
    right = {"line_start": 1, "line_end": 2, "timestamp": "2026-03-01T12:00:00.123Z", "severity": "err"}
    wrong = {"line_start": 3, "line_end": 3, "timestamp": "2026-03-01T12:00:02Z", "severity": "info"}
    row = json.dumps({"file": "app.log", "events": [right, wrong]})
    (labelled / "event_labels.jsonl").write_text(row + "\n", encoding="utf-8")
    (labelled / "app.labels.csv").write_text("LineId,EventId\n1,E1\n3,E2\n", encoding="utf-8")
    done = console.call("evaluate", labelled, "--events", "--format", "json", "-q")
    assert (done.code, done.err) == (0, "")
    events = done.json["events"]
    assert (events["boundaries_f1"], events["times_right"], events["levels_right"]) == (1.0, 0.5, 1.0)
    assert events["grouping_accuracy"] == 1.0
    assert events["missed"] == ["app.log:3  1772366402000 ≠ 1772366401000"]
    (tracked,) = read_tracked(console)
    assert tracked["metrics"]["events.times_right"] == 0.5
    shown = console.call("evaluate", labelled, "--events", "--misses", "-q")
    assert [line.split()[-1] for line in shown.out.splitlines() if line.startswith("times right")] == [
        "0.500"
    ]
    assert "app.log:3" in shown.out
