"""Find the inputs: files, folders, globs, archives, standard input, logs of CI systems."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from bifrost_flow.language import t
from bifrost_flow.progress import progress
from bifrost_flow.records import LogFile, Problem
from connectors.ci.access import CiAccess
from connectors.sources import Source, find_sources
from tasks.stage import stage


@dataclass(frozen=True, slots=True)
class Inputs:
    """What there is to read, and what could not be found or opened."""

    sources: tuple[Source, ...]
    unread: tuple[LogFile, ...]
    problems: tuple[Problem, ...]


@stage("ingest")
def ingest(
    targets: Sequence[str],
    *,
    max_bytes: int | None,
    stdin: BinaryIO | None = None,
    ci: CiAccess | None = None,
) -> Inputs:
    """Return the inputs that `targets` name; `-` is `stdin`, by default the process's own; `ci` says how to
    reach CI systems."""
    progress().start_stage("ingest", None)
    sources, unread, problems = find_sources(targets, stdin=stdin, max_bytes=max_bytes, ci=ci)
    progress().end_stage("ingest", t("run.ingested", files=len(sources)))
    return Inputs(tuple(sources), tuple(unread), tuple(problems))
