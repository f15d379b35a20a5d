"""Whether failures hidden in large logs are found: of each, the lines that `extract` keeps."""

import json
from collections.abc import Iterator
from pathlib import Path

from tests.bench.inputs import about_log, find_log
from tests.bench.make_log import STYLES
from tests.bench.measure import BIFROST, Figure, Options, run

DEFAULT_MB = 500
BUDGETS = (2000, 4000)


def measure_needles(options: Options) -> Iterator[Figure]:
    """Yield the share of failures that are kept whole."""
    mb = options.mb or DEFAULT_MB
    for style in STYLES:
        log = find_log(options, mb, style)
        needles = json.loads(about_log(log).read_text())["needles"]
        for budget in BUDGETS:
            kept = _find_kept(log, budget, options.folder)
            shares = [
                sum(line in kept for line in range(each["line_start"], each["line_end"] + 1))
                / (each["line_end"] - each["line_start"] + 1)
                for each in needles
            ]
            note = ", ".join(
                f"{share:.0%} of {Path(each['file']).name}"
                for each, share in zip(needles, shares, strict=True)
                if share < 1
            )
            yield Figure(
                "needles",
                f"kept whole, {mb} MB {style}, {budget} tokens",
                sum(share == 1 for share in shares) / len(shares),
                f"of {len(shares)}",
                1.0,
                least=True,
                note=note,
            )


def _find_kept(log: Path, budget: int, folder: Path) -> set[int]:
    out = folder / "needles.out"
    run([BIFROST, "extract", log, "--format", "jsonl", "--budget-tokens", str(budget)], out=out)
    chunks = map(json.loads, out.read_text(encoding="utf-8").splitlines())
    return {number for chunk in chunks for first, last in chunk["lines"] for number in range(first, last + 1)}
