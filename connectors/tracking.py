"""A run of ours as a run in MLflow: parameters, metrics, tags and artifacts.

Best effort and bounded: MLflow being down, slow or read-only costs `timeout_s` seconds at most and is
recorded, and the run itself never fails for it. MLflow is imported here alone, late: its import and its
set-up take seconds, which `Tracker.start` spends beside other work; docs/decisions/0004 has the figures.
"""

import fcntl
import logging
import math
import os
import re
import sqlite3
import threading
import time
import warnings
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from bifrost_flow.errors import DeliveryError
from bifrost_flow.language import t
from bifrost_flow.prompts import Prompt, PromptReference
from bifrost_flow.records import Report
from connectors.deadline import Background

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

TIMEOUT_S = 30.0

# Quiet, without telemetry, and giving up soon; what the user has set stays.
# Source: mlflow/environment_variables.py.
ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}

# MLflow's limits for one request. Source: mlflow/utils/validation.py.
MAX_PARAMETERS, MAX_METRICS, MAX_TAGS = 100, 1000, 100
MAX_PARAMETER_CHARACTERS, MAX_TAG_CHARACTERS = 6000, 8000

_FORBIDDEN_IN_NAMES = re.compile(r"[^\w\-. :/]")
_PASSWORD_IN_URL = re.compile(r"(?<=://)[^/@\s]+@")

# What MLflow calls the ends that a run of ours can come to; others are FINISHED. The tag `status` has ours.
_RUN_STATUSES = {"failed": "FAILED", "interrupted": "KILLED"}


@dataclass(frozen=True, slots=True)
class TrackingResult:
    """What became of tracking."""

    status: str  # tracked, failed, disabled
    detail: str  # for a person: where it is, or what went wrong
    mlflow_run_id: str | None = None


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """A run as MLflow is told of it; `artifacts` are texts by file name."""

    name: str
    started_at: datetime
    finished_at: datetime | None
    status: str  # one of records.RUN_STATUSES
    parameters: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)
    nested: tuple["TrackedRun", ...] = ()  # runs below this one


