"""`run` killed at many points: it loses at most the calls in flight, and the next run pays only for those.

BIFROST_KILL_POINTS=100 adds random points for a longer test; BIFROST_KILL_SEED picks others.
"""

import json
import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.console import LOGS, Console
from tests.model_server import ModelServer

WORDS = (
    "run",
    LOGS,
    "--provider",
    "ollama",
    "--model",
    "scripted",
    "--concurrency",
    "2",
    "--json",
    "--quiet",
)
CONCURRENCY = 2
# What two runs that found the same tell alike.
COLUMNS = (
    "fingerprint, title, category, severity, root_cause, explanation, suggestion, confidence, evidence, "
    "grounded, occurrences, files, provider, model, prompt, prompt_version, language"
)


def _environment(server: ModelServer, warehouse: Path) -> dict[str, Any]:
    return {
        "BIFROST_OLLAMA_URL": server.url,
        "BIFROST_MLFLOW_ENABLED": "false",
        "BIFROST_WAREHOUSE": str(warehouse),
        "BIFROST_PRICES": '{"scripted:latest": {"input": 3.0, "output": 15.0}}',
    }


def _read_table(console: Console, warehouse: Path, sql: str) -> list[dict[str, Any]]:
    done = console.call("sql", sql, "--format", "json", "--warehouse", warehouse)
    assert done.code == 0, done.err
    return json.loads(done.out)


def _kill_when(process: subprocess.Popen[str], ready: Callable[[], bool]) -> bool:
    """Kill `process` as soon as `ready` says so; return whether it was still running."""
    deadline = time.monotonic() + 120
    while not ready():
        if process.poll() is not None:
            break
        assert time.monotonic() < deadline, "the run never came so far"
        time.sleep(0.005)
    process.kill()
    process.communicate()
    return process.returncode < 0


def _list_points(server: ModelServer, warehouse: Path) -> list[tuple[str, Callable[[], Callable[[], bool]]]]:
    """Return what to wait for before each kill: a name, and a function that makes the test for it."""

    def has_journal() -> Callable[[], bool]:
        return lambda: any(warehouse.glob("journal/*.jsonl"))

    def was_asked(count: int) -> Callable[[], Callable[[], bool]]:
        def make() -> Callable[[], bool]:
            goal = len(server.chats) + count
            return lambda: len(server.chats) >= goal

        return make

    def has_written(table: str) -> Callable[[], Callable[[], bool]]:
        def make() -> Callable[[], bool]:
            before = len(list(warehouse.glob(f"{table}/**/*.parquet")))
            return lambda: len(list(warehouse.glob(f"{table}/**/*.parquet"))) > before

        return make

    def has_passed(seconds: float) -> Callable[[], Callable[[], bool]]:
        def make() -> Callable[[], bool]:
            end = time.monotonic() + seconds
            return lambda: time.monotonic() >= end

        return make

    asked = [(f"question {count}", was_asked(count)) for count in (1, 1, 2, 3, 2, 3)]
    written = [(table, has_written(table)) for table in ("llm_calls", "findings", "cache")]
    dice = random.Random(int(os.environ.get("BIFROST_KILL_SEED", "1")))
    more = int(os.environ.get("BIFROST_KILL_POINTS", "0"))
    random_points = [
        (f"{delay:.2f} s", has_passed(delay)) for delay in (dice.uniform(0, 8) for _ in range(more))
    ]
    return [("journal", has_journal), *asked, *random_points, *written]


def test_killed_at_any_point_only_calls_in_flight_are_lost(console: Console, tmp_path: Path) -> None:
    """Killed again and again, on one warehouse: what was answered is never asked again, and in the end the
    findings, the calls and their cost are those of a run that nobody disturbed."""
    warehouse, other = tmp_path / "killed", tmp_path / "undisturbed"
    with ModelServer(delay_s=0.15) as server:
        kills = 0
        for name, make_test in _list_points(server, warehouse):
            before = Counter(chat["messages"][1]["content"] for chat in server.chats)
            process = console.start(*WORDS, **_environment(server, warehouse))
            killed = _kill_when(process, make_test())
            kills += killed
            asked = Counter(chat["messages"][1]["content"] for chat in server.chats) - before
            again = sum(before[question] > 0 for question in asked)
            assert again <= CONCURRENCY * kills, name
            assert max(asked.values(), default=1) == 1, name
        assert kills >= 8
        in_all = len(server.chats)
        last = console.call(*WORDS, **_environment(server, warehouse))
        assert last.code == 0, last.err
        groups = last.json["groups"]
        assert last.json["findings"] == groups
        assert last.json["llm_calls"] == len(server.chats) - in_all
        assert groups <= len(server.chats) <= groups + CONCURRENCY * kills
        lost = len(server.chats) - groups
        server.chats.clear()
        undisturbed = console.call(*WORDS, **_environment(server, other))
        assert len(server.chats) == undisturbed.json["groups"] == groups
    findings = f"SELECT {COLUMNS} FROM findings WHERE run_id = '{{}}' ORDER BY ALL"
    assert _read_table(console, warehouse, findings.format(last.json["run_id"])) == _read_table(
        console, other, findings.format(undisturbed.json["run_id"])
    )
    answers = "SELECT DISTINCT cache_key, response, tokens_in, tokens_out FROM cache ORDER BY ALL"
    assert _read_table(console, warehouse, answers) == _read_table(console, other, answers)
    # The calls that were in flight when their run was killed are in no table; all others are, each once.
    spent = "SELECT count(*) AS calls, round(sum(cost_usd), 6) AS cost FROM llm_calls"
    (killed_spent,), (own_spent,) = (_read_table(console, place, spent) for place in (warehouse, other))
    assert killed_spent == own_spent, f"{lost} calls were lost"
    assert own_spent["cost"] == round(undisturbed.json["cost_usd"], 6) > 0
    assert not list(warehouse.glob("journal/*.jsonl"))
