"""Write what a run found to the warehouse."""

from collections.abc import Mapping, Sequence

from bifrost_flow.evidence.baseline import KnownGood
from bifrost_flow.language import t
from bifrost_flow.progress import progress
from bifrost_flow.records import Call, Chunk, Report
from connectors.journal import Journal
from connectors.warehouse import Warehouse
from tasks.stage import stage


@stage("persist")
def persist(
    warehouse: Warehouse,
    report: Report,
    *,
    chunks: Sequence[Chunk],
    calls: Sequence[Call],
    metrics: Sequence[tuple[str, float, str]],
    journal: Journal,
    known_good: Sequence[KnownGood] = (),
    unshown: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Write all tables of the run; its row in `runs` comes last, so that a run that is seen is complete."""
    progress().start_stage("persist", None)
    run_id = report.run.run_id
    warehouse.write_calls(run_id, calls)
    warehouse.write_files(run_id, report.files, unshown=unshown)
    warehouse.write_chunks(run_id, chunks)
    warehouse.write_findings(run_id, report.findings, formerly=report.formerly)
    warehouse.write_metrics(run_id, metrics)
    warehouse.write_known_good(run_id, known_good)
    journal.fold(warehouse)
    warehouse.write_run(report.run)
    progress().end_stage("persist", t("run.persisted", warehouse=warehouse.location))
