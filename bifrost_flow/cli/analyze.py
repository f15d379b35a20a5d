"""`analyze`: one log, explained at once, the answer shown while it is written."""

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bifrost_flow.cli.answers import open_answers
from bifrost_flow.cli.failures import exit_on_errors
from bifrost_flow.cli.filters import Keywords, Regex, Severity, Since, Until, read_filter
from bifrost_flow.cli.output import Quiet, Verbose, apply_output_settings
from bifrost_flow.cli.remote import open_ci_access
from bifrost_flow.errors import BifrostError
from bifrost_flow.language import current_language, t
from bifrost_flow.progress import watch
from bifrost_flow.render.defuse import make_visible, put_on_one_line
from bifrost_flow.summary import EXIT_CODES, EXIT_FINE, EXIT_PARTIAL

if TYPE_CHECKING:
    from bifrost_flow.settings import Settings


class AnswerFormat(StrEnum):
    markdown = "markdown"
    json = "json"
    text = "text"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("analyze", help=t("analyze.help"))(analyze)


def analyze(
    target: Annotated[str, typer.Argument(metavar="FILE|-", help=t("analyze.target"))],
    explain_all: Annotated[bool, typer.Option("--all", "-a", help=t("analyze.all"))] = False,
    output: Annotated[AnswerFormat | None, typer.Option("--format", "-f", help=t("analyze.format"))] = None,
    provider: Annotated[str | None, typer.Option(help=t("run.provider"))] = None,
    model: Annotated[str | None, typer.Option(help=t("run.model"))] = None,
    prompt: Annotated[str, typer.Option(help=t("run.prompt"))] = "error_analysis",
    lang: Annotated[str | None, typer.Option(help=t("app.lang"))] = None,
    warehouse: Annotated[str | None, typer.Option(help=t("run.warehouse"))] = None,
    project: Annotated[str | None, typer.Option(help=t("run.project"))] = None,
    budget_tokens: Annotated[int | None, typer.Option(min=1, help=t("run.budget_tokens"))] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help=t("run.no_cache"))] = False,
    no_stream: Annotated[bool, typer.Option("--no-stream", help=t("analyze.no_stream"))] = False,
    baseline: Annotated[list[str] | None, typer.Option("--baseline", help=t("run.baseline"))] = None,
    severity: Severity = None,
    keyword: Keywords = None,
    regex: Regex = False,
    since: Since = None,
    until: Until = None,
    quiet: Quiet = False,
    _verbose: Verbose = False,
) -> None:
    with exit_on_errors(at_once=True):
        shown_as = output or (AnswerFormat.markdown if sys.stdout.isatty() else AnswerFormat.text)
        parameters = {
            "prompt": prompt,
            "explain_all": explain_all,
            "use_cache": not no_cache,
            "stream": not no_stream and shown_as is not AnswerFormat.json,
            "baselines": baseline,
        }
        wanted = {"severity": severity, "keywords": keyword, "regex": regex, "since": since, "until": until}
        overrides = {
            "warehouse": warehouse,
            "project": project,
            "provider": provider,
            "model": model,
            "lang": lang,
            "evidence.budget_tokens": budget_tokens,
        }
        try:
            done = _analyze(target, parameters, wanted, overrides, shown_as, quiet=quiet)
        except BifrostError as error:
            if shown_as is AnswerFormat.json:
                _print_json({"status": "failed", "error": str(error)})
            raise
        raise typer.Exit(
            EXIT_CODES[done["status"]] or (EXIT_PARTIAL if done["errors"] else EXIT_FINE),
        )


def _analyze(
    target: str,
    parameters: dict[str, Any],
    wanted: dict[str, Any],
    overrides: dict[str, Any],
    output: AnswerFormat,
    *,
    quiet: bool,
) -> dict[str, Any]:
    """Analyze `target`, show answers as they come and the rest after them, and return the result."""
    from bifrost_flow.settings import load_settings
    from connectors.prefect_server import find_configured_url

    settings = load_settings(overrides)
    apply_output_settings(settings)
    read_filter(wanted)  # refused before anything is read or started
    open_ci_access(target)
    if target == "-" and sys.stdin.isatty() and not quiet:
        print(t("analyze.typing"), file=sys.stderr)
    listener, shown = open_answers(output)
    listener.quiet = quiet
    with shown:
        watch(listener)
        call = _run_as_flow if find_configured_url() else _run_here
        done = call(target, parameters, wanted, overrides)
        listener.finish()
    if output is AnswerFormat.json:
        _print_json(done)
    else:
        _show_rest(done, as_markdown=output is AnswerFormat.markdown)
    _tell_counts(done, settings, quiet=quiet)
    return done


