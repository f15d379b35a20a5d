"""What a run says of itself in one object: the result of the flow, and what `run --json` prints."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from bifrost_flow.errors import SettingsError
from bifrost_flow.language import t
from bifrost_flow.records import SEVERITIES, Finding, Problem, Report

EXIT_FINE, EXIT_GATE, EXIT_USAGE, EXIT_PARTIAL, EXIT_INTERRUPTED = 0, 1, 2, 3, 130


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of a run, where its results are, and what was not done and why."""

    run_id: str
    status: str  # one of records.RUN_STATUSES
    project: str
    source: str
    provider: str
    model: str
    files: int
    skipped: int  # files that were found but not read, since an earlier run is done with them
    lines: int
    bytes: int
    chunks: int
    groups: int
    llm_calls: int
    cache_hits: int
    tokens_in: int
    tokens_out: int
    tokens_saved: int
    cost_usd: float
    planned_calls: int  # of a dry run: what would be asked, in estimated tokens and cost
    planned_tokens: int
    planned_cost_usd: float
    findings: int  # distinct failures in this run; the resolved ones are not among them
    new: int
    recurring: int
    regressed: int
    resolved: int
    errors: int  # inputs, calls and deliveries that failed
    duration_s: float
    warehouse: str
    exports: tuple[str, ...]  # paths of the files that were written
    mlflow: str  # tracked, failed: …, disabled
    metrics: str  # published: …, failed: …, not configured
    slack: str  # posted, not configured, nothing new, failed: …
    webhook: str  # sent, not configured, nothing new, failed: …
    problems: tuple[str, ...]  # one sentence for each of `errors`

    def to_dict(self) -> dict[str, object]:
        """Return the summary as plain values, ready for JSON."""
        return {**asdict(self), "exports": list(self.exports), "problems": list(self.problems)}


def summarise(
    report: Report,
    *,
    provider: str,
    model: str,
    duration_s: float,
    planned: tuple[int, int, float] = (0, 0, 0.0),
    exports: Sequence[str] = (),
    mlflow: str = "",
    metrics: str = "",
    slack: str = "",
    webhook: str = "",
) -> Summary:
    """Return the summary of a run from its report and from what became of its deliveries.

    `planned` is what a dry run would do: calls, tokens and USD.
    """
    run, statuses = report.run, Counter(finding.status for finding in report.findings)
    return Summary(
        run_id=run.run_id,
        status=run.status,
        project=run.project,
        source=run.source,
        provider=provider,
        model=model,
        files=run.files,
        skipped=run.skipped,
        lines=run.lines,
        bytes=run.bytes,
        chunks=run.chunks,
        groups=run.groups,
        llm_calls=run.llm_calls,
        cache_hits=run.cache_hits,
        tokens_in=run.tokens_in,
        tokens_out=run.tokens_out,
        tokens_saved=run.tokens_saved,
        cost_usd=run.cost_usd,
        planned_calls=planned[0],
        planned_tokens=planned[1],
        planned_cost_usd=planned[2],
        findings=len(report.findings) - statuses["resolved"],
        new=statuses["new"],
        recurring=statuses["recurring"],
        regressed=statuses["regressed"],
        resolved=statuses["resolved"],
        errors=len(report.problems),
        duration_s=round(duration_s, 3),
        warehouse=report.warehouse,
        exports=tuple(exports),
        mlflow=mlflow,
        metrics=metrics,
        slack=slack,
        webhook=webhook,
        problems=tuple(describe_problem(problem) for problem in report.problems),
    )


def describe_problem(problem: Problem) -> str:
    """Return a line for a person, with the subject in front unless the message names it already."""
    return problem.message if problem.subject in problem.message else f"{problem.subject}: {problem.message}"


def check_gate(gate: str) -> str:
    """Return the value of `--fail-on`, checked.

    Raises:
        SettingsError: it is neither `new`, `any` nor a severity.
    """
    if gate not in ("new", "any", *SEVERITIES):
        raise SettingsError(t("run.bad_gate", gate=gate, known=", ".join(SEVERITIES)))
    return gate


def trips_gate(findings: Sequence[Finding], gate: str) -> bool:
    """Return whether `findings` trip `gate`: new or regressed ones, any, or any of a severity and above."""
    open_findings = [finding for finding in findings if finding.status != "resolved"]
    if gate == "any":
        return bool(open_findings)
    if gate == "new":
        return any(finding.status in ("new", "regressed") for finding in open_findings)
    worst = SEVERITIES.index(gate)
    return any(SEVERITIES.index(finding.severity) >= worst for finding in open_findings)


EXIT_CODES: Mapping[str, int] = {
    "completed": EXIT_FINE,
    "dry_run": EXIT_FINE,
    "budget_exhausted": EXIT_PARTIAL,
    "partial": EXIT_PARTIAL,
    "failed": EXIT_PARTIAL,
    "interrupted": EXIT_INTERRUPTED,
}
