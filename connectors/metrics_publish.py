"""Where a batch run leaves its numbers: a file for node_exporter's textfile collector, and a push gateway.

Best effort and bounded: what goes wrong is in the outcome, never raised.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from bifrost_flow.errors import BifrostError, DeliveryError
from bifrost_flow.language import t
from bifrost_flow.render.defuse import put_on_one_line
from connectors.deadline import Background
from connectors.files import write_text_file
from connectors.metrics import Recorder
from connectors.metrics_store import MetricStore, render_metrics
from connectors.metrics_warehouse import read_warehouse_metrics
from connectors.tracking_store import mask_uri
from connectors.warehouse import Warehouse

JOB = "bifrost-flow"


@dataclass(frozen=True, slots=True)
class PublishResult:
    """What became of publishing."""

    status: str  # published, failed, not configured
    detail: str = ""  # for a person: where the numbers are, or what went wrong


def publish_metrics(
    warehouse: Warehouse | None,
    project: str,
    *,
    textfile: str | None,
    pushgateway: str | None,
    timeout_s: float,
    failed: bool = False,
) -> PublishResult:
    """Leave the numbers of `project` where they are wanted, in at most `timeout_s` seconds for each place.

    `failed` is a run that left nothing in the tables: that it failed is told all the same. There may be no
    warehouse then.
    """
    if not (textfile or pushgateway):
        return PublishResult("not configured")
    done, trouble = [], []
    try:
        text = Background(_render, warehouse, project, failed, name="metrics").wait(timeout_s)
    except (BifrostError, TimeoutError) as error:
        return PublishResult("failed", _explain(error, warehouse.location if warehouse else "?", timeout_s))
    for target, publish in ((textfile, write_textfile), (pushgateway, push)):
        if target is None:
            continue
        try:
            done.append(Background(publish, target, text, project, name="metrics").wait(timeout_s))
        except (BifrostError, TimeoutError) as error:
            trouble.append(_explain(error, mask_uri(target), timeout_s))
    return PublishResult("failed" if trouble else "published", "; ".join((*trouble, *done)))


def write_textfile(target: str, text: str, project: str) -> str:
    """Write `text` to `target`, a file or a folder to hold a file a project, at once; return its path.

    Raises:
        DeliveryError: it can't be written.
    """
    path = Path(target)
    if path.is_dir() or target.endswith(os.sep):
        path /= f"bifrost-{project}.prom"
    write_text_file(path, text)
    return str(path)


def push(url: str, text: str, project: str) -> str:
    """Replace what the push gateway at `url` has of `project` by `text`; return where.

    Raises:
        DeliveryError: it can't be reached, or does not take it.
    """
    import httpx

    address = f"{url}/metrics/job/{JOB}/project/{quote(project, safe='')}"
    kind = {"Content-Type": "text/plain; version=0.0.4"}
    try:
        # Whoever calls waits for so long and no longer, however slowly the answer drips.
        answer = httpx.put(address, content=text.encode(), headers=kind, timeout=None)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        reason = mask_uri(str(error)) or type(error).__name__
        raise DeliveryError(t("metrics.failed", target=mask_uri(url), reason=reason)) from error
    if not answer.is_success:
        reason = f"HTTP {answer.status_code} {put_on_one_line(answer.text, 200)}".strip()
        raise DeliveryError(t("metrics.failed", target=mask_uri(url), reason=reason))
    return mask_uri(address)


def _render(warehouse: Warehouse | None, project: str, failed: bool) -> str:
    store = read_warehouse_metrics(warehouse, project=project) if warehouse else MetricStore()
    if failed:
        Recorder(store.apply).record_end(project, "failed")
    return render_metrics(store)


def _explain(error: Exception, target: str, timeout_s: float) -> str:
    if isinstance(error, TimeoutError):
        return t("metrics.timeout", target=target, seconds=f"{timeout_s:g}")
    return str(error)