def show_answer(done: dict[str, Any], output: AnswerFormat, *, quiet: bool) -> None:
    """Show an analysis that was made elsewhere as one that was made here."""
    from bifrost_flow.render.table import read_finding
    from bifrost_flow.settings import load_settings

    if output is AnswerFormat.json:
        _print_json(done)
    else:
        listener, shown = open_answers(output)
        with shown:
            for finding in done["findings"]:
                listener.show_finding(read_finding(finding))
            listener.finish()
        _show_rest(done, as_markdown=output is AnswerFormat.markdown)
    _tell_counts(done, load_settings(), quiet=quiet)


def _run_here(
    target: str, parameters: dict[str, Any], wanted: dict[str, Any], overrides: dict[str, Any]
) -> dict[str, Any]:
    """Analyze without a server: without Prefect."""
    # Every command would pay for this import, a twentieth of its start.
    import asyncio

    from bifrost_flow.cli.run import saving_on_interrupt
    from flows.analysis import analyze_log

    with saving_on_interrupt():
        conditions = {**wanted, "keywords": wanted["keywords"] or ()}
        done = analyze_log(target, overrides=overrides, wanted=conditions, **parameters)
        return asyncio.run(done).to_dict()


def _run_as_flow(
    target: str, parameters: dict[str, Any], wanted: dict[str, Any], overrides: dict[str, Any]
) -> dict[str, Any]:
    """Analyze as a flow run of the server that is configured."""
    from bifrost_flow.cli.run import call_flow
    from bifrost_flow.cli.session import PrefectSession

    with PrefectSession() as session:
        from flows.analyze import analyze as flow

        session.wait()
        named = {key.rpartition(".")[2]: value for key, value in overrides.items()}
        return call_flow(flow, {"path": target, **named, **parameters, **wanted})


def _print_json(value: dict[str, Any]) -> None:
    from bifrost_flow.cli.grid import write_json

    write_json(value)


def _show_rest(done: dict[str, Any], *, as_markdown: bool) -> None:
    """Print what there is beside the explanations: that nothing failed, or what was not explained."""
    if not done["findings"] and not done["others"]:
        if done["files"] and not done["errors"]:
            print(t("analyze.passed" if done["outcome"] == "passed" else "analyze.nothing_failed"))
        return
    for finding in done["findings"]:
        if finding["similar"]:
            _print_similar(finding, of_many=len(done["findings"]) > 1, as_markdown=as_markdown)
    wanted = [other for other in done["others"] if other["asked"]]
    if wanted:
        print(t("analyze.unexplained"))
    for other in wanted:
        print()
        _print_excerpt(other, as_markdown=as_markdown)
    others = [other for other in done["others"] if not other["asked"]]
    if others:
        print()
        print(t("analyze.others"))
    for other in others:
        print(_describe_other(other, as_markdown=as_markdown))


def _print_similar(finding: dict[str, Any], *, of_many: bool, as_markdown: bool) -> None:
    """Print the earlier findings that are like `finding`; under its title where several were explained."""
    from datetime import datetime

    from bifrost_flow.records import SimilarFinding
    from bifrost_flow.render.markdown import escape_inline, render_similar
    from bifrost_flow.render.plain import render_similar as render_plain

    lang = current_language()
    similar = [
        SimilarFinding(**each | {"last_seen": datetime.fromisoformat(each["last_seen"])})
        for each in finding["similar"]
    ]
    print()
    if of_many:
        title = put_on_one_line(finding["title"])
        print(f"### {escape_inline(title)}\n" if as_markdown else title)
    print(render_similar(similar, lang) if as_markdown else render_plain(similar, lang))


def _print_excerpt(other: dict[str, Any], *, as_markdown: bool) -> None:
    from bifrost_flow.render.markdown import fence

    path = put_on_one_line(other["path"])
    lines = [f"{path}:{number}: {make_visible(line)}" for number, line in other["excerpt"]]
    print(fence("\n".join(lines)) if as_markdown else "\n".join(f"  {line}" for line in lines))


def _describe_other(other: dict[str, Any], *, as_markdown: bool) -> str:
    from bifrost_flow.render.facts import label
    from bifrost_flow.render.markdown import code

    place = put_on_one_line(f"{other['path']}:{other['line']}")
    category = label("category", other["category"], current_language())
    if as_markdown:
        return f"- {code(place)} · {category} · {code(other['text'])} · {code(other['fingerprint'])}"
    return f"  {place}  {category}  {other['text']}  [{other['fingerprint']}]"


def _tell_counts(done: dict[str, Any], settings: "Settings", *, quiet: bool) -> None:
    """Say on standard error what went wrong, what was spent, and where it all is."""
    for problem in done["problems"]:
        print(put_on_one_line(problem), file=sys.stderr)
    if quiet:
        return
    if done["findings"] or done["others"]:
        counts = {name: f"{done[name]:,}" for name in ("llm_calls", "cache_hits", "tokens_in", "tokens_out")}
        print(
            t(
                "analyze.counts",
                provider=done["provider"],
                model=put_on_one_line(done["model"]),
                cost=f"{done['cost_usd']:.4f}",
                **counts,
            ),
            file=sys.stderr,
        )
    print(t("run.tables", path=done["warehouse"]), file=sys.stderr)
