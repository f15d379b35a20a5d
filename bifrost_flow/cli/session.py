"""The Prefect server that one command of ours runs its flow against."""

import os
import sys
from contextlib import ExitStack
from typing import Self

from bifrost_flow.language import t
from connectors.prefect_access import check_prefect_access
from connectors.prefect_server import (
    QUIET_ENVIRONMENT,
    EmbeddedServer,
    ServerError,
    find_configured_url,
    find_kept_server,
    hold_start_lock,
)

DRAIN_TIMEOUT_S = 5.0
# What our modules log goes to the run's log on the server.
LOG_ENVIRONMENT = {"PREFECT_LOGGING_EXTRA_LOGGERS": "bifrost_flow,connectors"}
# Prefect's own lines are for its servers and workers. Ours are told through `progress`; errors of a run
# reach the user as our exit message, and the run's log on the server keeps everything.
CONSOLE_ENVIRONMENT = {
    **QUIET_ENVIRONMENT,
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_ROOT_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
    **LOG_ENVIRONMENT,
}


def use_server() -> str:
    """Let Prefect use the server that is configured or kept warm by `up`, and return its API address.

    Raises:
        SettingsError: it is beyond this machine and takes anybody.
        ServerError: there is none, or it does not answer.
    """
    for name, value in {**QUIET_ENVIRONMENT, **LOG_ENVIRONMENT}.items():
        os.environ.setdefault(name, value)
    url = find_configured_url()
    if url:
        check_prefect_access(url)
    elif kept := find_kept_server():
        url = kept.url
    else:
        raise ServerError(t("server.none_to_use"))
    os.environ["PREFECT_API_URL"] = url
    _check_answer()
    return url


class PrefectSession:
    """A Prefect API for a block: the user's own, one kept warm by `up`, else an embedded one for this block.

    One beyond this machine that takes anybody is refused.

    The embedded server comes up in the background: import what the flow needs inside the block, then call
    `wait` and the flow.
    """

    def __init__(self) -> None:
        self._server: EmbeddedServer | None = None
        self._lock = ExitStack()

    def __enter__(self) -> Self:
        for name, value in CONSOLE_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        if url := find_configured_url():
            check_prefect_access(url)
            return self
        if kept := find_kept_server():
            os.environ["PREFECT_API_URL"] = kept.url
            return self
        self._lock.enter_context(hold_start_lock())
        self._server = EmbeddedServer()
        self._server.start()
        os.environ["PREFECT_API_URL"] = self._server.url
        return self

    def wait(self) -> None:
        """Wait until the API answers.

        Raises:
            ServerError: it does not.
        """
        if self._server is not None:
            self._server.wait()
            self._lock.close()
            return
        _check_answer()

    def __exit__(self, *exception: object) -> None:
        if self._server is not None:
            _send_what_is_queued()
            self._server.stop()
            del os.environ["PREFECT_API_URL"]
        self._lock.close()


def _check_answer() -> None:
    # Prefect's own client knows of keys, certificates and proxies.
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        trouble = client.api_healthcheck()
    if trouble is not None:
        url = os.environ.get("PREFECT_API_URL") or find_configured_url()
        raise ServerError(t("server.not_answering", url=url)) from trouble


def _send_what_is_queued() -> None:
    """Let Prefect's background threads hand the last events and log lines to the server before it stops.

    Task runs are recorded from events: without this the last ones would stay `Running` in its database.
    """
    if "prefect.events.worker" not in sys.modules:
        return
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (EventsWorker, APILogWorker):
        worker.drain_all(timeout=DRAIN_TIMEOUT_S)
