"""The provider `openai` against llama.cpp's own server with a real model; skipped where they are missing."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from bifrost_flow.answer import Answer, parse_answer
from bifrost_flow.errors import ModelRefused
from connectors.models.choose import ModelSettings, choose_provider
from connectors.models.protocol import ModelRequest, Provider
from tests.llama_server import CONTEXT_TOKENS, LlamaServer
from tests.provider_kinds import make_request
from tests.samples import TRACEBACK

ROOM = 300  # tokens for an answer; a model as small as this one may go on without end


@pytest.fixture(scope="module")
def server() -> Iterator[LlamaServer]:
    running = LlamaServer()
    if running.lack:
        pytest.skip(f"no llama.cpp server: {running.lack}")
    with running:
        yield running


@pytest.fixture
async def llama(server: LlamaServer) -> AsyncIterator[Provider]:
    settings = ModelSettings(openai_base_url=f"{server.url}/v1", timeout_s=120)
    provider, _ = choose_provider("openai", settings)
    yield provider
    await provider.aclose()


def _ask_about(text: str) -> ModelRequest:
    return replace(make_request(text), max_output_tokens=ROOM)


async def _try(provider: Provider, request: ModelRequest) -> Answer | None:
    """Return the answer, or None if it ran into its length limit."""
    try:
        reply = await provider.complete(request)
    except ModelRefused as error:
        assert "cut its answer off" in str(error)
        return None
    assert 100 < reply.tokens_in < CONTEXT_TOKENS
    assert 10 < reply.tokens_out <= ROOM
    return parse_answer(reply.text, request.user.count("| "))


async def test_a_real_model_keeps_to_the_schema(llama: Provider) -> None:
    """What a small model says is wrong, but never out of form: it is whole and parses, or it is refused."""
    texts = (TRACEBACK, "make: *** [all] Error 2", "FAILED tests/test_a.py::test_b - assert 1 == 2")
    answers = [await _try(llama, _ask_about(text)) for text in texts]
    assert any(answers)


async def test_the_window_is_the_servers_own(llama: Provider) -> None:
    """The window is what the server was started with, not what the model was made for."""
    assert llama.describe().context_tokens == CONTEXT_TOKENS


async def test_a_stream_is_the_whole_answer(llama: Provider) -> None:
    """Server-sent events join to what a whole call returns."""
    request = _ask_about(TRACEBACK)
    whole = await _try(llama, request)
    if whole is None:
        pytest.skip("this model does not end its answer here")
    pieces = [piece async for piece in llama.stream(request)]
    assert len(pieces) > 5
    assert parse_answer("".join(pieces), 6) == whole


async def test_a_prompt_beyond_the_window_is_refused_by_the_server(server: LlamaServer) -> None:
    """Where our estimate is off, the server's own words are understood."""
    settings = ModelSettings(openai_base_url=f"{server.url}/v1", context_tokens=100_000)
    provider, _ = choose_provider("openai", settings)
    with pytest.raises(ModelRefused, match="whole prompt"):
        await provider.complete(_ask_about("error: no space left on device\n" * 800))
    await provider.aclose()


async def test_a_schema_that_the_server_cannot_take_is_left_out(llama: Provider) -> None:
    """The server's real complaint about a schema leads to the next form, and the model is still asked."""
    request = replace(_ask_about("error: disk full"), max_output_tokens=40)
    strange = {**request.schema, "type": "objec"}
    try:
        await llama.complete(replace(request, schema=strange))
    except ModelRefused as error:
        assert "cut its answer off" in str(error)
