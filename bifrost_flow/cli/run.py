"""`run`: the main job, from logs to findings, tables and a report."""

import json
import os
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bifrost_flow.cli.failures import exit_on_errors
from bifrost_flow.cli.filters import Keywords, Regex, Severity, SinceRun, Until, read_filter
from bifrost_flow.cli.output import Quiet, Verbose, apply_output_settings
from bifrost_flow.cli.remote import open_ci_access
from bifrost_flow.errors import BifrostError, SettingsError
from bifrost_flow.language import t
from bifrost_flow.progress import progress, request_stop, stop_requested, watch
from bifrost_flow.render import split_formats
from bifrost_flow.render.defuse import escape_unprintable, put_on_one_line
from bifrost_flow.summary import (
    EXIT_CODES,
    EXIT_FINE,
    EXIT_GATE,
    EXIT_INTERRUPTED,
    EXIT_PARTIAL,
    check_gate,
    trips_gate,
)
from bifrost_flow.window import check_window, split_since

if TYPE_CHECKING:
    from bifrost_flow.records import Report
    from bifrost_flow.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("run", help=t("run.help"))(run)


def run(
    targets: Annotated[list[str], typer.Argument(metavar="PATH|GLOB|-", help=t("run.targets"))],
    warehouse: Annotated[str | None, typer.Option(help=t("run.warehouse"))] = None,
    project: Annotated[str | None, typer.Option(help=t("run.project"))] = None,
    provider: Annotated[str | None, typer.Option(help=t("run.provider"))] = None,
    model: Annotated[str | None, typer.Option(help=t("run.model"))] = None,
    prompt: Annotated[str, typer.Option(help=t("run.prompt"))] = "error_analysis",
    formats: Annotated[
        list[str] | None, typer.Option("--format", "--export", "-f", help=t("run.format"))
    ] = None,
    out: Annotated[str | None, typer.Option("--out", "-o", help=t("run.out"))] = None,
    lang: Annotated[str | None, typer.Option(help=t("app.lang"))] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help=t("run.concurrency"))] = None,
    runner: Annotated[str | None, typer.Option(help=t("settings.runner.kind"))] = None,
    budget_tokens: Annotated[int | None, typer.Option(min=1, help=t("run.budget_tokens"))] = None,
    max_calls: Annotated[int | None, typer.Option(min=0, help=t("settings.fanout.max_calls"))] = None,
    max_tokens: Annotated[int | None, typer.Option(min=0, help=t("settings.fanout.max_tokens"))] = None,
    max_cost: Annotated[
        float | None, typer.Option(min=0, metavar="USD", help=t("settings.fanout.max_cost_usd"))
    ] = None,
    requests_per_minute: Annotated[
        int | None, typer.Option(min=1, help=t("settings.fanout.requests_per_minute"))
    ] = None,
    tokens_per_minute: Annotated[
        int | None, typer.Option(min=1, help=t("settings.fanout.tokens_per_minute"))
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help=t("run.no_cache"))] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help=t("run.dry_run"))] = False,
    baseline: Annotated[list[str] | None, typer.Option("--baseline", help=t("run.baseline"))] = None,
    no_baseline: Annotated[bool, typer.Option("--no-baseline", help=t("run.no_baseline"))] = False,
    fail_on: Annotated[str | None, typer.Option(help=t("run.fail_on"))] = None,
    severity: Severity = None,
    keyword: Keywords = None,
    regex: Regex = False,
    since: SinceRun = None,
    until: Until = None,
    date_from: Annotated[str | None, typer.Option("--from", metavar="DATE", help=t("run.date_from"))] = None,
    date_to: Annotated[str | None, typer.Option("--to", metavar="DATE", help=t("run.date_to"))] = None,
    as_json: Annotated[bool, typer.Option("--json", help=t("run.json"))] = False,
    quiet: Quiet = False,
    _verbose: Verbose = False,
) -> None:
    with exit_on_errors(at_once=True):
        wanted = {"severity": severity, "keywords": keyword, "regex": regex, "since": since, "until": until}
        parameters = {
            **wanted,
            "paths": targets,
            "warehouse": warehouse,
            "project": project,
            "provider": provider,
            "model": model,
            "prompt": prompt,
            "formats": list(split_formats(formats or ())) or None,
            "out": out,
            "lang": lang,
            "concurrency": concurrency,
            "runner": runner,
            "budget_tokens": budget_tokens,
            "max_calls": max_calls,
            "max_tokens": max_tokens,
            "max_cost_usd": max_cost,
            "requests_per_minute": requests_per_minute,
            "tokens_per_minute": tokens_per_minute,
            "use_cache": not no_cache,
            "dry_run": dry_run,
            "baselines": baseline,
            "use_baselines": not no_baseline,
            "date_from": date_from,
            "date_to": date_to,
        }
        try:
            code = _run_audit(parameters, fail_on=fail_on, as_json=as_json, quiet=quiet)
        except BifrostError as error:
            if as_json:
                _print_json({"status": "failed", "error": str(error)})
            raise
        raise typer.Exit(code)


