"""What is particular to OpenAI-compatible servers; what holds for every provider is in test_providers.py."""

import json
from collections.abc import AsyncIterator, Iterator

import pytest

from bifrost_flow.answer import parse_answer
from bifrost_flow.errors import ModelRefused, ModelUnavailable, SettingsError
from connectors.models.choose import ModelSettings, choose_provider
from connectors.models.forms import MAX_ENUMERATED, narrow_schema
from connectors.models.openai import OpenAIProvider
from connectors.models.protocol import Provider
from tests.model_server import Fault, ModelServer
from tests.provider_kinds import MODEL, make_request

KEY = "sk-geheim-0123456789"


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture
async def openai(server: ModelServer) -> AsyncIterator[OpenAIProvider]:
    provider = OpenAIProvider(server.openai_url, MODEL, api_key=KEY, timeout_s=5)
    yield provider
    await provider.aclose()


def _list_formats(server: ModelServer) -> list[str]:
    """Return in which form each call asked for its answer."""
    return [(sent.get("response_format") or {}).get("type", "none") for sent in server.chats]


# What is sent.


async def test_the_request_has_schema_key_and_limits(server: ModelServer, openai: OpenAIProvider) -> None:
    """Schema, temperature, seed and length are in the request, and the key is in its header alone."""
    request = make_request()
    await openai.complete(request)
    (sent,) = server.chats
    assert sent["response_format"]["type"] == "json_schema"
    named = sent["response_format"]["json_schema"]
    assert (named["schema"], named["strict"]) == (request.schema, True)
    assert (sent["temperature"], sent["seed"], sent["max_tokens"]) == (0.0, 7, 800)
    assert sent["stream"] is False
    assert f"authorization: bearer {KEY}" in server.heads[0].lower()
    assert KEY not in json.dumps(sent) + repr(openai.describe()) + repr(vars(openai)["_form"])


async def test_an_answer_has_no_more_room_than_the_window(server: ModelServer) -> None:
    """Prompt and answer together stay within the window, as some servers insist."""
    provider = OpenAIProvider(server.openai_url, MODEL, context_tokens=1700)
    await provider.complete(make_request())
    await provider.aclose()
    (sent,) = server.chats
    assert 256 <= sent["max_tokens"] < 800


async def test_without_a_key_there_is_no_header(server: ModelServer) -> None:
    """A server of one's own needs no key, and gets none; a password in the address is sent as such."""
    for url in (server.openai_url, server.openai_url.replace("//", "//me:pw@")):
        provider = OpenAIProvider(url, MODEL)
        await provider.complete(make_request())
        await provider.aclose()
        assert "pw" not in repr(provider.describe())
    assert "authorization:" not in server.heads[0].lower()
    assert "authorization: basic" in server.heads[1].lower()


# What a server does not take.


@pytest.mark.parametrize("status", [400, 422, 501])
async def test_a_schema_is_asked_for_in_the_form_that_the_server_takes(
    server: ModelServer, openai: OpenAIProvider, status: int
) -> None:
    """A server that refuses schemas is asked with less and less, and not asked for them again."""
    refusal = Fault(status=status, error="'response_format.type' json_schema is not supported")
    server.script(refusal, times=2)
    reply = await openai.complete(make_request())
    assert parse_answer(reply.text, 6).title
    await openai.complete(make_request())
    _ = [piece async for piece in openai.stream(make_request())]
    assert _list_formats(server) == ["json_schema", "json_schema", *["json_object"] * 3]
    narrow = server.chats[1]["response_format"]["json_schema"]["schema"]
    assert narrow == narrow_schema(make_request().schema)
    system = server.chats[2]["messages"][0]["content"]
    assert system.startswith(make_request().system)
    assert "JSON object with the keys evidence, root_cause" in system


async def test_a_stream_finds_its_form_too(server: ModelServer, openai: OpenAIProvider) -> None:
    """Streams negotiate like calls, down to no format at all."""
    server.script(Fault(status=400, error="unknown field response_format"), times=3)
    pieces = [piece async for piece in openai.stream(make_request())]
    assert parse_answer("".join(pieces), 6).title
    assert _list_formats(server) == ["json_schema", "json_schema", "json_object", "none"]


async def test_parameters_that_a_model_lacks_are_left_out(
    server: ModelServer, openai: OpenAIProvider
) -> None:
    """Models that take no temperature, no seed and another name for the length are asked without them."""
    server.script(
        Fault(
            400, error="Use 'max_completion_tokens' instead of 'max_tokens'.", code="unsupported_parameter"
        ),
        Fault(400, error="'temperature' does not support 0 with this model.", code="unsupported_value"),
        Fault(400, error="Unknown parameter: 'seed'.", code="unknown_parameter"),
    )
    key = openai.describe()
    await openai.complete(make_request())
    last = server.chats[-1]
    assert {"temperature", "seed", "max_tokens"}.isdisjoint(last)
    assert last["max_completion_tokens"] == 800
    assert openai.describe() == key, "the cache key must not depend on what was asked before"


