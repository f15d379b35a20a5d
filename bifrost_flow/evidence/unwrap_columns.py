"""Read what lines carry as `unwrap` does, on whole columns: by pattern, without parsing."""

import re

import polars as pl

from bifrost_flow.evidence.unwrap import (
    BREAK,
    CARRIED,
    CARRIERS,
    ERRORS,
    ESCAPED,
    LEVELS,
    MESSAGES,
    NUMBERED,
    REPORT,
    STACKS,
    TIMES,
    unwrap_service,
)


def _key(names: tuple[str, ...]) -> str:
    return rf"\"(?:{'|'.join(map(re.escape, names))})\"\s*:\s*"


_CARRIES = rf"{_key(CARRIED)}\""
_WRITTEN = {r"\n": BREAK, r"\t": "\t", r"\r": "", r"\"": '"', r"\\": "\\", r"\/": "/"}
_COLOUR = r"\\+u001[bB]\[[0-9;]*[A-Za-z]"  # also where it was escaped twice


def unwrap_column(lines: pl.Series) -> pl.Series:
    """Do about what `unwrap_line` does, on a String column: by pattern, without parsing.

    Lines that are no objects stay, and cost the look at their first byte.
    """
    objects = lines.str.starts_with("{")
    if objects.any():
        lines = replace_where(lines, objects, _unwrap_objects(lines.filter(objects)))
    messages = lines.str.starts_with("##teamcity[")
    if messages.any():
        told = [unwrap_service(text) for text in lines.filter(messages)]
        lines = replace_where(lines, messages, pl.Series(told, dtype=pl.String))
    return lines


def replace_where(lines: pl.Series, mask: pl.Series, values: pl.Series) -> pl.Series:
    """Return `lines` with `values` where `mask` is true."""
    if mask.all():
        return values.rename(lines.name)
    return lines.scatter(mask.arg_true(), values)


def _unwrap_objects(lines: pl.Series) -> pl.Series:
    carried = lines.str.extract(_CARRIES + ESCAPED)
    carries = carried.is_not_null()
    if carries.any():
        carries &= lines.str.contains(CARRIERS.pattern)
    if carries.all():
        return _write_out(carried)
    others = lines.filter(~carries)
    lines = replace_where(
        lines, ~carries, pl.select(pl.coalesce(_write_out(_tell_objects(others)), others)).to_series()
    )
    return replace_where(lines, carries, _write_out(carried.filter(carries))) if carries.any() else lines


def _tell_objects(lines: pl.Series) -> pl.Series:
    """Return what objects that a program logged say, null for others."""
    text = pl.col("text")
    parts = lines.to_frame("text").select(
        message=text.str.extract(rf"{_key(MESSAGES)}\"{ESCAPED}"),
        level=text.str.extract(rf"{_key(LEVELS)}\"?(\w+)"),
        error=text.str.extract(rf"{_key(ERRORS)}\"{ESCAPED}"),
        stack=text.str.extract(rf"{_key(STACKS)}\"{ESCAPED}"),
        dated=text.str.contains(_key(TIMES)),
    )
    level = (
        pl.col("level").replace({str(number): name for number, name in NUMBERED.items()}).str.to_uppercase()
    )
    plain = ~pl.col("message").str.contains(rf"^(?:\\[nt]|{REPORT.pattern})")
    said = pl.concat_str("message", "error", "stack", separator=r"\n", ignore_nulls=True)
    told = pl.concat_str(pl.when(plain).then(level + " ").fill_null(""), said)
    logged = pl.col("dated") | pl.col("level").is_not_null()
    return parts.select(pl.when(logged & (said != "")).then(told).alias("told"))["told"]


def _write_out(escaped: pl.Series) -> pl.Series:
    """Return the text of JSON strings on one line each."""
    return (
        escaped.str.replace_all(_COLOUR, "").str.replace(r"(?:\\[nr]|[ \t])+$", "").str.replace_many(_WRITTEN)
    )
