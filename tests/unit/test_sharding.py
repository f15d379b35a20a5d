"""A listing is divided into shards that hold each object once and stay within their limits."""

import gzip
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote_plus

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from bifrost_flow.cli import app
from bifrost_flow.errors import SettingsError
from bifrost_flow.sharding import LISTING_SCHEMA, Piece, Shard, plan_shards, sum_folders
from connectors.inventory import read_folders

names = st.text(alphabet="ab0é\U0001f600", min_size=1, max_size=3)
keys = st.lists(names, min_size=1, max_size=4).map("/".join)


def plan(objects: dict[str, int], *, target_bytes: int = 10**9, max_objects: int = 10**9) -> list[Shard]:
    listing = pl.LazyFrame({"key": list(objects), "size": list(objects.values())}, schema=LISTING_SCHEMA)
    return plan_shards(sum_folders(listing), target_bytes=target_bytes, max_objects=max_objects)


def holds(piece: Piece, key: str) -> bool:
    inside = key.startswith(piece.prefix)
    return inside and not (piece.direct and "/" in key[len(piece.prefix) :])


@given(st.dictionaries(keys, st.integers(0, 50), max_size=40), st.integers(1, 120), st.integers(1, 10))
def test_each_object_is_in_one_shard(objects: dict[str, int], target: int, most: int) -> None:
    """Whatever the keys, each is named by one piece of one shard, whose sums are right; only a folder by
    itself is beyond the limits; and neighbours are together where they fit."""
    shards = plan(objects, target_bytes=target, max_objects=most)
    for key in objects:
        assert sum(holds(piece, key) for shard in shards for piece in shard.pieces) == 1
    for shard in shards:
        held = [key for key in objects if any(holds(piece, key) for piece in shard.pieces)]
        assert (shard.objects, shard.bytes) == (len(held), sum(objects[key] for key in held))
        beyond = shard.bytes > target or shard.objects > most
        assert beyond == shard.oversized
        if shard.oversized:
            assert len({key.rpartition("/")[0] for key in held}) == 1
    for one, other in pairwise(shards):
        if not one.oversized and not other.oversized:
            first = other.pieces[0]
            assert one.bytes + first.bytes > target or one.objects + first.objects > most


def test_large_prefixes_are_divided_and_small_ones_kept_together() -> None:
    """A prefix is cut where it is too large, along its folders; small neighbours share a shard."""
    objects = {f"2026-11-{day:02}/job-{job}/run.log": 10 for day in (1, 2) for job in range(6)}
    objects["2026-11-03/job-0/run.log"] = 5
    shards = plan(objects, target_bytes=35)
    shown = [[piece.pattern for piece in shard.pieces] for shard in shards]
    assert shown == [
        ["2026-11-01/job-0/", "2026-11-01/job-1/", "2026-11-01/job-2/"],
        ["2026-11-01/job-3/", "2026-11-01/job-4/", "2026-11-01/job-5/"],
        ["2026-11-02/job-0/", "2026-11-02/job-1/", "2026-11-02/job-2/"],
        ["2026-11-02/job-3/", "2026-11-02/job-4/", "2026-11-02/job-5/", "2026-11-03/"],
    ]


def test_what_lies_beside_folders_is_named_by_itself() -> None:
    """The files of a folder that is divided are a piece of their own, without what lies below."""
    shards = plan({"a/top.log": 6, "a/b/x.log": 6, "c.log": 1}, target_bytes=7)
    assert [[piece.pattern for piece in shard.pieces] for shard in shards] == [["*", "a/*"], ["a/b/"]]


KEYS = {"nightly/2026-11-01/build one.log": 10, "nightly/2026-11-02/köln+1.log": 20}


def write_listing(folder: Path, form: str) -> Path:
    """Write the same objects in one of the forms that are read."""
    rows: Sequence[tuple[str, int]] = list(KEYS.items())
    path = folder / form
    match form:
        case "inventory.csv" | "inventory.csv.gz":
            text = "".join(f'"logs","{quote_plus(key)}","{size}"\n' for key, size in rows)
            path.write_bytes(gzip.compress(text.encode()) if form.endswith(".gz") else text.encode())
        case "header.csv":
            path.write_text("Key,Size,ETag\n" + "".join(f'"{key}",{size},x\n' for key, size in rows))
        case "listing.parquet":
            pl.DataFrame({"key": [key for key, _ in rows], "size": [size for _, size in rows]}).write_parquet(
                path
            )
        case "ls.txt":
            path.write_text("".join(f"2026-11-02 03:12:44 {size:>10} {key}\n" for key, size in rows))
        case "folder":
            for key, size in rows:
                (path / key).parent.mkdir(parents=True, exist_ok=True)
                (path / key).write_bytes(b"x" * size)
    return path


@pytest.mark.parametrize(
    "form", ["inventory.csv", "inventory.csv.gz", "header.csv", "listing.parquet", "ls.txt", "folder"]
)
def test_listings_of_every_form(tmp_path: Path, form: str) -> None:
    """An inventory, with names quoted as by S3, a table, the text of `aws s3 ls` or a folder say the same."""
    found = read_folders(str(write_listing(tmp_path, form)))
    assert found.rows() == [("nightly/2026-11-01/", 1, 10), ("nightly/2026-11-02/", 1, 20)]


@pytest.mark.parametrize("text", ["", "no listing\n", "a,b\n1,2\n"])
def test_what_is_no_listing_is_refused(tmp_path: Path, text: str) -> None:
    """Another file, or none, is told from an empty store."""
    for name in ("x.txt", "x.csv"):
        (tmp_path / name).write_text(text)
        with pytest.raises(SettingsError, match=name):
            read_folders(str(tmp_path / name))
    with pytest.raises(SettingsError, match="gone"):
        read_folders(str(tmp_path / "gone.csv"))


def test_the_command_prints_paths_for_runs(tmp_path: Path) -> None:
    """Each shard comes with paths that a run takes, and the sums go to standard error."""
    listing = write_listing(tmp_path, "ls.txt")
    words = ["plan", str(listing), "--root", "s3://logs/", "--max-objects", "1"]
    done = CliRunner().invoke(app, [*words, "--format", "json"])
    assert done.exit_code == 0
    shards = json.loads(done.stdout)
    assert [shard["paths"] for shard in shards] == [
        ["s3://logs/nightly/2026-11-01/"],
        ["s3://logs/nightly/2026-11-02/"],
    ]
    shown = CliRunner().invoke(app, words)
    assert "s3://logs/nightly/2026-11-02/" in shown.stdout and "2 objects in 2 folders" in shown.stderr
