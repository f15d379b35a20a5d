"""Serving while the server comes and goes: what is lost, what is said, what is waited for."""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import httpx
import pytest
from prefect.deployments.runner import RunnerDeployment

from bifrost_flow.errors import SettingsError
from flows import served

URL = "http://127.0.0.1:9/api"
NIGHTS = [datetime(2026, 11, day, 2, tzinfo=UTC) for day in (1, 2, 3)]


class Deployment:
    """Stands for a deployment; making it known to the server does `act`."""

    def __init__(self, act: Callable[[], None]) -> None:
        self.apply = act


def answer(status: int) -> httpx.HTTPStatusError:
    """Return the error of a server that answers with `status`."""
    request = httpx.Request("POST", URL)
    return httpx.HTTPStatusError(str(status), request=request, response=httpx.Response(status, text="why"))


def serve(monkeypatch: pytest.MonkeyPatch, *troubles: Exception, catch_up: Any = "latest") -> list[datetime]:
    """Serve with a server that has noted `NIGHTS` once, and fails with each of `troubles` before it does as
    asked; return the nights that were submitted."""
    noted, left, submitted = [NIGHTS, *[[]] * len(troubles)], list(troubles), list[datetime]()

    def apply() -> None:
        if left:
            raise left.pop(0)

    def submit(_client: object, _name: str, due: datetime) -> None:
        submitted.append(due)

    monkeypatch.setattr(served, "take_missed_runs", lambda _name: list(noted.pop(0)))
    monkeypatch.setattr(served, "_submit", submit)
    monkeypatch.setattr(served, "get_client", lambda **_: nullcontext())
    monkeypatch.setattr(served, "_run", lambda *_: set())
    monkeypatch.setattr(served, "RECONNECT_INTERVAL_S", 0.0)
    up = [False, True] * len(troubles)  # a lost server is asked for twice before it is back
    monkeypatch.setattr(served, "is_healthy", lambda _url: up.pop(0) if up else True)
    deployment = cast("RunnerDeployment", Deployment(apply))
    served.serve_deployments(deployment, deployment, catch_up=catch_up, api_url=URL)
    return submitted


@pytest.mark.parametrize(
    ("policy", "wanted"), [("latest", NIGHTS[-1:]), ("all", NIGHTS), ("none", [])], ids=str
)
def test_nights_outlive_a_server_that_is_lost(
    policy: str, wanted: list[datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was missed is taken off the server before it is submitted: losing it in between loses no night."""
    assert serve(monkeypatch, httpx.ConnectError("gone"), catch_up=policy) == wanted


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefect's server answers 503 while its SQLite is locked, and is healthy all the time."""
    assert serve(monkeypatch, answer(status), answer(status)) == NIGHTS[-1:]


@pytest.mark.parametrize("status", [401, 403, 422])
def test_a_server_that_refuses_is_told_as_such(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking again would change nothing: the message names the setting that says who we are."""
    with pytest.raises(SettingsError, match=rf"(?s){status}.*why.*PREFECT_API_AUTH_STRING"):
        serve(monkeypatch, answer(status))


def test_only_what_a_schedule_made_and_nobody_ran_was_missed() -> None:
    """A run that somebody asked for, or that is due later, stays on the server."""
    from prefect.client.schemas.objects import FlowRun

    now = datetime.now(UTC)
    cases = [(True, -1, True), (False, -1, False), (True, 1, False)]
    for scheduled, hours, missed in cases:
        run = FlowRun.model_construct(
            auto_scheduled=scheduled, expected_start_time=now + timedelta(hours=hours)
        )
        assert served._was_missed(run) is missed
