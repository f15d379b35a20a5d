"""Merge the small files of a warehouse."""

from bifrost_flow.language import t
from bifrost_flow.progress import progress
from connectors.warehouse.compaction import Compaction
from connectors.warehouse.compaction import compact as merge
from tasks.stage import stage


@stage("compact")
def compact(location: str, *, project: str | None, grace_s: float, dry_run: bool) -> Compaction:
    """Merge the files of a month into one for each table and project."""

    def advance(done: int, total: int) -> None:
        if done == 0:
            progress().start_stage("compact", total)
        progress().advance("compact", done)

    def wait(seconds: float) -> None:
        progress().tell(t("compact.waiting", seconds=f"{seconds:g}"))

    done = merge(
        location, project=project, grace_s=grace_s, dry_run=dry_run, on_progress=advance, on_wait=wait
    )
    progress().end_stage("compact", t("compact.merged", files=done.files_merged, packs=done.packs))
    return done
