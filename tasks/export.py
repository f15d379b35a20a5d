"""Write reports: as files, and as artifacts of the flow run."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from bifrost_flow.errors import DeliveryError
from bifrost_flow.language import t
from bifrost_flow.progress import progress
from bifrost_flow.records import Problem, Report
from bifrost_flow.render import name_targets, render_file, render_report
from bifrost_flow.render.markdown import cut_markdown, escape_inline
from connectors.dashboard import write_dashboard
from connectors.deadline import Background
from connectors.files import write_file
from connectors.warehouse import Warehouse
from tasks.stage import stage

# Prefect keeps artifacts in its database; a longer report is for the file.
MAX_ARTIFACT_CHARACTERS = 200_000
MAX_ARTIFACT_ROWS = 500
MAX_DASHBOARD_S = 60  # a run waits no longer for a page that the next run, or a command, can write


@dataclass(frozen=True, slots=True)
class Exported:
    """The files that were written, and those that could not be."""

    paths: tuple[str, ...]
    problems: tuple[Problem, ...]


def write_exports(report: Report, formats: Sequence[str], out: str | None) -> Exported:
    """Write `report` in each of `formats`; one that can't be written does not keep the others from it.

    `out` is a folder, a file or `-`, standard output; default: `reports/<run>` in the warehouse.
    """
    written, problems = [], []
    folder = f"{report.warehouse}/reports/{report.run.run_id}"
    for name, target in name_targets(formats, out, folder=folder).items():
        try:
            content = render_file(report, name)
            if target == "-":
                sys.stdout.buffer.write(content)
                sys.stdout.flush()
                continue
            write_file(target, content)
            written.append(target)
        except DeliveryError as error:
            hint = t("run.export_failed", run_id=report.run.run_id)
            problems.append(Problem("export", target, f"{error} {hint}"))
    return Exported(tuple(written), tuple(problems))


async def refresh_dashboard(
    warehouse: Warehouse, *, language: str, base_url: str | None, timeout_s: float = MAX_DASHBOARD_S
) -> tuple[str, ...]:
    """Write the page over the whole warehouse, and return where it is; nothing, with a word to the user, if
    that fails or takes too long: it is no part of the run's result."""
    writing = Background(
        partial(write_dashboard, warehouse, language=language, base_url=base_url), name="dashboard"
    )
    try:
        return (await asyncio.to_thread(writing.wait, timeout_s),)
    except Exception as error:  # noqa: BLE001 - a courtesy must not fail the run
        progress().tell(t("run.no_dashboard", reason=str(error) or type(error).__name__))
        return ()


@stage("export")
async def export(
    report: Report,
    *,
    formats: Sequence[str],
    out: str | None,
    overview: Warehouse | None = None,
    base_url: str | None = None,
) -> Exported:
    """Write the report's files, and its Markdown and its findings as artifacts in Prefect; then the dashboard
    of `overview`, where one is given."""
    from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact

    progress().start_stage("export", None)
    exported = write_exports(report, formats, out)
    if overview:
        pages = await refresh_dashboard(overview, language=report.language, base_url=base_url)
        exported = replace(exported, paths=(*exported.paths, *pages))
    key = f"report-{report.run.run_id}"
    # Prefect's UI takes descriptions, and cells of tables as well, for Markdown.
    description = escape_inline(report.run.source)
    markdown = cut_markdown(render_report(report, "markdown"), MAX_ARTIFACT_CHARACTERS)
    await acreate_markdown_artifact(markdown, key=key, description=description)
    rows = [
        {
            "status": finding.status,
            "severity": finding.severity,
            "category": finding.category,
            "title": escape_inline(finding.title),
            "occurrences": finding.occurrences,
            "fingerprint": finding.fingerprint,
        }
        for finding in report.findings[:MAX_ARTIFACT_ROWS]
    ]
    await acreate_table_artifact(rows, key=f"findings-{report.run.run_id}", description=description)
    progress().end_stage("export", t("run.exported", paths=", ".join(exported.paths) or "-"))
    return exported
