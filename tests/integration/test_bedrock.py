"""What is particular to Bedrock; what holds for every provider is in test_providers.py.

Answers and errors go through botocore's Stubber, which checks both against AWS's own service model; streams
come from a server on loopback that writes AWS's binary frames.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore import exceptions as boto
from botocore.stub import ANY, Stubber

from bifrost_flow.answer import parse_answer
from bifrost_flow.errors import ModelError, ModelRefused, ModelUnavailable, SettingsError
from connectors.models.aws import VENDOR_ERRORS, open_client, translate_error
from connectors.models.bedrock import BedrockProvider
from connectors.models.choose import ModelSettings, choose_provider
from connectors.models.forms import narrow_schema
from tests.bedrock_server import BedrockServer
from tests.model_server import Fault, answer_well
from tests.provider_kinds import make_request

MODEL = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
NO_SCHEMA = "This model doesn't support the outputConfig.textFormat field."


@pytest.fixture(autouse=True)
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key and nothing else: no files, no profile, no region, no role of the host."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "geheim")


@pytest.fixture
def client() -> Any:
    return open_client(region="eu-west-1", profile=None, endpoint_url=None, timeout_s=5)


@pytest.fixture
def stub(client: Any) -> Iterator[Stubber]:
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def server() -> Iterator[BedrockServer]:
    with BedrockServer(models=(MODEL,)) as running:
        yield running


def _connect(server: BedrockServer) -> BedrockProvider:
    client = open_client(region="eu-west-1", profile=None, endpoint_url=server.url, timeout_s=5)
    return BedrockProvider(client, MODEL, endpoint_url=server.url, timeout_s=5)


def _respond(*blocks: dict[str, Any], reason: str = "end_turn") -> dict[str, Any]:
    return {
        "output": {"message": {"role": "assistant", "content": list(blocks)}},
        "stopReason": reason,
        "usage": {"inputTokens": 11, "outputTokens": 5, "totalTokens": 16},
        "metrics": {"latencyMs": 3},
    }


def _answer() -> str:
    return answer_well({"messages": [{"content": "1| ValueError: bad"}]})


# What is sent.


async def test_the_call_is_one_that_aws_takes(client: Any, stub: Stubber) -> None:
    """Schema, instructions, limits and model are where AWS's service model has them."""
    request = make_request()
    structure = {"jsonSchema": {"name": "answer", "schema": json.dumps(narrow_schema(request.schema))}}
    stub.add_response(
        "converse",
        _respond({"text": _answer()}),
        {
            "modelId": MODEL,
            "system": [{"text": request.system}],
            "messages": [{"role": "user", "content": [{"text": request.user}]}],
            "inferenceConfig": {"maxTokens": 800, "temperature": 0.0},
            "outputConfig": {"textFormat": {"type": "json_schema", "structure": structure}},
        },
    )
    reply = await BedrockProvider(client, MODEL).complete(request)
    assert parse_answer(reply.text, 6).evidence == [1]
    assert (reply.tokens_in, reply.tokens_out) == (11, 5)


async def test_reasoning_is_not_the_answer(client: Any, stub: Stubber) -> None:
    """What a model thinks aloud in a block of its own is left out."""
    thought = {"reasoningContent": {"reasoningText": {"text": "{}", "signature": "s"}}}
    stub.add_response("converse", _respond(thought, {"text": _answer()}))
    assert (await BedrockProvider(client, MODEL).complete(make_request())).text == _answer()


async def test_a_model_without_schemas_is_given_a_tool(client: Any, stub: Stubber) -> None:
    """A family that knows no schema has to call a tool with the answer, from then on at once."""
    stub.add_client_error("converse", "ValidationException", NO_SCHEMA, http_status_code=400)
    tool = {"toolUseId": "t", "name": "give_answer", "input": json.loads(_answer())}
    schema = narrow_schema(make_request().schema)
    for _ in range(2):
        spec = {"name": "give_answer", "description": ANY, "inputSchema": {"json": schema}}
        expected = {
            "modelId": MODEL,
            "system": ANY,
            "messages": ANY,
            "inferenceConfig": ANY,
            "toolConfig": {"tools": [{"toolSpec": spec}], "toolChoice": {"tool": {"name": "give_answer"}}},
        }
        stub.add_response("converse", _respond({"toolUse": tool}, reason="tool_use"), expected)
    provider = BedrockProvider(client, MODEL)
    for _ in range(2):
        assert parse_answer((await provider.complete(make_request())).text, 6).evidence == [1]


async def test_a_model_without_anything_is_asked_in_words(client: Any, stub: Stubber) -> None:
    """A family without schema, tools, instructions and temperature still gives an answer."""
    for message in (
        NO_SCHEMA,
        "This model doesn't support system prompts. Try again without providing system prompts.",
        "This model doesn't support tool use.",
        "temperature is not supported for this model",
    ):
        stub.add_client_error("converse", "ValidationException", message, http_status_code=400)
    expected = {"modelId": MODEL, "messages": ANY, "inferenceConfig": {"maxTokens": 800}}
    stub.add_response("converse", _respond({"text": f"Sure: {_answer()}"}), expected)
    provider = BedrockProvider(client, MODEL)
    key = provider.describe()
    assert parse_answer((await provider.complete(make_request())).text, 6).evidence == [1]
    assert provider.describe() == key


