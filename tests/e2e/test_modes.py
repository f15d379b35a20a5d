"""Who may read and change what is written."""

import subprocess
from pathlib import Path

import pytest

from tests.console import BIFROST, LOGS, Console


@pytest.mark.parametrize("umask", [0o000, 0o022], ids=oct)
def test_others_can_change_nothing(console: Console, umask: int) -> None:
    """Whatever the shell allows, nobody else can write what we wrote; tables and settings they can't read."""
    folder, logs = console.folder, LOGS / "zuul"
    commands: tuple[tuple[str | Path, ...], ...] = (
        ("config", "init"),
        ("prompts", "export", "error_analysis", "--out", "prompt.yaml", "--warehouse", "w/tables"),
        (
            "run",
            logs,
            "--provider",
            "rules",
            "--warehouse",
            "w/tables",
            "--format",
            "html,json",
            "--out",
            "out",
        ),
        ("dashboard", "--warehouse", "w/tables", "--output", "dashboard.html"),
    )
    for words in commands:
        done = subprocess.run(
            [BIFROST, *map(str, words)],
            cwd=folder,
            env=console.environment(),
            capture_output=True,
            text=True,
            umask=umask,
            check=False,
        )
        assert done.returncode == 0, (words, done.stderr)
    written = [path for path in folder.rglob("*") if not path.is_symlink()]
    assert {"html", "yaml", "db", "parquet"} <= {path.suffix[1:] for path in written}
    assert [path for path in written if path.stat().st_mode & 0o022] == []
    private = (folder / "bifrost.yaml", folder / "w" / "tables")
    assert [oct(path.stat().st_mode & 0o777) for path in private] == ["0o600", "0o700"]
