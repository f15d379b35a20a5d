"""`history` and `show`: look into the warehouse. They only read, without Prefect and Polars."""

import json
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bifrost_flow.cli.failures import exit_on_errors
from bifrost_flow.errors import SettingsError, WarehouseError
from bifrost_flow.language import current_language, t

if TYPE_CHECKING:
    from connectors.warehouse import Warehouse

# A UUIDv7's first two groups are its time in milliseconds: enough to tell runs apart, and short enough for a
# table.
SHORT_ID = 13

MAX_CANDIDATES = 10


class Output(StrEnum):
    table = "table"
    json = "json"
    csv = "csv"


class Detail(StrEnum):
    table = "table"
    json = "json"


WarehouseOption = Annotated[str | None, typer.Option("--warehouse", "-w", help=t("tables.warehouse"))]
ProjectOption = Annotated[str | None, typer.Option("--project", "-p", help=t("tables.project"))]
LangOption = Annotated[str | None, typer.Option(help=t("app.lang"))]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("history", help=t("tables.history"))(history)
    app.command("show", help=t("tables.show"))(show)


def history(
    warehouse: WarehouseOption = None,
    project: ProjectOption = None,
    since: Annotated[str | None, typer.Option("--since", metavar="WHEN", help=t("tables.since"))] = None,
    finding: Annotated[
        str | None, typer.Option("--finding", metavar="FINDING", help=t("tables.finding"))
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help=t("tables.limit"))] = 20,
    output: Annotated[Detail, typer.Option("--format", "-f", help=t("tables.detail"))] = Detail.table,
    lang: LangOption = None,
) -> None:
    with opened(warehouse, lang) as store:
        runs = _list_runs(store, project=project, since=since, finding=finding, limit=limit + 1)
        if output is Detail.json:
            from bifrost_flow.cli.grid import write_json

            write_json([_open_json_columns(run) for run in runs[:limit]])
        elif runs:
            _print_history(runs[:limit], of_finding=finding is not None)
        elif since or finding or project:
            print(t("tables.none_like_that", warehouse=store.location), file=sys.stderr)
        else:
            print(t("tables.no_runs", warehouse=store.location), file=sys.stderr)
        if len(runs) > limit:
            print(t("tables.more", limit=limit), file=sys.stderr)


def _list_runs(
    store: "Warehouse", *, project: str | None, since: str | None, finding: str | None, limit: int
) -> list[dict[str, Any]]:
    """Return the rows of runs, newest first; those that told of `finding` come with what they said of it."""
    moment, names = None, None
    if since is not None:
        from bifrost_flow.evidence.moments import parse_when

        moment = parse_when(since, datetime.now(UTC))
    if finding is not None:
        from connectors.comparison import list_names

        names = list_names(store, _find(store, finding, project, kinds=("finding",))[1])
    parameters = {"project": project, "since": moment, "fingerprints": names, "limit": limit}
    runs = store.query_named("runs", "list_runs", parameters).as_dicts()
    if names is None:
        runs = [{name: run[name] for name in run if not name.startswith("finding_")} for run in runs]
    return runs


def show(
    what: Annotated[str, typer.Argument(metavar="RUN|FINDING", help=t("tables.what"))] = "latest",
    warehouse: WarehouseOption = None,
    project: ProjectOption = None,
    output: Annotated[Detail, typer.Option("--format", "-f", help=t("tables.detail"))] = Detail.table,
    lang: LangOption = None,
) -> None:
    with opened(warehouse, lang) as store:
        kind, name = _find(store, what, project)
        if kind == "run":
            _show_run(store, name, output)
        else:
            _show_finding(store, name, project, output)


@contextmanager
def opened(location: str | None, lang: str | None) -> Generator["Warehouse"]:
    """Open the warehouse for reading. Whatever goes wrong is the call's fault here: exit code 2."""
    with exit_on_errors():
        from bifrost_flow.cli.output import apply_output_settings
        from bifrost_flow.settings import load_settings
        from connectors.warehouse import Warehouse

        settings = load_settings({"warehouse": location, "lang": lang})
        apply_output_settings(settings)
        try:
            yield Warehouse.open(settings.warehouse, create=False)
        except WarehouseError as error:
            raise SettingsError(str(error)) from error


