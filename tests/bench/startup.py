"""Where the time of a short run goes: `run` on the example logs against an empty Prefect flow, in turn.

Three settings: `first` (a new Prefect database), `later` (the database is there, no server is), `kept` (one
kept warm by `up`).
"""

import socket
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.measure import BIFROST, PYTHON, ROOT, Figure, Options, Usage, run, take_turns

LOGS = ROOT / "tests" / "data" / "logs"
BAR = 1.3
EMPTY_FLOW = """
import asyncio
from prefect import flow
@flow
async def empty():
    return 1
asyncio.run(empty())
"""


def measure_startup(options: Options) -> Iterator[Figure]:
    """Yield the ratio of `run` to an empty flow in each setting."""
    with tempfile.TemporaryDirectory() as folder:
        yield _compare("first", Path(folder), options.rounds, new=True)
    with tempfile.TemporaryDirectory() as folder:
        _run_ours(Path(folder))
        yield _compare("later", Path(folder), options.rounds)
    with tempfile.TemporaryDirectory() as folder, keep_prefect(Path(folder)) as api_url:
        yield _compare("kept", Path(folder), options.rounds, api_url=api_url)


def _compare(setting: str, folder: Path, rounds: int, *, new: bool = False, api_url: str = "") -> Figure:
    homes = iter(range(2 * rounds))

    def choose_home() -> Path:
        return folder / str(next(homes)) if new else folder

    def run_empty() -> Usage:
        found = {"PREFECT_API_URL": api_url} if api_url else {}
        return run([PYTHON, "-c", EMPTY_FLOW], environment={**make_environment(choose_home()), **found})

    taken = take_turns(rounds, run=lambda: _run_ours(choose_home()), empty=run_empty)
    ratio = taken["run"].wall_s / taken["empty"].wall_s
    note = f"run {taken['run']}; empty flow {taken['empty']}"
    return Figure("startup", f"`run` / an empty flow, {setting}", ratio, "×", BAR, note=note)


def _run_ours(home: Path) -> Usage:
    words = [BIFROST, "run", LOGS, "--provider", "rules", "--quiet", "--warehouse", home / "tables"]
    return run(words, environment=make_environment(home))


def make_environment(folder: Path) -> dict[str, str]:
    """Return where Prefect's database is in `folder`, made if need be; nobody is told of the run."""
    folder.mkdir(exist_ok=True)
    return {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # its own 20 s are few on a busy machine
        "DO_NOT_TRACK": "1",
    }


@contextmanager
def keep_prefect(folder: Path) -> Generator[str]:
    """Keep a Prefect server warm for runs whose Prefect is in `folder`; yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run([BIFROST, "up", "--port", str(port)], environment=make_environment(folder))
    try:
        yield f"http://127.0.0.1:{port}/api"
    finally:
        run([BIFROST, "down"], environment=make_environment(folder))
