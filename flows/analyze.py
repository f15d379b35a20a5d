"""One log, explained at once, as a flow: for whoever has a Prefect server, its API or its form."""

from datetime import UTC, datetime
from typing import Any

from prefect import flow, get_client
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.schemas.actions import ArtifactCreate
from prefect.runtime import flow_run as this_run
from prefect.states import State

from bifrost_flow.errors import SettingsError
from bifrost_flow.language import t
from bifrost_flow.prompts import DEFAULT_PROMPT
from bifrost_flow.render import render_report
from bifrost_flow.render.markdown import cut_markdown, escape_inline
from bifrost_flow.settings import load_settings
from flows.admitting import admit_run
from flows.analysis import Analysis, analyze_log
from flows.audit import end_flow
from flows.choices import Language, Provider, Severity
from flows.described import name_source
from flows.requesting import ANSWER_TYPE
from flows.telling import log_progress
from tasks.export import MAX_ARTIFACT_CHARACTERS
from tasks.secrets import read_secret_blocks


async def leave_answer(done: Analysis) -> None:
    """Leave the answer on the Prefect server: as a report to look at, and as values for `request`."""
    report = done.report
    markdown = cut_markdown(render_report(report, "markdown"), MAX_ARTIFACT_CHARACTERS)
    await acreate_markdown_artifact(
        markdown, key=f"answer-{report.run.run_id}", description=escape_inline(report.run.source)
    )
    # Results of Prefect are files where the run was: these can be had from anywhere.
    async with get_client() as client:
        await client.create_artifact(
            ArtifactCreate(type=ANSWER_TYPE, data=done.to_dict(), flow_run_id=this_run.id)
        )


def name_run() -> str:
    """Return what a person looks for in Prefect's list of runs: the source and the date."""
    path = this_run.parameters.get("path")
    named = path or this_run.parameters.get("name") or "text"
    return f"{name_source([named])} {datetime.now(UTC):%Y-%m-%d %H:%M}"


@flow(name="analyze", flow_run_name=name_run, persist_result=True, result_serializer="json")
async def analyze(
    text: str | None = None,
    name: str | None = None,
    path: str | None = None,
    explain_all: bool = False,
    lang: Language | None = None,
    provider: Provider | None = None,
    model: str | None = None,
    prompt: str = DEFAULT_PROMPT,
    since: str | None = None,
    until: str | None = None,
    severity: Severity | None = None,
    keywords: list[str] | None = None,
    regex: bool = False,
    budget_tokens: int | None = None,
    use_cache: bool = True,
    baselines: list[str] | None = None,
    warehouse: str | None = None,
    project: str | None = None,
    stream: bool = False,
) -> State[dict[str, Any]]:
    """Explain the failure in one log.

    Args:
        text: the log itself; choose str, and paste it.
        name: what to call the text in the answer, such as its file's name.
        path: in place of the text, a file where this is served, or s3://bucket/key; the settings serve.paths
            and serve.allow say which.
        explain_all: explain every distinct failure, the most important first; otherwise that one alone.
        lang: language of the answer: en or ko.
        provider: who explains: auto, rules, ollama, openai or bedrock.
        model: the provider's model.
        prompt: what is asked: error_analysis, performance, security or deployment.
        since: only events from then on: 2h ago, yesterday, 2026-11-23 10:00 Asia/Seoul (or UTC).
        until: only events up to then; of a date, up to its end.
        severity: only events of this severity or worse: trace, debug, info, warning, error or critical.
        keywords: only events that hold all of these words, in any case.
        regex: take the keywords as regular expressions.
        budget_tokens: tokens of evidence to keep of the log.
        use_cache: take answers that were paid for earlier.
        baselines: logs of runs that passed, to compare with; default: earlier runs of the same job.
        warehouse: folder of the tables.
        project: whose history the findings are compared with.
        stream: have the model stream its answers, for whoever listens in this process.
    """
    overrides = {
        "warehouse": warehouse,
        "project": project,
        "provider": provider,
        "model": model,
        "lang": lang,
        "evidence.budget_tokens": budget_tokens,
    }
    log_progress()
    permitted = admit_run([path] if path else [], baselines=baselines, written=[warehouse])
    settings = load_settings(overrides)
    if text is not None and len(text.encode("utf-8", "replace")) > settings.serve.max_text_kb * 1000:
        raise SettingsError(t("request.too_large", limit=f"{settings.serve.max_text_kb:g}"))
    done = await analyze_log(
        path,
        text=text,
        name=name,
        permitted=permitted,
        overrides=await read_secret_blocks(overrides),
        prompt=prompt,
        explain_all=explain_all,
        use_cache=use_cache,
        stream=stream,
        baselines=baselines,
        wanted={
            "severity": severity,
            "keywords": keywords or (),
            "regex": regex,
            "since": since,
            "until": until,
        },
    )
    await leave_answer(done)
    return end_flow(done.summary, done.to_dict())
