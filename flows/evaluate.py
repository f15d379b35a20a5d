"""Score the extractor, and a model's answers where one is asked, on logs that people have labelled."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.runtime import flow_run as this_run
from prefect.states import Cancelled, Completed, State

from bifrost_flow.errors import SettingsError
from bifrost_flow.evaluation import BudgetResult, Evaluation, list_metrics
from bifrost_flow.evaluation_events import EventScores, list_event_metrics
from bifrost_flow.language import t
from bifrost_flow.progress import stop_requested
from bifrost_flow.prompts import DEFAULT_PROMPT
from bifrost_flow.records import Finding, Group, Problem
from bifrost_flow.settings import load_settings
from bifrost_flow.summary import describe_problem
from bifrost_flow.tracked import TrackedRun
from connectors.models.protocol import ModelDescription
from connectors.models.questions import build_finding
from flows.job import Asked, Job, describe_delivery, list_unread
from tasks.analyse import look_up
from tasks.evaluate import Asking, name_question, pick_questions, read_labels, score, track_evaluation
from tasks.evaluate_events import score_events
from tasks.extract import extract
from tasks.filter import filter_lines
from tasks.ingest import ingest
from tasks.normalise import normalise

MIN_BUDGET_TOKENS = 50


def name_run() -> str:
    """Return what a person looks for in Prefect's list of runs: the folder and the date."""
    folder = Path(this_run.parameters.get("folder") or "?")
    return f"{folder.name or folder} {datetime.now(UTC):%Y-%m-%d %H:%M}"


@flow(name="evaluate", flow_run_name=name_run, persist_result=True, result_serializer="json")
async def evaluate(
    folder: str,
    budgets: list[int] | None = None,
    events: bool = False,
    warehouse: str | None = None,
    project: str | None = None,
    provider: str | None = None,
    model: str | None = None,
    prompt: str = DEFAULT_PROMPT,
    lang: str | None = None,
    concurrency: int | None = None,
    use_cache: bool = True,
) -> State[dict[str, Any]]:
    """Score the extractor on labelled logs, and a model where one is named.

    Args:
        folder: holds labels.jsonl, or logdx/*/ground_truth.json, and the logs that these name.
        budgets: tokens of evidence to keep of each log; with several, the curve.
        events: also score how logs are split into events, and like lines and like crashes grouped.
        warehouse: folder of the answer cache, and of MLflow's store unless one is configured.
        project: under which the model's calls are written down.
        provider: who is asked about each failing log; nobody unless this or `model` is given.
        model: the provider's model.
        prompt: what is asked: error_analysis, performance, security or deployment.
        lang: language of the answers: en or ko. What answers must mention is in the labels' own language.
        concurrency: model calls at a time.
        use_cache: take answers that were paid for earlier.
    """
    asking = bool(provider or model)
    overrides = {
        "warehouse": warehouse,
        "project": project,
        "provider": provider if asking else "rules",  # nobody is looked for when nobody is asked
        "model": model,
        "lang": lang,
        "fanout.concurrency": concurrency,
    }
    settings = load_settings(overrides)
    sizes = check_budgets(budgets or [settings.evidence.budget_tokens])
    labelled = read_labels(folder)
    job = Job(settings, [folder], prompt=prompt, dry_run=False)

    inputs = ingest([log.path for log in labelled.logs], max_bytes=None)
    plan = filter_lines(normalise(inputs.sources))
    evidence = {size: extract(plan, budget_tokens=size) for size in sizes}

    asked, chosen, findings = Asked((), (), ()), None, None
    if asking:
        groups = pick_questions(labelled.logs, evidence)
        asked, chosen = await ask(job, groups, use_cache=use_cache)
        findings = build_findings(asked)
    job.journal.fold(job.warehouse)

    results = tuple(
        score(labelled.logs, found, findings, budget_tokens=size) for size, found in evidence.items()
    )
    scored = score_events(folder, budget_tokens=settings.evidence.budget_tokens) if events else None
    first = next(iter(evidence.values()))
    problems = (*labelled.problems, *inputs.problems, *list_unread(first), *asked.problems)
    done = describe_evaluation(job, folder, results, scored, asked, chosen, problems)
    tracked = await track_evaluation(describe_for_tracking(job, done), job.tracker)
    return end_flow(replace(done, mlflow=describe_delivery(tracked)))


def check_budgets(budgets: Sequence[int]) -> list[int]:
    """Return the budgets, ascending and each once.

    Raises:
        SettingsError: one leaves no room for a line.
    """
    if min(budgets) < MIN_BUDGET_TOKENS:
        raise SettingsError(t("evaluate.small_budget", budget=min(budgets), least=MIN_BUDGET_TOKENS))
    return sorted(set(budgets))


