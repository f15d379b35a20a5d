"""What there is to measure, by name, and the store that the numbers are kept in.

The table below is the whole of what Prometheus sees of us, wherever it comes from: counted in a serving
process (`connectors/metrics.py`), or summed over a warehouse for batch runs (`metrics_warehouse.py`).
Names follow https://prometheus.io/docs/practices/naming/: base units, and `_total` on counters. Labels take
few values: never a path, a fingerprint or a text of a log.
"""

import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from prometheus_client import Metric

PREFIX = "bifrost_"

SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
LOG_BYTES = (1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10)
ANSWER_BYTES = (128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0)

# Projects and models are named by whoever starts a run: what comes after these many is `other`.
MAX_LABEL_VALUES = 200
OTHER = "other"

Action = Literal["count", "set", "observe"]


@dataclass(frozen=True, slots=True)
class Definition:
    """A metric: its name without prefix, kind, labels and help; `bounds` are a histogram's upper ones."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    text: str
    bounds: tuple[float, ...] = ()


class Change(NamedTuple):
    """What happened to one series; it travels between processes as JSON."""

    action: Action  # add to a counter or gauge, set a gauge, observe a value
    name: str
    value: float
    labels: Mapping[str, str]


_MODEL = ("project", "provider", "model")

DEFINITIONS: Mapping[str, Definition] = {
    each.name: each
    for each in (
        Definition("analysis_total", "counter", ("project", "status"), "Runs that ended, by how."),
        Definition(
            "analysis_duration_seconds",
            "histogram",
            ("project",),
            "Time from a run's start to its end.",
            SECONDS,
        ),
        Definition("in_progress", "gauge", ("project",), "Runs that are going on."),
        Definition("cache_hits_total", "counter", ("project",), "Failures that the cache explained."),
        Definition(
            "errors_total",
            "counter",
            ("project", "stage"),
            "Inputs, calls and deliveries that failed, by stage.",
        ),
        Definition("log_size_bytes", "histogram", ("project",), "Size of the logs on disk.", LOG_BYTES),
        Definition("log_lines_total", "counter", ("project",), "Lines of logs read."),
        Definition("files_total", "counter", ("project", "status"), "Logs, by whether they could be read."),
        Definition(
            "response_size_bytes", "histogram", _MODEL, "Size of the models' answers as JSON.", ANSWER_BYTES
        ),
        Definition(
            "llm_calls_total", "counter", (*_MODEL, "outcome"), "Model calls, repeated ones included."
        ),
        Definition("llm_call_duration_seconds", "histogram", _MODEL, "Time that model calls took.", SECONDS),
        Definition(
            "tokens_total", "counter", (*_MODEL, "direction"), "Tokens in prompts (in) and answers (out)."
        ),
        Definition(
            "tokens_saved_total", "counter", ("project",), "Tokens that the cache hits would have cost."
        ),
        Definition(
            "cost_usd_total", "counter", _MODEL, "Cost of model calls in USD, by the table of prices."
        ),
        Definition(
            "findings_total",
            "counter",
            ("project", "status", "severity", "category"),
            "Distinct failures of each run, by what earlier runs knew of them.",
        ),
        Definition(
            "last_run_timestamp_seconds", "gauge", ("project",), "When the last run ended, Unix time."
        ),
        Definition(
            "last_success_timestamp_seconds",
            "gauge",
            ("project",),
            "When the last run ended that neither failed nor was interrupted, Unix time.",
        ),
        Definition(
            "last_run_status", "gauge", ("project", "status"), "1 for how the last run ended, else 0."
        ),
        Definition("last_run_duration_seconds", "gauge", ("project",), "Time that the last run took."),
        Definition(
            "last_run_findings",
            "gauge",
            ("project", "status", "severity"),
            "Distinct failures in the last run.",
        ),
        Definition("last_run_errors", "gauge", ("project",), "What failed in the last run while it went on."),
        Definition("last_run_cost_usd", "gauge", ("project",), "Cost of the last run in USD."),
    )
}


@dataclass(slots=True)
class _Buckets:
    """A histogram's series: how many values each bucket holds (the last one without bound), and their sum."""

    counts: list[int]
    total: float = 0.0


