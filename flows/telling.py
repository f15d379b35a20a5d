"""What a flow run tells where nobody listens in its process: its own log on the Prefect server."""

from prefect import get_run_logger

from bifrost_flow.progress import Silent, progress, watch
from bifrost_flow.render.defuse import make_visible


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
