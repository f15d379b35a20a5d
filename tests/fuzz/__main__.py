"""Fuzz with coverage as the guide: `python -m tests.fuzz [TARGET…] [--seconds N] [--seed S]`.

Each target runs in a process of its own under Atheris (libFuzzer), seeded with our logs and with all inputs
that ever broke it (`crashes/TARGET/`). A new one is written there; the tests replay it from then on.
"""

import argparse
import random
import subprocess
import sys
import tempfile
from pathlib import Path

CRASHES = Path(__file__).parent / "crashes"
DATA = Path(__file__).parents[1] / "data"
# `targets.TARGETS`, which may not be imported before it is instrumented.
NAMES = ("log", "packed", "times", "mask", "answer", "prompt", "render")


def main() -> int:
    """Fuzz the targets asked for, one after the other; return 1 if one of them broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(NAMES))
    parser.add_argument("--seconds", type=int, default=30, help="for each target")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    unknown = set(asked.targets) - set(NAMES)
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(1, 2**31)
    if asked.inside:
        fuzz(asked.targets[0], seconds=asked.seconds, seed=seed)
        return 0
    print(f"seed {seed}", flush=True)
    broken = [name for name in asked.targets or NAMES if not _fuzz_apart(name, asked.seconds, seed)]
    print(f"broken: {', '.join(broken)}" if broken else "nothing broke")
    return 1 if broken else 0


def _fuzz_apart(name: str, seconds: int, seed: int) -> bool:
    words = [name, "--inside", "--seconds", str(seconds), "--seed", str(seed)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *words], capture_output=True, text=True, check=False
    )
    said = (done.stdout + done.stderr).splitlines()
    runs = next((line for line in reversed(said) if line.startswith("Done ")), "")
    print(f"{name:8} {'ok' if done.returncode == 0 else 'BROKEN'}  {runs}", flush=True)
    if done.returncode:
        print("\n".join(said[-40:]))
    return done.returncode == 0


def fuzz(name: str, *, seconds: int, seed: int) -> None:
    """Fuzz one target in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=["bifrost_flow", "connectors"]):
        from tests.fuzz.targets import TARGETS

    kept = CRASHES / name
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as corpus:
        for number, content in enumerate(list_seeds(name)):
            (Path(corpus) / f"seed{number}").write_bytes(content)
        options = [
            f"-max_total_time={seconds}",
            f"-seed={seed}",
            f"-artifact_prefix={kept}/",
            "-max_len=16384",
        ]
        atheris.Setup([sys.argv[0], *options, "-timeout=60", "-rss_limit_mb=4096", corpus], TARGETS[name])
        atheris.Fuzz()


def list_seeds(name: str) -> list[bytes]:
    """Return inputs to start from: ends of our logs, small archives, answers, texts that try to break out."""
    import io
    import json
    import tarfile
    import zipfile

    from tests.hostile_logs import HOSTILE_LOGS

    known = [path.read_bytes() for path in sorted((CRASHES / name).glob("*")) if path.is_file()]
    logs = [path.read_bytes()[-3000:] for path in sorted((DATA / "logs").rglob("*.log"))]
    if name == "packed":
        import bz2
        import gzip
        import lzma

        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("0_build/1_test.txt", logs[0])
            archive.writestr("../out.log", b"error: outside\n")
        tarred = io.BytesIO()
        with tarfile.open(fileobj=tarred, mode="w") as archive:
            member = tarfile.TarInfo("job/build.log")
            member.size = len(logs[0])
            archive.addfile(member, io.BytesIO(logs[0]))
        plain, text = tarred.getvalue(), logs[0]
        kinds = [
            packed.getvalue(),
            plain,
            gzip.compress(plain),
            gzip.compress(text),
            lzma.compress(text),
            bz2.compress(text),
        ]
        return known + [bytes([number]) + content for number, content in enumerate(kinds)]
    if name == "answer":
        answer = {
            "evidence": [2],
            "root_cause": "it broke",
            "title": "Broken",
            "category": "crash",
            "severity": "error",
            "explanation": "so",
            "suggestion": "mend it",
            "confidence": 0.5,
        }
        good = json.dumps(answer)
        return [*known, good.encode(), f"Here you are:\n```json\n{good}\n```".encode(), good[:40].encode()]
    if name == "prompt":
        return known + [path.read_bytes() for path in Path("bifrost_flow/prompts").glob("*.yaml")]
    texts = [
        text.encode() for text in json.loads((DATA / "reports" / "hostile.json").read_text(encoding="utf-8"))
    ]
    return known + logs + texts + [log.text.encode("utf-8", "replace") for log in HOSTILE_LOGS]


if __name__ == "__main__":
    sys.exit(main())
