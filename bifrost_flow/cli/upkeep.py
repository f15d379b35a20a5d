"""`compact` and `prune`: keep a warehouse of many runs fast and small. No server is started for them."""

from typing import Annotated, Any

import typer

from bifrost_flow.cli.failures import exit_on_errors
from bifrost_flow.cli.tables import LangOption, ProjectOption, WarehouseOption
from bifrost_flow.language import t

GraceOption = Annotated[float, typer.Option("--grace", metavar="SECONDS", min=0, help=t("compact.grace"))]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help=t("compact.dry_run"))]
JsonOption = Annotated[bool, typer.Option("--json", help=t("run.json"))]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help=t("run.quiet"))]

GRACE_S = 10.0


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("compact", help=t("compact.help"))(compact)
    app.command("prune", help=t("prune.help"))(prune)


def compact(
    warehouse: WarehouseOption = None,
    project: ProjectOption = None,
    grace: GraceOption = GRACE_S,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    lang: LangOption = None,
) -> None:
    with exit_on_errors():
        done = _keep_up(
            warehouse, lang, {"project": project, "grace_s": grace, "dry_run": dry_run}, quiet or as_json
        )
        _show(done, as_json=as_json)


def prune(
    older_than: Annotated[str, typer.Option("--older-than", metavar="AGE", help=t("prune.older_than"))],
    warehouse: WarehouseOption = None,
    project: ProjectOption = None,
    grace: GraceOption = GRACE_S,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    lang: LangOption = None,
) -> None:
    with exit_on_errors():
        chosen = {"project": project, "grace_s": grace, "dry_run": dry_run}
        done = _keep_up(
            warehouse, lang, chosen | {"older_than": older_than, "merge": False}, quiet or as_json
        )
        _show(done, as_json=as_json)


def _keep_up(warehouse: str | None, lang: str | None, chosen: dict[str, Any], quiet: bool) -> dict[str, Any]:
    """Do it in this process, or as a flow run of the server that is configured."""
    from bifrost_flow.cli.output import apply_output_settings
    from bifrost_flow.cli.progress import show_progress
    from bifrost_flow.progress import watch
    from bifrost_flow.settings import load_settings
    from connectors.prefect_server import find_configured_url

    settings = load_settings({"warehouse": warehouse, "lang": lang})
    apply_output_settings(settings)
    listener, shown = show_progress(quiet=quiet)
    with shown:
        watch(listener)
        if find_configured_url():
            return _run_as_flow({"warehouse": warehouse, "lang": lang} | chosen)
        from flows.upkeep import keep_up

        return keep_up(settings, **chosen)


def _run_as_flow(parameters: dict[str, Any]) -> dict[str, Any]:
    from bifrost_flow.cli.run import call_flow
    from bifrost_flow.cli.session import PrefectSession

    with PrefectSession() as session:
        from flows.compact import compact as flow

        session.wait()
        return call_flow(flow, parameters)


def _show(done: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        from bifrost_flow.cli.grid import write_json

        write_json(done)
        return
    from bifrost_flow.render.facts import format_count, format_size

    would = done["dry_run"]
    if pruned := done["pruned"]:
        counts = {name: format_count(pruned[name]) for name in ("runs", "kept", "files")}
        size = format_size(max(0, pruned["bytes"]))
        print(t("prune.would" if would else "prune.done", size=size, **counts))
    if merged := done["merged"]:
        names = ("files_before", "files_after", "files_merged", "packs")
        counts = {name: format_count(merged[name]) for name in names}
        print(t("compact.would" if would else "compact.done", **counts))
