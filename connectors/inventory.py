"""Read what a store says it holds: S3's inventory, what `aws s3 ls --recursive` prints, or a folder here."""

import os
import stat
from pathlib import Path
from urllib.parse import unquote_plus

import polars as pl

from bifrost_flow.errors import SettingsError
from bifrost_flow.language import t
from bifrost_flow.sharding import LISTING_SCHEMA, sum_folders

_SNIFF_BYTES = 4096
# 2026-11-01 03:12:44   10485760 nightly/2026-11-01/build.log
_LISTED = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +(\d+) (.+?)\r?$"


def scan_listing(path: str) -> pl.LazyFrame:
    """Return the objects that `path` lists (`sharding.LISTING_SCHEMA`), to be read as a stream.

    A folder lists what is in it. A file is Parquet with `key` and `size`; a CSV with a header that has both,
    or without one as S3 Inventory writes it: bucket, key (quoted for URLs), size; or text as of `aws s3 ls`.

    Raises:
        SettingsError: it can't be read, or is none of these.
    """
    try:
        if Path(path).is_dir():
            return _list_folder(path)
        with Path(path).open("rb") as file:
            head = file.read(_SNIFF_BYTES)
        if head.startswith(b"PAR1"):
            return pl.scan_parquet(path).select(pl.col("key").cast(pl.String), pl.col("size").cast(pl.Int64))
        if head[:2] == b"\x1f\x8b" or Path(path).name.endswith((".csv", ".csv.gz")):
            return _scan_csv(path, head)
        return _scan_text(path, head)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0]
        raise SettingsError(t("source.unreadable", path=path, reason=reason)) from error


def _scan_csv(path: str, head: bytes) -> pl.LazyFrame:
    first = head.split(b"\n")[0].decode("utf-8", "replace").lower()
    if not head.startswith(b"\x1f\x8b") and {"key", "size"} <= {
        word.strip(' "\r') for word in first.split(",")
    }:
        frame = pl.scan_csv(path).rename(str.lower)
        return frame.select(pl.col("key").cast(pl.String), pl.col("size").cast(pl.Int64))
    frame = pl.scan_csv(path, has_header=False)
    names = frame.collect_schema().names()
    if len(names) < 3:
        raise SettingsError(t("plan.bad_listing", path=path))
    quoted = pl.col(names[1]).cast(pl.String)
    # Hardly a key is quoted at all: those that are not stay what they are, without a call each.
    key = (
        pl.when(quoted.str.contains("[%+]"))
        .then(quoted.map_elements(unquote_plus, return_dtype=pl.String))
        .otherwise(quoted)
    )
    return frame.select(key.alias("key"), pl.col(names[2]).cast(pl.Int64).alias("size"))


def _scan_text(path: str, head: bytes) -> pl.LazyFrame:
    frame = pl.scan_lines(path, name="line")
    sample = pl.Series(head.decode("utf-8", "replace").splitlines()[:3])
    if not sample.len() or not sample.str.contains(_LISTED).any():
        raise SettingsError(t("plan.bad_listing", path=path))
    found = pl.col("line").str.extract_groups(_LISTED)
    listed = frame.filter(pl.col("line").str.contains(_LISTED))
    return listed.select(
        found.struct.field("2").alias("key"), found.struct.field("1").cast(pl.Int64).alias("size")
    )


def _list_folder(folder: str) -> pl.LazyFrame:
    keys, sizes = [], []
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root) / name
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                keys.append(path.relative_to(folder).as_posix())
                sizes.append(status.st_size)
    return pl.LazyFrame({"key": keys, "size": sizes}, schema=LISTING_SCHEMA)


def read_folders(path: str) -> pl.DataFrame:
    """Return the folders of what `path` lists, as `sharding.sum_folders` does.

    Raises:
        SettingsError: as `scan_listing`, or a row is not as the others.
    """
    try:
        return sum_folders(scan_listing(path))
    except pl.exceptions.PolarsError as error:
        raise SettingsError(t("source.unreadable", path=path, reason=str(error).split("\n")[0])) from error
