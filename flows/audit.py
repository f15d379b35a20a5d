"""The main job: read logs, find what failed, explain each distinct failure once, keep and deliver."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from prefect import Flow, flow
from prefect.client.schemas.objects import FlowRun
from prefect.runtime import flow_run as this_run
from prefect.states import Cancelled, Completed, State

from bifrost_flow.errors import SettingsError
from bifrost_flow.prompts import DEFAULT_PROMPT
from bifrost_flow.render import pick_formats
from bifrost_flow.seen import list_chunks, list_unshown
from bifrost_flow.settings import load_settings
from bifrost_flow.summary import Summary
from bifrost_flow.window import split_since
from connectors.baselines import list_known_good
from connectors.extraction_remote import Runner, check_runner
from connectors.incremental import Reading, plan_reading
from connectors.metrics import metrics
from flows.admitting import admit_run, find_due
from flows.asking import Asked
from flows.choices import Language, Provider, RunnerKind, Severity
from flows.described import describe_delivery, describe_failed_run, name_source
from flows.job import Job
from flows.opening import list_ci_access, open_warehouse
from flows.telling import log_progress
from tasks.analyse import look_up
from tasks.export import export
from tasks.extract import extract
from tasks.filter import filter_lines
from tasks.group import group
from tasks.ingest import ingest
from tasks.normalise import normalise
from tasks.notify import alert, notify
from tasks.persist import persist
from tasks.publish import NOT_WANTED, is_wanted, publish, publish_failure
from tasks.secrets import read_secret_blocks
from tasks.track import track


def name_run() -> str:
    """Return what a person looks for in Prefect's list of runs: the source and the date."""
    source = name_source(this_run.parameters.get("paths") or [])
    return f"{source} {datetime.now(UTC):%Y-%m-%d %H:%M}"


