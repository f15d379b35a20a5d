"""Compare evidence and answers with what people marked on labelled logs."""

import asyncio
from collections.abc import Mapping, Sequence

from bifrost_flow.evaluation import (
    BudgetResult,
    LabelledLog,
    pick_question,
    score_answer,
    score_log,
    sum_up,
)
from bifrost_flow.language import t
from bifrost_flow.progress import progress, stop_requested
from bifrost_flow.records import Chunk, FileEvidence, Finding, Group
from bifrost_flow.tracked import TrackedRun
from connectors.labels import LabelledFolder, read_labelled_folder
from connectors.tracking import TrackingResult
from connectors.tracking_process import RunTracker
from tasks.stage import stage

# What one question is about. A chunk's score and rank depend on the budget; what is asked does not.
Asking = tuple[str, tuple[tuple[int, int], ...], str]


def name_question(chunk: Chunk) -> Asking:
    """Return what tells the question about `chunk` from others, whatever the budget it was found at."""
    return (chunk.path, chunk.spans, chunk.text)


@stage("read-labels")
def read_labels(folder: str) -> LabelledFolder:
    """Return the labelled logs of `folder`."""
    progress().start_stage("read_labels", None)
    labelled = read_labelled_folder(folder)
    labels = sum(len(log.labels) for log in labelled.logs)
    progress().end_stage("read_labels", t("evaluate.labels_read", logs=len(labelled.logs), labels=labels))
    return labelled


def pick_questions(
    logs: Sequence[LabelledLog], evidence: Mapping[int, Sequence[FileEvidence]]
) -> tuple[Group, ...]:
    """Return the first-ranked chunk of each failing log at each budget, those that are alike once."""
    failing = {log.path for log in logs if log.failed}
    groups: dict[Asking, Group] = {}
    for each in (each for found in evidence.values() for each in found if each.file.path in failing):
        if group := pick_question(each):
            groups.setdefault(name_question(group.exemplar), group)
    return tuple(groups.values())


@stage("score")
def score(
    logs: Sequence[LabelledLog],
    evidence: Sequence[FileEvidence],
    findings: Mapping[Asking, Finding] | None,
    *,
    budget_tokens: int,
) -> BudgetResult:
    """Return the scores at one budget; `findings` are what the model said, None when it was not asked."""
    progress().start_stage("score", None)
    by_path = {each.file.path: each for each in evidence}
    scores = []
    for log in (log for log in logs if log.path in by_path):
        found = by_path[log.path]
        answer = None
        if findings is not None and log.failed:
            group = pick_question(found)
            finding = findings.get(name_question(group.exemplar)) if group else None
            # After Ctrl-C most questions were never asked: no answer is no failing then.
            answer = score_answer(log, finding) if finding or not stop_requested() else None
        scores.append(score_log(log, found, answer))
    progress().end_stage("score", t("evaluate.scored", logs=len(scores), budget=f"{budget_tokens:,}"))
    return BudgetResult(budget_tokens, sum_up(scores), tuple(scores))


@stage("track")
async def track_evaluation(run: TrackedRun, tracker: RunTracker) -> TrackingResult:
    """Leave the evaluation in MLflow; what goes wrong is in the result, never raised."""
    progress().start_stage("track", None)
    result = await asyncio.to_thread(tracker.log, run)
    progress().end_stage("track", result.detail or result.status)
    return result
