"""Secrets of a log stay out of whatever a run leaves behind or prints."""

from pathlib import Path

import duckdb

from tests.console import Console
from tests.made_up_secrets import Planted, plant_secrets

TABLES = ("runs", "files", "chunks", "findings", "llm_calls", "metrics", "cache")
PLACES = (
    "ERROR: deploy failed: {}",
    "RuntimeError: cannot connect with {}",
    "AssertionError: unexpected answer for {}",
    "fatal: {} was refused",
)


def _choose() -> list[Planted]:
    """Return texts of one line, of 40 kinds, each with secrets that nothing else holds by chance."""
    chosen: dict[str, Planted] = {}
    for planted in plant_secrets(3, each=1):
        telling = all(len(secret) >= 10 for secret in planted.secrets)
        if "\n" not in planted.text and "\x1b" not in planted.text and telling:
            chosen.setdefault(planted.kind, planted)
    return list(chosen.values())[:: max(1, len(chosen) // 40)][:40]


def _write_logs(folder: Path, secrets: list[Planted]) -> None:
    """Write one failed job for each four secrets: in the error, the lines around it and the last ones."""
    folder.mkdir()
    for number in range(0, len(secrets), 4):
        texts = [planted.text for planted in secrets[number : number + 4]]
        lines = ["step 1: build", "compiling", *(f"+ run {text}" for text in texts)]
        lines += ["Traceback (most recent call last):", '  File "app/main.py", line 12, in start']
        lines += [f"    connect({texts[0]})", PLACES[1].format(texts[1])]
        lines += [PLACES[number % 4].format(text) for text in texts]
        lines += [*texts, "Error: Process completed with exit code 1."]
        (folder / f"job-{number}.log").write_text("\n".join(lines) + "\n")


def test_no_secret_leaves_a_log(console: Console) -> None:
    """Tables, journal, reports, MLflow, Prefect's database and output hold none of 40 secrets."""
    planted = _choose()
    secrets = {secret for one in planted for secret in one.secrets}
    assert len(secrets) >= 40
    logs = console.folder / "logs"
    _write_logs(logs, planted)
    runs = [
        console.call("run", logs, "--provider", "rules", "--format", "markdown,html,json,csv", "--json"),
        console.call("extract", logs, "--format", "jsonl"),
        console.call("show"),
        console.call("show", "--format", "json"),
        *(console.call("export", "--format", format) for format in ("markdown", "html", "json", "csv")),
    ]
    assert [done.code for done in runs] == [0] * len(runs), [done.err for done in runs]
    assert "[redacted:" in runs[1].out
    kept = {f"output {number}": (done.out + done.err).encode() for number, done in enumerate(runs)}
    for root in (console.folder, console.prefect_home):
        for path in root.rglob("*"):
            if path.is_file() and logs not in path.parents:
                kept[str(path)] = path.read_bytes()
    assert any(name.endswith("mlflow.db") for name in kept)
    with duckdb.connect(console.folder / "bifrost-warehouse" / "bifrost.duckdb", read_only=True) as base:
        for table in TABLES:
            kept[f"table {table}"] = repr(base.execute(f"SELECT * FROM {table}").fetchall()).encode()
    assert b"[redacted:" in kept["table chunks"]
    left = {(name, secret) for name, data in kept.items() for secret in secrets if secret.encode() in data}
    assert not left, sorted(left)[:10]