def _run_audit(parameters: dict[str, Any], *, fail_on: str | None, as_json: bool, quiet: bool) -> int:
    """Run the flow here, show what came of it, and return the exit code."""
    from bifrost_flow.cli.progress import show_progress
    from bifrost_flow.cli.session import PrefectSession
    from bifrost_flow.settings import load_settings
    from connectors.extraction_remote import check_runner
    from connectors.tracking_process import preload

    named = {"warehouse", "project", "provider", "model", "lang"}
    settings = load_settings(
        {name: parameters[name] for name in named} | {"runner.kind": parameters["runner"]}
    )
    check_runner(settings.runner.kind)
    apply_output_settings(settings)
    _check_parameters(parameters, settings, fail_on=fail_on, as_json=as_json)
    listener, shown = show_progress(quiet=quiet)
    with PrefectSession() as session:
        if settings.mlflow.enabled and not parameters["dry_run"]:
            preload()
        with shown:
            watch(listener)
            summary = _call_audit(session.wait, parameters)
        # In JSON the summary is all that is printed, so only a gate needs the findings.
        wanted = summary["status"] != "dry_run" and (fail_on or not as_json)
        report = _load_report(summary, settings.lang) if wanted else None
    if as_json:
        _print_json(summary)
    else:
        _show_summary(summary, report, aside=parameters["out"] == "-")
    if report and fail_on and trips_gate(report.findings, fail_on):
        return EXIT_GATE
    return EXIT_CODES[summary["status"]] or (EXIT_PARTIAL if summary["errors"] else EXIT_FINE)


def check_prompt(name: str, settings: "Settings") -> None:
    """Check that there may be such a prompt: one that is packaged, or where a registry holds others, any.

    Raises:
        SettingsError: there can't be.
    """
    from bifrost_flow.prompts import load_prompt, parse_reference
    from connectors.tracking import open_tracker

    reference = parse_reference(name)
    registry = open_tracker(
        settings.warehouse,
        tracking_uri=settings.mlflow.tracking_uri,
        experiment=settings.mlflow.experiment,
        enabled=settings.mlflow.enabled,
    )
    if not reference.is_exact and not registry.may_hold_prompts():
        load_prompt(reference.name)


def _check_parameters(
    parameters: dict[str, Any], settings: "Settings", *, fail_on: str | None, as_json: bool
) -> None:
    """Refuse at once what the flow would refuse after its server has started.

    Raises:
        SettingsError: a value is not allowed.
    """
    from bifrost_flow.render import pick_formats

    if fail_on:
        check_gate(fail_on)
    read_filter({**parameters, "since": split_since(parameters["since"])[1]})
    check_window(parameters["paths"], parameters["date_from"], parameters["date_to"])
    check_prompt(parameters["prompt"], settings)
    out = settings.output.out if parameters["out"] is None else parameters["out"]
    pick_formats(parameters["formats"], out=out, configured=settings.output.format)
    if as_json and out == "-":
        raise SettingsError(t("run.json_to_stdout"))
    open_ci_access(*parameters["paths"], *(parameters["baselines"] or ()))
    for path in (*parameters["paths"], *(parameters["baselines"] or ())):
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise SettingsError(t("run.bad_path", path=ascii(path))) from error


def _print_json(value: dict[str, Any]) -> None:
    # On one line, and nothing in it that a terminal would act on: a problem may name a file.
    sys.stdout.write(escape_unprintable(json.dumps(value, ensure_ascii=False)) + "\n")


def _call_audit(wait_for_server: Callable[[], None], parameters: dict[str, Any]) -> dict[str, Any]:
    from flows.audit import audit

    wait_for_server()
    return call_flow(audit, parameters)


def call_flow(flow: Any, parameters: dict[str, Any]) -> dict[str, Any]:
    """Call a flow and return its summary; raise what made it fail."""
    import asyncio

    from prefect import tags

    with saving_on_interrupt(), tags("bifrost-flow"):
        result = asyncio.run(_await_result(flow, parameters))
    if isinstance(result, BaseException):
        raise result
    return result


async def _await_result(flow: Any, parameters: dict[str, Any]) -> Any:
    import httpx

    try:
        state = await flow(**parameters, return_state=True)
    except httpx.TransportError as error:
        # Connectors translate theirs: what comes through here is of Prefect's client, which has tried.
        from connectors.prefect_server import ServerError

        raise ServerError(t("server.lost", url=os.environ.get("PREFECT_API_URL", "–"))) from error
    if state.is_cancelled():
        # Prefect raises for a cancelled run; ours was ended early by Ctrl-C, and has a summary.
        return getattr(state.data, "result", None) or await state.aresult()
    return await state.aresult(raise_on_failure=False)


