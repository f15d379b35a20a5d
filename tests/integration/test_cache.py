"""The cache's files: what is pruned, and what readers and writers beside it see."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bifrost_flow.records import CachedAnswer
from connectors.warehouse import Warehouse
from connectors.warehouse.pruning import Pruning, prune_answers
from tests.samples import find_answers

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def make_answer(number: int, *, model: str = "m1", days_old: int = 0) -> CachedAnswer:
    created = NOW - timedelta(days=days_old)
    return CachedAnswer(f"k1:{number:04}", f'{{"title": "{number}"}}', "ollama", model, "p1", 10, 5, created)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Warehouse]:
    """Yield a warehouse with two files of answers: young and old ones, of two models."""
    store = Warehouse.open(str(tmp_path / "warehouse"))
    store.write_answers([make_answer(1), make_answer(2, model="m2"), make_answer(3, days_old=40)])
    store.write_answers([make_answer(4, days_old=50)])
    yield store


def list_keys(store: Warehouse) -> list[str]:
    rows = store.query("SELECT cache_key FROM cache ORDER BY ALL").rows
    return [row[0].removeprefix("k1:000") for row in rows]


@pytest.mark.parametrize(
    ("pruning", "left"),
    [
        (Pruning(before=NOW - timedelta(days=30)), ["1", "2"]),
        (Pruning(model="m2"), ["1", "3", "4"]),
        (Pruning(model="m1", before=NOW - timedelta(days=45)), ["1", "2", "3"]),
        (Pruning(provider="bedrock"), ["1", "2", "3", "4"]),
        (Pruning(), []),
    ],
)
def test_what_meets_all_conditions_goes_and_the_rest_stays(
    store: Warehouse, pruning: Pruning, left: list[str]
) -> None:
    """Conditions narrow one another; a dry run counts the same and removes nothing."""
    planned = prune_answers(store.location, pruning, dry_run=True)
    assert list_keys(store) == ["1", "2", "3", "4"]
    pruned = prune_answers(store.location, pruning)
    assert pruned.keys == planned.keys
    assert list_keys(store) == left
    assert len(pruned.keys) == 4 - len(left)
    assert prune_answers(store.location, pruning).keys == set()


def test_a_file_that_keeps_all_its_answers_is_left_alone(store: Warehouse) -> None:
    """What nothing was taken from is neither rewritten nor renamed."""
    before = {path.name for path in Path(store.location, "cache").glob("*.parquet")}
    prune_answers(store.location, Pruning(before=NOW - timedelta(days=45)))
    after = {path.name for path in Path(store.location, "cache").glob("*.parquet")}
    assert len(before - after) == 1 and after < before


def test_readers_and_writers_beside_a_prune_lose_nothing(store: Warehouse) -> None:
    """While files are replaced, an answer that stays is found by every look-up, and new ones are kept."""
    done = threading.Event()
    missed: list[str] = []
    reads = 0

    def read() -> None:
        nonlocal reads
        while not done.is_set():
            reads += 1
            if not find_answers(store, ["k1:0001"]):
                missed.append("k1:0001")

    def write() -> None:
        for number in range(100, 130):
            store.write_answers([make_answer(number)])

    threads = [threading.Thread(target=each) for each in (read, read, write)]
    for thread in threads:
        thread.start()
    for number in range(30):
        # The file with the answer that stays is replaced each time.
        (victim,) = (path for path in Path(store.location, "cache").glob("[0-9]*.parquet") if holds(path, 1))
        assert victim
        store.write_answers([make_answer(1), make_answer(1000 + number, model="gone")])
        prune_answers(store.location, Pruning(model="gone"))
        drop_repeats(store, keep=1)
    threads[2].join(60)
    done.set()
    for thread in threads:
        thread.join(60)
    assert missed == [] and reads > 20
    kept = {row[0] for row in store.query("SELECT cache_key FROM cache").rows}
    assert {f"k1:{number:04}" for number in range(100, 130)} <= kept


def holds(path: Path, number: int) -> bool:
    import polars as pl

    return f"k1:{number:04}" in pl.read_parquet(path)["cache_key"].to_list()


def drop_repeats(store: Warehouse, *, keep: int) -> None:
    """Remove all but the newest of the files that hold answer `keep`, so that each round replaces it."""
    held = sorted(path for path in Path(store.location, "cache").glob("[0-9]*.parquet") if holds(path, keep))
    for path in held[:-1]:
        path.unlink()