# What goes wrong.


@pytest.mark.parametrize(
    ("code", "status", "kind", "words"),
    [
        ("ThrottlingException", 429, ModelUnavailable, "Too many requests"),
        ("ServiceUnavailableException", 503, ModelUnavailable, "503"),
        ("ModelTimeoutException", 408, ModelUnavailable, "408"),
        ("ModelNotReadyException", 429, ModelUnavailable, "ModelNotReady"),
        ("InternalServerException", 500, ModelUnavailable, "500"),
        ("ModelErrorException", 424, ModelUnavailable, "424"),
        ("AccessDeniedException", 403, ModelRefused, "bedrock:InvokeModel"),
        ("ResourceNotFoundException", 404, ModelRefused, "bedrock.region"),
        ("ValidationException", 400, ModelRefused, "inference profile"),
        ("UnrecognizedClientException", 403, ModelRefused, "AWS_ACCESS_KEY_ID"),
        ("ExpiredTokenException", 403, ModelRefused, "aws sso login"),
        ("ServiceQuotaExceededException", 400, ModelRefused, "ServiceQuotaExceeded"),
    ],
)
async def test_aws_errors_are_ours(
    client: Any, stub: Stubber, code: str, status: int, kind: type[ModelError], words: str
) -> None:
    """Each of AWS's errors is one that may pass, or a refusal that says what to do; none is tried again."""
    stub.add_client_error("converse", code, "Too many requests, \x1b[31mplease", http_status_code=status)
    with pytest.raises(kind, match=words) as caught:
        await BedrockProvider(client, MODEL).complete(make_request())
    assert "\x1b" not in str(caught.value)
    assert isinstance(caught.value.__cause__, boto.ClientError)


def test_every_error_of_the_service_is_known(client: Any) -> None:
    """Each error in AWS's model of the two calls, in a stream too, has a translation of its own."""
    model = client.meta.service_model
    events = model.operation_model("ConverseStream").output_shape.members["stream"].members
    shapes = [
        *model.operation_model("Converse").error_shapes,
        *(shape for shape in events.values() if shape.metadata.get("exception")),
    ]
    assert len(shapes) >= 14
    for shape in shapes:
        error = boto.ClientError({"Error": {"Code": shape.name, "Message": "m"}}, "Converse")
        found = translate_error(error, server="Bedrock", model=MODEL)
        passing = shape.name not in (
            *("AccessDeniedException", "ResourceNotFoundException", "ValidationException"),
        )
        assert isinstance(found, ModelUnavailable) == passing, shape.name


def test_every_error_of_botocore_is_translated() -> None:
    """None of the client's errors reaches the fan-out as it is."""
    # Warnings, and mistakes in AWS's own service models.
    aside = (Warning, boto.UndefinedModelAttributeError)
    own = [
        each for each in vars(boto).values() if isinstance(each, type) and each.__module__ == boto.__name__
    ]
    errors = [each for each in own if issubclass(each, Exception) and not issubclass(each, aside)]
    assert len(errors) > 90
    assert [each for each in errors if not issubclass(each, VENDOR_ERRORS)] == []


@pytest.mark.parametrize("message", ["Input is too long for requested model.", "too many input tokens"])
async def test_a_prompt_that_is_too_long_is_told(client: Any, stub: Stubber, message: str) -> None:
    """A window that is too small is no matter of the call's form."""
    stub.add_client_error("converse", "ValidationException", message, http_status_code=400)
    with pytest.raises(ModelRefused, match="whole prompt"):
        await BedrockProvider(client, MODEL).complete(make_request())


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("max_tokens", "cut its answer off"),
        ("model_context_window_exceeded", "whole prompt"),
        ("guardrail_intervened", "withheld"),
        ("content_filtered", "withheld"),
        ("malformed_model_output", "withheld"),
    ],
)
async def test_a_stop_for_another_reason_is_no_answer(
    client: Any, stub: Stubber, server: BedrockServer, reason: str, words: str
) -> None:
    """Only an answer that the model ended itself counts, streamed or whole."""
    stub.add_response("converse", _respond({"text": _answer()}, reason=reason))
    with pytest.raises(ModelRefused, match=words):
        await BedrockProvider(client, MODEL).complete(make_request())
    server.script(Fault(done_reason=reason))
    with pytest.raises(ModelRefused, match=words):
        _ = [piece async for piece in _connect(server).stream(make_request())]


async def test_without_credentials_the_message_says_how_to_get_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A chain without a key is a refusal that names its links; nothing is sent."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    client = open_client(region="eu-west-1", profile=None, endpoint_url="http://127.0.0.1:9", timeout_s=5)
    provider = BedrockProvider(client, MODEL)
    with pytest.raises(ModelRefused, match="a role of the host"):
        await provider.complete(make_request())
    with pytest.raises(ModelRefused, match="a role of the host"):
        _ = [piece async for piece in provider.stream(make_request())]


