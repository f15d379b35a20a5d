"""`bifrost-flow prompts`: versions that runs use, with a real MLflow store in the warehouse."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.console import LOGS, Console
from tests.model_server import ModelServer

LOG = LOGS / "travis" / "alacritty-rust-564527447.log"


@pytest.fixture
def shell(tmp_path: Path) -> Console:
    """Return a shell without any Prefect server."""
    return Console(tmp_path, tmp_path / "prefect-home")


def edit(shell: Console, name: str, old: str, new: str, *words: str) -> None:
    """Save a version of a prompt in which `old` is `new`."""
    text = shell.call("prompts", "export", name).out
    assert old in text
    done = shell.call("prompts", "edit", name, "--file", "-", *words, stdin=text.replace(old, new).encode())
    assert done.code == 0, done.err


def analyze(shell: Console, *words: str) -> dict[str, Any]:
    done = shell.call("analyze", LOG, "--provider", "rules", "--format", "json", *words)
    assert done.code == 0, done.err
    return {**done.json, "version": done.json["findings"][0]["prompt_version"], "err": done.err}


def test_an_edit_asks_again_and_a_rollback_hits_the_cache(console: Console) -> None:
    """Runs and analyses use what production names; the version is on each finding; texts make the key."""

    def run(*words: str) -> tuple[int, int, set[str]]:
        done = console.call("run", LOG, "--provider", "rules", "--json", *words)
        assert done.code == 0, done.err
        query = "SELECT prompt_version FROM findings JOIN latest_run USING (run_id)"
        rows = json.loads(console.call("sql", query, "--format", "json").out)
        versions = {row["prompt_version"] for row in rows}
        return done.json["llm_calls"], done.json["cache_hits"], versions

    calls, _, packaged = run()
    assert calls == 1 and all(version.startswith("p1:") for version in packaged)
    edit(console, "error_analysis", "You are an engineer", "You are an expert", "-m", "who", "--tag", "t=1")
    assert run() == (1, 0, {"2"})
    assert analyze(console)["version"] == "2"
    assert run("--prompt", "error_analysis:1") == (0, 1, {"1"})
    assert console.call("prompts", "rollback", "error_analysis").code == 0
    assert run() == (0, 1, {"1"})
    assert run("--prompt", "error_analysis:2") == (0, 1, {"2"})
    history = json.loads(console.call("prompts", "history", "error_analysis", "--format", "json").out)
    assert [(each["version"], each["aliases"], each["tags"]) for each in history] == [
        ("2", [], {"t": "1"}),
        ("1", ["production"], {}),
    ]
    assert console.call("run", LOG, "--prompt", "error_analysis:9", "--provider", "rules").code == 2


def test_a_version_that_somebody_else_registers_is_used_by_the_next_run(console: Console) -> None:
    """The registry itself counts, not what our own commands last saved."""
    from bifrost_flow.prompts import load_prompt
    from connectors.prompts import PromptRegistry
    from connectors.tracking import open_tracker

    folder = console.folder / "bifrost-warehouse"
    console.call("run", LOG, "--provider", "rules", "--quiet")
    tracker = open_tracker(str(folder), tracking_uri=None, experiment="e", timeout_s=60)
    PromptRegistry(tracker.open_client()).save(load_prompt(), message="", tags={})
    console.call("run", LOG, "--provider", "rules", "--quiet")
    rows = console.call("sql", "SELECT prompt_version FROM findings ORDER BY run_id", "--format", "json")
    assert [row["prompt_version"] for row in json.loads(rows.out)][1] == "1"
    assert analyze(console)["version"] == "1"


def test_a_prompt_of_ones_own(shell: Console) -> None:
    """Created from a file, exported in each format, imported under another name, used, and deleted."""
    text = shell.call("prompts", "export", "security").out.replace("security engineer", "night watch")
    (shell.folder / "watch.yaml").write_text(text, encoding="utf-8")
    assert shell.call("prompts", "create", "watch", "--file", "watch.yaml").code == 0
    assert "edit it" in shell.call("prompts", "create", "watch", "--file", "watch.yaml").err
    assert "night watch" in shell.call("prompts", "show", "watch").out
    with ModelServer() as server:
        words = ("--provider", "ollama", "--model", "scripted", "--prompt", "watch", "--lang", "ko")
        done = shell.call("analyze", LOG, *words, "-f", "json", BIFROST_OLLAMA_URL=server.url)
        assert done.code == 0, done.err
        assert "night watch" in server.chats[0]["messages"][0]["content"]
        assert "Korean (한국어)" in server.chats[0]["messages"][0]["content"]
    for suffix in ("json", "txt"):
        assert shell.call("prompts", "export", "watch", "-o", f"copy.{suffix}").code == 0
        imported = shell.call("prompts", "import", f"copy.{suffix}", "--name", f"from-{suffix}")
        assert imported.code == 0, imported.err
        assert "night watch" in shell.call("prompts", "show", f"from-{suffix}").out
    listed = json.loads(shell.call("prompts", "list", "--format", "json").out)
    assert {"error_analysis", "watch", "from-json", "from-txt"} <= {each["name"] for each in listed}
    assert shell.call("prompts", "delete", "watch").code == 2
    assert shell.call("prompts", "delete", "watch", "--yes").code == 0
    gone = shell.call("analyze", LOG, "--provider", "rules", "--prompt", "watch")
    assert gone.code == 2 and "watch" in gone.err


def test_drafts_and_versions_in_use(shell: Console) -> None:
    """A draft changes nothing; what production names can't be deleted; a wrong text is never a version."""
    edit(shell, "security", "Secrets were replaced", "All secrets were replaced")
    edit(shell, "security", "All secrets were", "Some secrets were", "--draft")
    assert analyze(shell, "--prompt", "security")["version"] == "2"
    refused = shell.call("prompts", "delete", "security", "--version", "2", "--yes")
    assert refused.code == 2 and "production" in refused.err
    text = b"system: '{{lang}}'\nuser: '{{lgo}}'\n"
    wrong = shell.call("prompts", "edit", "security", "--file", "-", stdin=text)
    assert wrong.code == 2 and "{{lgo}}" in wrong.err
    history = json.loads(shell.call("prompts", "history", "security", "--format", "json").out)
    assert [each["version"] for each in history] == ["3", "2", "1"]


