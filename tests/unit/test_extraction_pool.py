"""Extraction in other processes: the same evidence in the same order, whatever becomes of the processes."""

from pathlib import Path

import polars as pl
import pytest

from bifrost_flow.evidence.baseline import build_baseline, hash_lines
from bifrost_flow.records import Chunk, FileEvidence
from connectors import extraction
from connectors.extraction_pool import ExtractionPlan, ExtractionPool
from connectors.sources import find_sources

LOGS = Path(__file__).parents[1] / "data" / "logs"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of forty logs, of which one is large, one empty and one binary."""
    text = (LOGS / "travis" / "alacritty-rust-564527447.log").read_bytes()
    for number in range(40):
        (tmp_path / f"{number:02}.log").write_bytes(text[number * 500 : number * 500 + 20_000])
    (tmp_path / "07.log").write_bytes(text * 60)
    (tmp_path / "11.log").write_bytes(b"")
    (tmp_path / "13.log").write_bytes(bytes(range(256)) * 40)
    return tmp_path


def extract(folder: Path) -> list[FileEvidence]:
    sources, _, _ = find_sources([str(folder)])
    return list(extraction.extract_evidence(sources, budget_tokens=500))


def test_processes_find_what_one_finds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files, chunks and their order are the same with one process and with two."""
    alone = extract(folder)
    monkeypatch.setattr(extraction, "BATCH_FILES", 5)
    monkeypatch.setattr(extraction, "POOL_BATCHES", 2)
    monkeypatch.setattr(extraction, "_count_cpus", lambda: 2)
    started: list[ExtractionPool] = []
    make = extraction.ExtractionPool
    monkeypatch.setattr(
        extraction, "ExtractionPool", lambda *options: started.append(make(*options)) or started[0]
    )
    assert extract(folder) == alone
    assert len(alone) == 40
    assert started


def test_processes_compare_and_learn_as_one_does(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Baselines reach the processes, and what jobs say that passed comes back."""
    for number in range(20, 30):
        (folder / f"{number}.log").write_text("Started by timer\nERROR: no cache\nFinished: SUCCESS\n")
    sources, _, _ = find_sources([str(folder)])
    good = build_baseline([hash_lines(pl.Series(["error: aborting due to previous error"]))], whole=False)
    baselines = dict.fromkeys((source.path for source in sources[::2]), good)

    def run() -> list[tuple[tuple[Chunk, ...], bool, set[int] | None]]:
        found = extraction.extract_evidence(sources, budget_tokens=500, baselines=baselines, learn=True)
        return [
            (each.chunks, each.compared, set(each.learnt.templates) if each.learnt else None)
            for each in found
        ]

    alone = run()
    monkeypatch.setattr(extraction, "BATCH_FILES", 5)
    monkeypatch.setattr(extraction, "POOL_BATCHES", 2)
    monkeypatch.setattr(extraction, "_count_cpus", lambda: 2)
    assert run() == alone
    assert [compared for _, compared, _ in alone] == [True, False] * 20
    assert [len(learnt) for _, _, learnt in alone if learnt is not None] == [3] * 10


def test_a_process_that_is_lost_costs_no_evidence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed process had in hand is extracted here."""
    alone = extract(folder)
    monkeypatch.setattr(extraction, "BATCH_FILES", 5)
    monkeypatch.setattr(extraction, "POOL_BATCHES", 2)
    monkeypatch.setattr(extraction, "_count_cpus", lambda: 2)
    killed = []
    start = ExtractionPool._start

    def start_and_kill(pool: ExtractionPool):
        process = start(pool)
        if len(killed) < 3:
            process.kill()
            killed.append(process)
        return process

    monkeypatch.setattr(ExtractionPool, "_start", start_and_kill)
    assert extract(folder) == alone
    assert len(killed) == 3


def test_nothing_is_left_running_when_the_reader_stops(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing the generator early ends the processes."""
    monkeypatch.setattr(extraction, "BATCH_FILES", 5)
    monkeypatch.setattr(extraction, "POOL_BATCHES", 2)
    monkeypatch.setattr(extraction, "_count_cpus", lambda: 2)
    pools: list[ExtractionPool] = []
    enter = ExtractionPool.__enter__
    monkeypatch.setattr(ExtractionPool, "__enter__", lambda pool: pools.append(pool) or enter(pool))
    sources, _, _ = find_sources([str(folder)])
    reading = extraction.extract_evidence(sources, budget_tokens=500)
    next(reading)
    reading.close()
    assert pools[0]._started
    assert all(process.poll() is not None for process in pools[0]._started)


def test_a_folder_named_like_our_package_is_not_taken_for_it(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes find our own code, wherever they are started."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "connectors").mkdir()
    (elsewhere / "connectors" / "__init__.py").write_text("raise SystemExit('not ours')")
    monkeypatch.chdir(elsewhere)
    sources, _, _ = find_sources([str(folder / "00.log"), str(folder / "01.log")])
    with ExtractionPool(1, ExtractionPlan(500)) as pool:
        found = pool.submit(sources).result()
    assert found is not None
    assert [each.file.path for each in found] == [source.path for source in sources]
