"""The journal, with runs that really die."""

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bifrost_flow.errors import WarehouseError
from bifrost_flow.records import CachedAnswer, Call, new_run_id
from connectors.journal import Journal, fold_orphans, read_orphans
from connectors.warehouse import Warehouse
from tests.samples import find_answers

NOW = datetime(2026, 11, 1, 2, 0, 0, 5, tzinfo=UTC)


def build_call(key: str, *, status: str = "ok") -> Call:
    return Call(key, "f1:a", "ollama", "qwen", 1, status, None, 12.5, 100, 20, 0.5, NOW)


def build_answer(key: str, response: str = '{"title": "한글\\n"}') -> CachedAnswer:
    return CachedAnswer(key, response, "ollama", "qwen", "1", 100, 20, NOW)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse.open(str(tmp_path / "warehouse"))


def list_journals(warehouse: Warehouse) -> list[str]:
    return sorted(path.name for path in (Path(warehouse.location) / "journal").iterdir())


def append_until_killed(location: str, run_id: str, project: str) -> None:
    """Append answers k0, k1, … and say each on standard output once it is written down."""
    journal = Journal(location, run_id, project=project)
    for number in range(100_000):
        journal.append(build_answer(f"k{number}", "x" * (number * 37 % 5000)), build_call(f"k{number}"))
        os.write(1, f"{number}\n".encode())


def start_run(location: str, run_id: str, project: str = "default") -> subprocess.Popen[bytes]:
    """Start a process that appends until it is killed."""
    code = (
        "import importlib.util, sys;"
        "spec = importlib.util.spec_from_file_location('journal_tests', sys.argv[1]);"
        "module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module);"
        "module.append_until_killed(*sys.argv[2:])"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, __file__, location, run_id, project], stdout=subprocess.PIPE
    )


def test_folded_answers_are_in_the_cache(warehouse: Warehouse) -> None:
    """At the end of a run its answers are in the table, once, and the journal is gone."""
    journal = Journal(warehouse.location, new_run_id())
    journal.append(build_answer("k1"), build_call("k1"))
    journal.append(None, build_call("k2", status="failed"))
    assert find_answers(warehouse, ["k1"]) == {}
    assert journal.fold(warehouse) == 1
    assert find_answers(warehouse, ["k1", "k2"]) == {"k1": build_answer("k1")}
    assert list_journals(warehouse) == []
    assert fold_orphans(warehouse) == ()
    assert warehouse.query("FROM llm_calls").rows == [], "the run itself writes its calls"


def test_nothing_is_written_for_a_run_without_calls(warehouse: Warehouse) -> None:
    """A run that asked nobody leaves no file in the cache."""
    assert Journal(warehouse.location, new_run_id()).fold(warehouse) == 0
    assert [path.name for path in (Path(warehouse.location) / "cache").iterdir()] == ["_schema.parquet"]


@pytest.mark.parametrize("lines", [1, 7, 60])
def test_killed_run_loses_no_answer(warehouse: Warehouse, lines: int) -> None:
    """After SIGKILL the next run finds each answer that was appended, and the calls in their project."""
    run_id = new_run_id()
    with start_run(warehouse.location, run_id, "web") as process:
        assert process.stdout
        for _ in range(lines):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().count(b"\n")
    (orphan,) = fold_orphans(warehouse)
    assert (orphan.run_id, orphan.project) == (run_id, "web")
    # It may have been killed between writing an answer down and saying so.
    assert len(orphan.answers) - (lines + rest) in (0, 1)
    keys = [f"k{number}" for number in range(len(orphan.answers))]
    assert sorted(find_answers(warehouse, [*keys, "k99999"])) == sorted(keys)
    counted = warehouse.query("SELECT project, run_id, count(*) FROM llm_calls GROUP BY ALL").rows
    assert counted == [("web", run_id, len(keys))]
    assert list_journals(warehouse) == []


def test_journal_of_a_living_run_is_left_alone(warehouse: Warehouse) -> None:
    """Another run that starts meanwhile neither folds nor removes it, in this process or another."""
    process = start_run(warehouse.location, new_run_id())
    assert process.stdout
    process.stdout.readline()
    here = Journal(warehouse.location, new_run_id())
    try:
        assert read_orphans(warehouse.location) == ()
        assert fold_orphans(warehouse) == ()
        assert len(list_journals(warehouse)) == 2
        assert process.poll() is None
    finally:
        process.kill()
        process.stdout.close()
        process.wait(240)
        here.close()
    assert len(read_orphans(warehouse.location)) == 2
    assert len(fold_orphans(warehouse)) == 2