class Tracker:
    """The way to one MLflow store. Make it with `open_tracker`; all methods may be called from any thread."""

    def __init__(
        self,
        tracking_uri: str,
        experiment: str,
        *,
        artifact_location: str | None = None,
        warehouse: str | None = None,
        disabled: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Remember where to track; nothing is imported or opened yet.

        `artifact_location` is where a new experiment keeps its artifacts, None for the store's own choice.
        `warehouse` is where the snapshot of the prompts is kept. `disabled` says why nothing is tracked.
        """
        self.tracking_uri = tracking_uri
        self._experiment = experiment
        self._artifact_location = artifact_location
        self._warehouse = warehouse
        self.disabled = disabled
        self.timeout_s = timeout_s
        self._lock = threading.Lock()
        self._ready: tuple[MlflowClient, str] | None = None
        self._preparing: Background[None] | None = None

    def start(self) -> None:
        """Begin `prepare` in a thread of its own and return at once; `log_run` tells what goes wrong there.

        Call it once our own heavy modules are imported: two threads that import packages with circular
        imports at once can see half of one.
        """
        if self.disabled is None and self._preparing is None:
            self._preparing = Background(self.prepare, name="tracking")

    def prepare(self) -> None:
        """Import MLflow, create or open the store, and find or create the experiment; once is enough.

        Raises:
            DeliveryError: any of that failed.
        """
        if self.disabled is None:
            self._open()

    def log_run(
        self,
        report: Report,
        *,
        artifacts: Mapping[str, str],
        parameters: Mapping[str, object],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
    ) -> TrackingResult:
        """Write a run of the pipeline; `artifacts` are texts by file name. See `log`."""
        run = report.run
        name = f"{run.project} {run.started_at:%Y-%m-%d %H:%M:%S}"
        known = {"run_id": run.run_id, "project": run.project, "status": run.status}
        return self.log(
            TrackedRun(
                name=name,
                started_at=run.started_at,
                finished_at=run.finished_at,
                status=run.status,
                parameters=parameters,
                metrics=metrics,
                tags={**known, **tags},
                artifacts=artifacts,
            )
        )

    def log(self, run: TrackedRun) -> TrackingResult:
        """Write one run and those nested in it. Returns within the time-out, never raises."""
        if self.disabled is not None:
            return TrackingResult("disabled", self.disabled)
        shown = mask_uri(self.tracking_uri)
        writing = Background(self._write, run, name="tracking")
        try:
            run_id = writing.wait(self.timeout_s)
        except TimeoutError:
            return self.describe_timeout()
        except Exception as error:  # a best-effort sink: the outcome is recorded
            logger.debug("Tracking failed", exc_info=True)
            reason = describe_error(error)
        else:
            return TrackingResult(
                "tracked", t("tracking.tracked", uri=shown, experiment=self._experiment), run_id
            )
        return TrackingResult("failed", t("tracking.failed", uri=shown, reason=reason))

    def find_prompt(self, reference: PromptReference) -> Prompt | None:
        """Return what `reference` names in the registry of this store, None if nothing; renew the snapshot.

        Raises:
            DeliveryError: tracking is off, or MLflow can't be asked.
            SettingsError: what is there can't be used.
        """
        from connectors.prompts import PromptRegistry, write_snapshot

        registry = PromptRegistry(self.open_client())
        found = registry.find(reference)
        if self._warehouse is not None:
            # Best effort, and nobody waits.
            Background(write_snapshot, registry, self._warehouse, self.tracking_uri, name="snapshot")
        return found.prompt if found else None

    def open_client(self) -> "MlflowClient":
        """Return MLflow's client of this store, which is made if need be.

        Raises:
            DeliveryError: tracking is off, or the store can't be opened.
        """
        if self.disabled is not None:
            raise DeliveryError(self.disabled)
        return self._open()[0]

    def may_hold_prompts(self) -> bool:
        """Tell at once, without MLflow, whether there is a store that may have prompts in it."""
        path = find_sqlite_path(self.tracking_uri)
        return bool(self.tracking_uri) if path is None else path.exists()

    def describe_timeout(self) -> TrackingResult:
        """Return the result of a run that could not be written in time."""
        reason = t("tracking.timeout", seconds=f"{self.timeout_s:g}")
        return TrackingResult("failed", t("tracking.failed", uri=mask_uri(self.tracking_uri), reason=reason))

    def _write(self, run: TrackedRun, parent_id: str | None = None) -> str:
        client, experiment_id = self._open()
        # The source is a column of MLflow's list of runs.
        tags = {"mlflow.source.name": "bifrost-flow", **run.tags}
        if parent_id is not None:
            tags["mlflow.parentRunId"] = parent_id
        started_ms = int(run.started_at.timestamp() * 1000)
        labels = {_clean_name(key): value[:MAX_TAG_CHARACTERS] for key, value in tags.items()}
        run_id = client.create_run(experiment_id, started_ms, run_name=run.name).info.run_id
        finished_ms = int(run.finished_at.timestamp() * 1000) if run.finished_at else int(time.time() * 1000)
        _log_values(client, run_id, finished_ms, run.parameters, run.metrics, labels)
        for file_name, text in run.artifacts.items():
            client.log_text(run_id, text, file_name)
        for nested in run.nested:
            self._write(nested, run_id)
        client.set_terminated(run_id, _RUN_STATUSES.get(run.status, "FINISHED"), finished_ms)
        return run_id

    def _open(self) -> tuple["MlflowClient", str]:
        with self._lock:
            if self._ready is None:
                try:
                    self._ready = self._connect()
                except Exception as error:
                    uri = mask_uri(self.tracking_uri)
                    raise DeliveryError(
                        t("tracking.failed", uri=uri, reason=describe_error(error))
                    ) from error
            return self._ready

    def _connect(self) -> tuple["MlflowClient", str]:
        import_quietly()
        from mlflow import MlflowClient

        if path := find_sqlite_path(self.tracking_uri):
            _prepare_store(path, self._artifact_location or str(path.parent / "mlflow-artifacts"))
        return (client := MlflowClient(self.tracking_uri)), self._find_experiment(client)

    def _find_experiment(self, client: "MlflowClient") -> str:
        from mlflow.exceptions import MlflowException

        if found := client.get_experiment_by_name(self._experiment):
            return found.experiment_id
        try:
            return client.create_experiment(self._experiment, self._artifact_location)
        except MlflowException:
            # Somebody else may have made it since.
            if found := client.get_experiment_by_name(self._experiment):
                return found.experiment_id
            raise


def open_tracker(
    warehouse: str,
    *,
    tracking_uri: str | None,
    experiment: str,
    enabled: bool = True,
    timeout_s: float = TIMEOUT_S,
) -> Tracker:
    """Return the tracker for a warehouse: at `tracking_uri`, else in `<warehouse>/mlflow.db`.

    A warehouse that is no local folder can't hold a SQLite store, and an address can't spell some folders:
    without a `tracking_uri` nothing is tracked then.
    """
    disabled = None if enabled else t("tracking.disabled")
    if tracking_uri:
        return Tracker(tracking_uri, experiment, warehouse=warehouse, disabled=disabled, timeout_s=timeout_s)
    # SQLAlchemy decodes what looks encoded, and MLflow makes folders from the address as it is spelt.
    if "://" in warehouse or any(sign in str(Path(warehouse).resolve()) for sign in "%?"):
        return Tracker("", experiment, disabled=disabled or t("tracking.no_store", warehouse=warehouse))
    folder = Path(warehouse).resolve()
    return Tracker(
        f"sqlite:///{folder / 'mlflow.db'}",
        experiment,
        artifact_location=str(folder / "mlflow-artifacts"),
        warehouse=str(folder),
        disabled=disabled,
        timeout_s=timeout_s,
    )


def find_sqlite_path(tracking_uri: str) -> Path | None:
    """Return the file of a SQLite store, None for any other kind."""
    if not tracking_uri.startswith("sqlite:///"):
        return None
    path = unquote(tracking_uri.removeprefix("sqlite:///").partition("?")[0])
    return Path(path) if path and path != ":memory:" else None


def mask_uri(uri: str) -> str:
    """Return `uri` without the user and password that it may hold."""
    return _PASSWORD_IN_URL.sub("", uri)


def import_quietly() -> None:
    """Import MLflow so that neither it nor alembic says anything on the user's terminal or to its makers."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # MLflow 3.17 maps with a loader that SQLAlchemy 2.1 deprecates; goes when MLflow stops using it.
    warnings.filterwarnings("ignore", message="The ``noload`` loader strategy", category=DeprecationWarning)
    import mlflow

    # In case somebody has imported it before, when the environment did not say so yet.
    for name in (mlflow.__name__, "alembic"):
        logging.getLogger(name).setLevel(os.environ["MLFLOW_LOGGING_LEVEL"])


def _prepare_store(path: Path, artifact_root: str) -> None:
    """Make an empty SQLite store unless there is one, and find out early if it can't be written.

    MLflow's migrations break when two processes run them at once, or when one is killed at it: one process at
    a time makes the store beside its place and moves it there whole.
    """
    # The import takes half of the time, so others should not have to wait for it.
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.with_name(f"{path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                draft = path.with_name(f"{path.name}.new")
                draft.unlink(missing_ok=True)
                store = SqlAlchemyStore(f"sqlite:///{draft}", artifact_root)
                store.engine.dispose()
                draft.replace(path)
    # Where MLflow can't open a store it tries for 100 seconds; SQLite says so at once.
    with closing(sqlite3.connect(path, timeout=20, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")


def _log_values(
    client: "MlflowClient",
    run_id: str,
    time_ms: int,
    parameters: Mapping[str, object],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
) -> None:
    from mlflow.entities import Metric, Param, RunTag

    params = [Param(_clean_name(k), str(v)[:MAX_PARAMETER_CHARACTERS]) for k, v in parameters.items()]
    values = [Metric(_clean_name(k), float(v), time_ms, 0) for k, v in metrics.items() if math.isfinite(v)]
    labels = [RunTag(key, value) for key, value in tags.items()]
    client.log_batch(run_id, values[:MAX_METRICS], params[:MAX_PARAMETERS], labels[:MAX_TAGS])


def _clean_name(name: str) -> str:
    return _FORBIDDEN_IN_NAMES.sub("_", name)[:250]


def describe_error(error: BaseException) -> str:
    """Return the first line of an error's innermost cause: MLflow and SQLAlchemy wrap it in pages."""
    while isinstance(error, DeliveryError) and error.__cause__ is not None:
        error = error.__cause__
    cause = error.__cause__
    text = str(getattr(error, "message", None) or (cause if cause is not None and not str(error) else error))
    first = next((line for line in text.splitlines() if line.strip()), type(error).__name__)
    return mask_uri(first.strip())[:300]
