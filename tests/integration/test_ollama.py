import asyncio
import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from bifrost_flow.errors import ModelRefused, ModelUnavailable, SettingsError
from connectors.models.choose import ModelSettings, choose_provider
from connectors.models.http import parse_retry_after
from connectors.models.ollama import OllamaProvider
from tests.model_server import Fault, ModelServer
from tests.provider_kinds import MODEL, make_request


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture
async def ollama(server: ModelServer) -> AsyncIterator[OllamaProvider]:
    provider = OllamaProvider(server.url, MODEL, timeout_s=5, context_tokens=16_384)
    yield provider
    await provider.aclose()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# What is sent to Ollama.


async def test_the_request_has_schema_and_window(server: ModelServer, ollama: OllamaProvider) -> None:
    """Schema, window, temperature and seed are in the request, and a server that can is told not to cut."""
    request = make_request()
    await ollama.complete(request)
    (sent,) = server.chats
    assert sent["format"] == request.schema
    assert [message["role"] for message in sent["messages"]] == ["system", "user"]
    assert sent["messages"][1]["content"] == request.user
    options = {"temperature": 0.0, "seed": 7, "num_ctx": 4096, "num_predict": 800}
    assert sent["options"] == options
    assert (sent["stream"], sent["truncate"], sent["shift"]) == (False, False, False)


async def test_the_window_grows_in_steps_and_never_shrinks(
    server: ModelServer, ollama: OllamaProvider
) -> None:
    """The server loads the model anew for each new window, so there are few, and none is too small."""
    for words in (10, 1500, 10, 800):
        await ollama.complete(make_request("some words to read " * words))
    windows = [sent["options"]["num_ctx"] for sent in server.chats]
    assert windows == [4096, 16384, 16384, 16384]
    assert ollama.describe() == OllamaProvider(server.url, MODEL, context_tokens=16_384).describe()


# What goes wrong with Ollama.


@pytest.mark.parametrize("status", [400, 401, 403, 422])
async def test_other_refusals_are_final(server: ModelServer, ollama: OllamaProvider, status: int) -> None:
    """What would be refused again is `ModelRefused`, with the server's reason."""
    server.script(Fault(status=status, error="not for you", headers={"Location": "http://127.0.0.1:9/"}))
    with pytest.raises(ModelRefused, match=f"HTTP {status}: not for you"):
        await ollama.complete(make_request())
    assert len(server.paths) == 1


async def test_a_redirect_is_not_followed(server: ModelServer, ollama: OllamaProvider) -> None:
    """A server that sends on to elsewhere gets no second call, nor does the place that it names."""
    server.script(Fault(status=302, headers={"Location": "http://127.0.0.1:9/"}))
    with pytest.raises(ModelRefused, match="HTTP 302"):
        await ollama.complete(make_request())
    assert len(server.paths) == 1


async def test_a_missing_model_says_how_to_get_it(server: ModelServer) -> None:
    """The message has the command that mends it."""
    provider = OllamaProvider(server.url, "absent:1b", timeout_s=5)
    with pytest.raises(ModelRefused, match="ollama pull absent:1b"):
        await provider.complete(make_request())
    with pytest.raises(ModelRefused, match="ollama pull absent:1b"):
        _ = [piece async for piece in provider.stream(make_request())]
    await provider.aclose()


async def test_messages_hold_no_password(server: ModelServer) -> None:
    """A password in the address stays out of messages, and what a server says can't steer a terminal."""
    url = server.url.replace("//", "//user:secret@")
    server.script(Fault(status=500, error="\x1b[31mboom"))
    provider = OllamaProvider(url, MODEL)
    with pytest.raises(ModelUnavailable, match="boom") as caught:
        await provider.complete(make_request())
    assert "secret" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    await provider.aclose()
    assert "secret" not in choose_provider("auto", ModelSettings(ollama_url=url))[1]


@pytest.mark.parametrize(
    "body", [b"<html>Bad gateway</html>", b"[]", b'{"error": "model runner has stopped"}']
)
async def test_a_body_that_is_no_reply_may_be_tried_again(
    server: ModelServer, ollama: OllamaProvider, body: bytes
) -> None:
    """A proxy's page or an error in place of a reply is trouble of the server, not an answer."""
    server.script(Fault(body=body))
    with pytest.raises(ModelUnavailable):
        await ollama.complete(make_request())


async def test_a_cut_prompt_is_asked_again_with_a_larger_window(
    server: ModelServer, ollama: OllamaProvider
) -> None:
    """When the server's tokenizer needs more than was estimated, the window grows as far as it may."""
    server.script(
        Fault(prompt_eval_count=4096), Fault(status=400, error="the input exceeds the context length")
    )
    await ollama.complete(make_request())
    assert [sent["options"]["num_ctx"] for sent in server.chats] == [4096, 8192, 16384]


async def test_a_prompt_that_stays_cut_is_refused(server: ModelServer, ollama: OllamaProvider) -> None:
    """An answer to half of a prompt is an error, not an answer."""
    server.script(
        Fault(prompt_eval_count=4096), Fault(prompt_eval_count=8192), Fault(prompt_eval_count=16384)
    )
    with pytest.raises(ModelRefused, match="16384"):
        await ollama.complete(make_request())