async def test_a_stream_is_counted_where_the_server_can(server: ModelServer, openai: OpenAIProvider) -> None:
    """Servers count a stream when asked to; one that knows no such wish is asked without it."""
    counts: list[tuple[int, int]] = []

    async def read() -> None:
        stream = openai.stream(make_request(), on_count=lambda *count: counts.append(count))
        assert parse_answer("".join([piece async for piece in stream]), 6).title

    await read()
    server.script(Fault(400, error="Unknown parameter: 'stream_options'.", code="unknown_parameter"))
    await read()
    assert counts[0][0] > 100 and counts[0][1] > 10
    assert counts[1] == (0, 0)
    assert "stream_options" not in server.chats[-1]


async def test_a_log_in_an_error_changes_no_form(server: ModelServer, openai: OpenAIProvider) -> None:
    """FastAPI quotes the whole input; what stands in a log is not taken for the server's complaint."""
    body = {"detail": [{"loc": ["body", "model"], "msg": "unknown", "input": "temperature response_format"}]}
    server.script(Fault(status=422, body=json.dumps(body).encode()))
    with pytest.raises(ModelRefused, match="422"):
        await openai.complete(make_request())
    assert len(server.chats) == 1


async def test_complaints_without_end_are_given_up_on(server: ModelServer, openai: OpenAIProvider) -> None:
    """A server that blames the format whatever it gets is asked a few times, not forever."""
    server.script(Fault(400, error="bad response_format, temperature or seed"), times=50)
    with pytest.raises(ModelRefused, match="response_format"):
        await openai.complete(make_request())
    assert len(server.chats) == 6


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 4096 tokens. Reduce 'max_tokens' or 'max_completion_tokens'.",
        "request (18031 tokens) exceeds the available context size (8192 tokens), try increasing it",
    ],
)
async def test_a_prompt_that_is_too_long_is_told(
    server: ModelServer, openai: OpenAIProvider, message: str
) -> None:
    """A window that is too small is no matter of the request's form."""
    server.script(Fault(400, error=message))
    with pytest.raises(ModelRefused, match="whole prompt"):
        await openai.complete(make_request())
    assert len(server.chats) == 1


async def test_a_prompt_cut_unseen_is_caught(server: ModelServer, openai: OpenAIProvider) -> None:
    """A count of tokens that no tokenizer makes of the whole prompt means that a part was left out."""
    server.script(Fault(prompt_eval_count=100))
    with pytest.raises(ModelRefused, match="whole prompt"):
        await openai.complete(make_request())


def test_a_narrow_schema_keeps_what_matters() -> None:
    """Types, enumerations and required keys stay; limits go, and so do lists that no service compiles."""
    narrow = narrow_schema(make_request().schema)
    assert narrow["properties"]["evidence"] == {
        "type": "array",
        "items": {"type": "integer", "enum": [1, 2, 3, 4, 5, 6]},
    }
    assert narrow["properties"]["title"] == {"type": "string"}
    assert (narrow["required"], narrow["additionalProperties"]) == (list(narrow["properties"]), False)
    long = narrow_schema(make_request("\n" * MAX_ENUMERATED).schema)
    assert long["properties"]["evidence"]["items"] == {"type": "integer"}


# What goes wrong.


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_says_what_to_set_and_not_the_key(
    server: ModelServer, openai: OpenAIProvider, status: int
) -> None:
    """The message names the variable; a server that quotes the key does not get it printed."""
    server.script(Fault(status, error=f"Incorrect API key provided: {KEY}"), times=2)
    with pytest.raises(ModelRefused, match="BIFROST_OPENAI_API_KEY") as caught:
        await openai.complete(make_request())
    assert KEY not in str(caught.value)
    with pytest.raises(ModelRefused):
        _ = [piece async for piece in openai.stream(make_request())]


async def test_errors_of_all_kinds_hide_the_key(server: ModelServer, openai: OpenAIProvider) -> None:
    """No status and no body brings the key into a message."""
    quoted = json.dumps({"error": {"message": f"bad {KEY}"}}).encode()
    server.script(Fault(500, error=KEY), Fault(400, error=KEY), Fault(404, error=KEY), Fault(body=quoted))
    for _ in range(4):
        with pytest.raises((ModelRefused, ModelUnavailable)) as caught:
            await openai.complete(make_request())
        assert KEY not in str(caught.value)
        assert "***" in str(caught.value)


async def test_no_redirect_is_followed(server: ModelServer, openai: OpenAIProvider) -> None:
    """The key goes to the address that was set, and to no other."""
    server.script(Fault(307, headers={"Location": f"{server.url}/elsewhere"}))
    with pytest.raises(ModelRefused, match="307"):
        await openai.complete(make_request())
    assert len(server.paths) == 1


async def test_an_empty_account_is_not_asked_again(server: ModelServer, openai: OpenAIProvider) -> None:
    """A quota that is used up comes as a 429, but waiting doesn't fill it."""
    server.script(Fault(429, error="You exceeded your current quota", code="insufficient_quota"))
    with pytest.raises(ModelRefused, match="no credit"):
        await openai.complete(make_request())


