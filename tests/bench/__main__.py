"""`make bench`: what the design sets bars for, measured; nothing here is part of the test run.

    python -m tests.bench [TOPIC …] [--mb N] [--corpus FOLDER] [--dir DIR] [--rounds N] [--full] [--json]

Figures are ratios within one run wherever they are of time, medians of runs in turn; seconds are for
orientation. A bar that is not met ends with exit code 1, and so does a topic that can't be measured; the
others are measured all the same.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from tests.bench.cache import measure_cache
from tests.bench.fanout import measure_fanout
from tests.bench.make_log import CORPUS
from tests.bench.measure import CannotMeasure, Figure, Options, render_table
from tests.bench.memory import measure_memory
from tests.bench.needles import measure_needles
from tests.bench.plan import measure_plan
from tests.bench.read import measure_read
from tests.bench.runs import measure_runs
from tests.bench.scale import measure_scale
from tests.bench.small import measure_small
from tests.bench.startup import measure_startup
from tests.bench.steps import measure_steps

Bench = Callable[[Options], Iterator[Figure]]

TOPICS: dict[str, Bench] = {
    "read": measure_read,
    "steps": measure_steps,
    "needles": measure_needles,
    "memory": measure_memory,
    "small": measure_small,
    "cache": measure_cache,
    "runs": measure_runs,
    "fanout": measure_fanout,
    "plan": measure_plan,
    "startup": measure_startup,
    "scale": measure_scale,
}
ON_DEMAND = {"scale"}  # takes long and renews a document


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.split("\n")[0])
    parser.add_argument(
        "topics", nargs="*", metavar="TOPIC", help=f"{', '.join(TOPICS)}; default: all but scale"
    )
    parser.add_argument("--mb", type=int, help="size of the large log; default: 500, for `memory` up to 1000")
    kept = Path(tempfile.gettempdir()) / "bifrost-bench"
    parser.add_argument("--dir", type=Path, default=kept, help="inputs are kept here; default: %(default)s")
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="labelled logs to make the large ones of")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each in turn; default: %(default)s")
    parser.add_argument("--full", action="store_true", help="of `scale`: up to 10 GB and 100,000 files")
    parser.add_argument("--json", action="store_true", help="print a JSON array of figures")
    chosen = parser.parse_args()
    if unknown := sorted(set(chosen.topics) - set(TOPICS)):
        parser.error(f"{', '.join(unknown)}: no such topic; there are {', '.join(TOPICS)}")
    chosen.dir.mkdir(parents=True, exist_ok=True)
    options = Options(chosen.dir.resolve(), chosen.corpus.resolve(), chosen.mb, chosen.rounds, chosen.full)
    figures: list[Figure] = []
    failed: list[str] = []
    for topic in chosen.topics or (each for each in TOPICS if each not in ON_DEMAND):
        print(f"measuring {topic} …", file=sys.stderr, flush=True)
        try:
            for figure in TOPICS[topic](options):
                figures.append(figure)
                print(f"  {figure.what}: {figure.value:,.2f} {figure.unit}", file=sys.stderr, flush=True)
        except CannotMeasure as error:
            print(f"{topic}: {error}", file=sys.stderr, flush=True)
            failed.append(topic)
    if chosen.json:
        print(json.dumps([{**asdict(each), "met": each.met} for each in figures], indent=1))
    else:
        print(render_table(figures))
        load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
        print(f"{os.cpu_count()} cores, load {load}: what else a machine does spoils its ratios")
    raise SystemExit(bool(failed) or any(each.met is False for each in figures))


if __name__ == "__main__":
    main()
