"""Ask the served ad-hoc deployment for an answer, through Prefect's API alone: from any machine."""

import time
from collections.abc import Callable
from typing import Any, cast
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Cancelling

from bifrost_flow.errors import BifrostError, SettingsError
from bifrost_flow.language import t

ANSWER_TYPE = "bifrost-answer"
POLL_INTERVAL_S = 0.5


class RequestFailed(BifrostError):
    """The run that was asked for gave no answer."""


def submit_request(deployment: str, parameters: dict[str, Any]) -> UUID:
    """Submit a run of `deployment` and return its id.

    Raises:
        SettingsError: nobody serves such a deployment, or the server refuses the parameters.
    """
    with get_client(sync_client=True) as client:
        try:
            found = client.read_deployment_by_name(deployment)
            run = client.create_flow_run_from_deployment(found.id, parameters=parameters, tags=["request"])
        except ObjectNotFound as error:
            raise SettingsError(t("request.no_deployment", name=deployment)) from error
        except PrefectHTTPStatusError as error:
            reason = error.response.text[:500]
            raise SettingsError(t("request.refused", name=deployment, reason=reason)) from error
        return run.id


def follow_request(run_id: UUID, *, timeout_s: float, tell: Callable[[str], None]) -> dict[str, Any]:
    """Wait for a run's answer and return it; `tell` hears each state that it comes into.

    Raises:
        RequestFailed: it failed, was cancelled, or had not ended after `timeout_s` seconds, and goes on.
    """
    deadline, said = time.monotonic() + timeout_s, ""
    with get_client(sync_client=True) as client:
        while True:
            state = client.read_flow_run(run_id).state
            name = state.name or state.type.value if state else ""
            if name != said:
                said = name
                tell(t("request.state", state=name))
            if state and state.is_final():
                return _read_answer(client, run_id, state)
            if time.monotonic() > deadline:
                raise RequestFailed(t("request.timeout", run_id=run_id, seconds=f"{timeout_s:g}"))
            time.sleep(POLL_INTERVAL_S)


def cancel_request(run_id: UUID) -> None:
    """Ask Prefect to cancel a run."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run_id, Cancelling())


def _read_answer(client: SyncPrefectClient, run_id: UUID, state: State[Any]) -> dict[str, Any]:
    # Prefect's own method sends nulls that its server refuses.
    body = {"artifacts": {"flow_run_id": {"any_": [str(run_id)]}, "type": {"any_": [ANSWER_TYPE]}}}
    artifacts = client.request("POST", "/artifacts/filter", json=body).json()
    if artifacts:
        return cast("dict[str, Any]", artifacts[0]["data"])
    raise RequestFailed(t("request.failed", run_id=run_id, state=state.name, reason=state.message or "–"))
