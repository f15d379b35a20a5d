"""The values that travel between layers: plain, frozen, and shaped like the warehouse's rows.

Times are aware UTC datetimes. Line numbers are 1-based and count ``\\n`` of the original file only. Tokens
are UTF-8 bytes / 4 unless a provider counted them.
"""

import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bifrost_flow.evidence.baseline import Baseline

SEVERITIES = ("trace", "debug", "info", "warning", "error", "critical")

CATEGORIES = (
    "compile_error",
    "test_assertion",
    "lint_error",
    "type_error",
    "dependency_error",
    "docker_build",
    "network_or_flaky",
    "permission_or_secret",
    "timeout",
    "out_of_resources",
    "crash",
    "configuration_error",
    "infrastructure",
    "deployment",
    "performance",
    "security",
    "unknown",
)

# What a piece of evidence must score to be a failure in its own right, not a detail of another.
MIN_FAILURE_SCORE = 30.0

OUTCOMES = ("passed", "failed", "unknown")

# `read` is fine; `truncated` was read as far as it goes; the others gave no lines.
FILE_STATUSES = ("read", "truncated", "empty", "binary", "unreadable", "missing", "too_large")

FINDING_STATUSES = ("new", "recurring", "regressed", "resolved")

# `audit` is the main job, `analyze` a look at one log, which no later audit's statuses depend on.
RUN_KINDS = ("audit", "analyze")

RUN_STATUSES = ("completed", "partial", "failed", "interrupted", "budget_exhausted", "dry_run")


def new_run_id() -> str:
    """Return a UUIDv7 (RFC 9562, section 5.7): sorts by creation time in milliseconds."""
    stamp = time.time_ns() // 1_000_000
    bits = stamp << 80 | 0x7 << 76 | int.from_bytes(os.urandom(10)) & ~(0xF << 76)
    return str(uuid.UUID(int=bits & ~(0x3 << 62) | 0x2 << 62))


@dataclass(frozen=True, slots=True)
class LogFile:
    """An input file as read in a run; a row of `files`."""

    path: str  # as given, or found below what was given
    sha256: str | None  # of the bytes on disk; None when nothing could be read
    bytes: int  # on disk
    lines: int
    encoding: str  # utf-8, utf-16-le, latin-1, …
    format: str  # plain, gzip, xz, …
    ci_system: str | None  # github-actions, gitlab, jenkins, travis, …
    job: str | None
    first_ts: datetime | None
    last_ts: datetime | None
    outcome: str  # one of OUTCOMES
    status: str  # one of FILE_STATUSES
    error: str | None  # a sentence for a person when status is not `read`
    version: str | None = None  # of the file, or the archive that it is in: `stat:…` or `etag:…`
    aside: bool = (
        False  # other logs of its place, later or left out, hold failures: what it lacks is not gone
    )


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of evidence: lines of one file that belong together; a row of `chunks`.

    `spans` are inclusive line ranges, ascending; `text` holds exactly those lines, normalised and redacted,
    joined with newlines. The lines of `text` are numbered 1…n when they are shown to a model.
    """

    chunk_id: str
    path: str
    rank: int  # 1 is the best of its file
    spans: tuple[tuple[int, int], ...]
    severity: str  # one of SEVERITIES
    category: str  # one of CATEGORIES
    score: float  # comparable within a file; higher is more likely the cause
    fingerprint: str  # tagged with the version of its rules, as in `f1:…`
    template: str  # the masked text behind the fingerprint
    tokens: int
    text: str
    redactions: int
    anchor: int  # line number of the line that the chunk was built around

    @property
    def line_start(self) -> int:
        return self.spans[0][0]

    @property
    def line_end(self) -> int:
        return self.spans[-1][1]

    def line_numbers(self) -> list[int]:
        """Return the file's line number of each line of `text`, in order."""
        return [n for first, last in self.spans for n in range(first, last + 1)]


@dataclass(frozen=True, slots=True)
class FileEvidence:
    """What the evidence stage made of one input file."""

    file: LogFile
    chunks: tuple[Chunk, ...]  # best first
    compared: bool = False  # with what passing runs of the job say
    learnt: "Baseline | None" = None  # what the job says, where it passed and that was asked for
    unshown: tuple[str, ...] = ()  # fingerprints of failures that the budget left no room for


