"""Many small files against one large file of the same text."""

from collections.abc import Iterator

from tests.bench.inputs import find_input, find_log
from tests.bench.measure import BIFROST, Figure, Options, run, take_turns

FILES = 10_000
LOG_MB = 250  # a little more than the files need
BAR = 2.0


def measure_small(options: Options) -> Iterator[Figure]:
    """Yield the ratio of their times."""
    log = find_log(options, LOG_MB)
    many = find_input(options.folder, "small", log, FILES)
    one = find_input(options.folder, "joined", many)
    taken = take_turns(
        options.rounds,
        many=lambda: run([BIFROST, "extract", many, "--format", "jsonl"]),
        one=lambda: run([BIFROST, "extract", one, "--format", "jsonl"]),
    )
    note = f"files {taken['many']}; one {taken['one']}"
    ratio = taken["many"].wall_s / taken["one"].wall_s
    yield Figure("small", f"{FILES:,} files of 20 KB / one file", ratio, "×", BAR, note=note)
