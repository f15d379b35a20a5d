"""Plan how the inputs are read: as what text, within which limits. Stage `extract` does the reading."""

from collections.abc import Sequence
from dataclasses import dataclass

from bifrost_flow.evidence.filtering import EventFilter
from bifrost_flow.language import t
from bifrost_flow.progress import progress
from connectors.sources import MAX_LINE_BYTES, Source
from tasks.stage import stage


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """What will be read, and how; `extract` carries it out in one pass over each file."""

    sources: tuple[Source, ...]
    max_line_bytes: int = MAX_LINE_BYTES
    wanted: EventFilter | None = None  # set by stage `filter`


@stage("normalise")
def normalise(sources: Sequence[Source]) -> ReadPlan:
    """Return the plan to read `sources` as UTF-8 lines without colours, CI prefixes and timestamps."""
    progress().start_stage("normalise", None)
    progress().end_stage("normalise", t("run.normalised"))
    return ReadPlan(tuple(sources))
