"""`run` killed at many points: it loses at most the calls in flight, and the next run pays only for those.

BIFROST_KILL_POINTS=100 adds random points for a longer test; BIFROST_KILL_SEED picks others.
"""

import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree
from typing import Any

import polars as pl

from connectors.warehouse import Warehouse
from tests.console import LOGS, Console, Done
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
DELAY_S = 0.15
KILLS_EACH = 4  # of random ones on a warehouse, while it still has questions to ask
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


def _read_table(warehouse: Path, sql: str) -> list[dict[str, Any]]:
    found = Warehouse.open(str(warehouse), create=False).query(sql)
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


def _kill_when(process: subprocess.Popen[str], ready: Callable[[], bool]) -> bool:
    """Kill `process` as soon as `ready` says so; return whether it was still running."""
    deadline = time.monotonic() + 240
    while not ready():
        if process.poll() is not None:
            break
        assert time.monotonic() < deadline, "the run never came so far"
        time.sleep(0.005)
    process.kill()
    process.communicate()
    return process.returncode < 0


Ready = Callable[[], bool]
Point = tuple[
    str, Callable[[], Ready]
]  # what to wait for before a kill: a name, and what makes the test for it


class Disturbed:
    """A warehouse whose runs are killed."""

    def __init__(self, server: ModelServer, warehouse: Path) -> None:
        self.server, self.warehouse = server, warehouse
        self.asked_before = len(server.chats)
        self.kills = 0

    def count_asked(self) -> int:
        return len(self.server.chats) - self.asked_before

    def has_journal(self) -> Ready:
        return lambda: any(self.warehouse.glob("journal/*.jsonl"))

    def was_asked(self, count: int, then_s: float = 0.0) -> Ready:
        """Become true some time after `count` more questions."""
        goal, since = self.count_asked() + count, [0.0]

        def ready() -> bool:
            if self.count_asked() >= goal:
                since[0] = since[0] or time.monotonic()
            return bool(since[0]) and time.monotonic() >= since[0] + then_s

        return ready

    def has_written(self, table: str) -> Ready:
        before = len(list(self.warehouse.glob(f"{table}/**/*.parquet")))
        return lambda: len(list(self.warehouse.glob(f"{table}/**/*.parquet"))) > before

    def has_passed(self, seconds: float) -> Ready:
        end = time.monotonic() + seconds
        return lambda: time.monotonic() >= end


def _list_points(place: Disturbed) -> list[Point]:
    """Return the moments that are met each time."""
    asked = [
        (f"question {count}", lambda count=count: place.was_asked(count)) for count in (1, 1, 2, 3, 2, 3)
    ]
    written = [
        (table, lambda table=table: place.has_written(table)) for table in ("llm_calls", "findings", "cache")
    ]
    return [("journal", place.has_journal), *asked, *written]


def _draw_point(place: Disturbed, dice: random.Random) -> Point:
    """Return a random moment: of the start, of the questions, or of what follows the last answer."""
    kind = dice.random()
    if kind < 0.2:
        delay_s = dice.uniform(0, 8)
        return f"{delay_s:.2f} s", lambda: place.has_passed(delay_s)
    if kind < 0.7:
        count, delay_s = dice.randint(1, 4), dice.uniform(0, 0.4)
        return f"question {count} and {delay_s:.2f} s", lambda: place.was_asked(count, delay_s)
    table = dice.choice(("llm_calls", "findings", "cache", "files", "chunks", "runs"))
    return table, lambda: place.has_written(table)


def _kill(console: Console, place: Disturbed, point: Point) -> bool:
    """Kill a run at a moment and look at what it left; return whether it was still running then."""
    name, make_test = point
    server, before = place.server, Counter(_read_questions(place))
    process = console.start(*WORDS, **_environment(server, place.warehouse))
    killed = _kill_when(process, make_test())
    place.kills += killed
    asked = Counter(_read_questions(place)) - before
    again = sum(before[question] > 0 for question in asked)
    assert again <= CONCURRENCY * place.kills, name
    assert max(asked.values(), default=1) == 1, name
    for path in place.warehouse.rglob("*.parquet"):
        pl.read_parquet(path)  # a half file is none
    assert all(path.stat().st_mode & 0o077 == 0 for path in place.warehouse.glob("journal/*.jsonl"))
    return killed


def _read_questions(place: Disturbed) -> list[str]:
    return [chat["messages"][1]["content"] for chat in place.server.chats[place.asked_before :]]


def _settle(console: Console, place: Disturbed, undisturbed: Done, other: Path) -> None:
    """Run once more, to the end, and compare with the run that nobody disturbed."""
    warehouse, asked_before = place.warehouse, place.count_asked()
    last = console.call(*WORDS, **_environment(place.server, warehouse))
    assert last.code == 0, last.err
    groups = undisturbed.json["groups"]
    assert last.json["findings"] == last.json["groups"] == groups
    assert last.json["llm_calls"] == place.count_asked() - asked_before
    assert groups <= place.count_asked() <= groups + CONCURRENCY * place.kills
    findings = f"SELECT {COLUMNS} FROM findings WHERE run_id = '{{}}' ORDER BY ALL"
    assert _read_table(warehouse, findings.format(last.json["run_id"])) == _read_table(
        other, findings.format(undisturbed.json["run_id"])
    )
    answers = "SELECT DISTINCT cache_key, response, tokens_in, tokens_out FROM cache ORDER BY ALL"
    assert _read_table(warehouse, answers) == _read_table(other, answers)
    # The calls that were in flight when their run was killed are in no table; all others are, each once.
    spent = "SELECT count(*) AS calls, round(sum(cost_usd), 6) AS cost FROM llm_calls"
    (killed_spent,), (own_spent,) = (_read_table(place, spent) for place in (warehouse, other))
    assert killed_spent == own_spent, f"{place.count_asked() - groups} calls were lost"
    assert own_spent["cost"] == round(undisturbed.json["cost_usd"], 6) > 0
    assert not list(warehouse.glob("journal/*.jsonl"))


def test_killed_at_any_point_only_calls_in_flight_are_lost(console: Console, tmp_path: Path) -> None:
    """Killed again and again: what was answered is never asked again, no half file is left, and in the end
    the findings, the calls and their cost are those of a run that nobody disturbed."""
    other = tmp_path / "undisturbed"
    with ModelServer(delay_s=DELAY_S) as server:
        undisturbed = console.call(*WORDS, **_environment(server, other))
        assert len(server.chats) == undisturbed.json["groups"] > 2 * CONCURRENCY
        place = Disturbed(server, tmp_path / "killed")
        for point in _list_points(place):
            _kill(console, place, point)
        assert place.kills >= 8
        _settle(console, place, undisturbed, other)
        # At random moments, a warehouse is killed in until a run gets through, so that answers are missing.
        dice = random.Random(int(os.environ.get("BIFROST_KILL_SEED", "1")))
        more, drawn, hit = int(os.environ.get("BIFROST_KILL_POINTS", "0")), 0, 0
        while drawn < more:
            place = Disturbed(server, tmp_path / f"killed-{drawn}")
            for _ in range(min(KILLS_EACH, more - drawn)):
                drawn += 1
                if not _kill(console, place, _draw_point(place, dice)):
                    break
            hit += place.kills
            _settle(console, place, undisturbed, other)
            rmtree(place.warehouse)
        if more:
            print(f"{drawn} random moments, {hit} of them before the run's end")
