"""Extraction on other machines: batches go to a cluster of Dask or Ray, whose workers compute and return.

They keep nothing: rows are written by the one process that asked. What a worker could not do, since it was
lost, has another version of our package or does not see the file, is done by whoever asked, so the evidence
is the same.
"""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
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
# How often it is looked whether anybody is left to answer, and how long a cluster may be without workers: one
# that grows with its work starts machines for us first.
POLL_S = 2
WORKERLESS_S = 120


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

    @property
    def processes(self) -> int:
        """How many batches are in hand at once, at this moment."""
        ...

    def submit(self, batch: Sequence[Source], /) -> Pending: ...


def check_runner(kind: RunnerKind) -> None:
    """Check that the runner's package is installed.

    Raises:
        SettingsError: it is not.
    """
    if kind in PACKAGES and find_spec(PACKAGES[kind]) is None:
        raise SettingsError(t("runner.missing", kind=kind, package=name_requirement(kind)))


def name_requirement(kind: str) -> str:
    """Return what the extra of a runner installs, as pip takes it: `ray[client]==2.60.0`."""
    from importlib.metadata import requires

    from packaging.requirements import Requirement

    for each in map(Requirement, requires("bifrost-flow") or ()):
        if each.marker is not None and each.name == PACKAGES[kind] and each.marker.evaluate({"extra": kind}):
            each.marker = None
            return str(each)
    return PACKAGES[kind]


def open_cluster(runner: Runner, processes: int, plan: ExtractionPlan) -> "DaskPool | RayPool":
    """Connect to the cluster at the runner's address, or start one of `processes` workers on this machine.

    Raises:
        SettingsError: its package is not installed, nobody answers at the address, or none can be started.
    """
    check_runner(runner.kind)
    pool = DaskPool if runner.kind == "dask" else RayPool
    try:
        return pool(runner.address, processes, plan)
    except (OSError, ValueError, RuntimeError) as error:  # their time-outs are OSErrors
        said = {"kind": runner.kind, "reason": _say_why(error)}
        if runner.address:
            raise SettingsError(t("runner.no_cluster", address=runner.address, **said)) from error
        raise SettingsError(t("runner.not_started", **said)) from error


