"""Leave the numbers of a run for Prometheus."""

import asyncio

from bifrost_flow.language import t
from bifrost_flow.progress import progress
from bifrost_flow.settings import MetricsSettings
from connectors.metrics_publish import PublishResult, publish_metrics
from connectors.warehouse import Warehouse
from tasks.stage import stage

NOT_WANTED = PublishResult("not configured")


def is_wanted(settings: MetricsSettings) -> bool:
    """Return whether anybody wants the numbers of batch runs."""
    return bool(settings.textfile or settings.pushgateway)


def publish_failure(warehouse: Warehouse | None, project: str, settings: MetricsSettings) -> PublishResult:
    """Say where the numbers are wanted that a run failed as a whole."""
    return publish_metrics(
        warehouse,
        project,
        textfile=settings.textfile,
        pushgateway=settings.pushgateway,
        timeout_s=settings.timeout,
        failed=True,
    )


@stage("publish-metrics")
async def publish(warehouse: Warehouse, settings: MetricsSettings) -> PublishResult:
    """Write the text file and tell the push gateway; what goes wrong is in the result, never raised."""
    progress().start_stage("publish", None)
    result = await asyncio.to_thread(
        publish_metrics,
        warehouse,
        warehouse.project,
        textfile=settings.textfile,
        pushgateway=settings.pushgateway,
        timeout_s=settings.timeout,
    )
    progress().end_stage("publish", t("run.published", detail=result.detail))
    return result
