"""What this process does, as numbers for Prometheus, and the server that shows them.

Flows record what happens; they need not know who looks::

    with metrics().analysing(project):
        metrics().record_call(call, project=project, response=text)
        metrics().record_run(report, duration_s=12.3)

A process that serves calls `start_metrics_server`. Flow runs that its children carry out (Prefect's runner
starts a process for each) find its socket in their environment and tell it what they count, so that all of it
is in one place. Nobody serving costs nothing: the numbers are kept, and go with the process.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from typing import Self

from bifrost_flow.errors import DeliveryError, SettingsError
from bifrost_flow.language import t
from bifrost_flow.records import FINDING_STATUSES, RUN_STATUSES, SEVERITIES, Call, Report
from connectors.metrics_relay import SOCKET_VARIABLE, Relay, listen
from connectors.metrics_store import Change, MetricStore, render_metrics

__all__ = ["MetricsServer", "Recorder", "metrics", "render_metrics", "start_metrics_server"]

# What a run must be to count as a success: its results are there, of all that could be read and asked.
SUCCESSES = frozenset({"completed", "partial", "budget_exhausted"})

_STAGES = {
    "ingest": "read",
    "extract": "read",
    "analyse": "analyse",
    "export": "deliver",
    "track": "deliver",
    "notify": "deliver",
}

Sink = Callable[[Sequence[Change]], None]


class Recorder:
    """Takes what happened and makes numbers of it."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    @contextmanager
    def analysing(self, project: str) -> Generator[None]:
        """Count a run as going on for a block; one that raises has failed, unless the call was wrong."""
        self._sink([Change("count", "in_progress", 1, {"project": project})])
        try:
            yield
        except SettingsError:
            raise
        except Exception:
            self.record_end(project, "failed")
            raise
        except BaseException:  # cancelled, or Ctrl-C
            self.record_end(project, "interrupted")
            raise
        finally:
            self._sink([Change("count", "in_progress", -1, {"project": project})])

    def record_call(self, call: Call, *, project: str, response: str | None) -> None:
        """Count a model call; `response` is the answer as JSON, None if there was no use for what came."""
        model = {"project": project, "provider": call.provider, "model": call.model}
        changes = [
            Change("count", "llm_calls_total", 1, {**model, "outcome": call.status}),
            Change("observe", "llm_call_duration_seconds", call.latency_ms / 1000, model),
            Change("count", "tokens_total", call.tokens_in, {**model, "direction": "in"}),
            Change("count", "tokens_total", call.tokens_out, {**model, "direction": "out"}),
            Change("count", "cost_usd_total", call.cost_usd, model),
        ]
        if response is not None:
            changes.append(Change("observe", "response_size_bytes", len(response.encode()), model))
        self._sink(changes)

    def record_run(self, report: Report, *, duration_s: float) -> None:
        """Count a run that ended, and what it found; a dry run has done nothing that counts."""
        run = report.run
        if run.status == "dry_run":
            return
        project = {"project": run.project}
        changes = [
            Change("count", "analysis_total", 1, {**project, "status": run.status}),
            Change("observe", "analysis_duration_seconds", duration_s, project),
            Change("count", "cache_hits_total", run.cache_hits, project),
            Change("count", "tokens_saved_total", run.tokens_saved, project),
            Change("count", "log_lines_total", run.lines, project),
        ]
        stages = Counter(name_stage(problem.stage) for problem in report.problems)
        changes += [
            Change("count", "errors_total", stages[stage], {**project, "stage": stage})
            for stage in ERROR_STAGES
        ]
        statuses = Counter(file.status for file in report.files)
        changes += [
            Change("count", "files_total", count, {**project, "status": status})
            for status, count in statuses.items()
        ]
        changes += [Change("observe", "log_size_bytes", file.bytes, project) for file in report.files]
        kinds = Counter((each.status, each.severity, each.category) for each in report.findings)
        changes += [
            Change(
                "count",
                "findings_total",
                count,
                {**project, "status": status, "severity": severity, "category": category},
            )
            for (status, severity, category), count in kinds.items()
        ]
        self._sink([*changes, *describe_last_run(report, duration_s=duration_s)])

    def record_end(self, project: str, status: str) -> None:
        """Count a run that ended without results."""
        labels = {"project": project}
        self._sink(
            [
                Change("count", "analysis_total", 1, {**labels, "status": status}),
                Change("set", "last_run_timestamp_seconds", time.time(), labels),
                *describe_last_status(project, status),
            ]
        )


