"""What a flow run tells where nobody listens in its process: its own log on the Prefect server."""

import atexit
import os
from collections.abc import Sequence

from prefect import get_run_logger
from prefect.runtime import deployment

from bifrost_flow.errors import SettingsError
from bifrost_flow.language import t
from bifrost_flow.progress import Silent, progress, watch
from bifrost_flow.render.defuse import make_visible
from connectors.sources import STDIN_NAMES


class LoggedProgress(Silent):
    """Writes what a person should know, and how each stage ended, to the flow run's log."""

    def __init__(self) -> None:
        self._log = get_run_logger()  # of this run; stages tell from threads that have none

    def tell(self, message: str) -> None:
        self._log.info("%s", make_visible(message))

    def end_stage(self, stage: str, summary: str) -> None:
        self._log.info("%s: %s", stage, make_visible(summary))


def log_progress() -> None:
    """Let the run's log have what is told, unless somebody listens already."""
    if type(progress()) is Silent:
        watch(LoggedProgress())


def check_served(paths: Sequence[str]) -> None:
    """Check what a run of a deployment was asked for, and keep its process from ending in noise.

    Raises:
        SettingsError: it was asked for standard input, which is not that of whoever asked.
    """
    if deployment.id is None:
        return
    atexit.register(_forget_errors)
    if not set(STDIN_NAMES).isdisjoint(paths):
        raise SettingsError(t("serve.no_stdin"))


def _forget_errors() -> None:
    """Let standard error lead nowhere: DuckDB's bindings report leaks there when the interpreter ends, into
    the output of whoever serves. What the run had to say is on the server by then."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
