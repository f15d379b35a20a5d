"""The look-up of many answers in a large cache, half of which it holds."""

import sys
import time
from collections.abc import Iterator

from tests.bench.inputs import find_input, name_key
from tests.bench.measure import Figure, Options, run_module

ANSWERS = 1_000_000
KEYS = 100_000
BAR_S = 10.0
BAR_MIB = 1024.0
IDENTITY = "i1:bench"


def measure_cache(options: Options) -> Iterator[Figure]:
    """Yield seconds and peak memory of the look-up."""
    out = options.folder / "cache.out"
    used = run_module(
        "cache", find_input(options.folder, "answers", ANSWERS), str(ANSWERS), str(KEYS), out=out
    )
    what = f"{KEYS:,} keys in {ANSWERS:,} answers"
    yield Figure("cache", what, float(out.read_text()), "s", BAR_S, note=str(used))
    yield Figure("cache", f"{what}, peak memory", used.peak_mib, "MiB", BAR_MIB)


def main() -> None:
    from connectors.warehouse import Warehouse

    answers, asked = map(int, sys.argv[2:])
    keys = [name_key(2 * number * answers // asked) for number in range(asked)]
    warehouse = Warehouse.open(sys.argv[1])
    began = time.perf_counter()
    found = warehouse.find_candidates(IDENTITY, [(key, f"f1:{number}") for number, key in enumerate(keys)])
    print(time.perf_counter() - began)
    if len(found) != (asked + 1) // 2:
        raise SystemExit(f"{len(found)} of {(asked + 1) // 2} answers were found")


if __name__ == "__main__":
    main()
