"""Try to break it: `python -m tests.torture [TOPIC…] [--minutes N] [--seed S]`, as `make torture`.

Topics: `kill` (SIGKILL at random moments of runs with slow answers), `faults` (every fault at every seam, and
docs/faults.md anew), `crowd` (runs, readers, compaction and pruning on one warehouse at once, in a folder and
in a bucket), `archives` (of 100,000 members), `soak` (a served flow for long, and docs/soak.md anew if that
was 20 minutes or more), `fuzz` (coverage-guided, see tests/fuzz). The seed is printed; with it, all random
choices are made again.
"""

import argparse
import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
FAULTS = ROOT / "docs" / "faults.md"
HEAD = """# What goes wrong outside, and what a run makes of it

Made by `make torture`: each row was met by a whole `bifrost-flow run` (tests/e2e/test_faults.py). In all of
them what was found and paid for is kept, and the next run asks only for what is missing. Exit codes: 0
complete, 2 refused, 3 partial.

| where | what | exit code | what the user is told |
|---|---|---|---|
"""
TOPICS = ("kill", "faults", "crowd", "archives", "soak", "fuzz")
LEAST_SOAK_S, TOLD_SOAK_S = 180.0, 1200.0


def main() -> int:
    """Run the topics asked for; return 1 if one of them found something."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help=", ".join(TOPICS))
    parser.add_argument("--minutes", type=float, default=10, help="for all topics together, about")
    parser.add_argument("--seed", type=int, default=None)
    asked = parser.parse_args()
    topics = asked.topics or list(TOPICS)
    if unknown := set(topics) - set(TOPICS):
        parser.error(f"no such topic: {', '.join(sorted(unknown))}; there are {', '.join(TOPICS)}")
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(1, 2**31)
    print(f"seed {seed}: make torture TORTURE='{' '.join(topics)} --minutes {asked.minutes:g} --seed {seed}'")
    share_s = asked.minutes * 60 / len(topics)
    failed = [topic for topic in topics if not torture(topic, seconds=share_s, seed=seed)]
    print(f"found something: {', '.join(failed)}" if failed else "held")
    return 1 if failed else 0


def torture(topic: str, *, seconds: float, seed: int) -> bool:
    """Run one topic for about `seconds`; return whether all held."""
    begun = time.monotonic()
    print(f"== {topic}", flush=True)
    if topic == "fuzz":
        from tests.fuzz.__main__ import NAMES

        each = max(5, int(seconds / len(NAMES)))
        held = _call(["-m", "tests.fuzz", "--seconds", str(each), "--seed", str(seed)])
    elif topic == "archives":
        held = _call(["-m", "tests.torture.archives"])
    elif topic == "soak":
        minutes = max(seconds, LEAST_SOAK_S) / 60
        words = ["-m", "tests.torture.soak", "--minutes", f"{minutes:g}", "--seed", str(seed)]
        held = _call([*words, *(["--write", "docs/soak.md"] if seconds >= TOLD_SOAK_S else [])])
    elif topic == "faults":
        held = _renew_faults()
    else:
        # A kill and the check after it take some four seconds here.
        points = str(max(5, int(seconds / 4)))
        held = _test(
            f"tests/e2e/test_{topic}.py",
            {
                "BIFROST_KILL_POINTS": points,
                "BIFROST_KILL_SEED": str(seed),
                "BIFROST_CROWD_SECONDS": str(int(seconds / 2)),  # in a folder, and in a bucket
                "BIFROST_CROWD_SEED": str(seed),
            },
        )
    print(
        f"== {topic}: {'held' if held else 'FOUND SOMETHING'} in {time.monotonic() - begun:.0f} s", flush=True
    )
    return held


def _renew_faults() -> bool:
    rows = ROOT / ".faults-rows"
    rows.unlink(missing_ok=True)
    held = _test("tests/e2e/test_faults.py", {"BIFROST_TORTURE": "1", "BIFROST_FAULTS_TABLE": str(rows)})
    if rows.exists():
        if held:
            # What stands below the table was told by longer runs.
            _, mark, below = FAULTS.read_text(encoding="utf-8").partition("\n## ")
            FAULTS.write_text(HEAD + rows.read_text(encoding="utf-8") + mark + below, encoding="utf-8")
        rows.unlink()
    return held


def _test(path: str, environment: Mapping[str, str]) -> bool:
    return _call(["-m", "pytest", "-q", "-x", path], environment)


def _call(words: list[str], environment: Mapping[str, str] | None = None) -> bool:
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env={**os.environ, **(environment or {})}, check=False
    )
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
