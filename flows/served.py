"""The deployments that one process serves: `audit/nightly` by its clock, `analyze/adhoc` for whoever asks."""

import asyncio
import signal
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

import httpx
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.schedules import CronSchedule
from prefect.client.schemas.sorting import FlowRunSort
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.flows import EntrypointType
from prefect.runner import Runner
from prefect.schedules import Cron
from prefect.states import Scheduled
from pydantic import ValidationError

from bifrost_flow.errors import SettingsError
from bifrost_flow.language import t
from bifrost_flow.progress import progress
from connectors.prefect_server import is_healthy
from flows.analyze import analyze
from flows.audit import audit

CatchUp = Literal["latest", "all", "none"]
NIGHTLY, ADHOC = "audit/nightly", "analyze/adhoc"
RECONNECT_INTERVAL_S = 5.0
STOP_TIMEOUT_S = 100.0  # containers are given two minutes
STOP_INTERVAL_S = 0.5
MAX_MISSED = 200  # what the server answers at once; it schedules a hundred ahead


@dataclass(frozen=True, slots=True)
class Schedule:
    """When the nightly audit runs, and what becomes of nights on which nobody served."""

    cron: str
    timezone: str
    catch_up: CatchUp


def build_deployments(
    schedule: Schedule, nightly: dict[str, Any], adhoc: dict[str, Any], *, concurrency: int
) -> tuple[RunnerDeployment, RunnerDeployment]:
    """Return what is served, with these parameters; `concurrency` is of ad-hoc runs at a time.

    Raises:
        SettingsError: there is no such time zone, or the schedule is no cron expression.
    """
    try:
        CronSchedule(cron=schedule.cron, timezone=schedule.timezone)
    except ValidationError as error:
        raise SettingsError(
            t("serve.bad_schedule", cron=schedule.cron, timezone=schedule.timezone)
        ) from error
    return (
        _deploy(
            audit,
            "nightly",
            schedule=Cron(schedule.cron, timezone=schedule.timezone),
            parameters=nightly,
            concurrency_limit=1,  # two nights at once would both call the same failures new
            description=t("serve.nightly"),
        ),
        _deploy(
            analyze,
            "adhoc",
            parameters=adhoc,
            concurrency_limit=concurrency,
            description=t("serve.adhoc"),
        ),
    )


def _deploy(flow: Flow[..., Any], name: str, **options: Any) -> RunnerDeployment:
    made = flow.to_deployment(
        name, tags=["bifrost-flow"], entrypoint_type=EntrypointType.MODULE_PATH, **options
    )
    assert isinstance(made, RunnerDeployment)  # it would be a coroutine, were we called by one
    return made


def serve_deployments(
    nightly: RunnerDeployment, adhoc: RunnerDeployment, *, catch_up: CatchUp, api_url: str
) -> None:
    """Serve until SIGTERM or Ctrl-C; a server that is lost is waited for.

    Schedules stay active when we end: the server goes on noting the nights that nobody carried out, and the
    next start catches up on them. So it does on a night that we break off: it is submitted again.

    Raises:
        SettingsError: the server answers, and does not let us serve.
    """
    missed: list[datetime] = []  # taken from the server, and not submitted yet: a lost server loses none
    while True:
        try:
            missed += take_missed_runs(NIGHTLY)
            nightly.apply()
            catch_up_on(missed, NIGHTLY, catch_up)
            missed.clear()
            broken_off = _run(nightly, adhoc)
            if catch_up != "none":
                submit_again(broken_off, NIGHTLY)
            return
        except httpx.HTTPStatusError as error:
            _check_refusal(error, api_url)
            progress().tell(t("serve.lost", url=api_url, reason=error.response.status_code))
        except (httpx.TransportError, RuntimeError, ExceptionGroup) as error:
            if is_healthy(api_url):
                raise
            progress().tell(t("serve.lost", url=api_url, reason=type(error).__name__))
        time.sleep(RECONNECT_INTERVAL_S)
        while not is_healthy(api_url):
            time.sleep(RECONNECT_INTERVAL_S)
        progress().tell(t("serve.back", url=api_url))


def _check_refusal(error: httpx.HTTPStatusError, api_url: str) -> None:
    """Check that what the server answered may pass: it is busy (SQLite locked: 503), or starting.

    Raises:
        SettingsError: it will answer the same again.
    """
    status = error.response.status_code
    if status >= 500 or status in (408, 429):
        return
    reason = error.response.text[:200]
    raise SettingsError(t("serve.refused", url=api_url, status=status, reason=reason)) from error


