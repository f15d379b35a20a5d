"""Bring baselines to the logs of a run: from logs that a person names as good, or from earlier runs."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import polars as pl

from bifrost_flow.errors import SettingsError
from bifrost_flow.evidence.baseline import (
    MAX_TEMPLATES,
    VERSION,
    Baseline,
    KnownGood,
    build_baseline,
    hash_lines,
)
from bifrost_flow.evidence.blocks import split_lines
from bifrost_flow.evidence.clean import clean_line
from bifrost_flow.evidence.formats import detect_jobs, read_job
from bifrost_flow.evidence.scan import JOB_LINES
from bifrost_flow.jobkey import name_job
from bifrost_flow.language import t
from bifrost_flow.records import FileEvidence
from connectors.ci.access import CiAccess
from connectors.permitted import Permitted
from connectors.sources import (
    MAX_LINE_BYTES,
    ReadFacts,
    Source,
    fetch_ahead,
    find_sources,
    read_blocks,
    remove_spooled,
)
from connectors.warehouse import Warehouse

PEEK_BYTES = 1 << 16
PEEKERS = 16
LAST_RUNS = 5  # that passed, of each job


def read_baseline(
    targets: Sequence[str], *, ci: CiAccess | None = None, permitted: Permitted | None = None
) -> Baseline:
    """Return what the logs say that `targets` name, as `find_sources` takes them; links may lead to what is
    `permitted` alone.

    Raises:
        SettingsError: one of them can't be read to its end.
    """
    sources, _, problems = find_sources(targets, ci=ci, permitted=permitted)
    try:
        if problems:
            raise SettingsError(t("evidence.baseline.unreadable", reason=problems[0].message))
        return build_baseline(_hash_sources(sources), whole=True)
    finally:
        remove_spooled(sources)


def _hash_sources(sources: Sequence[Source]) -> Iterator[pl.Series]:
    for source in fetch_ahead(sources):
        facts = ReadFacts()
        for block in read_blocks(source, facts):
            lines, _ = split_lines(block, MAX_LINE_BYTES, trusted=False)
            yield hash_lines(lines).unique()
        if facts.status != "read":
            raise SettingsError(t("evidence.baseline.unreadable", reason=facts.error or source.path))


def look_up_baselines(warehouse: Warehouse, sources: Sequence[Source]) -> Mapping[str, Baseline]:
    """Return, by path, what the last passing runs of the jobs say that `sources` are logs of.

    One query for all of them; none, and no look into the files, where no run of the project passed yet.
    """
    if not warehouse.has_known_good():
        return {}
    jobs = _peek_jobs(sources)
    keys = {source.path: name_job(source.path, job) for source, job in zip(sources, jobs, strict=True)}
    wanted = sorted({key for key in keys.values() if key is not None})
    found = {
        key: Baseline(pl.Series(templates, dtype=pl.UInt64), whole)
        for key, templates, whole in warehouse.read_known_good(
            wanted, rules=VERSION, runs=LAST_RUNS, most=MAX_TEMPLATES
        )
    }
    return {path: found[key] for path, key in keys.items() if key in found}


def _peek_jobs(sources: Sequence[Source]) -> list[str | None]:
    if all(source.version is None for source in sources):
        return [peek_job(source) for source in sources]
    # Each look into an object waits for an answer.
    with ThreadPoolExecutor(PEEKERS, thread_name_prefix="peek") as threads:
        return list(threads.map(peek_job, sources))


def peek_job(source: Source) -> str | None:
    """Return the job that the first lines of a source tell, as reading all of it would find it."""
    if not source.location.is_file():
        return None  # a pipe can be read once
    block = next(read_blocks(source, ReadFacts(), block_bytes=PEEK_BYTES), b"")
    head = block.decode("utf-8", "replace").split("\n")[:JOB_LINES]
    (job,) = detect_jobs(pl.Series(["\n".join(clean_line(line) for line in head)]))
    return job or read_job(head[0], source.path)


def list_known_good(evidence: Sequence[FileEvidence]) -> list[KnownGood]:
    """Return what the jobs say that passed, one row a job."""
    jobs: dict[str, list[FileEvidence]] = {}
    for each in evidence:
        key = name_job(each.file.path, each.file.job)
        if each.learnt is not None and key is not None:
            jobs.setdefault(key, []).append(each)
    now = datetime.now(UTC)
    return [_merge(key, files, now) for key, files in jobs.items()]


def _merge(key: str, files: Sequence[FileEvidence], now: datetime) -> KnownGood:
    learnt = [each.learnt for each in files if each.learnt is not None]
    merged = build_baseline((each.templates for each in learnt), whole=any(each.whole for each in learnt))
    return KnownGood(
        job_key=key,
        ci_system=files[0].file.ci_system,
        rules=VERSION,
        templates=merged.templates,
        whole=merged.whole,
        files=len(files),
        lines=sum(each.file.lines for each in files),
        created_at=now,
    )
