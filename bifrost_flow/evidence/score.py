"""Score candidate lines, as Polars expressions over whole columns: what a line says, and how often the like is said."""

from dataclasses import dataclass

import polars as pl

from bifrost_flow.evidence import anchors
from bifrost_flow.evidence.clean import clean_column

ECHO_WEIGHT = 16.0
KINDS = {"none": 0, "echo": 1, **{shape.name: k for k, shape in enumerate(anchors.SHAPES, start=2)}}
KIND_NAMES = {number: name for name, number in KINDS.items()}

_MUTED, _ECHO = anchors.to_polars(anchors.MUTED), anchors.to_polars(anchors.ECHO)
_STEP_FAIL, _STEP_START = anchors.to_polars(anchors.STEP_FAIL), anchors.to_polars(anchors.STEP_START)
_QUIET = anchors.to_polars(anchors.QUIET)
_needles = pl.Series([list(anchors.NEEDLES)])


@dataclass(frozen=True, slots=True)
class Anchor:
    """A line that may tell of a failure."""

    line: int  # 0-based place in what was scored
    weight: float
    kind: str
    template: int  # hash of the line without its digits: equal ones say the same thing
    text: str  # cleaned


def find_candidates(lines: pl.Series) -> pl.DataFrame:
    """Return `row` (UInt32) and `text` (cleaned String) of the lines that hold a needle."""
    mask = lines.str.contains_any(_needles, ascii_case_insensitive=True)
    found = pl.DataFrame({"row": mask.arg_true(), "text": lines.filter(mask)})
    return found.with_columns(text=clean_column(pl.col("text")))


def score_text() -> pl.Expr:
    """Return `kind` (UInt8, see KINDS) of the String column `text`."""
    text = pl.col("text")
    kind = pl.when(text.str.contains(_MUTED)).then(pl.lit(KINDS["none"], pl.UInt8))
    kind = kind.when(text.str.contains(_ECHO)).then(pl.lit(KINDS["echo"], pl.UInt8))
    for shape in anchors.SHAPES:
        if shape.name == "cause_phrase":
            kind = kind.when(text.str.contains(_QUIET)).then(pl.lit(KINDS["hint"], pl.UInt8))
        kind = kind.when(text.str.contains(anchors.to_polars(shape.pattern))).then(
            pl.lit(KINDS[shape.name], pl.UInt8)
        )
    return kind.otherwise(pl.lit(0, pl.UInt8))


def score_candidates(found: pl.DataFrame) -> pl.DataFrame:
    """Add `template` (UInt64) and `kind` (UInt8) to what `find_candidates` returned."""
    keyed = found.with_columns(template=pl.col("text").str.replace_all("[0-9]+", "0").hash())
    unique = keyed.unique("template", keep="first", maintain_order=True).select("template", "text")
    scored = unique.with_columns(
        kind=score_text(),
        step=pl.when(pl.col("text").str.contains(_STEP_FAIL))
        .then(2)
        .when(pl.col("text").str.contains(_STEP_START))
        .then(1)
        .otherwise(0)
        .cast(pl.UInt8),
    )
    return keyed.join(
        scored.select("template", "kind", "step"), on="template", how="left", maintain_order="left"
    )
