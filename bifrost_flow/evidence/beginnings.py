"""Learn from a log's first lines how its events begin, and find where they do."""

import polars as pl

from bifrost_flow.evidence.jsonlog import is_json_log, mark_objects
from bifrost_flow.evidence.reports import find_reports

HEADED_SHARE = 0.4
MAX_EVENT_LINES = 5000

# How far behind the start of its line the time of a header may stand; nearer where all of a log's stand so.
_HEAD_REACH, _NEAR_REACH = 70, 12
_SLOW_QUERY = r"^# User@Host: "
# What the W3C's extended format says of the lines below.
_DIRECTIVE = r"^#(?:Software|Version|Date|Fields|Remark|Start-Date|End-Date): "


class Beginnings:
    """How the events of one log begin: by their time, each line by itself, or as JSON objects (`objects`).

    `slow` tells that they are a database's slow queries.
    """

    def __init__(self, sample: pl.DataFrame) -> None:
        telling = sample.filter(~pl.col("blank"))
        self.objects = bool(len(telling)) and is_json_log(telling["line"][0])
        self._reach, self.slow, self._directed = _HEAD_REACH, False, False
        inset = telling.filter(pl.col("indented") & pl.col("when").is_not_null())
        # Some programs indent all that they say.
        self._inset = (inset["start"] <= _NEAR_REACH).sum() >= HEADED_SHARE * max(1, len(telling))
        heads = telling.filter(self._heads())
        if len(heads) and (heads["start"] <= _NEAR_REACH).sum() >= 0.95 * len(heads):
            self._reach = _NEAR_REACH
        # A slow query's lines begin with its time, or with its user where the time is that of the one before.
        self.slow = telling["line"].str.contains(_SLOW_QUERY).any()
        self._directed = telling["line"].str.contains(_DIRECTIVE).any()
        leads = bool(len(telling)) and telling.select(self._heads()).to_series()[0]
        share = len(heads) / max(1, find_reports(sample).starts.sum())
        self._headed = (
            self.slow
            or share >= HEADED_SHARE
            or (leads and (share >= 0.05 or len(telling) < 20))
            or (share >= 0.02 and self._is_dated_by_lines(sample))
        )

    def _heads(self) -> pl.Expr:
        if self.slow:
            line = pl.col("line")
            timed = line.shift(1).str.starts_with("# Time: ").fill_null(value=False)
            return line.str.starts_with("# Time: ") | (line.str.contains(_SLOW_QUERY) & ~timed)
        dated = pl.col("when").is_not_null() | (pl.col("start") <= _NEAR_REACH)
        flush = pl.lit(value=True) if self._inset else ~pl.col("indented")
        heads = (pl.col("start").is_not_null() & flush & (pl.col("start") <= self._reach) & dated).fill_null(
            value=False
        )
        return heads | pl.col("line").str.contains(_DIRECTIVE) if self._directed else heads

    def _is_dated_by_lines(self, sample: pl.DataFrame) -> bool:
        """Tell whether blocks of lines begin with a line that holds nothing but their time."""
        bare = pl.col("end") >= pl.col("line").str.strip_chars_end().str.len_chars()
        heads = sample.select(bare=bare, fresh=pl.col("blank").shift(1, fill_value=True), head=self._heads())
        heads = heads.filter("head")
        return len(heads) > 1 and bool((heads["bare"] & heads["fresh"]).all())

    def mark(self, seen: pl.DataFrame, *, final: bool) -> pl.Series:
        """Return 1 for each line that starts an event, 0 if it goes on with one, -1 if it is of none."""
        if self.objects:
            return self._mark_objects(seen)
        if not self._headed:
            return _mark(*find_reports(seen, final=final))
        heads = seen.select(self._heads()).to_series()
        found = heads.arg_true()
        ahead = int(found[0]) if len(found) else len(heads)
        starts, outside = find_reports(seen[:ahead], final=final or ahead < len(heads))
        opened = pl.Series([False] * (len(heads) - ahead), dtype=pl.Boolean)
        starts = heads | pl.concat([starts, opened])
        return _mark(starts | _overlong(starts), pl.concat([outside, opened]))

    def _mark_objects(self, seen: pl.DataFrame) -> pl.Series:
        marks = pl.Series(mark_objects(seen["line"].to_list()), dtype=pl.Int8)
        loose = (marks == 1) & ~seen["line"].str.contains(r"^\s*[{\[\]}\"]")
        if loose.any():
            # Plain text among objects: a crash, for one.
            marks = marks.zip_with(
                ~(loose & ~find_reports(seen).starts), pl.zeros(len(marks), pl.Int8, eager=True)
            )
        return _mark(marks == 1, marks == -1)


def _mark(starts: pl.Series, outside: pl.Series) -> pl.Series:
    """Return 1 where an event starts, -1 outside of events, else 0; nothing goes on with a line outside."""
    frame = pl.DataFrame({"starts": starts, "outside": outside})
    fresh = pl.col("outside").shift(1, fill_value=True) & ~pl.col("outside")
    mark = pl.when("outside").then(-1).when(pl.col("starts") | fresh).then(1).otherwise(0)
    return frame.select(mark.cast(pl.Int8)).to_series()


def _overlong(starts: pl.Series) -> pl.Series:
    """Tell where an event has gone on for so long that it's cut."""
    frame = pl.DataFrame({"start": starts}).with_row_index("row")
    begin = pl.when("start").then("row").forward_fill()
    return frame.select(((pl.col("row") - begin) % MAX_EVENT_LINES == 0).fill_null(value=False)).to_series()
