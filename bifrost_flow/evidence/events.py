"""Split a log into events: a line with its time and level, and the lines that go on with it.

Works on blocks of lines as columns. What takes a closer look, the level and the template, is found once for all lines that
differ in numbers only.
"""

# ruff: noqa: E501 -- a pattern is read as a whole

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import polars as pl

from bifrost_flow.evidence.beginnings import MAX_EVENT_LINES, Beginnings
from bifrost_flow.evidence.clean import ESCAPES
from bifrost_flow.evidence.fingerprint import hash_template, mask_events
from bifrost_flow.evidence.jsonlog import parse_object, read_object
from bifrost_flow.evidence.levels import HINT, NUMBERED, find_level, find_second_level
from bifrost_flow.evidence.stamps import Shapes

SAMPLE_LINES = 400
MAX_HELD_BYTES = 8 << 20
MAX_KEY = 2000  # characters of a line that count for its level and template
_MAX_KNOWN = 200_000

# What a slow query states for its time.
_STATED = r"^SET timestamp=(\d{9,10})\b"
_CONTROL = "[\x00-\x08\x0b\x0c\x0d\x0e-\x1f\x7f\ufeff]"
_LEVEL_WORD = r"^\s*[\[(<]?(?:(?i:trace|debug|info|notice|warn|warning|error|severe|critical|fatal)[\])>]|(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|SEVERE|CRITICAL|FATAL|LOG)\b)[\s:|-]*"

_READ = {
    "key": pl.String,
    "level": pl.String,
    "number": pl.Int8,
    "template": pl.String,
    "fingerprint": pl.String,
}
_SAID = {
    "index": pl.get_index_type(),
    "own": pl.Datetime("us", "UTC"),
    "told": pl.String,
    "said": pl.String,
    "text": pl.String,
}
EVENT_SCHEMA = {
    "line_start": pl.Int64,
    "line_end": pl.Int64,
    "timestamp": pl.Datetime("us", "UTC"),
    "severity": pl.String,
    "message": pl.String,
    "template": pl.String,
    "fingerprint": pl.String,
}


@dataclass(frozen=True, slots=True)
class EventBlock:
    """Consecutive lines of a log and the events in them.

    `events` has the columns of `EVENT_SCHEMA`: 1-based, inclusive line numbers, UTC, one of `records.SEVERITIES`, the
    first line's text behind its time, and its template. `lines` are as they stand in the log; `first` is the number
    of their first.
    """

    events: pl.DataFrame
    lines: pl.Series
    first: int


def split_events(blocks: Iterable[pl.Series]) -> Iterator[EventBlock]:
    """Yield the events of a log, in order, from its lines in blocks. Blank lines between events belong to none.

    Whether lines start events by their time or each by itself is decided on the first lines. An event that is open at a
    block's end is held over, up to `MAX_EVENT_LINES` and `MAX_HELD_BYTES`.
    """
    shapes = Shapes()
    reader: _Reader | None = None
    beginnings: Beginnings | None = None
    held = pl.Series("line", [], dtype=pl.String)
    first = 1
    blocks = iter(blocks)
    block = next(blocks, None)
    while block is not None:
        lines = pl.concat([held, block.alias("line")]) if len(held) else block.alias("line")
        block = next(blocks, None)
        seen = _look(lines, shapes)
        beginnings = beginnings or Beginnings(seen.head(SAMPLE_LINES))
        reader = reader or _Reader(beginnings)
        marks = beginnings.mark(seen, final=block is None)
        cut = len(lines) if block is None else _last_start(marks)
        held = lines[cut:]
        if len(held) > MAX_EVENT_LINES or held.str.len_bytes().sum() > MAX_HELD_BYTES:
            cut, held = len(lines), lines[:0]
        if cut:
            yield EventBlock(reader.read(seen[:cut], marks[:cut], first), lines[:cut], first)
        first += cut


