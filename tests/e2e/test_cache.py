"""`bifrost-flow cache`: what is in it, what it saved, and what is never in it."""

import json
from pathlib import Path

import pytest

from tests.console import LOGS, Console
from tests.model_server import Fault, ModelServer

LOG = LOGS / "travis" / "alacritty-rust-564527447.log"
OLLAMA = ("--provider", "ollama", "--model", "scripted")


@pytest.fixture
def shell(tmp_path: Path) -> Console:
    """Return a shell without any Prefect server."""
    return Console(tmp_path, tmp_path / "prefect-home")


@pytest.mark.parametrize(
    "fault",
    [
        Fault(content=""),
        Fault(content="{}"),
        Fault(content='{"title": "half an answer"}'),
        Fault(content="I cannot help with that."),
        Fault(status=500),
        Fault(drop_after=3),
        Fault(done_reason="length"),
    ],
    ids=["empty", "empty object", "half", "prose", "error", "dropped", "cut"],
)
def test_no_empty_or_failed_answer_is_kept(shell: Console, fault: Fault) -> None:
    """Whatever goes wrong with a call, nothing of it is an answer to anybody later; streamed or not."""
    with ModelServer() as server:
        for words in ((), ("--no-stream",)) if fault.drop_after is None else ((),):
            server.script(fault, times=2)
            done = shell.call(
                "analyze", LOG, *OLLAMA, *words, BIFROST_OLLAMA_URL=server.url, BIFROST_OLLAMA_MAX_RETRIES="1"
            )
            assert done.code == 3, done.out
    assert json.loads(shell.call("cache", "list", "--format", "json").out) == []
    assert json.loads(shell.call("cache", "stats", "--format", "json").out)["answers"] == 0


def test_stats_list_and_prune(shell: Console) -> None:
    """Answers of two models are counted, listed newest first, pruned by model, and then asked for anew."""
    shell.call("analyze", LOG, "--provider", "rules")
    with ModelServer() as server:
        shell.call("analyze", LOG, *OLLAMA, BIFROST_OLLAMA_URL=server.url)
        shell.call("analyze", LOG, *OLLAMA, BIFROST_OLLAMA_URL=server.url)
        stats = json.loads(shell.call("cache", "stats", "--format", "json").out)
        assert (stats["answers"], stats["hits"]) == (2, 1)
        assert stats["bytes"] > 0
        by_provider = {model["provider"]: model for model in stats["models"]}
        assert (by_provider["ollama"]["hits"], by_provider["rules"]["hits"]) == (1, 0)
        assert (
            stats["tokens_saved"] == by_provider["ollama"]["tokens_in"] + by_provider["ollama"]["tokens_out"]
        )
        listed = json.loads(shell.call("cache", "list", "--format", "json").out)
        assert [answer["provider"] for answer in listed] == ["ollama", "rules"]
        assert listed[0]["title"].startswith("error[E0658]")
        assert len(shell.call("cache", "list", "-n", "1", "--format", "csv").out.splitlines()) == 2
        assert "scripted" in shell.call("cache", "list", "--provider", "ollama").out
        assert "2 answers" in shell.call("cache", "stats").out
        planned = shell.call("cache", "prune", "--provider", "ollama", "--dry-run")
        assert "Would remove 1" in planned.out
        assert "Removed 0" in shell.call("cache", "prune", "--older-than", "1d").out
        assert "Removed 1" in shell.call("cache", "prune", "--provider", "ollama").out
        words = ("analyze", LOG, "--format", "json")
        anew = shell.call(*words, *OLLAMA, BIFROST_OLLAMA_URL=server.url).json
        assert anew["llm_calls"] == 1
        assert shell.call(*words, "--provider", "rules").json["cache_hits"] == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--all"),
        (["--all", "--model", "m"], "--all"),
        (["--older-than", "soon"], "soon"),
        (["--older-than", "30"], "30"),
    ],
)
def test_prune_wants_to_know_what(shell: Console, words: list[str], said: str) -> None:
    """Nothing is removed by accident: no condition, or one that is not understood, is refused."""
    shell.call("analyze", LOG, "--provider", "rules")
    done = shell.call("cache", "prune", *words)
    assert done.code == 2
    assert said in done.err
    assert json.loads(shell.call("cache", "stats", "--format", "json").out)["answers"] == 1
