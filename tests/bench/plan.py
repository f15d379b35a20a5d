"""Dividing a store of ten million objects, a petabyte, by its listing alone."""

import json
from collections.abc import Iterator

from tests.bench.inputs import find_input
from tests.bench.measure import BIFROST, Figure, Options, run

OBJECTS = 10_000_000
SHARD_GB = 250
MAX_OBJECTS = 100_000
BAR_MIB = 1024.0
BAR_SHARDS = 1.25  # times as many as would do if objects could be put anywhere
BAR_S = 30.0


def measure_plan(options: Options) -> Iterator[Figure]:
    """Yield the seconds of CPU for the listing, the peak memory, and how full the shards are."""
    listing = find_input(options.folder, "inventory", OBJECTS)
    out = options.folder / "plan.json"
    words = ("--shard-gb", str(SHARD_GB), "--max-objects", str(MAX_OBJECTS), "--format", "json")
    used = run([BIFROST, "plan", listing / "inventory.csv", *words], out=out)
    shards = json.loads(out.read_text())
    size = sum(shard["bytes"] for shard in shards)
    what = f"{OBJECTS:,} objects, {size / 1e15:.2f} PB"
    if sum(shard["objects"] for shard in shards) != OBJECTS:
        raise SystemExit("the shards do not hold each object once")
    yield Figure("plan", f"{what}, CPU", used.cpu_s, "s", BAR_S, note=str(used))
    yield Figure("plan", f"{what}, peak memory", used.peak_mib, "MiB", BAR_MIB)
    least = max(size / (SHARD_GB * 1e9), OBJECTS / MAX_OBJECTS)
    hours = sum(shard["hours"] for shard in shards)
    note = f"{len(shards):,} shards of {SHARD_GB} GB at most, {hours:,.0f} hours of reading"
    yield Figure("plan", "shards / the least there could be", len(shards) / least, "×", BAR_SHARDS, note=note)