def test_torn_line_costs_one_answer(warehouse: Warehouse) -> None:
    """Half a line, garbage and an empty line are passed over; what is before and after them counts."""
    run_id = new_run_id()
    journal = Journal(warehouse.location, run_id)
    journal.append(build_answer("k1"), build_call("k1"))
    path = Path(warehouse.location) / "journal" / f"{run_id}.jsonl"
    with path.open("ab") as file:
        file.write(
            b'{"answer":{"cache_key":"k2","resp\n\n[1]\n7\n{}\n\xff\xfe\n{"answer":null,"call":{"a":1}}\n'
        )
    journal.append(build_answer("k3"), build_call("k3"))
    with path.open("ab") as file:
        file.write(b'{"answer":{"cache_key":"k4"')
    journal.close()
    (orphan,) = read_orphans(warehouse.location)
    assert [answer.cache_key for answer in orphan.answers] == ["k1", "k3"]


def test_run_killed_while_it_persisted_counts_its_calls_once(warehouse: Warehouse) -> None:
    """When the calls were in their table already, folding the journal doesn't write them again."""
    run_id = new_run_id()
    journal = Journal(warehouse.location, run_id)
    journal.append(build_answer("k1"), build_call("k1"))
    warehouse.write_calls(run_id, [build_call("k1"), build_call("k0", status="failed")])
    journal.close()
    fold_orphans(warehouse)
    assert warehouse.query("SELECT count(*) FROM llm_calls").rows == [(2,)]
    assert list(find_answers(warehouse, ["k1"])) == ["k1"]


def fold_after(location: str, start: float) -> None:
    time.sleep(max(0.0, start - time.time()))
    fold_orphans(Warehouse.open(location))


def test_two_runs_that_find_the_same_orphan_fold_it_once(warehouse: Warehouse) -> None:
    """Of two runs that start at once, one folds the journal."""
    journal = Journal(warehouse.location, new_run_id())
    for number in range(500):
        journal.append(build_answer(f"k{number}"), build_call(f"k{number}"))
    journal.close()
    context = multiprocessing.get_context("spawn")
    start = time.time() + 2
    runs = [context.Process(target=fold_after, args=(warehouse.location, start)) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
    assert [run.exitcode for run in runs] == [0, 0]
    assert warehouse.query("SELECT count(*) FROM cache").rows == [(500,)]
    assert list_journals(warehouse) == []


def test_threads_append_whole_lines(warehouse: Warehouse) -> None:
    """Calls that end at the same moment don't mix their lines."""
    journal = Journal(warehouse.location, new_run_id())

    def append(prefix: int) -> None:
        for number in range(100):
            journal.append(build_answer(f"{prefix}-{number}", "y" * 5000), build_call(f"{prefix}-{number}"))

    threads = [threading.Thread(target=append, args=(prefix,)) for prefix in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert journal.fold(warehouse) == 800


def fill_disk(location: str, run_id: str) -> None:
    """Append with room for 2 KB only, then with room again."""
    journal = Journal(location, run_id)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    failed = 0
    for number in range(10):
        try:
            journal.append(build_answer(f"full-{number}", "z" * 400), build_call("x"))
        except WarehouseError as error:
            assert run_id in str(error)
            failed += 1
    assert failed
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    journal.append(build_answer("after"), build_call("after"))


def test_full_disk_is_told_and_costs_only_what_did_not_fit(warehouse: Warehouse) -> None:
    """An append that doesn't fit raises; those before it and, once there is room, after it are kept."""
    process = multiprocessing.get_context("spawn").Process(
        target=fill_disk, args=(warehouse.location, new_run_id())
    )
    process.start()
    process.join(60)
    assert process.exitcode == 0
    (orphan,) = fold_orphans(warehouse)
    keys = [answer.cache_key for answer in orphan.answers]
    assert keys[0] == "full-0"
    assert keys[-1] == "after"
    assert len(keys) < 11


def test_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """Without a folder to write to, the run ends before it has paid for anything."""
    (tmp_path / "file").touch()
    with pytest.raises(WarehouseError, match="can't be used"):
        Journal(str(tmp_path / "file"), new_run_id())
