"""Read every input once, and keep the lines that a person would mark."""

from collections.abc import Callable, Mapping, Sequence

from bifrost_flow.evidence.baseline import Baseline
from bifrost_flow.language import t
from bifrost_flow.progress import progress, stop_requested
from bifrost_flow.records import FileEvidence
from connectors.extraction import extract_evidence
from connectors.extraction_remote import Runner
from connectors.sources import Source, remove_spooled
from tasks.normalise import ReadPlan
from tasks.stage import stage


@stage("extract")
def extract(
    plan: ReadPlan,
    *,
    budget_tokens: int,
    find_baselines: Callable[[Sequence[Source]], Mapping[str, Baseline]] = lambda _: {},
    learn: bool = False,
    runner: Runner = Runner(),  # noqa: B008 - frozen
) -> tuple[FileEvidence, ...]:
    """Return the evidence of each input of `plan`; when a stop is requested, of those read until then.

    `find_baselines` says what passing runs of the inputs' jobs say; with `learn`, what the jobs say that
    passed comes along. `runner` says whether a cluster does the work.
    """
    progress().start_stage("extract", len(plan.sources))
    found: list[FileEvidence] = []
    try:
        reading = extract_evidence(
            plan.sources,
            budget_tokens=budget_tokens,
            max_line_bytes=plan.max_line_bytes,
            baselines=find_baselines(plan.sources),
            learn=learn,
            wanted=plan.wanted,
            runner=runner,
        )
        for evidence in reading:
            found.append(evidence)
            if evidence.file.status == "read" and evidence.file.error:
                progress().tell(evidence.file.error)
            progress().advance("extract", len(found))
            if stop_requested():
                break
    finally:
        remove_spooled(plan.sources)
    compared = sum(evidence.compared for evidence in found)
    if compared:
        progress().tell(t("run.compared", files=f"{compared:,}", total=f"{len(found):,}"))
    outcomes = [evidence.file.outcome for evidence in found]
    progress().end_stage(
        "extract",
        t(
            "run.extracted",
            lines=f"{sum(evidence.file.lines for evidence in found):,}",
            chunks=f"{sum(len(evidence.chunks) for evidence in found):,}",
            tokens=f"{sum(chunk.tokens for evidence in found for chunk in evidence.chunks):,}",
            failed=f"{outcomes.count('failed'):,}",
            passed=f"{outcomes.count('passed'):,}",
        ),
    )
    return tuple(found)