async def ask(job: Job, groups: Sequence[Group], *, use_cache: bool) -> tuple[Asked, ModelDescription]:
    """Ask about `groups` as an audit does: from the cache, else the model, each answer kept at once."""
    provider = await job.choose_provider()
    cached = look_up(
        groups,
        provider,
        await job.choose_prompt(),
        language=job.settings.lang,
        warehouse=job.cache if use_cache else None,
    )
    # The same text in two logs is one question to a model, and an answer to each log.
    distinct = {question.cache_key: question for question in cached.misses}
    asked = await job.ask(replace(cached, misses=tuple(distinct.values())), provider)
    job.warehouse.write_calls(job.run_id, asked.calls)
    by_key = {answer.question.cache_key: answer for answer in asked.answers}
    repeated = [
        replace(by_key[question.cache_key], question=question, cached=True)
        for question in cached.misses
        if question.cache_key in by_key and question is not distinct[question.cache_key]
    ]
    return replace(asked, answers=(*asked.answers, *repeated)), provider.describe()


def build_findings(asked: Asked) -> dict[Asking, Finding]:
    """Return the answers by what was asked, their citations looked up and their names checked."""
    now = datetime.now(UTC)
    return {
        name_question(each.question.group.exemplar): build_finding(each, first_seen=now, last_seen=now)
        for each in asked.answers
    }


def describe_evaluation(
    job: Job,
    folder: str,
    results: tuple[BudgetResult, ...],
    events: EventScores | None,
    asked: Asked,
    chosen: ModelDescription | None,
    problems: Sequence[Problem],
) -> Evaluation:
    """Return the result of the whole; a model was asked where one is `chosen`."""
    return Evaluation(
        run_id=job.run_id,
        status="interrupted" if stop_requested() else "partial" if problems else "completed",
        folder=folder,
        logs=max(len(result.logs) for result in results),
        budgets=results,
        events=events,
        provider=chosen.provider if chosen else None,
        model=chosen.model if chosen else None,
        prompt=job.prompt.name if chosen else None,
        prompt_version=job.prompt.version if chosen else None,
        language=job.settings.lang,
        llm_calls=len(asked.calls),
        cache_hits=sum(answer.cached for answer in asked.answers),
        tokens_in=sum(call.tokens_in for call in asked.calls),
        tokens_out=sum(call.tokens_out for call in asked.calls),
        cost_usd=sum(call.cost_usd for call in asked.calls),
        duration_s=round(time.time() - job.started_at.timestamp(), 3),
        problems=tuple(describe_problem(problem) for problem in problems),
    )


def describe_for_tracking(job: Job, done: Evaluation) -> TrackedRun:
    """Return what MLflow keeps: one run; with several budgets a run for each is nested in it."""
    parameters = describe_parameters(job, done)
    runs = [
        TrackedRun(
            name=f"{job.source} {result.budget_tokens:,}",
            started_at=job.started_at,
            finished_at=datetime.now(UTC),
            status=done.status,
            parameters={**parameters, "budget_tokens": result.budget_tokens},
            metrics=list_metrics(result),
            tags={"kind": "evaluation", "run_id": done.run_id, "project": job.settings.project},
        )
        for result in done.budgets
    ]
    artifacts = {"evaluation.json": json.dumps(done.to_dict(), ensure_ascii=False, indent=1)}
    if done.prompt:
        artifacts["prompt.txt"] = f"{job.prompt.system}\n\n{job.prompt.user}\n"
    totals = {
        name: float(getattr(done, name)) for name in ("llm_calls", "cache_hits", "tokens_in", "tokens_out")
    }
    totals |= {"duration": done.duration_s, "cost": done.cost_usd}
    totals |= list_event_metrics(done.events) if done.events else {}
    whole = replace(
        runs[0], name=f"evaluate {job.source} {job.started_at:%Y-%m-%d %H:%M:%S}", artifacts=artifacts
    )
    if len(runs) == 1:
        return replace(whole, metrics={**whole.metrics, **totals})
    sizes = ", ".join(str(result.budget_tokens) for result in done.budgets)
    return replace(
        whole, metrics=totals, parameters={**parameters, "budget_tokens": sizes}, nested=tuple(runs)
    )


def describe_parameters(job: Job, done: Evaluation) -> Mapping[str, object]:
    """Return what shapes the scores, apart from the budget."""
    model = (
        {"provider": done.provider, "model": done.model, "language": done.language} if done.provider else {}
    )
    versions = {f"version_{name}": value for name, value in job.describe_versions().items()}
    return {"folder": done.folder, "logs": done.logs, **model, **versions}


def end_flow(done: Evaluation) -> State[dict[str, Any]]:
    """Return the state that says how the evaluation went: part of it failing is in its name."""
    text = "; ".join(done.problems[:10])
    if done.status == "interrupted":
        return Cancelled(data=done.to_dict(), message=text)
    return Completed(name=done.status.title(), data=done.to_dict(), message=text)
