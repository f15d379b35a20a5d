"""Forget old runs."""

from datetime import datetime

from bifrost_flow.language import t
from bifrost_flow.progress import progress
from connectors.warehouse.retention import Forgotten, forget_runs
from tasks.stage import stage


@stage("prune")
def prune(
    location: str, before: datetime, *, project: str | None, grace_s: float, dry_run: bool
) -> Forgotten:
    """Remove the runs that began before `before`."""
    progress().start_stage("prune", None)

    def wait(seconds: float) -> None:
        progress().tell(t("compact.waiting", seconds=f"{seconds:g}"))

    done = forget_runs(location, before, project=project, grace_s=grace_s, dry_run=dry_run, on_wait=wait)
    progress().end_stage("prune", t("prune.forgotten", runs=done.runs, kept=done.kept))
    return done