def _last_start(marks: pl.Series) -> int:
    starts = (marks == 1).arg_true()
    return int(starts[-1]) if len(starts) else 0


def _look(lines: pl.Series, shapes: Shapes) -> pl.DataFrame:
    """Return a row for each line: `line` as a person sees it, `blank`, `indented`, and its time as of `Shapes`."""
    if lines.str.contains(_CONTROL).any():
        shown = (
            pl.col("line").str.replace_all(ESCAPES, "").str.strip_chars_end("\r").str.replace(r"^.*\r", "")
        )
        lines = lines.to_frame("line").select(shown.str.strip_prefix("\ufeff")).to_series()
    stamps = shapes.find(lines)
    return stamps.with_columns(
        line=lines,
        blank=lines.str.strip_chars() == "",
        indented=lines.str.contains(r"^\s"),
    )


class _Reader:
    """Reads the events of one log, whose first lines have shown how they begin."""

    def __init__(self, beginnings: Beginnings) -> None:
        self._known: dict[str, tuple[str | int | None, str, str]] = {}
        self._beginnings = beginnings

    def read(self, seen: pl.DataFrame, marks: pl.Series, first: int) -> pl.DataFrame:
        """Return the events (`EVENT_SCHEMA`) among lines whose first is number `first`."""
        rows = seen.with_row_index("row").with_columns(mark=marks)
        # Lines between events cut them, and belong to none.
        rows = rows.with_columns(event=(pl.col("mark") != 0).cum_sum()).filter(pl.col("mark") >= 0)
        last = pl.col("row").filter(~pl.col("blank")).max()
        heads = rows.group_by("event", maintain_order=True).agg(
            pl.all().exclude("row").first(),
            pl.col("row").first(),
            last=pl.coalesce(last, pl.col("row").first()),
            second=pl.col("line").get(1, null_on_oob=True).str.slice(0, 200),
            **(
                {"stated": pl.col("line").str.extract(_STATED).drop_nulls().first()}
                if self._beginnings.slow
                else {}
            ),
        )
        if self._beginnings.slow:
            stated = pl.from_epoch(pl.col("stated").cast(pl.Int64)).cast(pl.Datetime("us", "UTC"))
            heads = heads.with_columns(when=pl.coalesce("when", stated))
        heads = self._judge(self._read_objects(heads, seen["line"]))
        return heads.select(
            line_start=pl.col("row").cast(pl.Int64) + first,
            line_end=pl.col("last").cast(pl.Int64) + first,
            timestamp="when",
            severity="level",
            message="message",
            template="template",
            fingerprint="fingerprint",
        )

    def _judge(self, heads: pl.DataFrame) -> pl.DataFrame:
        """Return `heads` with `level`, `message`, `template` and `fingerprint`."""
        before = pl.col("line").str.slice(0, pl.col("start"))
        after = pl.col("line").str.slice(pl.col("end"))
        key = (
            pl.when(pl.col("text").is_not_null())
            .then("text")
            .when(pl.col("start").is_null())
            .then("line")
            .otherwise(before + pl.lit("\x00") + after)
        )
        # Not cut within a word, which would look like another.
        short = (
            pl.when(key.str.len_bytes() > MAX_KEY)
            .then(key.str.slice(0, MAX_KEY).str.replace(r"\s\S*$", ""))
            .otherwise(key)
        )
        heads = heads.with_columns(key=fold(short), after=pl.coalesce("said", after, "line"))
        known = self._read_keys(heads["key"].unique())
        rows = [
            (
                text,
                level if isinstance(level, str) else None,
                level if isinstance(level, int) else None,
                template,
                mark,
            )
            for text, (level, template, mark) in known.items()
        ]
        table = pl.DataFrame(rows, schema=_READ, orient="row")
        heads = heads.join(table, on="key", how="left", maintain_order="left")
        message = pl.col("after").str.strip_chars(" \t]|:-").str.replace(_LEVEL_WORD, "")
        heads = heads.with_columns(
            message=pl.when(pl.col("said").is_not_null())
            .then("said")
            .when(message == "")
            .then("line")
            .otherwise(message),
            level=pl.coalesce("told", "level"),
            number=pl.when(pl.col("text").is_null()).then("number"),
        )
        for number in heads["number"].drop_nulls().unique():
            heads = _read_numbers(heads, number)
        return _read_seconds(heads)

    def _read_keys(self, keys: pl.Series) -> dict[str, tuple[str | int | None, str, str]]:
        """Return level, template and fingerprint of each of `keys`, folded lines with `\\0` in place of their time."""
        if len(self._known) > _MAX_KNOWN:
            self._known.clear()
        new = keys.filter(pl.Series([key not in self._known for key in keys], dtype=pl.Boolean))
        for key, template, hinted in zip(new, mask_events(new), new.str.contains(HINT), strict=True):
            level = None
            if hinted:
                before, mark, after = key.partition("\x00")
                level = find_level(before, after) if mark else find_level("", before)
            self._known[key] = (level, template, hash_template(template))
        return {key: self._known[key] for key in keys}

    def _read_objects(self, heads: pl.DataFrame, lines: pl.Series) -> pl.DataFrame:
        """Return `heads` with what those that are JSON objects say: `said`, `told`, `text` and their own `when`.

        That is their message, their level, and what stands for them where they have no message.
        """
        pattern = r"^\s*\[?\s*\{" if self._beginnings.objects else r"^\{.*\}\s*$"
        wanted = heads["line"].str.contains(pattern)
        rows = []
        if wanted.any():
            for at, row, last in (
                heads.with_row_index().filter(wanted).select("index", "row", "last").iter_rows()
            ):
                value = parse_object("\n".join(lines[row : last + 1]))
                if value is not None:
                    event = read_object(value)
                    rows.append(
                        (at, event.when, event.level, event.text or lines[row], event.text or event.keys)
                    )
        table = pl.DataFrame(rows, schema=_SAID, orient="row")
        joined = heads.with_row_index().join(table, on="index", how="left", maintain_order="left")
        own = pl.when(pl.col("text").is_null()).then("when").otherwise("own")
        return joined.with_columns(when=own).drop("index", "own")