def _find(
    store: "Warehouse", what: str, project: str | None, *, kinds: Sequence[str] = ("run", "finding")
) -> tuple[str, str]:
    """Return whether `what` names a run or a finding, and its full id or fingerprint.

    Raises:
        WarehouseError: it names none, or several.
    """
    if what == "latest" and "run" in kinds:
        latest = store.query_named("runs", "find_latest", {"project": project}).rows
        if not latest:
            raise WarehouseError(t("tables.no_runs", warehouse=store.location))
        return "run", latest[0][0]
    parameters = {"prefix": what, "project": project}
    found = [("run", row[0]) for row in store.query_named("runs", "find_runs", parameters).rows]
    found += [
        ("finding", row[0]) for row in store.query_named("findings", "find_fingerprints", parameters).rows
    ]
    found = [each for each in found if each[0] in kinds]
    exact = [each for each in found if each[1] == what]
    if len(found) == 1 or exact:
        return (exact or found)[0]
    if not found:
        raise WarehouseError(t("tables.not_found", what=what))
    names = ", ".join(name for _, name in found[:MAX_CANDIDATES])
    raise WarehouseError(t("tables.ambiguous", what=what, count=len(found), names=names))


def _print_history(runs: list[dict[str, Any]], *, of_finding: bool = False) -> None:
    from bifrost_flow.cli.grid import format_cell, print_table
    from bifrost_flow.render.facts import format_cost, format_count, format_time, label

    counts = ("files", "new", "recurring", "regressed", "resolved", "llm_calls", "cache_hits")
    if of_finding:
        _print_tellings(runs)
        return
    names = ("run", "started", "project", "status", *counts, "cost", "source")
    rows = [
        [
            run["run_id"][:SHORT_ID],
            format_time(run["started_at"]),
            format_cell(run["project"]),
            label("run_status", run["status"], current_language()),
            *(format_count(run[name] or 0) for name in counts),
            format_cost(run["cost_usd"] or 0.0),
            format_cell(run["source"]),
        ]
        for run in runs
    ]
    least_needed = ("cache_hits", "llm_calls", "cost", "project", "recurring", "source")
    print_table(
        [t(f"tables.column.{name}") for name in names],
        rows,
        dispensable=[names.index(name) for name in least_needed],
    )


def _print_tellings(runs: list[dict[str, Any]]) -> None:
    """Print the runs that told of a finding, with what they said of it."""
    from bifrost_flow.cli.grid import format_cell, print_table
    from bifrost_flow.render.facts import format_count, format_time, label

    lang = current_language()
    names = ("run", "started", "project", "status", "finding", "occurrences", "source")
    rows = [
        [
            run["run_id"][:SHORT_ID],
            format_time(run["started_at"]),
            format_cell(run["project"]),
            label("run_status", run["status"], lang),
            label("status", run["finding_status"], lang),
            format_count(run["finding_occurrences"]),
            format_cell(run["source"]),
        ]
        for run in runs
    ]
    print_table([t(f"tables.column.{name}") for name in names], rows, dispensable=[6, 2])


def _show_run(store: "Warehouse", run_id: str, output: Detail) -> None:
    from bifrost_flow.render.facts import list_run_facts
    from bifrost_flow.render.table import render_json
    from bifrost_flow.render.terminal import render_terminal

    report = store.read_report(run_id, language=current_language())
    if output is Detail.json:
        from connectors.similar import add_similar

        sys.stdout.write(render_json(add_similar(store, report)))
        return
    _print_facts(list_run_facts(report))
    print()
    from rich.console import Console

    render_terminal(report, Console())


