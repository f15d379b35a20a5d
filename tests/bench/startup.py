"""Where the time of a short run goes: `run` on the example logs against an empty Prefect flow, in turn.

Three settings: `first` (a new Prefect database), `later` (the database is there, no server is), `kept`
(one kept warm by `up`). Ratios are of medians; seconds are for orientation only.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIFROST = str(Path(sys.executable).with_name("bifrost-flow"))
EMPTY_FLOW = """
import asyncio
from prefect import flow
@flow
async def empty():
    return 1
asyncio.run(empty())
"""


def _time(command: list[str], environment: dict[str, str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3):
        raise SystemExit(f"{command} ended with {done.returncode}:\n{done.stderr}")
    return time.perf_counter() - began


def measure_startup(rounds: int = 3) -> None:
    """Print the ratio of `run` to an empty flow in each setting."""
    empty = [sys.executable, "-c", EMPTY_FLOW]
    logs = str(ROOT / "tests" / "data" / "logs")
    print("start-up: `run` on the example logs / an empty Prefect flow")
    for setting in ("first", "later", "kept"):
        times: dict[str, list[float]] = {"run": [], "empty": []}
        with tempfile.TemporaryDirectory() as folder:
            base = {**os.environ, "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
            base.pop("PREFECT_API_URL", None)
            warm_home = {**base, "PREFECT_HOME": f"{folder}/warm"}
            run = [BIFROST, "run", logs, "--provider", "rules", "--quiet", "--warehouse", f"{folder}/tables"]
            if setting == "later":
                _time(run, warm_home)
            if setting == "kept":
                _time([BIFROST, "up", "--port", "4299"], warm_home)
            for number in range(rounds):
                new_home = {**base, "PREFECT_HOME": f"{folder}/run-{number}"}
                other_home = {**base, "PREFECT_HOME": f"{folder}/empty-{number}"}
                if setting == "first":
                    times["run"].append(_time([*run[:-1], f"{folder}/warehouse-{number}"], new_home))
                    times["empty"].append(_time(empty, other_home))
                else:
                    api = {"PREFECT_API_URL": "http://127.0.0.1:4299/api"} if setting == "kept" else {}
                    times["run"].append(_time(run, warm_home))
                    times["empty"].append(_time(empty, {**warm_home, **api}))
            if setting == "kept":
                _time([BIFROST, "down"], warm_home)
        ours, empty_s = statistics.median(times["run"]), statistics.median(times["empty"])
        print(f"  {setting:6} ratio {ours / empty_s:5.2f}   run {ours:5.1f} s   empty flow {empty_s:5.1f} s")
