"""Where MLflow keeps its runs: addresses, the SQLite file in a warehouse, and an import that says nothing."""

import fcntl
import logging
import os
import re
import sqlite3
import warnings
from collections.abc import Generator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from urllib.parse import unquote

from bifrost_flow.errors import DeliveryError

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

_PASSWORD_IN_URL = re.compile(r"(?<=://)[^/@\s]+@")


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


def prepare_store(path: Path, artifact_root: str) -> None:
    """Make an empty SQLite store unless there is one, and find out early if it can't be written.

    MLflow's migrations break when two processes run them at once, or when one is killed at it: one process at
    a time makes the store beside its place and moves it there whole.
    """
    # The import takes half of the time, so others should not have to wait for it.
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(path):
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


def holding_lock(tracking_uri: str) -> AbstractContextManager[None]:
    """Return a block that one process at a time is in, for a SQLite store; a server's is nobody's to lock."""
    path = find_sqlite_path(tracking_uri)
    return _locked(path) if path else nullcontext()


@contextmanager
def _locked(path: Path) -> Generator[None]:
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def describe_error(error: BaseException) -> str:
    """Return the first line of an error's innermost cause: MLflow and SQLAlchemy wrap it in pages."""
    while isinstance(error, DeliveryError) and error.__cause__ is not None:
        error = error.__cause__
    cause = error.__cause__
    text = str(getattr(error, "message", None) or (cause if cause is not None and not str(error) else error))
    first = next((line for line in text.splitlines() if line.strip()), type(error).__name__)
    return mask_uri(first.strip())[:300]
