"""A served flow over a long time: `python -m tests.torture.soak --minutes 60 [--seed S] [--write FILE]`.

A real Prefect server schedules nights over a folder that changes from one to the next, and requests come
meanwhile: known failures and new ones, too long, cancelled, with a model that breaks now and then. The
serving process is looked at every few seconds; if it grows after warm-up (see `flatness`), this ends with 1.
"""

import argparse
import os
import platform
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import httpx

from tests.console import BIFROST, LOGS, Console
from tests.model_server import Fault, ModelServer
from tests.servers import free_port, stop, wait_until_up
from tests.torture.flatness import WARM_UP, Sample, Verdict, judge, take_sample

EVERY_S = 3.0
NIGHTS = "*/2 * * * *"
JOBS = 6  # logs of a night
WORDS = ("compile", "link", "download", "deploy", "resolve", "mount", "parse", "connect")
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
ROWS = 12  # of the table
HEAD = """# A served flow over a long time

`bifrost-flow serve` against a real Prefect server: a night every two minutes over a folder that changes, and
one request after the other: known failures, new ones, text that is too long, cancelled runs, a model that
fails now and then. The serving process must stay flat after warm-up, a quarter of the time: memory may grow
by 2 MiB and 8 MiB an hour, file handles and threads not at all (tests/torture/flatness.py). Each run is a
process of its own that ends with it. Made by `make torture TORTURE="soak --minutes N"`.

"""


class Soak:
    """Everything that is up, and what has happened so far."""

    def __init__(self, folder: Path, model: ModelServer, dice: random.Random) -> None:
        self.folder, self.model, self.dice = folder, model, dice
        self.api = f"http://127.0.0.1:{free_port()}/api"
        (folder / "temporary").mkdir()
        (folder / "logs").mkdir()
        self.console = Console(folder, folder / "prefect", self.api)
        self.environment = self.console.environment(
            TMPDIR=str(folder / "temporary"),
            BIFROST_PROVIDER="ollama",
            BIFROST_MODEL="scripted",
            BIFROST_OLLAMA_URL=model.url,
            BIFROST_OLLAMA_MAX_RETRIES="1",
            BIFROST_WAREHOUSE=str(folder / "tables"),
            PREFECT_SERVER_ANALYTICS_ENABLED="false",
            DO_NOT_TRACK="1",
        )
        self.samples: list[Sample] = []
        self.server_mib: list[float] = []
        self.requests: Counter[str] = Counter()

    def start(self, stack: ExitStack) -> subprocess.Popen[bytes]:
        """Start the server and what serves, and return the latter."""
        port = self.api.rpartition(":")[2].partition("/")[0]
        prefect = str(Path(sys.executable).with_name("prefect"))
        self.server = self._spawn(
            "server", [prefect, "server", "start", "--host", "127.0.0.1", "--port", port]
        )
        stack.callback(stop, self.server)
        wait_until_up(f"{self.api}/health", self.server, timeout_s=180)
        self.change_night()
        words = [BIFROST, "serve", str(self.folder / "logs"), "--cron", NIGHTS, "--metrics-port", "0"]
        served = self._spawn("serve", words)
        stack.callback(stop, served)
        wait_until_up(f"{self.api}/deployments/name/analyze/adhoc", served, timeout_s=180)
        self.adhoc = httpx.get(f"{self.api}/deployments/name/analyze/adhoc", timeout=60).json()["id"]
        return served

    def _spawn(self, name: str, words: list[str]) -> "subprocess.Popen[bytes]":
        with (self.folder / f"{name}.txt").open("wb") as said:
            return subprocess.Popen(
                words,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                # Runs are children of what serves: what ends it must reach them too.
                start_new_session=True,
            )

    def change_night(self) -> None:
        """Write the logs of another night over those of the last one."""
        for job in range(JOBS):
            (self.folder / "logs" / f"job-{job}.log").write_text(self.make_log(), encoding="utf-8")

    def make_log(self, *, lines: int = 400) -> str:
        """Return a log that failed, half the time in a way that was there before."""
        known = self.dice.random() < 0.5
        words = (
            f"{self.dice.choice(WORDS)} the module {self.dice.choice(WORDS)}"
            if known
            else f"{self.dice.choice(WORDS)} {''.join(self.dice.choices('abcdefghijklmnop', k=12))}"
        )
        stamp = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}.0000000Z"
        text = [f"{stamp} step {number} of the build went well" for number in range(lines)]
        text += [f"{stamp} error: could not {words}", f"{stamp} ##[error]Process completed with exit code 1."]
        return "\n".join(text) + "\n"

    def request(self) -> str | None:
        """Submit a request of a random kind; return its run's id, None where the server refused."""
        kind = self.dice.choices(
            ("answered", "real log", "too long", "cancelled", "model fails"), (6, 2, 1, 1, 2)
        )[0]
        text = self.make_log(lines=self.dice.randint(10, 3000))
        if kind == "real log":
            text = (LOGS / "travis" / "alacritty-rust-564527447.log").read_text("utf-8", "replace")
        elif kind == "too long":
            text = "x" * 450_000
        elif kind == "model fails":
            self.model.script(*[Fault(500), Fault(drop=True), Fault(content="no JSON")] * 2)
        made = httpx.post(
            f"{self.api}/deployments/{self.adhoc}/create_flow_run",
            json={"parameters": {"text": text}},
            timeout=60,
        )
        self.requests[kind] += 1
        if not made.is_success:
            return None
        run_id = made.json()["id"]
        if kind == "cancelled":
            time.sleep(self.dice.uniform(0, 8))
            state = {"state": {"type": "CANCELLING"}, "force": False}
            httpx.post(f"{self.api}/flow_runs/{run_id}/set_state", json=state, timeout=60)
        return run_id

    def has_ended(self, run_id: str) -> bool:
        try:
            state = httpx.get(f"{self.api}/flow_runs/{run_id}", timeout=30).json()["state"]
        except httpx.TransportError:
            return False
        return state["type"] in ENDED

    def count_ends(self) -> Counter[str]:
        ends: Counter[str] = Counter()
        for scheduled, name in ((True, "nights"), (False, "requests")):
            for kind in ENDED:
                offset = 0
                while True:
                    body = {
                        "flow_runs": {"state": {"type": {"any_": [kind]}}},
                        "limit": 200,
                        "offset": offset,
                    }
                    page = httpx.post(f"{self.api}/flow_runs/filter", json=body, timeout=60).json()
                    ends[f"{name} {kind.lower()}"] += sum(run["auto_scheduled"] is scheduled for run in page)
                    offset += len(page)
                    if not page:
                        break
        return +ends


