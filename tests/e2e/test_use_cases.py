"""The use cases in the documentation do what the page shows."""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bifrost_flow.language import ROOT
from tests.console import LOGS, Console

PAGE = ROOT / "docs" / "use-cases.md"
MIN_COMMANDS = 10


@dataclass(frozen=True, slots=True)
class Example:
    """A command of the page, its exit code, and the lines that are shown of its output."""

    command: str
    code: int
    shown: tuple[str, ...]


def read_examples() -> list[Example]:
    examples = []
    for block in re.findall(
        r"^```console\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    ):
        for text in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            typed, *shown = text.splitlines()
            command, _, code = typed.partition("  # exit ")
            examples.append(Example(command, int(code or 0), tuple(shown)))
    return examples


def compile_shown(lines: tuple[str, ...]) -> re.Pattern[str]:
    """Return the pattern of what is shown, in its order: `…` is any text, alone on a line any lines, and
    blanks are as many as a table needs."""
    parts = []
    for line in lines:
        words = [re.sub(r"(\\ )+", r"\\s+", re.escape(piece.strip())) for piece in line.split("…")]
        parts.append(".*?".join(words) if line.strip() != "…" else "(?s:.*?)")
    return re.compile(r"\s*".join(parts))


def test_the_page_shows_what_happens(console: Console) -> None:
    """Each command ends as the page says, and prints what it shows, in that order."""
    shutil.copytree(LOGS, console.folder / "tests" / "data" / "logs")
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    examples = read_examples()
    assert len(examples) >= MIN_COMMANDS
    for example in examples:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", example.command],
            cwd=console.folder,
            env=console.environment(PATH=path, COLUMNS="200"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == example.code, (example.command, done.stderr)
        assert compile_shown(example.shown).search(done.stdout), (example.command, done.stdout[:3000])
