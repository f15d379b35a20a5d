"""Leave the run in MLflow."""

import asyncio
from collections.abc import Mapping

from bifrost_flow.progress import progress
from bifrost_flow.prompts import Prompt
from bifrost_flow.records import Report
from bifrost_flow.tracked import describe_run
from connectors.tracking import TrackingResult
from connectors.tracking_process import RunTracker
from tasks.stage import stage


@stage("track")
async def track(
    report: Report, tracker: RunTracker, *, metrics: Mapping[str, float], prompt: Prompt
) -> TrackingResult:
    """Write the run with parameters, metrics and report; what goes wrong is in the result, never raised."""
    progress().start_stage("track", None)
    run = describe_run(report, metrics, prompt)
    result = await asyncio.to_thread(tracker.log, run)
    progress().end_stage("track", result.detail or result.status)
    return result
