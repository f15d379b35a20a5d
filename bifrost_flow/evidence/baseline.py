"""What passing runs of a job say: hashes of their lines' templates, to tell noise from news.

A line that a passing run says too is most likely not why another one failed, so it loses weight; one that
none of them says may tell why, whatever its words. See docs/decisions/0007-baselines.md. The hashes are kept
from run to run: they are made of masked text by an algorithm that does not change, and go with the version of
the masks.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

import polars as pl

from bifrost_flow.evidence.clean import clean_lines

VERSION = "b1"
MAX_TEMPLATES = 200_000  # of a job
MAX_NEW = 400  # with more new templates than these it was not the same job
TEMPLATE_CHARS = 200  # what differs further on is taken for the same

# What two runs of a job differ in, in the order of use. A nought stays: `0 failed` excuses no `3 failed`.
_MASKS = (
    (r"/tmp/[^/\s'\":,;)]+", "/tmp/#"),
    (r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b", "#"),
    (r"\b(?:0[xX])?[0-9a-f]{7,}\b|\b[a-zA-Z]?[0-9a-fA-F]{16,}\b", "#"),
    (r"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b,?|\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\b", "#"),
    (r"[0-9]+(?:[.:,][0-9]+)+|[0-9]*[1-9][0-9]*", "#"),
    (r"[ \t]+", " "),
)
_NUMBERS = "[0-9]*[1-9][0-9]*"


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """Templates that passing runs of a job say.

    Where `whole`, they are those of all lines of at least one run, so that a line whose template is missing
    is new; else those of the lines that look like failures, and of the ends.
    """

    templates: pl.Series  # UInt64, distinct
    whole: bool

    def knows(self, hashes: pl.Series) -> pl.Series:
        """Tell of each of `hashes`, made by `hash_lines`, whether a passing run says the like."""
        return hashes.is_in(self.templates.implode())

    def knows_texts(self, texts: Sequence[str]) -> list[bool]:
        """Tell of each of `texts`, cleaned lines, whether a passing run says the like."""
        return self.knows(hash_texts(pl.Series(texts, dtype=pl.String))).to_list()


@dataclass(frozen=True, slots=True, eq=False)
class KnownGood:
    """What a job says that passed in a run; a row of `known_good`."""

    job_key: str  # see bifrost_flow.jobkey
    ci_system: str | None
    rules: str  # `VERSION` at the time
    templates: pl.Series  # UInt64, distinct
    whole: bool
    files: int
    lines: int
    created_at: datetime


def build_baseline(templates: Iterable[pl.Series], *, whole: bool) -> Baseline:
    """Return the baseline of several runs: what any of them says, at most `MAX_TEMPLATES`."""
    merged = pl.concat([pl.Series(dtype=pl.UInt64), *templates]).unique(maintain_order=True)
    return Baseline(merged.head(MAX_TEMPLATES), whole and len(merged) <= MAX_TEMPLATES)


def mask_lines(texts: pl.Series) -> pl.Series:
    """Return the templates of `texts`, cleaned lines."""
    masked = texts.str.slice(0, 2 * TEMPLATE_CHARS)
    for pattern, mask in _MASKS:
        masked = masked.str.replace_all(pattern, mask)
    return masked.str.strip_chars(" \t\r").str.slice(0, TEMPLATE_CHARS)


def hash_template(template: str) -> int:
    """Return the hash of a template, 64 bits, unsigned: the same on every machine and in every version."""
    return int.from_bytes(blake2b(template.encode("utf-8", "replace"), digest_size=8).digest(), "big")


def hash_texts(texts: pl.Series) -> pl.Series:
    """Return the hash (UInt64) of the template of each of `texts`, cleaned lines."""
    templates = pl.DataFrame({"template": mask_lines(texts)})
    hashed = _hash_templates(templates["template"].unique())
    return templates.join(hashed, on="template", how="left", maintain_order="left")["hash"]


def _hash_templates(templates: pl.Series) -> pl.DataFrame:
    """Return `templates`, distinct ones, each with its `hash` (UInt64)."""
    hashes = pl.Series("hash", [hash_template(text) for text in templates], dtype=pl.UInt64)
    return pl.DataFrame([templates.alias("template"), hashes])


def hash_lines(lines: pl.Series) -> pl.Series:
    """Return the hash (UInt64) of the template of each of `lines`, as they stand in the file.

    Lines that differ in their numbers alone are cleaned and masked once, which is most of the work.
    """
    key = lines.str.slice(0, 4 * TEMPLATE_CHARS).str.replace_all(_NUMBERS, "#").hash()
    frame = pl.DataFrame({"key": key, "text": lines})
    unique = frame.unique("key", keep="first", maintain_order=True)
    texts = pl.Series(clean_lines(unique["text"]), dtype=pl.String)
    hashed = unique.select("key", hash=hash_texts(texts))
    return frame.select("key").join(hashed, on="key", how="left", maintain_order="left")["hash"]


class Learner:
    """Gathers what a file says, for the case that its job passed: all of a file of one block, of a longer one
    what looks like a failure."""

    def __init__(self) -> None:
        self._only_block: pl.Series | None = None
        self._blocks = 0
        self._seen = pl.Series(dtype=pl.UInt64)
        self._said: list[pl.Series] = []

    def add(self, lines: pl.Series, found: pl.DataFrame) -> None:
        """Take in a block: its lines, and its candidates with their `row` and `template` (any hash)."""
        self._blocks += 1
        self._only_block = lines if self._blocks == 1 else None
        if len(self._seen) >= MAX_TEMPLATES:
            return
        fresh = found.select("row", "template").unique("template", keep="first", maintain_order=True)
        fresh = fresh.filter(~pl.col("template").is_in(self._seen.implode()))
        self._seen = pl.concat([self._seen, fresh["template"]])
        self._said.append(hash_lines(lines.gather(fresh["row"])).unique())

    def finish(self, ends: Sequence[str]) -> Baseline:
        """Return the baseline of a file that passed; `ends` are its first and last lines as they stand."""
        if self._only_block is not None:
            return build_baseline([hash_lines(self._only_block)], whole=True)
        return build_baseline([*self._said, hash_lines(pl.Series(ends, dtype=pl.String))], whole=False)


class Novelty:
    """Finds the lines of a file, block by block, that are new against a whole baseline: the first of each
    template."""

    def __init__(self, baseline: Baseline) -> None:
        self._baseline = baseline
        self._found = pl.Series(dtype=pl.UInt64)
        self.lines: list[int] = []  # 0-based, ascending

    def add(self, hashes: pl.Series, start: int) -> list[int]:
        """Return the new lines of a block from line `start` on, given the hash of each of its lines."""
        if len(self.lines) > MAX_NEW:
            return []
        fresh = ~self._baseline.knows(hashes) & ~hashes.is_in(self._found.implode())
        rows = fresh.arg_true().cast(pl.Int64)
        new = pl.DataFrame({"line": rows + start, "hash": hashes.gather(rows)})
        new = new.unique("hash", keep="first", maintain_order=True).head(MAX_NEW + 1)
        self._found = self._found.append(new["hash"])
        self.lines.extend(new["line"])
        return new["line"].to_list()

    @property
    def telling(self) -> tuple[int, ...]:
        """The new lines, unless there are so many that the baseline must be of another job."""
        return () if len(self.lines) > MAX_NEW else tuple(self.lines)
