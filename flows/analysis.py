"""One log, explained at once: the stages of an audit without deliveries. No Prefect in here.

The flow `analyze` is a shell over this; without a Prefect server the command line calls it as it is.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bifrost_flow.draft import read_draft
from bifrost_flow.errors import SettingsError
from bifrost_flow.excerpt import find_anchor
from bifrost_flow.language import t
from bifrost_flow.progress import progress
from bifrost_flow.prompts import DEFAULT_PROMPT
from bifrost_flow.records import FileEvidence, Group, Report
from bifrost_flow.render.defuse import put_on_one_line
from bifrost_flow.render.table import make_plain
from bifrost_flow.seen import list_chunks, list_unshown
from bifrost_flow.settings import load_settings
from bifrost_flow.status import compare, list_past
from bifrost_flow.summary import Summary
from connectors.baselines import list_known_good
from connectors.incremental import Reading
from connectors.metrics import metrics
from connectors.models.protocol import Provider
from connectors.models.questions import GroupAnswer, Question, build_finding
from connectors.permitted import Permitted
from flows.asking import Asked
from flows.job import Job
from flows.opening import list_ci_access
from tasks.analyse import CachePlan, Listener, look_up
from tasks.extract import extract
from tasks.filter import filter_lines
from tasks.group import group
from tasks.ingest import Inputs, ingest
from tasks.normalise import normalise
from tasks.persist import persist

MAX_LINE_CHARS = 300


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure that was found and has no finding."""

    fingerprint: str
    severity: str
    category: str
    path: str
    line: int
    text: str  # of that line
    occurrences: int
    asked: bool  # an explanation was wanted, and nobody gave one
    excerpt: tuple[tuple[int, str], ...]  # line numbers and lines of the evidence


@dataclass(frozen=True, slots=True)
class Analysis:
    """What came of one log."""

    summary: Summary
    report: Report
    outcome: str  # of the job that wrote the log: passed, failed, unknown
    others: tuple[Failure, ...]

    def to_dict(self) -> dict[str, object]:
        """Return it as plain values, ready for JSON; resolved findings are in the tables alone."""
        return {
            **self.summary.to_dict(),
            "outcome": self.outcome,
            "findings": [
                make_plain(finding)
                | {"similar": [make_plain(each) for each in self.report.similar.get(finding.fingerprint, ())]}
                for finding in self.report.findings
                if finding.status != "resolved"
            ],
            "others": [make_plain(failure) for failure in self.others],
        }


async def analyze_log(
    path: str | None,
    *,
    text: str | None = None,
    name: str | None = None,
    permitted: Permitted | None = None,
    overrides: Mapping[str, object],
    prompt: str = DEFAULT_PROMPT,
    explain_all: bool = False,
    use_cache: bool = True,
    stream: bool = False,
    baselines: Sequence[str] | None = None,
    wanted: Mapping[str, Any] | None = None,
) -> Analysis:
    """Explain the first failure of one log, or all of them, and keep what an audit keeps.

    `text` is the log itself, in place of `path`, and `name` what to call it; links of `path` may lead to
    what is `permitted` alone; `overrides` go before the settings; `wanted` are conditions that events must
    meet, as `filter_lines` takes them. Who listens to
    `progress` hears each answer, and with `stream` its draft while it is written.

    Raises:
        SettingsError: there is no such setting or prompt, or `path` names no single log.
    """
    if (path is None) == (text is None):
        raise SettingsError(t("analyze.path_or_text"))
    job = Job(
        load_settings(overrides), [path or name or "text"], prompt=prompt, tracked=False, kind="analyze"
    )
    job.compare_with(baselines, use=True, permitted=permitted)
    stdin = None if text is None else io.BytesIO(text.encode("utf-8", "replace"))
    try:
        access = list_ci_access(job.settings)
        reading = Reading({path or "-": ()}, permitted=permitted)
        inputs = ingest(reading, max_bytes=job.max_bytes, stdin=stdin, stdin_name=name or "-", ci=access)
        check_single(inputs, path or "-")
        with metrics().analysing(job.settings.project):
            return await run_stages(
                job, inputs, wanted or {}, explain_all=explain_all, use_cache=use_cache, stream=stream
            )
    finally:
        job.close()


