"""Score candidate lines, as Polars expressions over whole columns: what a line says, and how often the like
is said."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from operator import itemgetter

import polars as pl

from bifrost_flow.evidence import anchors, clean
from bifrost_flow.evidence.clean import CONTROLS, TABBED, clean_column, strip_prefix

ECHO_WEIGHT = 16.0
TEMPLATE_CHARS = 200  # what differs further on is taken for the same
MAX_TEMPLATES = 1_000_000
KINDS = {"none": 0, "echo": 1, **{shape.name: k for k, shape in enumerate(anchors.SHAPES, start=2)}}
# Where the parts of a packed number begin, in bits: kinds stand below.
_STEP_AT, _BLOCKS_AT, _COUNT_AT = 5, 7, 27
KIND_NAMES = {number: name for name, number in KINDS.items()}

_MUTED, _ECHO = anchors.to_polars(anchors.MUTED), anchors.to_polars(anchors.ECHO)
_STEP_FAIL, _STEP_START = anchors.to_polars(anchors.STEP_FAIL), anchors.to_polars(anchors.STEP_START)
_SHAPES = tuple(replace(shape, pattern=anchors.to_polars(shape.pattern)) for shape in anchors.SHAPES)
_QUIET = anchors.to_polars(anchors.QUIET)
_ZERO = anchors.to_polars(r"(?:^|[\s(\[=:])0(?:[\s,;)\]]|$)")
_needles = pl.Series([list(anchors.NEEDLES)])


@dataclass(frozen=True, slots=True)
class Anchor:
    """A line that may tell of a failure."""

    line: int  # 0-based place in what was scored
    weight: float
    kind: str
    template: int  # hash of the line without its digits: equal ones say the same thing
    text: str  # cleaned
    known: bool = False  # passing runs of the job say it too


def find_candidates(lines: pl.Series) -> pl.DataFrame:
    """Return the lines that hold a needle: `row` UInt32, `text` String (cleaned), `template` UInt64.

    Lines with equal templates differ in their digits alone, and all or none of them count something as zero:
    `0 errors` is not judged by `3 errors`.
    """
    mask = lines.str.contains_any(_needles, ascii_case_insensitive=True)
    found = pl.DataFrame(
        {"row": mask.arg_true(), "text": lines.filter(mask)}, schema={"row": pl.UInt32, "text": pl.String}
    )
    tabbed = bool(found["text"].head(64).str.contains(TABBED).any())
    control = found["text"].str.contains(CONTROLS)
    if control.any():
        # Taking escapes out is the dearest step: done on the lines alone that have some.
        others = found.filter(control).with_columns(clean_column(pl.col("text"), tabbed=tabbed))
        plain = _strip_prefixes(found.filter(~control), tabbed=tabbed)
        found = pl.concat([plain, others]).sort("row")
    else:
        found = _strip_prefixes(found, tabbed=tabbed)
    start = pl.col("text").str.slice(0, TEMPLATE_CHARS)
    return found.with_columns(
        template=start.str.replace_all("[0-9]", "").hash() ^ start.str.contains(_ZERO).cast(pl.UInt64)
    )


def _strip_prefixes(found: pl.DataFrame, *, tabbed: bool) -> pl.DataFrame:
    """Take time and CI prefix off `text`: by its width where all lines have the same, else by pattern."""
    texts = found["text"]
    fixed = clean.FIXED.match(texts[0]) if len(texts) else None
    if fixed:
        width = fixed.end()
        ends = texts.str.slice(width - 2, 2) == "Z "
        if (ends & texts.str.starts_with("20")).all():
            return found.with_columns(clean.strip_inner(texts.str.slice(width).str.strip_chars_end()))
    return found.with_columns(strip_prefix(pl.col("text"), tabbed=tabbed))


def judge_texts() -> tuple[pl.Expr, pl.Expr]:
    """Return `kind` (UInt8, see KINDS) and `step` (UInt8: 1 where one starts, 2 where one failed) of column
    `text`."""
    text = pl.col("text")
    kind = pl.when(text.str.contains(_MUTED)).then(pl.lit(KINDS["none"], pl.UInt8))
    kind = kind.when(text.str.contains(_ECHO)).then(pl.lit(KINDS["echo"], pl.UInt8))
    for shape in _SHAPES:
        if shape.name == "cause_phrase":
            kind = kind.when(text.str.contains(_QUIET)).then(pl.lit(KINDS["hint"], pl.UInt8))
        kind = kind.when(text.str.contains(shape.pattern)).then(pl.lit(KINDS[shape.name], pl.UInt8))
    step = pl.when(text.str.contains(_STEP_FAIL)).then(pl.lit(2, pl.UInt8))
    step = step.when(text.str.contains(_STEP_START)).then(pl.lit(1, pl.UInt8)).otherwise(pl.lit(0, pl.UInt8))
    return kind.otherwise(pl.lit(0, pl.UInt8)).alias("kind"), step.alias("step")


def judge_once(found: pl.DataFrame) -> pl.DataFrame:
    """Add `kind` and `step` to what `find_candidates` returned, each template judged once."""
    judged = found.unique("template", keep="first", maintain_order=True).with_columns(*judge_texts())
    return found.join(
        judged.select("template", "kind", "step"), on="template", how="left", maintain_order="left"
    )


class Templates:
    """What is known of each template seen so far: its kind, and in how many blocks and lines it was said.

    Lines are judged once a template, which is what makes long logs cheap: they say the same things over and
    over. A template costs a dictionary entry of one packed number: kind, step, blocks and lines, low to high.
    """

    def __init__(self) -> None:
        self._known: dict[int, int] = {}

    def judge(self, found: pl.DataFrame) -> pl.DataFrame:
        """Return the lines of what `find_candidates` returned that tell something, with their `kind`, `step`,
        `count` and `blocks` (this block included)."""
        tally = found.group_by("template").agg(pl.len().alias("new"), pl.col("text").first())
        templates, known = tally["template"].to_list(), self._known
        fresh = [row for row, template in enumerate(templates) if template not in known]
        if fresh:
            judged = tally[fresh].select("template", *judge_texts())
            known.update((template, step << _STEP_AT | kind) for template, kind, step in judged.iter_rows())
        packed = []
        for template, new in zip(templates, tally["new"].to_list(), strict=True):
            known[template] = value = known[template] + (new << _COUNT_AT) + (1 << _BLOCKS_AT)
            packed.append(value)
        if len(known) > MAX_TEMPLATES:
            self._forget()
        value = pl.col("packed")
        telling = pl.DataFrame(
            {"template": templates, "packed": packed}, schema={"template": pl.UInt64, "packed": pl.UInt64}
        ).filter(value & (1 << _BLOCKS_AT) - 1 > 0)
        return found.join(telling, on="template", how="inner", maintain_order="left").select(
            "row",
            "text",
            "template",
            kind=(value & (1 << _STEP_AT) - 1).cast(pl.UInt8),
            step=(value // (1 << _STEP_AT) & 3).cast(pl.UInt8),
            blocks=(value // (1 << _BLOCKS_AT) & (1 << _COUNT_AT - _BLOCKS_AT) - 1).cast(pl.UInt32),
            count=value // (1 << _COUNT_AT),
        )

    def _forget(self) -> None:
        """Drop what was said least: it counts as rare when it comes again, and that does no harm."""
        ordered = sorted(self._known.items(), key=itemgetter(1), reverse=True)
        self._known = dict(ordered[: MAX_TEMPLATES // 2])

    def spread(self, templates: Iterable[int]) -> dict[int, tuple[int, int]]:
        """Return the lines and blocks in which each of `templates` was said."""
        blocks = (1 << _COUNT_AT - _BLOCKS_AT) - 1
        return {
            template: (value >> _COUNT_AT, value >> _BLOCKS_AT & blocks)
            for template in templates
            if (value := self._known.get(template)) is not None
        }