@contextmanager
def saving_on_interrupt() -> Generator[None]:
    """Make the first Ctrl-C ask the run to save and end, and the second one end it at once.

    What was paid for is in the journal in either case.
    """

    def stop(_signal: int, _frame: FrameType | None) -> None:
        if stop_requested():
            os._exit(EXIT_INTERRUPTED)
        request_stop()
        progress().tell(t("run.stopping"))

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _load_report(summary: dict[str, Any], language: str) -> "Report":
    """Read the run back from its tables: what is shown is what is stored."""
    from connectors.warehouse import Warehouse

    warehouse = Warehouse.open(summary["warehouse"], project=summary["project"], create=False)
    return warehouse.read_report(summary["run_id"], language=language)


def _show_summary(summary: dict[str, Any], report: "Report | None", *, aside: bool) -> None:
    """Print what came of the run; `aside`: not on standard output, where the report goes."""
    from rich.console import Console

    from bifrost_flow.render.terminal import render_terminal
    from connectors.dashboard import FILE_NAME

    console = Console(stderr=aside, soft_wrap=True, highlight=False, markup=False, emoji=False)
    if report is None:
        console.print(t("run.dry", **_format_counts(summary)))
    else:
        render_terminal(report, Console(stderr=aside, highlight=False, markup=False, emoji=False))
        console.print()
        if summary["skipped"]:
            said = "run.skipped" if summary["files"] else "run.nothing_new"
            console.print(t(said, **_format_counts(summary)))
        console.print(t("run.counts", **_format_counts(summary)))
        console.print(t("run.calls", **_format_counts(summary)))
        if summary["groups"] and not summary["llm_calls"] and summary["cache_hits"] == summary["groups"]:
            console.print(t("run.warm"))
    shown = {file.path for file in report.files} if report else set()
    others = [each for each in summary["problems"] if not any(each.startswith(f"{path}: ") for path in shown)]
    if others:
        console.print()
        console.print(t("run.problems"))
        for problem in others:
            console.print(f"  {put_on_one_line(problem)}")
    if report is not None:
        console.print()
        for path in summary["exports"]:
            board = path == f"{summary['warehouse']}/{FILE_NAME}"
            console.print(t("run.dashboard" if board else "run.report", path=path))
        console.print(t("run.tables", path=summary["warehouse"]))
        console.print(t("run.mlflow", detail=put_on_one_line(summary["mlflow"])))
        console.print(t("run.slack", detail=put_on_one_line(summary["slack"])))
        if not summary["webhook"].startswith(t("run.delivery.not_configured")):
            console.print(t("run.webhook", detail=put_on_one_line(summary["webhook"])))
        if summary["metrics"] != t("run.delivery.not_configured"):
            console.print(t("run.metrics", detail=put_on_one_line(summary["metrics"])))
        console.print()
        console.print(t("run.next"))
        for command in _suggest_commands(summary, report):
            console.print(f"  {command}")


def _format_counts(summary: dict[str, Any]) -> dict[str, str]:
    counts = {key: f"{value:,}" for key, value in summary.items() if isinstance(value, int)}
    return {
        **{key: str(value) for key, value in summary.items()},
        **counts,
        "cost": f"{summary['cost_usd']:.4f}",
        "hits": counts["cache_hits"],
        "calls": counts["planned_calls"],
        "tokens": counts["planned_tokens"],
        "planned_cost": f"{summary['planned_cost_usd']:.4f}",
    }


def _suggest_commands(summary: dict[str, Any], report: "Report") -> list[str]:
    """Return three commands that go on from here, ready to be pasted."""
    from shlex import quote

    from bifrost_flow.settings import load_settings

    where, usual = "", load_settings().warehouse
    if summary["warehouse"] not in (usual.rstrip("/"), os.path.realpath(usual)):
        where = f" --warehouse {quote(summary['warehouse'])}"
    open_findings = [finding for finding in report.findings if finding.status != "resolved"]
    shown = open_findings[0].fingerprint if open_findings else "latest"
    query = quote("SELECT category, count(*) AS findings FROM findings GROUP BY ALL ORDER BY ALL DESC")
    program = _name_program()
    return [
        f"{program} show {shown}{where}",
        f"{program} sql {query}{where}",
        f"{program} history{where}",
    ]


def _name_program() -> str:
    """Return what to type to run this program again: its name where the shell finds it, else its path."""
    from shlex import quote
    from shutil import which

    found = which("bifrost-flow")
    if found and Path(found).samefile(sys.argv[0]):
        return "bifrost-flow"
    path = os.path.relpath(sys.argv[0])
    return quote(sys.argv[0] if path.startswith("..") else path)
