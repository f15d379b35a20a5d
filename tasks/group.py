"""Put like failures together, so that each distinct one is asked about once."""

from collections.abc import Sequence

from bifrost_flow.evidence import group_chunks
from bifrost_flow.language import t
from bifrost_flow.progress import progress
from bifrost_flow.records import FileEvidence, Group
from tasks.stage import stage


@stage("group")
def group(evidence: Sequence[FileEvidence], *, every: bool = False) -> tuple[Group, ...]:
    """Return the distinct failures among `evidence`, largest group first; with `every` lesser ones too."""
    progress().start_stage("group", None)
    groups = tuple(group_chunks(evidence, every=every))
    progress().end_stage("group", t("run.grouped", groups=len(groups)))
    return groups