class MetricStore:
    """The numbers, by metric and labels; a collector of prometheus-client's. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers: dict[str, dict[tuple[str, ...], float]] = {}
        self._buckets: dict[str, dict[tuple[str, ...], _Buckets]] = {}
        self._values: dict[str, set[str]] = {}

    def apply(self, changes: Iterable[Change]) -> None:
        """Make `changes`, all before anybody reads.

        Raises:
            KeyError: there is no such metric or label.
        """
        with self._lock:
            for action, name, value, labels in changes:
                definition = DEFINITIONS[name]
                key = self._key(definition, labels)
                if definition.kind == "histogram":
                    self._observe(definition, key, bucket=value, count=1, total=value)
                elif action == "set":
                    self._numbers.setdefault(name, {})[key] = value
                else:
                    series = self._numbers.setdefault(name, {})
                    series[key] = series.get(key, 0.0) + value

    def observe(
        self, name: str, labels: Mapping[str, str], *, bucket: float, count: int, total: float
    ) -> None:
        """Add `count` values of one bucket at once: all are at most `bucket`, and their sum is `total`."""
        with self._lock:
            definition = DEFINITIONS[name]
            key = self._key(definition, labels)
            self._observe(definition, key, bucket=bucket, count=count, total=total)

    def _observe(
        self, definition: Definition, key: tuple[str, ...], *, bucket: float, count: int, total: float
    ) -> None:
        empty = _Buckets([0] * (len(definition.bounds) + 1))
        series = self._buckets.setdefault(definition.name, {}).setdefault(key, empty)
        series.counts[bisect_left(definition.bounds, bucket)] += count
        series.total += total

    def _key(self, definition: Definition, labels: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(self._bound(name, str(labels[name])) for name in definition.labels)

    def _bound(self, label: str, value: str) -> str:
        known = self._values.setdefault(label, set())
        if value not in known:
            if len(known) >= MAX_LABEL_VALUES:
                return OTHER
            known.add(value)
        return value

    def collect(self) -> "Iterator[Metric]":
        """Yield each metric with its series, as prometheus-client's registry asks for; empty ones too."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        with self._lock:
            numbers = {name: dict(series) for name, series in self._numbers.items()}
            buckets = {
                name: {key: (list(each.counts), each.total) for key, each in series.items()}
                for name, series in self._buckets.items()
            }
        for name, each in DEFINITIONS.items():
            if each.kind == "histogram":
                family = HistogramMetricFamily(PREFIX + name, each.text, labels=each.labels)
                for key, (counts, total) in sorted(buckets.get(name, {}).items()):
                    family.add_metric(key, _cumulate(each.bounds, counts), total)
                yield family
                continue
            kind = CounterMetricFamily if each.kind == "counter" else GaugeMetricFamily
            plain = kind(PREFIX + name, each.text, labels=each.labels)
            for key, value in sorted(numbers.get(name, {}).items()):
                plain.add_metric(key, value)
            yield plain


def _cumulate(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Return the buckets as Prometheus has them: each holds the values of all smaller ones as well."""
    from prometheus_client.utils import floatToGoString

    told, below = [], 0
    for bound, count in zip((*bounds, float("inf")), counts, strict=True):
        below += count
        told.append((floatToGoString(bound), float(below)))
    return told


def render_metrics(store: MetricStore, *, openmetrics: bool = False) -> str:
    """Return the text that Prometheus reads: its own format, or OpenMetrics."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

    registry = CollectorRegistry(auto_describe=False)
    registry.register(store)
    return (generate_openmetrics if openmetrics else generate_latest)(registry).decode()
