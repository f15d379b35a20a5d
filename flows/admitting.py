"""What holds for a run of a deployment: what it may be asked for, and how its process ends."""

import signal
import threading
from collections.abc import Sequence
from datetime import UTC, datetime

from prefect.runtime import deployment
from prefect.runtime import flow_run as this_run

from bifrost_flow.errors import SettingsError
from bifrost_flow.language import t
from bifrost_flow.progress import request_stop
from bifrost_flow.settings import load_settings
from connectors.permitted import Permitted
from connectors.sources import STDIN_NAMES


def admit_run(
    targets: Sequence[str], *, baselines: Sequence[str] | None = None, written: Sequence[str | None] = ()
) -> Permitted | None:
    """Check what a run of a deployment was asked to read, and where to write, and let its process end in
    order. Return what it may read, None where nothing limits it: run by hand, or as it is configured.

    Told to end by SIGTERM, which is how Prefect cancels a run and how serving ends, it saves what it has. A
    worker's settings say nothing of `serve.paths`: who may change a work pool may run anything.

    Raises:
        SettingsError: it was asked for standard input, which is not that of whoever asked, or for a path that
            the settings do not name.
    """
    if deployment.id is None:
        return None
    if threading.current_thread() is threading.main_thread():
        # Ctrl-C where it is served reaches its runs, too.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _save_and_end)
    if not set(STDIN_NAMES).isdisjoint(targets):
        raise SettingsError(t("serve.no_stdin"))
    configured = load_settings({})
    served = configured.serve
    if not served.paths:
        return None
    own = (configured.warehouse, configured.output.out or configured.warehouse)
    Permitted((*own, *served.allow)).check([place for place in written if place is not None])
    permitted = Permitted((*served.paths, *served.allow))
    asked = [*targets, *(baselines or ())]
    permitted.check(asked)
    return None if all(permitted.names(target) for target in asked) else permitted


def find_due() -> datetime:
    """Return the time (UTC) that days and hours of this run are reckoned from: a night that is made up for
    looks back from when it was due."""
    return this_run.scheduled_start_time.astimezone(UTC) if deployment.id else datetime.now(UTC)


def _save_and_end(*_: object) -> None:
    # In place of Prefect's handler, which raises an exception wherever the run happens to be.
    request_stop()