async def test_a_withheld_answer_is_no_answer(server: ModelServer, openai: OpenAIProvider) -> None:
    """A filter's stop and a model's refusal are told as such."""
    server.script(Fault(done_reason="content_filter"))
    with pytest.raises(ModelRefused, match="withheld"):
        await openai.complete(make_request())
    message = {"role": "assistant", "content": None, "refusal": "I can't help with that."}
    body = {"choices": [{"message": message, "finish_reason": "stop"}]}
    server.script(Fault(body=json.dumps(body).encode()))
    with pytest.raises(ModelRefused, match="I can't help"):
        await openai.complete(make_request())


async def test_a_reply_without_usage_still_counts(server: ModelServer, openai: OpenAIProvider) -> None:
    """A gateway that counts no tokens gives an answer that cost none, rather than none."""
    body = {"choices": [{"message": {"content": "{}"}, "finish_reason": "stop"}], "usage": None}
    server.script(Fault(body=json.dumps(body).encode()))
    reply = await openai.complete(make_request())
    assert (reply.text, reply.tokens_in, reply.tokens_out) == ("{}", 0, 0)


async def test_a_gateway_without_streams_is_read(server: ModelServer, openai: OpenAIProvider) -> None:
    """A whole answer in place of a stream is an answer."""
    body = {"choices": [{"message": {"content": "all of it"}, "finish_reason": "stop"}]}
    server.script(Fault(body=json.dumps(body).encode()))
    assert [piece async for piece in openai.stream(make_request())] == ["all of it"]


@pytest.mark.parametrize(
    "body", [b'{"choices": []}', b'{"choices": [null]}', b'{"choices": [{"message": []}]}', b"{}"]
)
async def test_a_reply_without_an_answer_is_none(
    server: ModelServer, openai: OpenAIProvider, body: bytes
) -> None:
    """A reply in which the answer is missing is an error, whatever is in its place."""
    server.script(Fault(body=body))
    with pytest.raises((ModelRefused, ModelUnavailable)):
        await openai.complete(make_request())


# Choosing.


def _choose(server: ModelServer, **values: str | int) -> tuple[Provider, str]:
    settings = ModelSettings(openai_base_url=server.openai_url, openai_api_key=KEY, **values)  # ty: ignore[invalid-argument-type] - each test gives the right kinds
    return choose_provider("openai", settings)


def test_the_only_model_is_taken(server: ModelServer) -> None:
    """A server with one model needs no name for it; the note says where it is, and the key is used."""
    provider, note = _choose(server)
    assert (provider.describe().provider, provider.describe().model) == ("openai", MODEL)
    assert provider.describe().base_url == server.openai_url
    assert MODEL in note
    assert server.openai_url in note
    assert server.paths == ["GET /v1/models"]
    assert KEY in server.heads[0]
    assert KEY not in note + repr(provider.describe())


def test_one_of_many_models_has_to_be_named() -> None:
    """Where there are several models, none is picked in silence."""
    with ModelServer(models=("a", "b")) as server:
        with pytest.raises(SettingsError, match="a, b"):
            _choose(server)
        assert _choose(server, openai_model="b")[0].describe().model == "b"
        assert _choose(server, openai_model="unlisted")[0].describe().model == "unlisted"


@pytest.mark.parametrize(
    ("facts", "window"),
    [
        ({}, 32_768),
        ({"max_model_len": 4096}, 4096),
        ({"context_length": 200_000}, 32_768),
        ({"owned_by": "llamacpp", "meta": {"n_ctx": 8192}}, 8192),
        ({"owned_by": "llamacpp", "meta": None}, 2048),
        ({"max_model_len": "many", "meta": []}, 32_768),
    ],
)
def test_the_window_is_the_servers(server: ModelServer, facts: dict[str, object], window: int) -> None:
    """vLLM, llama.cpp and gateways say how much a model holds; the setting goes before that."""
    server.model_facts, server.context_length = facts, 2048
    assert _choose(server)[0].describe().context_tokens == window
    assert _choose(server, context_tokens=1024)[0].describe().context_tokens == 1024


def test_a_server_that_is_down_is_kept() -> None:
    """Its calls will fail, not the run; the note says what to check. Without a name there is no model."""
    settings = ModelSettings(openai_base_url="http://127.0.0.1:9/v1", openai_model="m")
    provider, note = choose_provider("openai", settings)
    assert provider.describe().model == "m"
    assert "openai.base_url" in note
    with pytest.raises(SettingsError, match="--model"):
        choose_provider("openai", ModelSettings(openai_base_url="http://127.0.0.1:9/v1"))


def test_what_is_not_set_is_named() -> None:
    """Without an address, or with a key that no header can carry, the setting to mend is named."""
    with pytest.raises(SettingsError, match="BIFROST_OPENAI_BASE_URL"):
        choose_provider("openai")
    settings = ModelSettings(openai_base_url="http://127.0.0.1:9", openai_model="m", openai_api_key="ab\ncd")
    with pytest.raises(SettingsError, match="BIFROST_OPENAI_API_KEY") as caught:
        choose_provider("openai", settings)
    assert "cd" not in str(caught.value).replace("BIFROST", "")
    assert "ab" not in repr(settings)
