"""What runs are called, what they count, and what became of them, in plain values."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bifrost_flow.language import t
from bifrost_flow.records import FINDING_STATUSES, Report, Run
from connectors.ci.access import is_ci_target
from connectors.metrics import name_stage
from connectors.metrics_publish import PublishResult
from connectors.s3.access import is_s3
from connectors.slack import SlackResult
from connectors.tracking import TrackingResult
from connectors.webhook import WebhookResult

_COUNTS = (
    *("files", "bytes", "lines", "chunks", "groups", "llm_calls", "cache_hits"),
    *("tokens_in", "tokens_out", "tokens_saved", "errors"),
)


def name_source(paths: Sequence[str]) -> str:
    """Return a short name for what a run reads."""
    if not paths:
        return "?"
    more = f" +{len(paths) - 1}" if len(paths) > 1 else ""
    if is_s3(paths[0]):
        name = paths[0]
    else:
        name = paths[0].partition("?")[0] if is_ci_target(paths[0]) else Path(paths[0]).name
    return f"{name or paths[0]}{more}"


def describe_failed_run(run_id: str, project: str, source: str, started_at: datetime) -> Run:
    """Return what there is to say of a run that failed before it had results."""
    nothing: dict[str, Any] = dict.fromkeys(_COUNTS, 0)
    return Run(
        run_id=run_id,
        flow_run_id=run_id,
        project=project,
        source=source,
        started_at=started_at,
        finished_at=datetime.now(UTC),
        status="failed",
        settings="{}",
        versions="{}",
        **nothing,
        cost_usd=0.0,
    )


def measure(report: Report, *, compared: int) -> list[tuple[str, float, str]]:
    """Return the run's numbers as name, value and unit."""
    run = report.run
    duration_s = (run.finished_at or run.started_at).timestamp() - run.started_at.timestamp()
    counts = Counter(finding.status for finding in report.findings)
    stages = Counter(name_stage(problem.stage) for problem in report.problems)
    return [
        ("duration", duration_s, "s"),
        ("files", run.files, "1"),
        ("files_with_baseline", compared, "1"),
        ("lines", run.lines, "1"),
        ("bytes", run.bytes, "B"),
        ("chunks", run.chunks, "1"),
        ("groups", run.groups, "1"),
        ("llm_calls", run.llm_calls, "1"),
        ("cache_hits", run.cache_hits, "1"),
        ("tokens_in", run.tokens_in, "token"),
        ("tokens_out", run.tokens_out, "token"),
        ("tokens_saved", run.tokens_saved, "token"),
        ("cost", run.cost_usd, "USD"),
        ("errors", run.errors, "1"),
        *((f"errors_{stage}", stages[stage], "1") for stage in ("read", "analyse")),
        *((f"findings_{status}", counts[status], "1") for status in FINDING_STATUSES),
    ]


def describe_delivery(result: TrackingResult | SlackResult | WebhookResult | PublishResult | None) -> str:
    """Return what became of a delivery as `status: detail`."""
    if result is None:
        return t("run.delivery.not_done")
    status = t(f"run.delivery.{result.status.replace(' ', '_')}")
    return f"{status}: {result.detail}" if result.detail else status
