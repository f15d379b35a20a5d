"""Tell which lines go on with a report in a log without times: a traceback, a stack, a compiler's message."""

# ruff: noqa: E501 -- a pattern is read as a whole

from typing import NamedTuple

import polars as pl

# A line of a report by its looks alone.
FRAME = (
    r"^(?:\s+at \S|\s+File \"|\s*Caused by:|\s*\.\.\. \d+ (?:more|common)|\s*Suppressed: |\tfrom |\s+from \S+:\d|[}\])]+[;,]?$"
    r"|The above exception was|During handling of the above|goroutine \d+ \[|created by [\w./]+\.|\[signal [A-Z]|\s+\S+\.(?:go|s):\d+|\s*-->|\s*\d+ \||\s*\|\s|\s*\^"
    r"|(?:PHP )?Stack trace:$|\[stacktrace\]$|(?:PHP )? +thrown in |\s+--- End of |<asynchronous suspension>$|\*\* \([A-Z][\w.]*\) |\s+\(\w+ \d[\w.-]*\) "
    r"|\s*(?:PHP +)?#?\d+[:.]? +(?:0x[0-9a-f]+ |\{main\}|\[internal function\]|\S+\(\d+\): |.+ \((?:file|package|dart):)|\s*(?:\S+ \([\d.]+\) )?\S+:\d+:in [`'][^`']+'\s*$)"
)
_RAISED = r"^(?:[A-Za-z_][\w.$]*)?(?:Error|Exception|Warning|Interrupt|Exit|Failure|Iteration)(?::|$)"
_TRACEBACK = "Traceback (most recent call last):"
# What follows these, blank lines between, is of the same report.
_CHAINS = r"^(?:The above exception was|During handling of the above|Unhandled exception:$)"
# These go on with a report across blank lines.
_CROSSES = r"^(?:The above exception was|During handling of the above|goroutine \d+ \[)"
# Go prints a function above its file.
_CALLED, _PLACE = r"^[\w./*()\[\]{}$-]+\(.*\)$", r"^(?:goroutine \d+ \[|\s+\S+\.(?:go|s):\d)"
# Lines that indented ones go on with.
_OPENS = (
    r"(?:[:{\[(,\\|=>]\s*$)|(?i:\b(?:error|exception|warning|failed|failure|panic|fatal|traceback|stack ?trace)\b)"
    r"|^(?:trce|dbug|info|warn|fail|crit): \S+\[\d+\]$"
)


class Reports(NamedTuple):
    """For each line, whether it starts an event, and whether it is of none: blank and within no report."""

    starts: pl.Series
    outside: pl.Series


def find_reports(seen: pl.DataFrame, *, final: bool = True) -> Reports:
    """Return where events start among lines (`line`, `blank`, `indented`) that stand each by itself, but for reports.

    Unless `final`, more lines follow these, and the last goes on with a report if it may.
    """
    line, blank, indented = pl.col("line"), pl.col("blank"), pl.col("indented")
    near = seen.select(
        "line",
        "blank",
        "indented",
        chain=line.str.contains(_CHAINS),
        crosses=line.str.contains(_CROSSES),
        place=line.str.contains(_PLACE),
        stack=line.str.contains(r"^\s+at "),
        trace=line == _TRACEBACK,
    )
    frame = line.str.contains(FRAME)
    begins = indented & ~indented.shift(1, fill_value=False)
    opened = line.shift(1).str.contains(_OPENS).fill_null(value=False)
    inner = (
        pl.when(begins)
        .then(opened | frame | line.str.starts_with("\t"))
        .when(indented)
        .then(None)
        .otherwise(pl.lit(value=False))
    )
    # Python's errors stand below their frames, those of others above.
    raised = (
        ~indented
        & indented.shift(1, fill_value=False)
        & line.str.contains(_RAISED)
        & ~_below("stack").fill_null(value=False)
    )
    flush = pl.when(~blank & ~indented).then("trace").forward_fill().shift(1)
    traced = flush & ~indented & line.str.contains(r"^[A-Za-z_][\w.]*(?::|$)")
    chained = _above("chain")
    called = line.str.contains(_CALLED) & _above("place") & _below("place").fill_null(value=not final)
    goes_on = (
        (inner.forward_fill().fill_null(value=False) & indented)
        | frame
        | raised
        | traced.fill_null(value=False)
        | chained.fill_null(value=False)
        | called.fill_null(value=False)
    )
    within = _below("crosses").fill_null(value=False) | chained.fill_null(value=False)
    found = near.select(starts=~goes_on & ~blank, outside=blank & ~within)
    return Reports(found["starts"], found["outside"])


def _above(name: str) -> pl.Expr:
    """Return column `name` of the nearest line above that is not blank."""
    return pl.when(~pl.col("blank")).then(name).forward_fill().shift(1)


def _below(name: str) -> pl.Expr:
    """Return column `name` of the nearest line below that is not blank."""
    return pl.when(~pl.col("blank")).then(name).backward_fill().shift(-1)
