"""The programs that check files for others: containers, manifests, CI. `.ci/tools` installs them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from bifrost_flow.language import ROOT

TOOLS = ROOT / ".tools-venv" / "bin"


def find_tool(name: str) -> str:
    """Return where the program is; the test is skipped where it isn't installed."""
    found = shutil.which(name, path=os.pathsep.join((str(TOOLS), os.environ.get("PATH", ""))))
    if found is None:
        pytest.skip(f"{name} is not installed; .ci/tools does it")
    return found


def call_tool(
    name: str, *words: str | Path, stdin: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the program at the top of the checkout, with nothing of ours in its environment."""
    kept = {key: text for key, text in os.environ.items() if not key.startswith(("BIFROST_", "PREFECT_"))}
    return subprocess.run(
        [find_tool(name), *map(str, words)],
        cwd=ROOT,
        env=kept | variables,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