def soak(soak: Soak, served: "subprocess.Popen[bytes]", *, seconds: float) -> None:
    """Keep it busy and look at it until the time is over."""
    begun = time.monotonic()
    waiting_for, next_at, change_at = None, 0.0, 60.0
    while (now := time.monotonic() - begun) < seconds:
        if served.poll() is not None:
            raise SystemExit(f"what serves has ended: {(soak.folder / 'serve.txt').read_text()[-2000:]}")
        soak.samples.append(take_sample(served.pid, now))
        soak.server_mib.append(take_sample(soak.server.pid, now).memory_mib)
        if waiting_for and soak.has_ended(waiting_for):
            waiting_for, next_at = None, now + soak.dice.uniform(0, 6)
        if waiting_for is None and now >= next_at:
            waiting_for = soak.request()
        if now >= change_at:
            soak.change_night()
            change_at += 120
        time.sleep(EVERY_S)


def describe(soak: Soak, verdicts: list[Verdict], ends: Counter[str], *, seconds: float, seed: int) -> str:
    """Return what was seen, as Markdown."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    left = sum(1 for _ in (soak.folder / "temporary").iterdir())
    lines = [
        f"{seconds / 60:.0f} minutes, seed {seed}, {datetime.now(UTC):%Y-%m-%d}; {os.cpu_count()} cores, "
        f"{memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}. "
        f"Requests: {', '.join(f'{count} {kind}' for kind, count in sorted(soak.requests.items()))}. "
        f"Runs: {', '.join(f'{count} {kind}' for kind, count in sorted(ends.items()))}. "
        f"Left in the temporary folder: {left}. Prefect's server, which is not judged: "
        f"{soak.server_mib[0]:.0f} MiB at first, {soak.server_mib[-1]:.0f} at the end.",
        "",
        "| minute | memory, MiB | file handles | threads |",
        "|---|---|---|---|",
    ]
    for number in range(ROWS + 1):
        each = soak.samples[round(number * (len(soak.samples) - 1) / ROWS)]
        lines.append(f"| {each.at_s / 60:.1f} | {each.memory_mib:.1f} | {each.handles} | {each.threads} |")
    lines += [
        "",
        f"| after the first {WARM_UP:.0%} | first window | last window | growth by slope | allowed | |",
        "|---|---|---|---|---|---|",
    ]
    for each in verdicts:
        lines.append(
            f"| {each.bound.what}, {each.bound.unit} | {each.first:.1f} | {each.last:.1f} "
            f"| {each.growth:+.2f} | {each.allowed:.2f} | {'flat' if each.flat else 'GROWS'} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    """Soak, print what was seen, and return 1 if something grew."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--write", type=Path, help="the file for what was seen, if all is flat")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what is up must go too
    seed: int = asked.seed if asked.seed is not None else random.SystemRandom().randrange(1, 2**31)
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="bifrost-soak-") as folder, ExitStack() as stack:
        model = stack.enter_context(ModelServer(delay_s=0.2))
        all_up = Soak(Path(folder), model, random.Random(seed))
        served = all_up.start(stack)
        soak(all_up, served, seconds=asked.minutes * 60)
        verdicts, ends = judge(all_up.samples), all_up.count_ends()
        said = (Path(folder) / "serve.txt").read_text("utf-8", "replace")
        seen = describe(all_up, verdicts, ends, seconds=asked.minutes * 60, seed=seed)
    print(seen, flush=True)
    for error, count in Counter(re.findall(r"(?m)^[\w.]+(?:Error|Exception)\b.{0,120}", said)).items():
        print(f"said {count} times: {error}")
    complaint = re.search("leaked|Unclosed|never awaited", said)
    held = (
        all(each.flat for each in verdicts)
        and not complaint
        and not ends["nights crashed"]
        and ends["nights completed"] > 0
    )
    if held and asked.write:
        asked.write.write_text(HEAD + seen, encoding="utf-8")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
