"""A run of ours as a run in MLflow: parameters, metrics, tags and artifacts.

Best effort and bounded: MLflow being down, slow or read-only costs `timeout_s` seconds at most and is
recorded, and the run itself never fails for it. MLflow is imported here alone, late: its import and its
set-up take seconds, which `Tracker.start` spends beside other work; docs/decisions/0004 has the figures.
"""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bifrost_flow.errors import DeliveryError
from bifrost_flow.language import t
from bifrost_flow.prompts import Prompt, PromptReference
from bifrost_flow.tracked import TrackedRun
from connectors.deadline import Background
from connectors.tracking_store import (
    describe_error,
    find_sqlite_path,
    holding_lock,
    import_quietly,
    mask_uri,
    prepare_store,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

logger = logging.getLogger(__name__)

TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class TrackingResult:
    """What became of tracking."""

    status: str  # tracked, failed, disabled
    detail: str  # for a person: where it is, or what went wrong
    mlflow_run_id: str | None = None
    existed: bool = False  # it was there before, and nothing was written


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
        """Begin `prepare` in a thread of its own and return at once; `log` tells what goes wrong there.

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

    def log(self, run: TrackedRun) -> TrackingResult:
        """Write one run and those nested in it, unless it is there; within the time-out, and never raise."""
        if self.disabled is not None:
            return TrackingResult("disabled", self.disabled)
        shown = mask_uri(self.tracking_uri)
        writing = Background(self._write, run, name="tracking")
        try:
            mlflow_id, existed = writing.wait(self.timeout_s)
        except TimeoutError:
            return self.describe_timeout()
        except Exception as error:  # a best-effort sink: the outcome is recorded
            logger.debug("Tracking failed", exc_info=True)
            reason = describe_error(error)
        else:
            detail = t("tracking.tracked", uri=shown, experiment=self._experiment)
            return TrackingResult("tracked", detail, mlflow_id, existed)
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

    def exists(self) -> bool:
        """Tell at once, without MLflow, whether there may be a store; one on a server may be down."""
        path = find_sqlite_path(self.tracking_uri)
        return bool(self.tracking_uri) if path is None else path.exists()

    def may_hold_prompts(self) -> bool:
        """Tell at once, without MLflow, whether there is a store that may have prompts in it."""
        return self.exists()

    def describe_timeout(self) -> TrackingResult:
        """Return the result of a run that could not be written in time."""
        reason = t("tracking.timeout", seconds=f"{self.timeout_s:g}")
        return TrackingResult("failed", t("tracking.failed", uri=mask_uri(self.tracking_uri), reason=reason))

    def read_runs(self, *, most: int | None = None) -> "Sequence[Run]":
        """Return MLflow's runs, newest first, within the time-out; all unless `most` says how many.

        Raises:
            DeliveryError: tracking is off, or MLflow can't be asked.
        """
        if self.disabled is not None:
            raise DeliveryError(self.disabled)
        try:
            return Background(self._list, most, name="tracking").wait(self.timeout_s)
        except TimeoutError as error:
            raise DeliveryError(self.describe_timeout().detail) from error
        except Exception as error:
            reason = describe_error(error)
            raise DeliveryError(
                t("tracking.unread", uri=mask_uri(self.tracking_uri), reason=reason)
            ) from error

    def _list(self, most: int | None) -> "Sequence[Run]":
        from connectors.tracking_write import list_all_runs

        return list_all_runs(*self._open(), most=most)

    def _write(self, run: TrackedRun) -> tuple[str, bool]:
        """Return MLflow's id of the run, and whether it was there before."""
        client, experiment_id = self._open()
        from connectors.tracking_write import find_run, write_run

        with holding_lock(self.tracking_uri):
            run_id = run.tags.get("run_id")
            found = find_run(client, experiment_id, run_id) if run_id else None
            return (found, True) if found else (write_run(client, experiment_id, run), False)

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
            prepare_store(path, self._artifact_location or str(path.parent / "mlflow-artifacts"))
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
