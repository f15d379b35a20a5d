"""Whether failures hidden in large logs are found: of each, the lines that `extract` keeps."""

import json
from collections.abc import Iterator
from pathlib import Path

from tests.bench.inputs import about_log, find_log
from tests.bench.make_log import STYLES
from tests.bench.measure import BIFROST, Figure, Options, run

DEFAULT_MB = 500
BUDGET = "2000"


def measure_needles(options: Options) -> Iterator[Figure]:
    """Yield the share of failures that are kept whole."""
    mb = options.mb or DEFAULT_MB
    for style in STYLES:
        log = find_log(options, mb, style)
        kept = _find_kept(log, options.folder)
        missed = []
        needles = json.loads(about_log(log).read_text())["needles"]
        for each in needles:
            lines = range(each["line_start"], each["line_end"] + 1)
            if share := sum(line not in kept for line in lines) / len(lines):
                missed.append(f"{share:.0%} of {Path(each['file']).name}")
        what = f"kept whole, {mb} MB {style}"
        note = f"missed: {', '.join(missed)}" if missed else ""
        whole = 1 - len(missed) / len(needles)
        yield Figure("needles", what, whole, f"of {len(needles)}", 1.0, least=True, note=note)


def _find_kept(log: Path, folder: Path) -> set[int]:
    out = folder / "needles.out"
    run([BIFROST, "extract", log, "--format", "jsonl", "--budget-tokens", BUDGET], out=out)
    chunks = map(json.loads, out.read_text(encoding="utf-8").splitlines())
    return {number for chunk in chunks for first, last in chunk["lines"] for number in range(first, last + 1)}
