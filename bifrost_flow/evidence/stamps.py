"""Find and read the times of a whole column of lines.

Lines of one shape, that is with digits in the same places, have their time in the same place. So each shape
is looked at once, by `times.find_stamp`, and the numbers of all its lines are then read as columns.
"""

import polars as pl

from bifrost_flow.evidence.times import (
    HINT,
    MAX_FORM,
    REACH,
    SLASHED,
    YEARLESS,
    Stamp,
    find_stamp,
    names_day_first,
    read_base,
)

# How much of a line makes its shape. Most times stand at the very start, and what follows only makes shapes
# differ; so a line is looked at further only if its time is not well within.
_WIDTHS = (40, 80, REACH + MAX_FORM)
_MARGIN = 10
_MAX_KNOWN = 100_000
_LAYOUT = {"shape": pl.String, **dict.fromkeys(Stamp._fields, pl.Int16)}
_OWN_HINT = r"20[0-9]{2}[-/.][0-9]{2}[-/.][0-9]{2}[T _-]"


class Shapes:
    """The shapes seen so far, with the place of their time."""

    def __init__(self) -> None:
        self._known: dict[str, Stamp | None] = {}
        self._day_first: bool | None = None

    def find(self, lines: pl.Series) -> pl.DataFrame:
        """Return a row for each of `lines`: `start` and `end` of its time in characters and `when`, in UTC.

        All are null where there is none, `when` where the time tells no day.
        """
        frame = lines.to_frame("line").with_row_index("row")
        head = pl.col("line").str.slice(0, _WIDTHS[-1])
        left = frame.select("row", line=head).filter(pl.col("line").str.contains(HINT))
        found = []
        for width in _WIDTHS:
            looked = self._lay_out(left, width)
            within = pl.max_horizontal("end", "time_end") <= width - _MARGIN
            own = pl.col("form").is_in(sorted(YEARLESS)) & pl.col("line").str.contains(_OWN_HINT)
            settled = ((within & ~own) | (width == _WIDTHS[-1])).fill_null(value=width == _WIDTHS[-1])
            found.append(looked.filter(settled))
            left = looked.filter(~settled).select("row", "line")
            if left.is_empty():
                break
        times = self._read_times(pl.concat(found).filter(pl.col("start").is_not_null()))
        read = times.select("row", "start", "end", "when")
        return frame.select("row").join(read, on="row", how="left", maintain_order="left").drop("row")

    def _lay_out(self, frame: pl.DataFrame, width: int) -> pl.DataFrame:
        """Return `frame` (row, line) with the place of each line's time, found in one line of each shape."""
        shape = pl.col("line").str.slice(0, width).str.replace_all("[0-9]", "0")
        frame = frame.with_columns(shape=shape)
        if len(self._known) > _MAX_KNOWN:
            self._known.clear()
        rows = []
        for text, line in frame.select("shape", "line").unique("shape", keep="first").iter_rows():
            if text not in self._known:
                self._known[text] = find_stamp(line)
            rows.append((text, *(self._known[text] or _NONE)))
        layouts = pl.DataFrame(rows, schema=_LAYOUT, orient="row")
        return frame.join(layouts, on="shape", how="left", maintain_order="left").drop("shape")

    def _read_times(self, found: pl.DataFrame) -> pl.DataFrame:
        """Return `found` with `when`; does for columns what `times.read_time` does for a line."""
        behind = pl.max_horizontal("sec_end", "frac_end")
        whole = pl.col("sec_at") < 0
        base = (
            pl.when(whole)
            .then(_cut("time_start", "time_end"))
            .otherwise(_cut("time_start", "sec_at") + pl.lit("\x00") + _cut(behind, "time_end"))
        )
        found = found.with_columns(base=base)
        pairs = found.select("base", "form").unique().rows()
        if self._day_first is None:
            told = {names_day_first(text) for text, form in pairs if form in SLASHED} - {None}
            # The first lines that tell speak for their log; where they disagree, each date is read by itself.
            self._day_first = told == {True} if told else None
        bases = [(text, form, read_base(text, form, day_first=bool(self._day_first))) for text, form in pairs]
        table = pl.DataFrame(
            bases,
            schema={"base": pl.String, "form": pl.Int16, "minute": pl.Datetime("us", "UTC")},
            orient="row",
        )
        digits = pl.min_horizontal(pl.col("frac_end") - pl.col("frac_at"), pl.lit(6, pl.Int16))
        by_length = pl.lit(10, pl.Int64).pow(pl.lit(6, pl.Int16) - digits)
        scale = (
            pl.when(pl.col("frac_scale") > 0).then(pl.col("frac_scale").cast(pl.Int64)).otherwise(by_length)
        )
        fraction = _cut("frac_at", pl.col("frac_at") + digits).cast(pl.Int64, strict=False) * scale
        seconds = pl.when(whole).then(0).otherwise(_cut("sec_at", "sec_end").cast(pl.Int64, strict=False))
        micros = seconds * 1_000_000 + pl.when(pl.col("frac_at") >= 0).then(fraction).otherwise(0)
        return found.join(table, on=["base", "form"], how="left", maintain_order="left").with_columns(
            when=pl.col("minute") + pl.duration(microseconds=micros)
        )


_NONE = (None,) * len(Stamp._fields)


def _cut(start: str | pl.Expr, end: str | pl.Expr) -> pl.Expr:
    start = pl.col(start) if isinstance(start, str) else start
    end = pl.col(end) if isinstance(end, str) else end
    return pl.col("line").str.slice(start, end - start)
