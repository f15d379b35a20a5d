"""What an evaluation says of itself: its result, and its runs in MLflow."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from bifrost_flow.evaluation import BudgetResult, Evaluation, list_metrics
from bifrost_flow.evaluation_events import EventScores, list_event_metrics
from bifrost_flow.progress import stop_requested
from bifrost_flow.prompts import Prompt
from bifrost_flow.records import Finding, Problem
from bifrost_flow.summary import describe_problem
from bifrost_flow.tracked import (
    PROMPT_FILE,
    TrackedDataset,
    TrackedPrompt,
    TrackedRun,
    render_prompt_text,
)
from connectors.models.protocol import ModelDescription
from flows.asking import Asked
from flows.job import Job
from tasks.evaluate import Asking


@dataclass(frozen=True, slots=True)
class Point:
    """One model asked by one prompt, and what came of it; nobody and nothing where no model is asked."""

    model: ModelDescription | None = None
    prompt: Prompt | None = None
    asked: Asked = field(default_factory=Asked)
    findings: Mapping[Asking, Finding] | None = None


def describe_evaluation(
    job: Job,
    folder: str,
    results: tuple[BudgetResult, ...],
    events: EventScores | None,
    points: Sequence[Point],
    problems: Sequence[Problem],
) -> Evaluation:
    """Return the result of the whole."""
    calls = [call for point in points for call in point.asked.calls]
    return Evaluation(
        run_id=job.run_id,
        status="interrupted" if stop_requested() else "partial" if problems else "completed",
        folder=folder,
        logs=max(len(result.logs) for result in results),
        budgets=results,
        events=events,
        provider=join_names(result.provider for result in results),
        model=join_names(result.model for result in results),
        prompt=join_names(result.prompt for result in results),
        prompt_version=join_names(result.prompt_version for result in results),
        language=job.settings.lang,
        llm_calls=len(calls),
        cache_hits=sum(answer.cached for point in points for answer in point.asked.answers),
        tokens_in=sum(call.tokens_in for call in calls),
        tokens_out=sum(call.tokens_out for call in calls),
        cost_usd=sum(call.cost_usd for call in calls),
        duration_s=round(time.time() - job.started_at.timestamp(), 3),
        problems=tuple(describe_problem(problem) for problem in problems),
    )


def join_names(names: Iterable[str | None]) -> str | None:
    """Return the names, each once; None where there are none."""
    return ", ".join(dict.fromkeys(name for name in names if name)) or None


def describe_for_tracking(
    job: Job, done: Evaluation, points: Sequence[Point], dataset: TrackedDataset
) -> TrackedRun:
    """Return what MLflow keeps: one run; several budgets, models or prompts are runs nested in it."""
    prompts = {(point.prompt.name, point.prompt.version): point.prompt for point in points if point.prompt}
    runs = [
        describe_point(job, done, result, prompts.get((result.prompt or "", result.prompt_version or "")))
        for result in done.budgets
    ]
    runs = [replace(run, dataset=dataset) for run in runs]
    totals = {
        name: float(getattr(done, name)) for name in ("llm_calls", "cache_hits", "tokens_in", "tokens_out")
    }
    totals |= {"duration": done.duration_s, "cost": done.cost_usd}
    totals |= list_event_metrics(done.events) if done.events else {}
    whole = replace(
        runs[0],
        name=f"evaluate {job.source} {job.started_at:%Y-%m-%d %H:%M:%S}",
        artifacts={
            **runs[0].artifacts,
            "evaluation.json": json.dumps(done.to_dict(), ensure_ascii=False, indent=1),
        },
    )
    if len(runs) == 1:
        return replace(whole, metrics={**whole.metrics, **totals})
    united = {
        name: join_names(str(run.parameters[name]) for run in runs if name in run.parameters) or ""
        for name in runs[0].parameters
    }
    if len(prompts) > 1:
        evaluation = {"evaluation.json": whole.artifacts["evaluation.json"]}
        whole = replace(whole, prompt=None, artifacts=evaluation)
    return replace(whole, metrics=totals, parameters=united, nested=tuple(runs))


def describe_point(job: Job, done: Evaluation, result: BudgetResult, prompt: Prompt | None) -> TrackedRun:
    """Return the run of one budget, model and prompt."""
    model = {"provider": result.provider, "model": result.model, "language": done.language}
    versions = job.describe_versions() | (
        {"prompt": f"{prompt.name} {prompt.version}"} if prompt is not None else {}
    )
    parameters = {
        "folder": done.folder,
        "logs": done.logs,
        "budget_tokens": result.budget_tokens,
        **(model if result.provider else {}),
        **{f"version_{name}": value for name, value in versions.items()},
    }
    told = (f"{result.budget_tokens:,}", result.model, result.prompt)
    return TrackedRun(
        name=" ".join((job.source, *filter(None, told))),
        started_at=job.started_at,
        finished_at=datetime.now(UTC),
        status=done.status,
        parameters=parameters,
        metrics=list_metrics(result),
        tags={
            "kind": "evaluation",
            "run_id": done.run_id,
            "project": job.settings.project,
            "status": done.status,
        },
        artifacts={PROMPT_FILE: render_prompt_text(prompt.system, prompt.user)} if prompt else {},
        prompt=TrackedPrompt(prompt.name, prompt.version) if prompt else None,
    )