def fold(text: pl.Expr) -> pl.Expr:
    """Replace numbers, and words made of letters and digits, by one digit: nothing depends on which it was."""
    return (
        text.str.replace_all("[0-9]+", "0")
        .str.replace_all(r"\b[a-fA-F]*0[a-fA-F0]*\b", "0")
        .str.replace_all("[A-Za-z0]*0[A-Za-z]+0[A-Za-z0]*", "0")
    )


def _read_numbers(heads: pl.DataFrame, number: int) -> pl.DataFrame:
    """Return `heads` where the levels that are numbers of kind `number` are read."""
    numbered = NUMBERED[number]
    mine = pl.col("number") == number
    heads = heads.with_columns(digits=pl.when(mine).then(pl.col("line").str.extract(numbered.pattern)))
    names = {text: numbered.read(text) for text in heads["digits"].drop_nulls().unique()}
    level = pl.col("digits").replace_strict(names, default=None, return_dtype=pl.String)
    return heads.with_columns(level=pl.coalesce("level", level)).drop("digits")


def _read_seconds(heads: pl.DataFrame) -> pl.DataFrame:
    """Return `heads` where those without a level have the one that stands on their second line."""
    texts = (
        heads.filter(pl.col("level").is_null() & (pl.col("last") > pl.col("row")))["second"]
        .drop_nulls()
        .unique()
    )
    names = {text: level for text in texts if (level := find_second_level(text))}
    if not names:
        return heads
    level = pl.col("second").replace_strict(names, default=None, return_dtype=pl.String)
    return heads.with_columns(level=pl.coalesce("level", pl.when(pl.col("last") > pl.col("row")).then(level)))