async def test_a_server_with_a_window_of_its_own_is_caught(
    server: ModelServer, ollama: OllamaProvider
) -> None:
    """A server that ignores the window asked for gives itself away by its count of tokens."""
    server.script(Fault(prompt_eval_count=2048), times=4)
    with pytest.raises(ModelRefused, match="whole prompt"):
        await ollama.complete(make_request("a few words that no tokenizer makes into less\n" * 600))


async def test_a_left_out_system_message_is_caught(server: ModelServer, ollama: OllamaProvider) -> None:
    """A count that no tokenizer makes of the whole prompt means that a part of it was left out."""
    server.script(Fault(prompt_eval_count=166))
    await ollama.complete(make_request())
    assert [sent["options"]["num_ctx"] for sent in server.chats] == [4096, 8192]


async def test_a_count_without_cached_tokens_is_no_cut(server: ModelServer, ollama: OllamaProvider) -> None:
    """Some versions count only what they had to read anew; that is not a cut prompt."""
    server.script(Fault(prompt_eval_count=3), Fault(prompt_eval_count=0))
    assert (await ollama.complete(make_request())).tokens_in == 3
    assert (await ollama.complete(make_request())).tokens_in == 0


# Choosing.


def test_auto_takes_ollama_where_it_answers(server: ModelServer) -> None:
    """A server with a model is taken, with the window that the model has, and the note names it."""
    provider, note = choose_provider("auto", ModelSettings(ollama_url=server.url))
    description = provider.describe()
    assert (description.provider, description.model, description.context_tokens) == ("ollama", MODEL, 32_768)
    assert MODEL in note
    assert server.paths == ["GET /api/tags", "POST /api/show"]


def test_auto_takes_the_rules_where_nobody_answers() -> None:
    """Without a model there are rules, and the note says how to get more."""
    url = f"http://127.0.0.1:{_free_port()}"
    provider, note = choose_provider("auto", ModelSettings(ollama_url=url))
    assert provider.describe().provider == "rules"
    assert url in note


@pytest.mark.parametrize("url", ["http://[bad", "http://127.0.0.1:99999", "nonsense", "ftp://127.0.0.1"])
def test_auto_survives_a_senseless_address(url: str) -> None:
    """No address makes `auto` fail."""
    assert choose_provider("auto", ModelSettings(ollama_url=url))[0].describe().provider == "rules"


def test_auto_takes_no_other_model_than_the_one_named(server: ModelServer) -> None:
    """A named model that the server lacks is not replaced in silence: rules, and a note with the command."""
    provider, note = choose_provider("auto", ModelSettings(ollama_url=server.url, ollama_model="absent:1b"))
    assert provider.describe().provider == "rules"
    assert "ollama pull absent:1b" in note


def test_a_server_without_models_leaves_the_rules() -> None:
    """An Ollama with nothing pulled, or only with embedding models, can't explain anything."""
    with ModelServer(models=("nomic-embed-text:latest",)) as server:
        provider, note = choose_provider("auto", ModelSettings(ollama_url=server.url))
    assert provider.describe().provider == "rules"
    assert "ollama pull" in note


def test_a_model_is_found_without_its_tag(server: ModelServer) -> None:
    """`scripted` means `scripted:latest`, in the description and so in the cache key too."""
    provider, _ = choose_provider(
        "ollama", ModelSettings(ollama_url=server.url + "/", ollama_model="scripted")
    )
    assert provider.describe().model == MODEL
    assert provider.describe().base_url == server.url


def test_a_named_window_goes_before_the_models_own(server: ModelServer) -> None:
    """The setting for the window wins."""
    provider, _ = choose_provider("ollama", ModelSettings(ollama_url=server.url, context_tokens=4096))
    assert provider.describe().context_tokens == 4096


def test_ollama_by_name_is_kept_though_it_is_down() -> None:
    """Its calls will fail, not the run; without a model's name there is nothing to ask for."""
    url = f"http://127.0.0.1:{_free_port()}"
    provider, note = choose_provider("ollama", ModelSettings(ollama_url=url, ollama_model="m:1b"))
    assert provider.describe().model == "m:1b"
    assert "ollama serve" in note
    with pytest.raises(SettingsError, match="--model"):
        choose_provider("ollama", ModelSettings(ollama_url=url))


def test_an_unknown_provider_is_refused_with_what_there_is() -> None:
    """A provider that is not there is a settings error that lists the ones that are."""
    with pytest.raises(SettingsError, match="No such provider") as caught:
        choose_provider("gpt")
    assert "ollama, openai, bedrock" in str(caught.value)


def test_the_rules_ask_nobody(server: ModelServer) -> None:
    """`rules` touches no network."""
    provider, _ = choose_provider("rules", ModelSettings(ollama_url=server.url))
    assert provider.describe().provider == "rules"
    assert server.paths == []


def test_a_proxy_in_the_environment_is_not_asked_about_this_machine(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loopback is reached directly, for the probe and for calls."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{_free_port()}")
    provider, _ = choose_provider("auto", ModelSettings(ollama_url=server.url))
    assert provider.describe().provider == "ollama"

    async def ask() -> None:
        await provider.complete(make_request())
        await provider.aclose()

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3.0),
        ("0.5", 0.5),
        ("-1", 0.0),
        ("soon", None),
        (None, None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    ],
)
def test_retry_after_is_read_in_both_forms(value: str | None, seconds: float | None) -> None:
    """Seconds or a date; junk counts as nothing."""
    assert parse_retry_after(value) == seconds
