"""Extraction on other machines: batches go to a cluster of Dask or Ray, whose workers compute and return.

They keep nothing: rows are written by the one process that asked. What a worker could not do, since it was
lost, has not our package or does not see the file, is done by whoever asked, so the evidence is the same.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, Protocol, Self

from bifrost_flow.errors import SettingsError
from bifrost_flow.language import current_language, set_language, t
from bifrost_flow.progress import progress
from bifrost_flow.records import FileEvidence
from connectors.extraction_pool import ExtractionPlan
from connectors.sources import Source

RunnerKind = Literal["threads", "dask", "ray"]
PACKAGES = {"dask": "distributed", "ray": "ray"}
CONNECT_TIMEOUT_S = 30
# How often a batch is given to another worker, where one after the other is lost with it.
RETRIES = 3


@dataclass(frozen=True, slots=True)
class Runner:
    """Where batches are extracted: here, or on a cluster."""

    kind: RunnerKind = "threads"
    address: str | None = None  # of a cluster that is up; otherwise one is started here, for the run


class Pending(Protocol):
    """A batch that is under way."""

    def result(self) -> list[FileEvidence] | None:
        """Wait for its evidence; None if it has to be extracted here."""
        ...


class Pool(Protocol):
    """Whoever extracts batches beside us."""

    processes: int

    def submit(self, batch: Sequence[Source], /) -> Pending: ...


def check_runner(kind: RunnerKind) -> None:
    """Check that the runner's package is installed.

    Raises:
        SettingsError: it is not.
    """
    if kind in PACKAGES and find_spec(PACKAGES[kind]) is None:
        raise SettingsError(t("runner.missing", kind=kind, package=PACKAGES[kind]))


def open_cluster(runner: Runner, processes: int, plan: ExtractionPlan) -> "DaskPool | RayPool":
    """Connect to the cluster at the runner's address, or start one of `processes` workers on this machine.

    Raises:
        SettingsError: its package is not installed, or nobody answers at the address.
    """
    check_runner(runner.kind)
    pool = DaskPool if runner.kind == "dask" else RayPool
    return pool(runner.address, processes, plan)


def extract_remotely(language: str, batch: list[Source], plan: ExtractionPlan) -> list[FileEvidence]:
    """Return the evidence of `batch`; this is what workers call."""
    from connectors.extraction import extract_batch

    set_language(language)
    return list(extract_batch(batch, plan))


@dataclass(frozen=True, slots=True)
class _Waiting:
    wait: Callable[[], list[FileEvidence]]
    lost: tuple[type[BaseException], ...]  # what the cluster raises in place of an answer
    told: set[str]  # reasons that were told, each once

    def result(self) -> list[FileEvidence] | None:
        try:
            found = self.wait()
        except self.lost as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1][:200]
            if type(error).__name__ not in self.told:
                self.told.add(type(error).__name__)
                progress().tell(t("runner.lost", reason=reason))
            return None
        # A path may mean nothing there; if it means nothing here either, that is said once more.
        return found if all(each.file.status in ("read", "empty", "binary") for each in found) else None


class DaskPool:
    """Workers of Dask; leaving the context ends those that were started for it."""

    def __init__(self, address: str | None, processes: int, plan: ExtractionPlan) -> None:
        from distributed import Client, LocalCluster

        self._plan = plan
        self._told: set[str] = set()
        self.cluster = None if address else _start_dask(LocalCluster, processes)
        try:
            self._client = Client(address or self.cluster, set_as_default=False, timeout=CONNECT_TIMEOUT_S)
        except (OSError, ValueError) as error:  # its time-out is an OSError
            raise SettingsError(t("runner.no_cluster", kind="dask", address=address or "")) from error
        self.processes = max(processes, sum(self._client.nthreads().values()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        if self.cluster is not None:
            self.cluster.close()

    def submit(self, batch: Sequence[Source], /) -> Pending:
        """Return what will be the evidence of `batch`; Dask gives it to another worker when one is lost."""
        question = (current_language(), list(batch), self._plan.narrow(batch))
        future = self._client.submit(extract_remotely, *question, pure=False)

        def wait() -> list[FileEvidence]:
            # Asked for, not raised: an exception of a worker can be of any type.
            if (error := future.exception()) is not None:
                raise RuntimeError(f"{type(error).__name__}: {error}")
            return future.result()

        return _Waiting(wait, (CancelledError, OSError, RuntimeError), self._told)


def _start_dask(kind: type[Any], processes: int) -> Any:
    # One thread each: choosing lines is Python's work. No dashboard: it would listen for everybody.
    return kind(
        n_workers=processes,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
        silence_logs="CRITICAL",
    )


class RayPool:
    """Workers of Ray; leaving the context ends those that were started for it."""

    def __init__(self, address: str | None, processes: int, plan: ExtractionPlan) -> None:
        # Nothing leaves the machine unasked; Ray reads it when it is imported.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray: Any = import_module("ray")  # an extra, which type checkers may not find
        self._ray, self._plan = ray, plan
        self._told: set[str] = set()
        quiet = {"include_dashboard": False, "num_cpus": processes, "_node_ip_address": "127.0.0.1"}
        try:
            ray.init(
                address=address or "local",
                configure_logging=False,
                log_to_driver=False,
                **({} if address else quiet),
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise SettingsError(t("runner.no_cluster", kind="ray", address=address or "")) from error
        self.processes = max(processes, int(ray.cluster_resources().get("CPU", 1)))
        self._call = ray.remote(max_retries=RETRIES)(extract_remotely)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    def submit(self, batch: Sequence[Source], /) -> Pending:
        """Return what will be the evidence of `batch`; Ray gives it to another worker when one is lost."""
        answer = self._call.remote(current_language(), list(batch), self._plan.narrow(batch))
        return _Waiting(lambda: self._ray.get(answer), (self._ray.exceptions.RayError,), self._told)