@pytest.mark.parametrize(
    ("token", "start"), [(None, "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"), ("token-1", "Bearer token-1")]
)
async def test_a_key_for_bedrock_alone_is_enough(
    monkeypatch: pytest.MonkeyPatch, token: str | None, start: str
) -> None:
    """A bearer token of Bedrock goes before AWS's keys, which sign calls otherwise."""
    if token:
        monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", token)
    client = open_client(region="eu-west-1", profile=None, endpoint_url=None, timeout_s=5)
    sent: list[str] = []

    def stop(request: Any, **_: object) -> None:
        header = request.headers["Authorization"]
        sent.append(header.decode() if isinstance(header, bytes) else header)
        raise boto.HTTPClientError(error="stopped before sending")

    client.meta.events.register("before-send", stop)
    with pytest.raises(ModelUnavailable, match="stopped before sending"):
        await BedrockProvider(client, MODEL).complete(make_request())
    (header,) = sent
    assert header.startswith(start)


async def test_a_wrong_model_id_is_refused_here(client: Any, stub: Stubber) -> None:
    """What can't be a model's id never leaves this machine."""
    with pytest.raises(ModelRefused, match=r"bedrock\.model"):
        await BedrockProvider(client, "").complete(make_request())


# Streams.


async def test_a_stream_is_real_frames(server: BedrockServer) -> None:
    """Text comes piece by piece through botocore's own decoder, with a tool's input as well."""
    server.script(Fault(), Fault(status=400, error=NO_SCHEMA), Fault())
    provider = _connect(server)
    for _ in range(2):
        pieces = [piece async for piece in provider.stream(make_request())]
        assert len(pieces) > 5
        assert parse_answer("".join(pieces), 6).title
    assert ["toolConfig" in sent for sent in server.chats] == [False, False, True]
    assert server.paths[0].endswith("/converse-stream")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("modelStreamErrorException", ModelUnavailable),
        ("internalServerException", ModelUnavailable),
        ("serviceUnavailableException", ModelUnavailable),
        ("validationException", ModelRefused),
    ],
)
async def test_an_error_in_a_stream_ends_it(server: BedrockServer, code: str, kind: type[ModelError]) -> None:
    """What AWS reports in the middle of a stream is told apart like any other error."""
    server.script(Fault(drop_after=1, code=code, error="over there"))
    with pytest.raises(kind, match="over there"):
        _ = [piece async for piece in _connect(server).stream(make_request())]


async def test_a_broken_frame_is_no_answer(server: BedrockServer) -> None:
    """Bytes that fail their checksum end the stream."""
    server.script(Fault(body=b"\x00\x00\x00\x40\x00\x00\x00\x10" + b"x" * 56))
    with pytest.raises(ModelUnavailable):
        _ = [piece async for piece in _connect(server).stream(make_request())]


# Choosing.


def test_the_chosen_model_and_region_are_told() -> None:
    """The note names both; the region is no part of the description, since it changes no answer."""
    settings = ModelSettings(bedrock_model=MODEL, bedrock_region="eu-west-1", context_tokens=9000)
    provider, note = choose_provider("bedrock", settings)
    description = provider.describe()
    assert (description.provider, description.model, description.base_url) == ("bedrock", MODEL, "")
    assert description.context_tokens == 9000
    assert MODEL in note
    assert "eu-west-1" in note


def test_the_region_may_be_awss_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Region and profile come from AWS's own settings where ours say nothing; no profile is forced."""
    monkeypatch.setenv("AWS_REGION", "ap-northeast-2")
    assert "ap-northeast-2" in choose_provider("bedrock", ModelSettings(bedrock_model=MODEL))[1]
    monkeypatch.delenv("AWS_REGION")
    (tmp_path / "config").write_text("[profile logs]\nregion = us-west-2\n")
    settings = ModelSettings(bedrock_model=MODEL, bedrock_profile="logs")
    assert "us-west-2" in choose_provider("bedrock", settings)[1]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (ModelSettings(), "BIFROST_BEDROCK_MODEL"),
        (ModelSettings(bedrock_model=MODEL), "BIFROST_BEDROCK_REGION"),
        (ModelSettings(bedrock_model=MODEL, bedrock_region="r", bedrock_profile="nobody"), "nobody"),
        (ModelSettings(bedrock_model=MODEL, bedrock_region="no region"), r"bedrock\.region"),
        (
            ModelSettings(bedrock_model=MODEL, bedrock_region="r", bedrock_endpoint_url="nonsense"),
            r"bedrock\.endpoint_url",
        ),
    ],
)
def test_what_is_lacking_is_named(settings: ModelSettings, words: str) -> None:
    """What is not set, or wrong, is a settings error that names the setting."""
    with pytest.raises(SettingsError, match=words):
        choose_provider("bedrock", settings)


def test_other_providers_do_not_pay_for_aws() -> None:
    """Choosing anything else imports nothing of AWS."""
    script = (
        "import sys; from connectors.models.choose import choose_provider; choose_provider('rules'); "
        "sys.exit('botocore' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