ERROR_STAGES = ("read", "analyse", "deliver", "other")


def name_stage(stage: str) -> str:
    """Return which of `ERROR_STAGES` a problem's stage belongs to."""
    return _STAGES.get(stage, "other")


@dataclass(frozen=True, slots=True)
class LastRun:
    """How a project's last run went; `findings` are counts by status and severity."""

    project: str
    status: str
    ended: float  # Unix time
    succeeded: float | None  # when one last ended well, Unix time; None: none did
    duration_s: float | None
    errors: int
    cost_usd: float
    findings: Mapping[tuple[str, str], int]

    def describe(self) -> list[Change]:
        """Return the gauges of the run."""
        project = {"project": self.project}
        gauges = {
            "last_run_timestamp_seconds": self.ended,
            "last_success_timestamp_seconds": self.succeeded,
            "last_run_duration_seconds": self.duration_s,
            "last_run_errors": self.errors,
            "last_run_cost_usd": self.cost_usd,
        }
        changes = [Change("set", name, value, project) for name, value in gauges.items() if value is not None]
        changes += describe_last_status(self.project, self.status)
        return changes + [
            Change(
                "set",
                "last_run_findings",
                self.findings.get((status, severity), 0),
                {**project, "status": status, "severity": severity},
            )
            for status in FINDING_STATUSES
            for severity in SEVERITIES
        ]


def describe_last_run(report: Report, *, duration_s: float) -> list[Change]:
    """Return the gauges of the run that `report` is about."""
    run = report.run
    ended = (run.finished_at or run.started_at).timestamp()
    return LastRun(
        project=run.project,
        status=run.status,
        ended=ended,
        succeeded=ended if run.status in SUCCESSES else None,
        duration_s=duration_s,
        errors=run.errors,
        cost_usd=run.cost_usd,
        findings=Counter((finding.status, finding.severity) for finding in report.findings),
    ).describe()


def describe_last_status(project: str, status: str) -> list[Change]:
    """Return a gauge for each status that a run can end with, 1 for `status`."""
    return [
        Change("set", "last_run_status", float(each == status), {"project": project, "status": each})
        for each in RUN_STATUSES
        if each != "dry_run"
    ]


_store = MetricStore()


@cache
def metrics() -> Recorder:
    """Return where this process records: its own store, or that of the serving process that started it."""
    path = os.environ.get(SOCKET_VARIABLE)
    return Recorder(Relay(path).send if path else _store.apply)


def process_store() -> MetricStore:
    """Return the numbers of this process, and of its children once it serves."""
    return _store


class MetricsServer:
    """Shows this process' numbers over HTTP until it is closed; `with` closes it."""

    def __init__(self, url: str, stop: Callable[[], None]) -> None:
        self.url = url
        self._stop = stop

    def close(self) -> None:
        """Stop, and let go of the port."""
        self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def start_metrics_server(
    host: str = "127.0.0.1", port: int = 0, *, allow_remote: bool = False
) -> MetricsServer:
    """Serve this process' numbers at `/metrics`, in threads of its own; port 0 takes any that is free.

    Call it before children are started: from then on their environment tells them where to send what they
    count.

    Raises:
        SettingsError: `host` can be reached from elsewhere, and `allow_remote` does not say that it may.
        DeliveryError: the port can't be had.
    """
    from prometheus_client import CollectorRegistry, start_http_server

    if not (allow_remote or is_loopback(host)):
        raise SettingsError(t("metrics.not_loopback", host=host))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_store)
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        reason = error.strerror or error
        raise DeliveryError(t("metrics.no_port", host=host, port=port, reason=reason)) from error
    metrics()  # which of this process is the store itself, whatever the environment says from now on
    close_relay = listen(_store)

    def stop() -> None:
        close_relay()
        server.shutdown()
        server.server_close()
        thread.join()

    shown = f"[{host}]" if ":" in host else host
    return MetricsServer(f"http://{shown}:{server.server_port}/metrics", stop)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach `host`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
