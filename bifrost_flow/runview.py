"""Runs side by side: what shaped each, what came of it, and where they differ."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

Value = str | float | None


@dataclass(frozen=True, slots=True)
class RunView:
    """A run to be listed, shown and compared, wherever it was read from."""

    run_id: str
    name: str
    project: str | None
    status: str  # one of records.RUN_STATUSES, or MLflow's word where that is all there is
    started_at: datetime | None
    parameters: dict[str, str]
    metrics: dict[str, float]
    parent_id: str | None = None  # of a nested run, in MLflow
    our_id: str | None = None  # the run in the warehouse that a run in MLflow stands for

    @property
    def ids(self) -> tuple[str, ...]:
        return (self.run_id, self.our_id) if self.our_id else (self.run_id,)


@dataclass(frozen=True, slots=True)
class ComparedValue:
    """One parameter or metric over all runs that are compared, in their order; None where a run has none."""

    kind: str  # parameter, metric
    name: str
    values: tuple[Value, ...]
    differs: bool

    @property
    def change(self) -> float | None:
        """The metric's relative change from the first to the last run; None where there is no telling."""
        first, last = self.values[0], self.values[-1]
        if not (isinstance(first, float) and isinstance(last, float)) or first == 0:
            return None
        return (last - first) / abs(first)


def compare_runs(runs: Sequence[RunView]) -> list[ComparedValue]:
    """Return all parameters, then all metrics, each by name in the order of the first run that has it."""
    compared = [
        _compare("parameter", name, [run.parameters.get(name) for run in runs])
        for name in _unite(run.parameters for run in runs)
    ]
    return compared + [
        _compare("metric", name, [run.metrics.get(name) for run in runs])
        for name in _unite(run.metrics for run in runs)
    ]


def _compare(kind: str, name: str, values: Sequence[Value]) -> ComparedValue:
    return ComparedValue(kind, name, tuple(values), any(not _same(values[0], each) for each in values[1:]))


def _same(one: Value, other: Value) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    return one == other


def _unite(names: Iterable[Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(name for each in names for name in each))


def find_views(runs: Sequence[RunView], reference: str) -> list[RunView]:
    """Return the runs that `reference` may mean: `latest`, an id, the start of one, or a name.

    An id that is given whole, or else a name, means that run alone.
    """
    if reference == "latest":
        return list(runs[:1])
    exact = [run for run in runs if reference in (*run.ids, run.name)]
    return exact or [run for run in runs if any(each.startswith(reference.lower()) for each in run.ids)]
