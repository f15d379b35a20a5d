"""A warehouse of many runs: what its users wait for, before its small files are merged and after."""

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.inputs import find_input
from tests.bench.measure import Figure, Options, Usage, run_module

RUNS = 2_000
BAR = 5.0  # merged, each is to be so many times as fast


def measure_runs(options: Options) -> Iterator[Figure]:
    """Yield the seconds of each look before and after, and how many times as fast it has become."""
    kept = find_input(options.folder, "runs", RUNS)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        place = Path(folder) / "warehouse"
        shutil.copytree(kept, place)
        before = {name: _time(name, place, options.rounds) for name in LOOKS}
        files = sum(1 for _ in place.rglob("*.parquet"))
        used, _ = _run("compact", place)
        note = f"{files:,} files to {sum(1 for _ in place.rglob('*.parquet')):,}; {used}"
        yield Figure("runs", f"compact {RUNS:,} runs", used.wall_s, "s", note=note)
        after = {name: _time(name, place, options.rounds) for name in LOOKS}
    for name in LOOKS:
        note = f"{before[name]:.2f} s before, {after[name]:.2f} s after"
        bar = BAR if name != "open" else None
        yield Figure(
            "runs", f"{name}, times as fast", before[name] / after[name], "×", bar, least=True, note=note
        )


def _time(name: str, place: Path, rounds: int) -> float:
    return statistics.median(_run(name, place)[1] for _ in range(rounds))


def _run(name: str, place: Path) -> tuple[Usage, float]:
    """Do one thing in a process of its own, and return what that took, and the thing alone."""
    with tempfile.NamedTemporaryFile() as out:
        used = run_module("runs", name, place, out=Path(out.name))
        return used, float(Path(out.name).read_text())


def look_open(place: str) -> None:
    """What every command does first."""
    from connectors.warehouse import Warehouse

    Warehouse.open(place, create=False)


def look_history(place: str) -> None:
    """`history`."""
    from connectors.warehouse import Warehouse

    store = Warehouse.open(place, create=False)
    wanted = {"project": None, "since": None, "fingerprints": None, "limit": 20}
    assert store.query_named("runs", "list_runs", wanted).rows


def look_show(place: str) -> None:
    """`show latest`."""
    from connectors.warehouse import Warehouse

    store = Warehouse.open(place, create=False)
    ((run_id,),) = store.query_named("runs", "find_latest", {"project": None}).rows
    assert store.read_report(run_id, language="en").findings


def look_finding(place: str) -> None:
    """`show FINGERPRINT`: every run that told of it."""
    from connectors.warehouse import Warehouse

    store = Warehouse.open(place, create=False)
    named = {"fingerprints": ["f1:7"], "project": None}
    assert store.query_named("findings", "trace_finding", named).columns


def look_status(place: str) -> None:
    """What a run asks to tell new failures from known ones."""
    from connectors.warehouse import Warehouse

    assert len(Warehouse.open(place, create=False).read_history(before=datetime.now(UTC))) > 0


def look_trend(place: str) -> None:
    """`sql --query trend`."""
    from connectors.warehouse import Warehouse

    assert len(Warehouse.open(place, create=False).query("FROM trend_per_day").rows) > 0


LOOKS: dict[str, Callable[[str], None]] = {
    "open": look_open,
    "history": look_history,
    "show a run": look_show,
    "show a finding": look_finding,
    "status look-up": look_status,
    "trend": look_trend,
}


def main() -> None:
    name, place = sys.argv[1:]
    import connectors.warehouse.sandbox  # noqa: F401 - the start of Python and its imports is the same for all

    began = time.perf_counter()
    if name == "compact":
        from connectors.warehouse.compaction import compact

        compact(place, grace_s=0)
    elif name == "all":
        for look in LOOKS.values():
            look(place)
    else:
        LOOKS[name](place)
    print(time.perf_counter() - began)


if __name__ == "__main__":
    main()