def test_the_editor(shell: Console) -> None:
    """$EDITOR gets the text; an unchanged one, one that can't be used, and a failing editor save nothing."""
    assert shell.call("prompts", "edit", "security", EDITOR="true").code == 2
    assert shell.call("prompts", "edit", "security", EDITOR="false").code == 2
    broken = shell.call("prompts", "edit", "security", EDITOR="sed -i s/{{log}}/{{lgo}}/")
    assert broken.code == 2
    kept = next(word.rstrip(":") for word in broken.err.split() if word.startswith("/") and ".yaml" in word)
    assert "{{lgo}}" in Path(kept).read_text(encoding="utf-8")
    Path(kept).unlink()
    assert shell.call("prompts", "edit", "security", EDITOR="sed -i s/engineer/expert/").code == 0
    assert "security expert" in shell.call("prompts", "show", "security").out
    assert "EDITOR" in shell.call("prompts", "edit", "security", EDITOR="", VISUAL="").err


def test_render_shows_what_would_be_sent(shell: Console) -> None:
    """The whole prompt with the log's evidence, its size on standard error, and nobody asked."""
    done = shell.call("prompts", "render", "error_analysis", "--file", LOG, "--lang", "ko")
    assert done.code == 0
    assert "error[E0658]" in done.out and "Korean (한국어)" in done.out and "{{" not in done.out
    assert "tokens" in done.err or "토큰" in done.err
    value = shell.call("prompts", "render", "error_analysis", "--file", LOG, "--format", "json").json
    size = len((value["system"] + value["user"]).encode()) / 4
    assert size <= value["tokens"] <= size + 2
    assert not (shell.folder / "bifrost-warehouse").exists()


@pytest.mark.parametrize(
    "broken",
    [{"BIFROST_MLFLOW_ENABLED": "false"}, {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}],
    ids=["disabled", "down"],
)
def test_without_a_registry_the_packaged_prompts_serve(
    shell: Console, console: Console, broken: dict[str, str]
) -> None:
    """A run says once that the packaged prompt serves; looking at prompts works, and saving one does not."""
    edit(console, "error_analysis", "You are an engineer", "You are an expert")
    done = console.call("run", LOG, "--provider", "rules", "--json", stdin=None, **broken)
    assert done.code == 0, done.err
    assert done.err.count("The packaged prompt error_analysis serves") == 1
    rows = json.loads(console.call("sql", "SELECT prompt_version FROM findings", "--format", "json").out)
    assert rows[0]["prompt_version"].startswith("p1:")
    shown = shell.call("prompts", "show", "error_analysis", stdin=None, **broken)
    assert shown.code == 0 and "You are an engineer" in shown.out
    refused = shell.call("prompts", "import", "-", "--name", "x", stdin=shown.out.encode(), **broken)
    assert refused.code in (2, 3)
    text = shell.call("prompts", "export", "security", stdin=None, **broken).out
    assert shell.call("prompts", "import", "-", "--name", "x", stdin=text.encode(), **broken).code == 3


def test_two_people_edit_at_once(shell: Console) -> None:
    """Both versions are kept, one after the other; an editor that was open longest is told."""
    script = shell.folder / "editor.sh"
    script.write_text('sed -i s/engineer/guard/ "$1"; touch opened; while [ ! -e saved ]; do sleep 0.1; done')
    slow = shell.start("prompts", "edit", "security", EDITOR=f"sh {script}")
    deadline = time.monotonic() + 120
    while not (shell.folder / "opened").exists():
        assert time.monotonic() < deadline, "the editor was never opened"
        time.sleep(0.1)
    quick = shell.call("prompts", "edit", "security", EDITOR="sed -i s/engineer/judge/")
    (shell.folder / "saved").touch()
    assert quick.code == 0, quick.err
    _, err = slow.communicate(timeout=120)
    assert slow.returncode == 2
    assert "meanwhile" in err
    history = json.loads(shell.call("prompts", "history", "security", "--format", "json").out)
    assert [each["version"] for each in history] == ["2", "1"]
    assert "security judge" in history[0]["system"]