def _say_why(error: BaseException) -> str:
    """Return what stands at the bottom of an error; above it is how somebody came there."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip() or type(error).__name__).splitlines()[-1][:300].rstrip(".")


@dataclass(frozen=True, slots=True)
class Errand:
    """What a worker is asked to do."""

    batch: list[Source]
    plan: ExtractionPlan
    language: str
    version: str  # of bifrost-flow, where the errand comes from


def extract_remotely(errand: Errand) -> list[FileEvidence]:
    """Return the evidence of a batch; this is what workers call.

    Raises:
        LookupError: this is another version of bifrost-flow, or a file is not the one that was meant.
    """
    from bifrost_flow import __version__
    from connectors.extraction import extract_batch

    set_language(errand.language)
    if errand.version != __version__:
        raise LookupError(t("runner.other_version", here=__version__, there=errand.version))
    for source in errand.batch:
        if not _is_here(source):
            raise LookupError(t("runner.other_file", path=source.path, host=socket.gethostname()))
    return list(extract_batch(errand.batch, errand.plan))


def _is_here(source: Source) -> bool:
    if not isinstance(source.location, Path):
        return True  # in a bucket, whose versions are told apart
    try:
        size = source.location.stat().st_size
    except OSError:
        return False
    if source.member is None:
        return size == source.size
    kind, _, told = (source.stamp or "").partition(":")  # of the archive
    return kind != "stat" or size == int(told.partition(":")[0])


def _write_errand(batch: Sequence[Source], plan: ExtractionPlan) -> Errand:
    from bifrost_flow import __version__  # looks it up, which extraction here needn't pay for

    return Errand(list(batch), plan.narrow(batch), current_language(), __version__)


class _NotYet(Exception):
    """The cluster is still at it."""


@dataclass(slots=True)
class _Crew:
    """The workers of a cluster, as far as we know of them; they may come late and go away."""

    count: Callable[[], int]
    seen_at: float = field(default_factory=time.monotonic)
    told: set[str] = field(default_factory=set)

    def is_gone(self) -> bool:
        """Tell whether there has been nobody for longer than it takes to start a machine."""
        if self.count():
            self.seen_at = time.monotonic()
        return time.monotonic() - self.seen_at > WORKERLESS_S

    def tell(self, kind: str, reason: str) -> None:
        """Say why a batch is read here, once for each kind of reason."""
        if kind not in self.told:
            self.told.add(kind)
            progress().tell(t("runner.lost", reason=reason))


@dataclass(frozen=True, slots=True)
class _Waiting:
    ask: Callable[[], list[FileEvidence]]  # raises _NotYet after POLL_S
    lost: tuple[type[BaseException], ...]  # what the cluster raises in place of an answer
    crew: _Crew

    def result(self) -> list[FileEvidence] | None:
        while True:
            try:
                found = self.ask()
            except _NotYet:
                if self.crew.is_gone():
                    self.crew.tell("gone", t("runner.no_workers", seconds=WORKERLESS_S))
                    return None
            except self.lost as error:
                self.crew.tell(type(error).__name__, _say_why(error))
                return None
            else:
                # What could not be read there is read here, and if it can't be, that is said once more.
                whole = all(each.file.status in ("read", "empty", "binary") for each in found)
                return found if whole else None


class DaskPool:
    """Workers of Dask; leaving the context ends those that were started for it."""

    lost = (CancelledError, OSError, RuntimeError)

    def __init__(self, address: str | None, processes: int, plan: ExtractionPlan) -> None:
        from distributed import Client

        # It would tell in its words what we tell in ours.
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        self._plan, self._least = plan, processes
        self._crew = _Crew(self._count)
        self.cluster = None if address else _start_dask(processes)
        try:
            self._client = Client(address or self.cluster, set_as_default=False, timeout=CONNECT_TIMEOUT_S)
        except BaseException:
            if self.cluster is not None:
                self.cluster.close()
            raise

    @property
    def processes(self) -> int:
        """How many threads its workers have by now."""
        return max(self._least, self._count())

    def _count(self) -> int:
        if self._client.status != "running":  # the scheduler is lost, and being asked would wait for it
            return 0
        try:
            return sum(self._client.nthreads().values())
        except (*self.lost, AttributeError):  # it was lost this moment, and the client with it
            return 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(*self.lost):  # of a scheduler that is gone
            self._client.close()
        if self.cluster is not None:
            self.cluster.close()

    def submit(self, batch: Sequence[Source], /) -> Pending:
        """Return what will be the evidence of `batch`; Dask gives it to another worker when one is lost."""
        errand = _write_errand(batch, self._plan)
        try:
            if self._client.status != "running":  # what is sent now would wait, and then be lost as well
                raise OSError(t("runner.lost_scheduler"))
            future = self._client.submit(extract_remotely, errand, pure=False)
        except (*self.lost, AttributeError) as error:  # as above
            return _Waiting(_raising(OSError(str(error))), self.lost, self._crew)

        def ask() -> list[FileEvidence]:
            # Asked for, not raised: an exception of a worker can be of any type.
            try:
                error = future.exception(timeout=POLL_S)
            except TimeoutError:
                raise _NotYet from None
            if error is not None:
                raise RuntimeError(f"{type(error).__name__}: {error}")
            return future.result()

        return _Waiting(ask, self.lost, self._crew)


def _raising(error: BaseException) -> Callable[[], list[FileEvidence]]:
    def ask() -> list[FileEvidence]:
        raise error

    return ask


def _start_dask(processes: int) -> Any:
    from multiprocessing.resource_tracker import ensure_running

    from distributed import LocalCluster

    # Ctrl-C in the terminal is for us: what is under way is still to be kept. What is started inherits the
    # mask, once the process is there whose start would lift it.
    ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return LocalCluster(
            n_workers=processes,
            threads_per_worker=1,  # choosing lines is Python's work
            processes=True,
            host="127.0.0.1",
            # Whoever reaches a scheduler can run code: others on this machine lack the certificate.
            security=True,
            # Its HTTP servers can't be switched off; by themselves they listen for everybody.
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            silence_logs=logging.CRITICAL,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class RayPool:
    """Workers of Ray; leaving the context ends those that were started for it."""

    def __init__(self, address: str | None, processes: int, plan: ExtractionPlan) -> None:
        # Nothing leaves the machine unasked; Ray reads it when it is imported.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if address:
            _check_reachable(address)
        ray: Any = import_module("ray")  # an extra, which type checkers may not find
        # Its import sets a level. It would tell in its words what we tell in ours.
        logging.getLogger("ray").setLevel(logging.CRITICAL)
        # It prints a worker's loss to standard output, which is for answers; there is no setting for it.
        printing: Any = import_module("ray._private.worker")
        printing._worker_logs_enabled = False
        self._ray, self._plan, self._least = ray, plan, processes
        # Where a cluster is lost as a whole, its client raises errors that are none of Ray's own.
        self._lost = (ray.exceptions.RayError, OSError, RuntimeError)
        self._crew = _Crew(self._count)
        own = {"include_dashboard": False, "num_cpus": processes, "_node_ip_address": "127.0.0.1"}
        with _keeping_sigterm():
            ray.init(
                address=address or "local",
                configure_logging=False,
                log_to_driver=False,
                **({} if address else own),
            )
        self._call = ray.remote(max_retries=RETRIES)(extract_remotely)

    @property
    def processes(self) -> int:
        """How many processors its machines have by now."""
        return max(self._least, self._count())

    def _count(self) -> int:
        try:
            return int(self._ray.cluster_resources().get("CPU", 0))
        except self._lost:
            return 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    def submit(self, batch: Sequence[Source], /) -> Pending:
        """Return what will be the evidence of `batch`; Ray gives it to another worker when one is lost."""
        errand = _write_errand(batch, self._plan)
        try:
            answer = self._call.remote(errand)
        except self._lost as error:
            return _Waiting(_raising(error), self._lost, self._crew)

        def ask() -> list[FileEvidence]:
            try:
                return self._ray.get(answer, timeout=POLL_S)
            except self._ray.exceptions.GetTimeoutError:
                raise _NotYet from None

        return _Waiting(ask, self._lost, self._crew)


def _check_reachable(address: str) -> None:
    """Ask at `host:port` whether anybody is there: Ray itself would try for minutes, and end the process.

    Raises:
        OSError: nobody is.
    """
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_S).close()


@contextmanager
def _keeping_sigterm() -> Generator[None]:
    """Let SIGTERM mean what it meant: Ray makes it an exit, which Prefect takes for a defect."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and before is not None:
            signal.signal(signal.SIGTERM, before)
