"""What a flow run tells where nobody listens in its process: its own log on the Prefect server."""

import atexit
import os
import sys
from contextlib import suppress

from prefect import get_run_logger

from bifrost_flow.progress import Silent, progress, watch
from bifrost_flow.render.defuse import make_visible

# Prefect's runner and workers set it in the process that they start for a flow run.
OWN_PROCESS_VARIABLE = "PREFECT__FLOW_RUN_ID"


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
        if OWN_PROCESS_VARIABLE in os.environ:
            atexit.register(hush)


def hush() -> None:
    """Let nothing more be heard of this process, which is ending.

    Prefect's threads hold DuckDB's bindings, which report each as a leak once their modules are taken away:
    44 lines a run in the log of whatever serves it.
    """
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.flush()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
