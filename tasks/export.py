"""Write reports: as files, and as artifacts of the flow run."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bifrost_flow.errors import DeliveryError
from bifrost_flow.language import t
from bifrost_flow.progress import progress
from bifrost_flow.records import Problem, Report
from bifrost_flow.render import find_format, render_report
from bifrost_flow.render.markdown import cut_markdown, escape_inline
from connectors.files import write_text_file
from connectors.storage import is_remote
from tasks.stage import stage

# Prefect keeps artifacts in its database; a longer report is for the file.
MAX_ARTIFACT_CHARACTERS = 200_000
MAX_ARTIFACT_ROWS = 500


@dataclass(frozen=True, slots=True)
class Exported:
    """The files that were written, and those that could not be."""

    paths: tuple[str, ...]
    problems: tuple[Problem, ...]


def name_exports(report: Report, formats: Sequence[str], out: str | None) -> dict[str, str]:
    """Return the path of each format's file; `-` is standard output.

    `out` is a folder, or a file (it has the suffix of a format): then other formats go beside it.
    """
    if out == "-":
        return dict.fromkeys(formats, "-")
    place = out or f"{report.warehouse}/reports/{report.run.run_id}"
    if is_remote(place):
        name = place.rpartition("/")[2]
        if out and len(formats) == 1 and "." in name:
            return {formats[0]: place}
        return {name: f"{place.rstrip('/')}/{find_format(name).file_name}" for name in formats}
    folder = Path(place)
    if out and folder.suffix and not folder.is_dir():
        return {
            name: str(folder if len(formats) == 1 else folder.with_suffix(find_format(name).suffix))
            for name in formats
        }
    return {name: str(folder / find_format(name).file_name) for name in formats}


def write_exports(report: Report, formats: Sequence[str], out: str | None) -> Exported:
    """Write `report` in each of `formats`; one that can't be written does not keep the others from it."""
    written, problems = [], []
    for name, path in name_exports(report, formats, out).items():
        text = render_report(report, name)
        if path == "-":
            sys.stdout.write(text if text.endswith("\n") else text + "\n")
            continue
        try:
            write_text_file(path, text)
            written.append(path)
        except DeliveryError as error:
            hint = t("run.export_failed", run_id=report.run.run_id)
            problems.append(Problem("export", path, f"{error} {hint}"))
    return Exported(tuple(written), tuple(problems))


@stage("export")
async def export(report: Report, *, formats: Sequence[str], out: str | None) -> Exported:
    """Write the report's files, and its Markdown and its findings as artifacts in Prefect."""
    from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact

    progress().start_stage("export", None)
    exported = write_exports(report, formats, out)
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
