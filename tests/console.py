"""Run the installed console script as a user would, away from the settings of whoever runs the tests."""

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BIFROST = str(Path(sys.executable).with_name("bifrost-flow"))
LOGS = Path(__file__).parent / "data" / "logs"
# What a developer's shell may hold and no test may see.
PRIVATE = ("BIFROST_", "PREFECT_", "MLFLOW_", "SLACK_", "AWS_", "OLLAMA_")


@dataclass(frozen=True, slots=True)
class Done:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Console:
    """A shell in a folder of its own, with a Prefect home and no settings."""

    folder: Path
    prefect_home: Path
    api_url: str | None = None

    def environment(self, **extra: str) -> dict[str, str]:
        """Return the environment of a command; no outside network can be reached through it."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith(PRIVATE)}
        clean |= {
            "HOME": str(self.folder),
            "XDG_CONFIG_HOME": str(self.folder / ".config"),
            "PREFECT_HOME": str(self.prefect_home),
            "BIFROST_OLLAMA_URL": "http://127.0.0.1:9",
            "NO_COLOR": "1",
        }
        if self.api_url:
            clean["PREFECT_API_URL"] = self.api_url
        return clean | extra

    def start(self, *words: str | Path, **extra: str) -> subprocess.Popen[str]:
        """Start a command and return at once."""
        return subprocess.Popen(
            [BIFROST, *map(str, words)],
            cwd=self.folder,
            env=self.environment(**extra),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, *words: str | Path, stdin: bytes | None = None, **extra: str) -> Done:
        """Run a command to its end."""
        done = subprocess.run(
            [BIFROST, *map(str, words)],
            cwd=self.folder,
            env=self.environment(**extra),
            input=stdin or b"",
            capture_output=True,
            timeout=300,
            check=False,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def call_in_terminal(self, *words: str | Path, **extra: str) -> Done:
        """Run a command whose standard output is a terminal of 100 columns and 40 lines."""
        screen, terminal = pty.openpty()
        started = subprocess.Popen(
            [BIFROST, *map(str, words)],
            cwd=self.folder,
            env=self.environment(TERM="xterm", COLUMNS="100", LINES="40", **extra),
            stdin=subprocess.DEVNULL,
            stdout=terminal,
            stderr=subprocess.PIPE,
        )
        os.close(terminal)
        shown = b""
        # On Linux reading fails once the other side is closed.
        with suppress(OSError):
            while piece := os.read(screen, 65536):
                shown += piece
        _, err = started.communicate(timeout=240)
        os.close(screen)
        return Done(started.returncode, shown.decode(), err.decode())
