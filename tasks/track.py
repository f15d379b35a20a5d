"""Leave the run in MLflow."""

import asyncio
from collections.abc import Mapping

from bifrost_flow.progress import progress
from bifrost_flow.records import Report
from connectors.tracking import TrackingResult
from connectors.tracking_process import RunTracker
from tasks.stage import stage


@stage("track")
async def track(
    report: Report,
    tracker: RunTracker,
    *,
    parameters: Mapping[str, object],
    metrics: Mapping[str, float],
    artifacts: Mapping[str, str],
) -> TrackingResult:
    """Write the run with parameters, metrics and report; what goes wrong is in the result, never raised."""
    progress().start_stage("track", None)
    result = await asyncio.to_thread(
        tracker.log_run,
        report,
        artifacts=artifacts,
        parameters=parameters,
        metrics=metrics,
        tags={"source": report.run.source},
    )
    progress().end_stage("track", result.detail or result.status)
    return result
