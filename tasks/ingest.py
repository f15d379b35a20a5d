"""Find the inputs: files, folders, globs, archives, standard input, CI systems; and what is new of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from bifrost_flow.language import t
from bifrost_flow.progress import progress
from bifrost_flow.records import LogFile, Problem
from connectors.ci.access import CiAccess
from connectors.incremental import Reading, leave_out_done, leave_out_empty_days
from connectors.sources import Source, find_sources
from tasks.stage import stage


@dataclass(frozen=True, slots=True)
class Inputs:
    """What there is to read, and what could not be found or opened."""

    sources: tuple[Source, ...]
    unread: tuple[LogFile, ...]
    problems: tuple[Problem, ...]
    left_out: frozenset[str] = frozenset()  # paths of logs that an earlier run is done with
    nightly: str | None = None  # for runs.nightly

    @property
    def skipped(self) -> int:
        return len(self.left_out)


@stage("ingest")
def ingest(
    targets: Sequence[str] | Reading,
    *,
    max_bytes: int | None,
    stdin: BinaryIO | None = None,
    stdin_name: str = "-",
    ci: CiAccess | None = None,
) -> Inputs:
    """Return the inputs that `targets` name; `-` is `stdin`, by default the process's own, and called
    `stdin_name`; `ci` says how to reach CI systems. A `Reading` may leave out what an earlier run is done
    with."""
    progress().start_stage("ingest", None)
    reading = targets if isinstance(targets, Reading) else Reading(dict.fromkeys(targets, ()))
    sources, unread, problems = find_sources(
        list(reading.targets),
        stdin=stdin,
        stdin_name=stdin_name,
        permitted=reading.permitted,
        max_bytes=max_bytes,
        ci=ci,
    )
    unread, problems, empty = leave_out_empty_days(reading, unread, problems)
    skipped: list[Source] = []
    if reading.incremental:
        sources, skipped = leave_out_done(sources, reading.warehouse)
    said = "run.ingested_new" if reading.incremental else "run.ingested"
    notes = [t(said, files=len(sources), skipped=len(skipped))]
    if empty:
        notes.append(t("run.empty_days", days=len(empty), first=empty[0], last=empty[-1]))
    progress().end_stage("ingest", "; ".join(notes))
    left_out = frozenset(source.path for source in skipped)
    return Inputs(tuple(sources), tuple(unread), tuple(problems), left_out, reading.nightly)
