"""Score the extractor, and a model's answers where one is asked, on logs that people have labelled."""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.runtime import flow_run as this_run
from prefect.states import Cancelled, Completed, State

from bifrost_flow.errors import SettingsError
from bifrost_flow.evaluation import BudgetResult, Evaluation
from bifrost_flow.language import t
from bifrost_flow.prompts import DEFAULT_PROMPT, Prompt
from bifrost_flow.records import Finding, Group
from bifrost_flow.seen import list_unread
from bifrost_flow.settings import load_settings
from bifrost_flow.tracked import describe_dataset
from connectors.models.protocol import Provider
from connectors.models.questions import build_finding
from flows.asking import Asked
from flows.described import describe_delivery
from flows.evaluated import Point, describe_evaluation, describe_for_tracking
from flows.job import Job
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
    models: list[str] | None = None,
    prompts: list[str] | None = None,
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
        models: several models of the provider, each asked everything; in place of `model`.
        prompts: several prompts, each asked of every model; in place of `prompt`.
        lang: language of the answers: en or ko. What answers must mention is in the labels' own language.
        concurrency: model calls at a time.
        use_cache: take answers that were paid for earlier.
    """
    names: list[str | None] = [*dict.fromkeys(models or ())] or [model]
    asking = bool(provider or names[0])
    overrides = {
        "warehouse": warehouse,
        "project": project,
        "provider": provider if asking else "rules",  # nobody is looked for when nobody is asked
        "model": names[0],
        "lang": lang,
        "fanout.concurrency": concurrency,
    }
    settings = load_settings(overrides)
    sizes = check_budgets(budgets or [settings.evidence.budget_tokens])
    labelled = read_labels(folder)
    questions = [*dict.fromkeys(prompts or [prompt])]
    job = Job(settings, [folder], prompt=questions[0], dry_run=False)

    inputs = ingest([log.path for log in labelled.logs], max_bytes=None)
    plan = filter_lines(normalise(inputs.sources))
    evidence = {size: extract(plan, budget_tokens=size) for size in sizes}

    points = [Point()]
    if asking:
        groups = pick_questions(labelled.logs, evidence)
        points = [
            point
            for name in names
            for point in await ask_model(job, groups, name, questions, use_cache=use_cache)
        ]
        job.warehouse.write_calls(job.run_id, [call for point in points for call in point.asked.calls])
    job.journal.fold(job.warehouse)

    results = tuple(
        label_result(score(labelled.logs, found, point.findings, budget_tokens=size), point)
        for point in points
        for size, found in evidence.items()
    )
    scored = score_events(folder, budget_tokens=settings.evidence.budget_tokens) if events else None
    first = next(iter(evidence.values()))
    answered = [problem for point in points for problem in point.asked.problems]
    problems = (*labelled.problems, *inputs.problems, *list_unread(first), *answered)
    done = describe_evaluation(job, folder, results, scored, points, problems)
    dataset = describe_dataset(job.source, [each.file for each in first], context="evaluation")
    tracked = await track_evaluation(describe_for_tracking(job, done, points, dataset), job.tracker)
    return end_flow(replace(done, mlflow=describe_delivery(tracked)))


def label_result(result: BudgetResult, point: Point) -> BudgetResult:
    """Return `result` with who was asked what."""
    if point.model is None or point.prompt is None:
        return result
    return replace(
        result,
        provider=point.model.provider,
        model=point.model.model,
        prompt=point.prompt.name,
        prompt_version=point.prompt.version,
    )


def check_budgets(budgets: Sequence[int]) -> list[int]:
    """Return the budgets, ascending and each once.

    Raises:
        SettingsError: one leaves no room for a line.
    """
    if min(budgets) < MIN_BUDGET_TOKENS:
        raise SettingsError(t("evaluate.small_budget", budget=min(budgets), least=MIN_BUDGET_TOKENS))
    return sorted(set(budgets))


async def ask_model(
    job: Job, groups: Sequence[Group], model: str | None, prompts: Sequence[str], *, use_cache: bool
) -> list[Point]:
    """Ask one model about `groups` by each of `prompts`."""
    points = []
    async with aclosing(await job.choose_provider(model)) as provider:
        for name in prompts:
            prompt = await job.choose_prompt(name)
            asked = await ask(job, groups, provider, prompt, use_cache=use_cache)
            points.append(Point(provider.describe(), prompt, asked, build_findings(asked)))
    return points


async def ask(
    job: Job, groups: Sequence[Group], provider: Provider, prompt: Prompt, *, use_cache: bool
) -> Asked:
    """Ask about `groups` as an audit does: from the cache, else the model, each answer kept at once."""
    cached = look_up(
        groups,
        provider,
        prompt,
        language=job.settings.lang,
        warehouse=job.cache if use_cache else None,
    )
    # The same text in two logs is one question to a model, and an answer to each log.
    distinct = {question.cache_key: question for question in cached.misses}
    asked = await job.ask(replace(cached, misses=tuple(distinct.values())), provider)
    by_key = {answer.question.cache_key: answer for answer in asked.answers}
    repeated = [
        replace(by_key[question.cache_key], question=question, cached=True)
        for question in cached.misses
        if question.cache_key in by_key and question is not distinct[question.cache_key]
    ]
    return replace(asked, answers=(*asked.answers, *repeated))


def build_findings(asked: Asked) -> dict[Asking, Finding]:
    """Return the answers by what was asked, their citations looked up and their names checked."""
    now = datetime.now(UTC)
    return {
        name_question(each.question.group.exemplar): build_finding(each, first_seen=now, last_seen=now)
        for each in asked.answers
    }


def end_flow(done: Evaluation) -> State[dict[str, Any]]:
    """Return the state that says how the evaluation went: part of it failing is in its name."""
    text = "; ".join(done.problems[:10])
    if done.status == "interrupted":
        return Cancelled(data=done.to_dict(), message=text)
    return Completed(name=done.status.title(), data=done.to_dict(), message=text)
