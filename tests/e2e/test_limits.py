"""`bifrost-flow run` within a budget and a rate, by the model server's own count."""

import json
import signal
import time
from typing import Any

import pytest

from tests.console import LOGS, Console
from tests.model_server import Fault, ModelServer

WORDS = ("run", LOGS, "--provider", "openai", "--model", "scripted:latest", "--json")
PRICES = '{"scripted:latest": {"input": 3.0, "output": 15.0}}'


def _environment(server: ModelServer, **extra: str) -> dict[str, Any]:
    return {"BIFROST_OPENAI_BASE_URL": server.openai_url, "BIFROST_PRICES": PRICES, **extra}


def _query(console: Console, sql: str) -> list[dict[str, Any]]:
    return json.loads(console.call("sql", sql, "--format", "json").out)


def test_a_budget_of_calls_counts_retries_and_repairs(console: Console) -> None:
    """With five calls allowed the server gets five, faults and all; the next run asks only for the rest."""
    with ModelServer() as server:
        server.script(Fault(status=500), Fault(content="no JSON"), Fault(status=429))
        first = console.call(*WORDS, "--max-calls", "5", **_environment(server))
        assert (first.code, first.json["status"]) == (3, "budget_exhausted"), first.err
        assert len(server.chats) == first.json["llm_calls"] == 5
        assert len(first.json["problems"]) == first.json["groups"] - first.json["findings"]
        assert all("max_calls 5" in problem for problem in first.json["problems"])
        server.chats.clear()
        after = console.call(*WORDS, **_environment(server))
        assert after.code == 0, after.err
        assert len(server.chats) == after.json["groups"] - first.json["findings"]
        assert after.json["cache_hits"] == first.json["findings"]


@pytest.mark.parametrize("flag", ["--max-tokens", "--max-cost"])
def test_a_budget_of_tokens_or_cost_is_never_exceeded(console: Console, flag: str) -> None:
    """The server's own count stays below, and run and tables tell the cost."""
    with ModelServer() as server:
        server.script(Fault(content="no JSON"), Fault())
        cap = {"--max-tokens": "12000", "--max-cost": "0.05"}[flag]
        done = console.call(*WORDS, flag, cap, "--concurrency", "3", **_environment(server))
        assert (done.code, done.json["status"]) == (3, "budget_exhausted"), done.err
        assert done.json["tokens_in"] + done.json["tokens_out"] == server.tokens
        cost_usd = (done.json["tokens_in"] * 3 + done.json["tokens_out"] * 15) / 1e6
        assert done.json["cost_usd"] == pytest.approx(cost_usd)
        assert 0 < server.tokens <= 12_000 if flag == "--max-tokens" else 0 < cost_usd <= 0.05
    daily = _query(console, "SELECT model, calls, tokens_in, tokens_out, cost_usd FROM cost_per_model_day")
    assert [row["model"] for row in daily] == ["scripted:latest"]
    assert daily[0]["calls"] == done.json["llm_calls"]
    assert daily[0]["cost_usd"] == pytest.approx(cost_usd)


def test_a_limit_on_the_cost_needs_a_price(console: Console) -> None:
    """Nobody can keep within dollars for a model whose price is unknown: it is refused before any call."""
    with ModelServer() as server:
        done = console.call(*WORDS, "--max-cost", "1", **_environment(server, BIFROST_PRICES="{}"))
        assert done.code == 2
        assert "scripted:latest" in done.json["error"]
        assert server.chats == []
        free = console.call(*WORDS, "--max-calls", "1", **_environment(server, BIFROST_PRICES="{}"))
        assert free.json["cost_usd"] == 0
        assert "counts as 0" in free.err


def test_a_rate_holds_calls_back_and_ctrl_c_still_ends_the_run(console: Console) -> None:
    """With two requests a minute two calls go out at once and no third one; what they brought is saved."""
    with ModelServer() as server:
        started = console.start(*WORDS, "--requests-per-minute", "2", **_environment(server))
        deadline = time.monotonic() + 240
        while len(server.chats) < 2:
            assert time.monotonic() < deadline, "the run never asked"
            time.sleep(0.02)
        time.sleep(2)
        assert len(server.chats) == 2
        started.send_signal(signal.SIGINT)
        out, err = started.communicate(timeout=240)
        assert started.returncode == 130, err
        assert json.loads(out)["findings"] == 2
