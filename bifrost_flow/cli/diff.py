"""`diff`: what two runs differ in. It only reads."""

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bifrost_flow.cli.tables import SHORT_ID, opened
from bifrost_flow.language import current_language, t

if TYPE_CHECKING:
    from bifrost_flow.diff import Change, Difference
    from bifrost_flow.records import Run

MAX_PATHS = 10  # of logs that the newer run did not look at; JSON has all


class Detail(StrEnum):
    table = "table"
    json = "json"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("diff", help=t("diff.help"))(diff)


def diff(
    first: Annotated[str, typer.Argument(metavar="RUN_A", help=t("diff.first"))] = "latest",
    second: Annotated[str | None, typer.Argument(metavar="RUN_B", help=t("diff.second"))] = None,
    warehouse: Annotated[str | None, typer.Option("--warehouse", "-w", help=t("tables.warehouse"))] = None,
    project: Annotated[str | None, typer.Option("--project", "-p", help=t("tables.project"))] = None,
    output: Annotated[Detail, typer.Option("--format", "-f", help=t("tables.detail"))] = Detail.table,
    lang: Annotated[str | None, typer.Option(help=t("app.lang"))] = None,
) -> None:
    with opened(warehouse, lang) as store:
        from connectors.comparison import find_pair, load_difference

        pair = find_pair(store, first, second, project=project)
        difference = load_difference(store, pair, language=current_language())
        if output is Detail.json:
            from bifrost_flow.cli.grid import write_json

            write_json(describe_difference(difference))
        else:
            _print_difference(difference)


def describe_difference(difference: "Difference") -> dict[str, Any]:
    """Return a difference as values that JSON has; the keys are those of the tables where they can be."""
    return {
        "older": _describe_run(difference.older),
        "newer": _describe_run(difference.newer),
        "counts": difference.count(),
        "changes": [_describe_change(change) for change in difference.changes],
    }


def _describe_run(run: "Run") -> dict[str, Any]:
    names = ("run_id", "project", "source", "started_at", "finished_at", "status", "kind", "filtered")
    return {name: getattr(run, name) for name in names}


def _describe_change(change: "Change") -> dict[str, Any]:
    finding = change.finding
    names = (
        "fingerprint",
        "title",
        "category",
        "severity",
        "root_cause",
        "suggestion",
        "first_seen",
        "last_seen",
    )
    return {
        "change": change.change,
        **{name: getattr(finding, name) for name in names},
        "occurrences_before": change.before,
        "occurrences_after": change.after,
        "evidence": [
            {"path": line.path, "line": line.line, "quote": line.quote} for line in finding.evidence
        ],
        "not_looked_at": list(change.not_looked_at),
    }


def _print_difference(difference: "Difference") -> None:
    from bifrost_flow.cli.grid import print_table
    from bifrost_flow.render.defuse import put_on_one_line
    from bifrost_flow.render.facts import format_count, format_time, label

    lang = current_language()
    for name, run in (("older", difference.older), ("newer", difference.newer)):
        facts = (run.run_id[:SHORT_ID], format_time(run.started_at), run.project, run.source)
        line = " · ".join(put_on_one_line(fact) for fact in facts)
        print(f"{t(f'diff.{name}')} {line} · {label('run_status', run.status, lang)}")
    counts = {name: format_count(count) for name, count in difference.count().items()}
    print(t("diff.counts", **counts))
    if not difference.changes:
        print(t("diff.nothing"))
        return
    print()
    names = ("change", "severity", "title", "occurrences", "where", "fingerprint")
    print_table(
        [t(f"diff.column.{name}") for name in names],
        [_list_cells(change, lang) for change in difference.changes],
        dispensable=[names.index(name) for name in ("where", "severity", "fingerprint")],
    )
    _print_unseen(difference)


def _list_cells(change: "Change", lang: str) -> list[str]:
    from bifrost_flow.render.defuse import put_on_one_line
    from bifrost_flow.render.facts import label, locate

    finding = change.finding
    return [
        t("diff.change.not_seen") if change.change == "not_seen" else label("status", change.change, lang),
        label("severity", finding.severity, lang),
        put_on_one_line(finding.title),
        f"{_format(change.before)} → {_format(change.after)}",
        put_on_one_line(locate(finding)) or "–",
        finding.fingerprint,
    ]


def _format(occurrences: int | None) -> str:
    from bifrost_flow.render.facts import format_count

    return "?" if occurrences is None else format_count(occurrences)


def _print_unseen(difference: "Difference") -> None:
    """Print which logs the newer run did not look at, those with most failures first."""
    from bifrost_flow.render.defuse import put_on_one_line
    from bifrost_flow.render.facts import format_count

    paths = Counter(path for change in difference.changes for path in change.not_looked_at)
    if not paths:
        return
    print(f"\n{t('diff.not_looked_at')}")
    for path, _ in paths.most_common(MAX_PATHS):
        print(f"  {put_on_one_line(path)}")
    if len(paths) > MAX_PATHS:
        print(f"  {t('diff.more', count=format_count(len(paths) - MAX_PATHS))}")