async def alert_about_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Tell Slack, webhook and Prometheus that an audit failed as a whole; Prefect calls this."""
    if "SettingsError" in (state.message or ""):
        return  # a slip of whoever called, who is told at once
    named = {name: flow_run.parameters.get(name) for name in ("warehouse", "project", "lang")}
    try:
        settings = load_settings(await read_secret_blocks(named))
    except SettingsError:
        return  # what is wrong with the settings is the failure itself, and nobody to tell is configured
    source = name_source(flow_run.parameters.get("paths") or [])
    failed = describe_failed_run(
        str(flow_run.id), settings.project, source, flow_run.start_time or datetime.now(UTC)
    )
    alert(failed, settings, state.message or state.name or "")
    if is_wanted(settings.metrics):
        publish_failure(open_warehouse(settings, create=False), settings.project, settings.metrics)


def end_flow(summary: Summary, result: dict[str, Any]) -> State[dict[str, Any]]:
    """Return the state that says how the run went: part of it failing is in its name, no exception."""
    text = "; ".join(summary.problems[:10])
    if summary.status == "interrupted":
        return Cancelled(data=result, message=text)
    name = summary.status.replace("_", " ").title().replace(" ", "")
    return Completed(name=name, data=result, message=text)


@flow(
    name="audit",
    flow_run_name=name_run,
    persist_result=True,
    result_serializer="json",
    on_failure=[alert_about_failure],
    on_crashed=[alert_about_failure],
)
async def audit(
    paths: list[str],
    since: str | None = None,
    date_from: str | None = None,
    date_to: str | None = None,
    until: str | None = None,
    severity: Severity | None = None,
    keywords: list[str] | None = None,
    regex: bool = False,
    provider: Provider | None = None,
    model: str | None = None,
    prompt: str = DEFAULT_PROMPT,
    lang: Language | None = None,
    concurrency: int | None = None,
    runner: RunnerKind | None = None,
    budget_tokens: int | None = None,
    max_calls: int | None = None,
    max_tokens: int | None = None,
    max_cost_usd: float | None = None,
    requests_per_minute: int | None = None,
    tokens_per_minute: int | None = None,
    dry_run: bool = False,
    use_cache: bool = True,
    baselines: list[str] | None = None,
    use_baselines: bool = True,
    formats: list[str] | None = None,
    out: str | None = None,
    warehouse: str | None = None,
    project: str | None = None,
) -> State[dict[str, Any]]:
    """Audit a pile of logs: what failed, why, and what is new since the last run.

    Args:
        paths: files, folders or globs, here or in a bucket (s3://…); {date} in one stands for days.
        since: only events from then on: 2h ago, yesterday, 2026-11-23 10:00 Asia/Seoul (or UTC);
            or last-success: only logs that are new or changed since a run was done with them.
        date_from: first day that {date} in a path stands for, to read days again: 2026-11-01.
        date_to: last day that {date} in a path stands for; default: today (UTC).
        until: only events up to then; of a date, up to its end.
        severity: only events of this severity or worse: trace, debug, info, warning, error or critical.
        keywords: only events that hold all of these words, in any case.
        regex: take the keywords as regular expressions.
        provider: who explains: auto, rules, ollama, openai or bedrock.
        model: the provider's model.
        prompt: what is asked: error_analysis, performance, security or deployment.
        lang: language of answers and report: en or ko.
        concurrency: model calls at a time.
        runner: who reads the logs: threads, dask or ray.
        budget_tokens: tokens of evidence to keep of each log.
        max_calls: model calls in this run at most, repeated ones included.
        max_tokens: tokens in this run at most, in and out.
        max_cost_usd: what this run may cost at most, in USD by the table of prices.
        requests_per_minute: model calls in any minute at most.
        tokens_per_minute: tokens in any minute at most, in and out.
        dry_run: say what would be asked and spent, and call nobody.
        use_cache: take answers that were paid for earlier.
        baselines: logs of runs that passed, to compare with; default: earlier runs of the same jobs.
        use_baselines: compare with runs that passed.
        formats: report formats: markdown, html, json, jsonl, csv, parquet, sarif, pr-comment.
        out: folder or file for the reports; default: reports/ in the warehouse.
        warehouse: folder of the tables.
        project: whose history the findings are compared with.
    """
    overrides = {
        "warehouse": warehouse,
        "project": project,
        "provider": provider,
        "model": model,
        "lang": lang,
        "fanout.concurrency": concurrency,
        "runner.kind": runner,
        "fanout.max_calls": max_calls,
        "fanout.max_tokens": max_tokens,
        "fanout.max_cost_usd": max_cost_usd,
        "fanout.requests_per_minute": requests_per_minute,
        "fanout.tokens_per_minute": tokens_per_minute,
        "evidence.budget_tokens": budget_tokens,
        "output.out": out,
    }
    wanted = {
        "severity": severity,
        "keywords": keywords or (),
        "regex": regex,
        "since": split_since(since)[1],
        "until": until,
        "now": (due := find_due()),
    }
    settings = load_settings(await read_secret_blocks(overrides))
    check_runner(settings.runner.kind)
    log_progress()
    permitted = admit_run(paths, baselines=baselines, written=[warehouse, out])
    chosen = pick_formats(formats, out=settings.output.out, configured=settings.output.format)
    job = Job(settings, paths, prompt=prompt, dry_run=dry_run)
    job.compare_with(baselines, use=use_baselines, permitted=permitted)
    try:
        reading = plan_reading(
            paths,
            since=since,
            date_from=date_from,
            date_to=date_to,
            warehouse=job.cache,
            # What is new is new whenever it is looked for.
            now=job.started_at if split_since(since)[0] else due,
        )
        reading = replace(reading, permitted=permitted)
        with metrics().analysing(settings.project):
            done = await run_stages(
                job, reading, wanted, formats=chosen, use_cache=use_cache, dry_run=dry_run
            )
    finally:
        job.close()
    return end_flow(done, done.to_dict())


async def run_stages(
    job: Job,
    reading: Reading,
    wanted: dict[str, Any],
    *,
    formats: Sequence[str],
    use_cache: bool,
    dry_run: bool,
) -> Summary:
    """Carry out the audit stage by stage."""
    settings = job.settings

    inputs = ingest(reading, max_bytes=job.max_bytes, ci=list_ci_access(settings))
    lines = filter_lines(normalise(inputs.sources), **wanted)
    evidence = extract(
        lines,
        budget_tokens=settings.evidence.budget_tokens,
        find_baselines=job.find_baselines,
        learn=not dry_run,
        runner=Runner(settings.runner.kind, settings.runner.address),
    )
    groups = group(evidence)

    prompt = await job.choose_prompt()
    async with aclosing(await job.choose_provider()) as chosen:
        cached = look_up(
            groups, chosen, prompt, language=settings.lang, warehouse=job.cache if use_cache else None
        )
        if dry_run:
            report = job.build_report(inputs, evidence, groups, Asked(cached.answered))
            return job.end(report, chosen, planned=job.plan_cost(cached, chosen))
        asked = await job.ask(cached, chosen)
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
    measured = {name: value for name, value, _unit in job.measure(report)}
    report = await job.add_similar(report)
    exported, tracked, notified = await asyncio.gather(
        export(
            report,
            formats=formats,
            out=settings.output.out,
            overview=job.warehouse if settings.output.dashboard else None,
            base_url=settings.output.base_url,
        ),
        track(report, job.tracker, metrics=measured, prompt=prompt),
        notify(report, settings),
    )
    done = job.end(report, chosen, exported=exported, tracked=tracked, notified=notified)
    published = await publish(job.warehouse, settings.metrics) if is_wanted(settings.metrics) else NOT_WANTED
    return replace(done, metrics=describe_delivery(published))