def _show_finding(store: "Warehouse", fingerprint: str, project: str | None, output: Detail) -> None:
    from dataclasses import asdict

    from bifrost_flow.cli.grid import format_cell, print_table, write_json
    from bifrost_flow.render.facts import format_count, format_time, label
    from bifrost_flow.render.plain import render_similar
    from connectors.comparison import list_names
    from connectors.similar import find_similar_to

    names = list_names(store, fingerprint)
    parameters = {"fingerprints": names, "project": project}
    told = store.query_named("findings", "trace_finding", parameters).as_dicts()
    similar = find_similar_to(store, fingerprint, project)
    trace = ("run_id", "project", "started_at", "status", "occurrences", "files")
    if output is Detail.json:
        finding = {name: value for name, value in told[0].items() if name != "started_at"}
        finding |= {"fingerprints": names, **_count_sightings(told)}
        history = [{name: run[name] for name in trace} for run in told]
        write_json(finding | {"similar": [asdict(each) for each in similar], "history": history})
        return
    _print_finding(told[0], names, _count_sightings(told))
    if similar:
        print(f"{render_similar(similar, current_language())}\n")
    lang = current_language()
    rows = [
        [
            run["run_id"][:SHORT_ID],
            format_time(run["started_at"]),
            format_cell(run["project"]),
            label("status", run["status"], lang),
            format_count(run["occurrences"]),
            format_count(run["files"]),
        ]
        for run in told
    ]
    columns = ("run", "started", "project", "status", "occurrences", "files")
    print_table([t(f"tables.column.{name}") for name in columns], rows)


def _count_sightings(told: list[dict[str, Any]]) -> dict[str, int]:
    """Return in how many runs, and on how many days (UTC), a finding was there."""
    there = [run for run in told if run["status"] != "resolved"]
    days = {run["started_at"].date() for run in there}
    return {"runs_seen": len({run["run_id"] for run in there}), "days_seen": len(days)}


def _print_finding(finding: dict[str, Any], names: Sequence[str], seen: dict[str, int]) -> None:
    """Print what one finding says, its evidence, and who said it."""
    from bifrost_flow.render.defuse import make_visible, put_on_one_line
    from bifrost_flow.render.facts import format_time, label

    lang = current_language()
    print(put_on_one_line(finding["title"]))
    print()
    model = "/".join(filter(None, (finding["provider"], finding["model"])))
    _print_facts(
        [
            (t("tables.column.fingerprint"), finding["fingerprint"]),
            *((t("tables.formerly"), name) for name in names if name != finding["fingerprint"]),
            (t("tables.column.status"), label("status", finding["status"], lang)),
            (t("tables.column.severity"), label("severity", finding["severity"], lang)),
            (t("tables.column.category"), label("category", finding["category"], lang)),
            (t("tables.column.confidence"), f"{finding['confidence']:.0%}"),
            (t("tables.column.first_seen"), format_time(finding["first_seen"])),
            (t("tables.column.last_seen"), format_time(finding["last_seen"])),
            (t("tables.seen"), t("tables.seen_value", runs=seen["runs_seen"], days=seen["days_seen"])),
            (t("tables.column.model"), model),
        ]
    )
    for name in ("root_cause", "explanation", "suggestion"):
        if finding[name]:
            print(f"\n{t(f'render.{name}', lang=lang)}\n{make_visible(finding[name])}")
    print()
    for line in finding["evidence"] or ():
        print(f"  {put_on_one_line(line['path'])}:{line['line']}  {put_on_one_line(line['quote'])}")
    print()


def _print_facts(facts: list[tuple[str, str]]) -> None:
    from rich.cells import cell_len

    from bifrost_flow.render.defuse import put_on_one_line

    width = max(cell_len(name) for name, _ in facts)
    for name, value in facts:
        print(f"{name}{' ' * (width - cell_len(name))}  {put_on_one_line(value)}")


def _open_json_columns(run: dict[str, Any]) -> dict[str, Any]:
    """Return the row of a run with `settings` and `versions` as the objects that their text holds."""
    opened = dict(run)
    for name in ("settings", "versions"):
        try:
            opened[name] = json.loads(run[name])
        except (TypeError, ValueError):
            continue
    return opened