class _Runner(Runner):
    """Prefect's runner; SIGTERM and Ctrl-C end the runs that are under way, and then it.

    Prefect's own handler (3.8.8) calls its asynchronous stop without waiting for it. Goes when that does.
    """

    def __init__(self) -> None:
        super().__init__(pause_on_shutdown=False)
        self._stop = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None
        self.broken_off: set[UUID] = set()  # what was under way when it was told to stop

    def handle_sigterm(self, *_: Any, **__: Any) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._take_signal)

    def _take_signal(self) -> None:
        if self._stop.is_set() and self._serving is not None:
            self._serving.cancel()  # a second one: kills what has not ended
        self._stop.set()
        # Ctrl-C reaches the runs as well, and they may have ended before the server can be asked.
        self.broken_off |= self._process_manager.flow_run_ids()

    async def serve(self) -> None:
        """Serve until a signal; then wait, for a time, until each run has ended, on the server too."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._take_signal)
        asked = asyncio.create_task(self._stop.wait())
        self._serving = serving = asyncio.create_task(self.start())
        await asyncio.wait({serving, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._end_runs(serving)
        serving.cancel()  # kills what would not end
        with suppress(asyncio.CancelledError):
            await serving

    async def _end_runs(self, serving: asyncio.Task[None]) -> None:
        stopped = False
        while not serving.done():
            if not stopped and self.started:
                stopped = True
                await self.astop()
            elif stopped:
                # A run whose process was about to start.
                self.broken_off |= self._process_manager.flow_run_ids()
                await self.cancel_all()
            await asyncio.wait({serving}, timeout=STOP_INTERVAL_S)


def _run(*deployments: RunnerDeployment) -> set[UUID]:
    """Serve until a signal; return the runs that it broke off."""
    runner = _Runner()
    for deployment in deployments:
        runner.add_deployment(deployment)
    asyncio.run(runner.serve())
    return runner.broken_off


def take_missed_runs(name: str) -> list[datetime]:
    """Return when the schedule of deployment `name` was due in vain, oldest first, and remove these runs."""
    with get_client(sync_client=True) as client:
        try:
            deployment = client.read_deployment_by_name(name)
        except ObjectNotFound:
            return []
        scheduled = client.read_flow_runs(
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id])),
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
            ),
            sort=FlowRunSort.EXPECTED_START_TIME_ASC,
            limit=MAX_MISSED,
        )
        missed = [run for run in scheduled if _was_missed(run)]
        for run in missed:
            with suppress(ObjectNotFound):  # another has removed it since
                client.delete_flow_run(run.id)
        return sorted(run.expected_start_time for run in missed if run.expected_start_time)


def submit_again(broken_off: Collection[UUID], name: str) -> None:
    """Submit those of `broken_off` that are runs of deployment `name` and have not come to their end: who
    serves next carries them out."""
    if not broken_off:
        return
    with suppress(httpx.HTTPError), get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(name).id
        for run in map(client.read_flow_run, broken_off):
            ended = run.state is not None and run.state.type not in (StateType.CANCELLED, StateType.CRASHED)
            if ended or run.deployment_id != deployment:
                continue
            client.create_flow_run_from_deployment(
                deployment,
                parameters=run.parameters,
                state=Scheduled(scheduled_time=run.expected_start_time),
                tags=["catch-up"],
                idempotency_key=f"again {run.id}",
            )


def _was_missed(run: FlowRun) -> bool:
    due = run.expected_start_time
    return run.auto_scheduled and due is not None and due < datetime.now(UTC)


def catch_up_on(missed: list[datetime], name: str, policy: CatchUp) -> None:
    """Submit the runs that were missed, as the policy has it: the latest alone, all, or none."""
    wanted = {"latest": missed[-1:], "all": missed, "none": []}[policy]
    if missed:
        progress().tell(t("serve.caught_up", missed=len(missed), submitted=len(wanted)))
    with get_client(sync_client=True) as client:
        for due in wanted:
            _submit(client, name, due)


def _submit(client: SyncPrefectClient, name: str, due: datetime) -> None:
    client.create_flow_run_from_deployment(
        client.read_deployment_by_name(name).id,
        state=Scheduled(scheduled_time=due),
        tags=["catch-up"],
        # Starting twice must not run a night twice.
        idempotency_key=f"catch-up {name} {due.isoformat()}",
    )
