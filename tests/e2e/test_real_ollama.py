"""The provider `ollama`, and `run` with it, against a real Ollama; `make e2e-ollama` installs one."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import httpx
import pytest

from bifrost_flow.answer import parse_answer
from bifrost_flow.errors import ModelRefused
from connectors.models.choose import ModelSettings, choose_provider
from connectors.models.protocol import ModelRequest, Provider
from tests.console import Console
from tests.ollama_server import MODEL, OllamaServer
from tests.provider_kinds import make_request
from tests.samples import TRACEBACK

ROOM = 300  # tokens for an answer; a model as small as this one may go on without end


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OllamaServer]:
    running = OllamaServer(tmp_path_factory.mktemp("ollama"))
    if running.lack:
        pytest.skip(f"no Ollama: {running.lack}")
    with running:
        yield running


@pytest.fixture
async def ollama(server: OllamaServer) -> AsyncIterator[Provider]:
    provider, note = choose_provider("auto", ModelSettings(ollama_url=server.url, timeout_s=300))
    assert MODEL in note
    yield provider
    await provider.aclose()


def _ask_about(text: str) -> ModelRequest:
    return replace(make_request(text), max_output_tokens=ROOM)


async def test_a_real_model_keeps_to_the_schema(ollama: Provider) -> None:
    """What a small model says is wrong, but never out of form: it is whole and parses, or it is refused."""
    whole = 0
    for text in (TRACEBACK, "make: *** [all] Error 2", "FAILED tests/test_a.py::test_b - assert 1 == 2"):
        request = _ask_about(text)
        try:
            reply = await ollama.complete(request)
        except ModelRefused as error:
            assert "cut its answer off" in str(error)
            assert error.tokens_out >= ROOM
            continue
        assert 100 < reply.tokens_in < 4096
        assert 10 < reply.tokens_out <= ROOM
        parse_answer(reply.text, text.count("\n") + 1)
        whole += 1
    assert whole


async def test_a_stream_is_the_whole_answer(ollama: Provider) -> None:
    """Pieces join to an answer, or to one that the limit cut off."""
    pieces: list[str] = []
    try:
        async for piece in ollama.stream(_ask_about("make: *** [all] Error 2")):
            pieces.append(piece)  # noqa: PERF401 - a comprehension would lose them when it raises
        parse_answer("".join(pieces), 1)
    except ModelRefused as error:
        assert "cut its answer off" in str(error)
    assert len(pieces) > 5


async def test_the_window_is_set_to_the_prompts_size(ollama: Provider, server: OllamaServer) -> None:
    """A prompt beyond Ollama's default window of 2,048 tokens is read whole."""
    text = "\n".join(f"step {number} of the build took {number * 7} ms" for number in range(120))
    request = replace(make_request(text), max_output_tokens=40)
    try:
        reply = await ollama.complete(request)
        assert reply.tokens_in > 2048
    except ModelRefused as error:
        assert "cut its answer off" in str(error)
        assert error.tokens_in > 2048
    assert httpx.get(f"{server.url}/api/ps", trust_env=False).json()["models"]


async def test_a_model_that_is_missing_is_named(server: OllamaServer) -> None:
    """The server's own refusal becomes a sentence with the command that helps."""
    settings = ModelSettings(ollama_url=server.url, ollama_model="absent:1b")
    provider, _ = choose_provider("ollama", settings)
    with pytest.raises(ModelRefused, match="ollama pull absent:1b"):
        await provider.complete(_ask_about("error: disk full"))
    await provider.aclose()


def test_run_explains_with_it_and_pays_once(console: Console, server: OllamaServer) -> None:
    """A run asks the real server, stores what it said as evidence that is true, and never asks again."""
    log = console.folder / "job.log"
    log.write_text(
        "$ make test\nFAILED tests/test_cart.py::test_total - assert 3 == 4\nmake: *** [test] Error 1\n"
    )
    words = ("run", log, "--json", "--provider", "ollama", "--model", MODEL)
    environment = {"BIFROST_OLLAMA_URL": server.url, "BIFROST_OLLAMA_TIMEOUT": "300"}
    first = console.call(*words, stdin=None, **environment)
    assert first.code in (0, 3), first.err
    assert first.json["llm_calls"] >= first.json["groups"] == 1
    assert first.json["tokens_in"] > 200
    second = console.call(*words, stdin=None, **environment)
    assert second.json["cache_hits"] == first.json["findings"]