async def run_stages(
    job: Job,
    inputs: Inputs,
    wanted: Mapping[str, Any],
    *,
    explain_all: bool,
    use_cache: bool,
    stream: bool,
) -> Analysis:
    """Carry out the analysis stage by stage."""
    lines = filter_lines(normalise(inputs.sources), **wanted)
    evidence = extract(
        lines,
        budget_tokens=job.settings.evidence.budget_tokens,
        find_baselines=job.find_baselines,
        learn=True,
    )
    groups = sorted(group(evidence, every=True), key=lambda group: group.exemplar.rank)

    picked = groups if explain_all else groups[:1]
    chosen, asked = await ask(job, picked, use_cache=use_cache, stream=stream)
    report = job.build_report(inputs, evidence, groups, asked, filtered=lines.wanted is not None)
    persist(
        job.warehouse,
        report,
        chunks=list_chunks(evidence),
        calls=asked.calls,
        metrics=job.measure(report),
        journal=job.journal,
        known_good=list_known_good(evidence),
        unshown=list_unshown(evidence),
    )
    report = await job.add_similar(report)
    return Analysis(
        job.end(report, chosen), report, name_outcome(evidence), list_unexplained(groups, picked, asked)
    )


def check_single(inputs: Inputs, path: str) -> None:
    """Check that there is one log at most.

    Raises:
        SettingsError: there are several.
    """
    count = len(inputs.sources) + len(inputs.unread)
    if count > 1:
        raise SettingsError(t("analyze.several", path=path, count=count))


async def ask(job: Job, groups: Sequence[Group], *, use_cache: bool, stream: bool) -> tuple[Provider, Asked]:
    """Ask about `groups`, the most important first; where there are none, nobody is even named."""
    chosen = await job.choose_provider(silently=not groups)
    found = look_up(
        groups,
        chosen,
        await job.choose_prompt(),
        language=job.settings.lang,
        warehouse=job.cache if use_cache else None,
    )
    misses = tuple(sorted(found.misses, key=lambda question: question.group.exemplar.rank))
    for answer in sorted(found.answered, key=lambda answer: answer.question.group.exemplar.rank):
        tell_answer(answer, job)
    streams = stream and chosen.describe().provider != "rules"  # which answer at once, in no order
    listener = Listener(lambda answer: tell_answer(answer, job), tell_draft if streams else None)
    try:
        return chosen, await job.ask(CachePlan(found.answered, misses), chosen, listener=listener)
    finally:
        await chosen.aclose()


def tell_answer(answer: GroupAnswer, job: Job) -> None:
    """Tell who listens of a complete answer."""
    finding = build_finding(answer, first_seen=job.started_at, last_seen=job.started_at)
    formerly = job.find_predecessors([answer.question.group])
    progress().show_finding(compare(finding, list_past(finding.fingerprint, job.history, formerly)))


def tell_draft(question: Question, text: str) -> None:
    """Tell who listens of an answer that is being written."""
    progress().show_draft(read_draft(text, question.fingerprint, question.chunk, question.group.exemplar))


def name_outcome(evidence: Sequence[FileEvidence]) -> str:
    """Return how the job ended whose log was read, as far as it tells."""
    return next((each.file.outcome for each in evidence), "unknown")


def list_unexplained(groups: Sequence[Group], picked: Sequence[Group], asked: Asked) -> tuple[Failure, ...]:
    """Return the failures that nobody explained, in order: not wanted, or wanted in vain."""
    explained = {answer.question.fingerprint for answer in asked.answers}
    wanted = {group.fingerprint for group in picked}
    return tuple(
        describe_failure(group, asked=group.fingerprint in wanted)
        for group in groups
        if group.fingerprint not in explained
    )


def describe_failure(group: Group, *, asked: bool) -> Failure:
    """Return what there is to say of a failure without an explanation."""
    chunk = group.exemplar
    lines = chunk.text.split("\n")
    return Failure(
        fingerprint=group.fingerprint,
        severity=chunk.severity,
        category=chunk.category,
        path=chunk.path,
        line=chunk.anchor,
        text=put_on_one_line(lines[find_anchor(chunk)], MAX_LINE_CHARS),
        occurrences=len(group.chunks),
        asked=asked,
        excerpt=tuple(zip(chunk.line_numbers(), lines, strict=False)),
    )