@dataclass(frozen=True, slots=True)
class Group:
    """All chunks of a run with one fingerprint; the exemplar is what the model sees."""

    fingerprint: str
    exemplar: Chunk
    chunks: tuple[Chunk, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(chunk.path for chunk in self.chunks))


@dataclass(frozen=True, slots=True)
class Evidence:
    """A quoted line of a log, looked up by code from the number that the model cited."""

    path: str
    line: int
    quote: str


@dataclass(frozen=True, slots=True)
class Call:
    """A model call; a row of `llm_calls`."""

    cache_key: str
    fingerprint: str
    provider: str
    model: str
    attempt: int  # 1 is the first try
    status: str  # ok, failed
    error: str | None
    latency_ms: float
    tokens_in: int
    tokens_out: int
    cost_usd: float
    started_at: datetime


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """An answer that was paid for; a row of `cache`. The last three are empty in those of older versions."""

    cache_key: str
    response: str  # JSON of `answer.Answer`
    provider: str
    model: str
    prompt_version: str
    tokens_in: int
    tokens_out: int
    created_at: datetime
    identity: str = ""  # `cachekey.identity_key`: who was asked what, whatever the log
    fingerprint: str = ""  # of the failure that it explains
    sighting: str = ""  # JSON of `resighting.describe_sighting`


@dataclass(frozen=True, slots=True)
class Finding:
    """A distinct failure in a run; a row of `findings`."""

    fingerprint: str
    status: str  # one of FINDING_STATUSES
    title: str
    category: str  # one of CATEGORIES
    severity: str  # one of SEVERITIES
    root_cause: str
    explanation: str
    suggestion: str
    confidence: float  # 0…1
    evidence: tuple[Evidence, ...]
    grounded: bool  # every identifier that the answer names occurs in the evidence
    occurrences: int  # chunks with this fingerprint in the run
    files: int  # distinct input files among them
    first_seen: datetime  # in this project
    last_seen: datetime
    provider: str
    model: str
    prompt: str
    prompt_version: str
    cached: bool
    language: str


@dataclass(frozen=True, slots=True)
class SimilarFinding:
    """An earlier finding of the same project that reads like a new one, as it was last told."""

    fingerprint: str
    status: str  # one of FINDING_STATUSES
    title: str
    suggestion: str
    last_seen: datetime
    likeness: float  # 0…1; the share of their words, by weight, that both have


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that went wrong with one input, one call or one delivery while the rest went on."""

    stage: str  # ingest, analyse, track, export, notify, …
    subject: str  # a path, a fingerprint, a channel
    message: str  # a sentence for a person: what, with which value, what to do


@dataclass(frozen=True, slots=True)
class Run:
    """A run of the pipeline; a row of `runs`."""

    run_id: str
    flow_run_id: str | None
    project: str
    source: str
    started_at: datetime
    finished_at: datetime | None
    status: str  # one of RUN_STATUSES
    settings: str  # JSON, secrets masked
    versions: str  # JSON: engine, prompt, schema, fingerprint
    files: int
    bytes: int
    lines: int
    chunks: int
    groups: int
    llm_calls: int
    cache_hits: int
    tokens_in: int
    tokens_out: int
    tokens_saved: int
    cost_usd: float
    errors: int
    kind: str = "audit"  # one of RUN_KINDS
    filtered: bool = False  # only some events of the logs were looked at
    skipped: int = 0  # files that were found but not read, since an earlier run is done with them
    nightly: str | None = None  # JSON of the paths given, when all was read that was new up to that day


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a report, an export or a message about one run is made from."""

    run: Run
    findings: tuple[Finding, ...]  # resolved ones included, at the end
    files: tuple[LogFile, ...]
    problems: tuple[Problem, ...]
    warehouse: str
    language: str
    similar: Mapping[str, tuple[SimilarFinding, ...]] = field(
        default_factory=dict
    )  # by fingerprint of new ones
    formerly: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # by fingerprint, those that older rules made of the same failure
    link: str | None = None  # web address of the HTML report, where it is published
