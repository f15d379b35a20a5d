"""`run` with the providers that need settings of their own: each gets what the settings say."""

from tests.bedrock_server import BedrockServer
from tests.console import LOGS, Console
from tests.model_server import Fault, ModelServer

KEY = "sk-geheim-0123456789"
MODEL = "scripted:latest"


def test_an_openai_compatible_server_answers(console: Console) -> None:
    """Address, key, model, window and retries come from the settings; the key is shown nowhere."""
    with ModelServer() as server:
        server.script(Fault(status=500))
        settings = {
            "BIFROST_PROVIDER": "openai",
            "BIFROST_OPENAI_BASE_URL": server.openai_url,
            "BIFROST_OPENAI_API_KEY": KEY,
            "BIFROST_OPENAI_MAX_RETRIES": "1",
            "BIFROST_OLLAMA_MAX_RETRIES": "0",
        }
        done = console.call("run", LOGS / "travis", "--json", stdin=None, **settings)
        assert done.code == 0, done.err
        assert server.openai_url in done.err
        assert (done.json["provider"], done.json["model"]) == ("openai", MODEL)
        assert done.json["findings"] == done.json["groups"] == len(server.chats) - 1
        assert done.json["tokens_in"] > 0
        assert all(KEY in head for head in server.heads)
        warm = console.call("run", LOGS / "travis", "--json", stdin=None, **settings)
        assert warm.json["llm_calls"] == 0
    assert KEY not in done.err + done.out
    written = [path for path in console.folder.rglob("*") if path.is_file()]
    assert not [path for path in written if KEY.encode() in path.read_bytes()]


def test_bedrock_answers(console: Console) -> None:
    """Endpoint, region and model come from the settings, the key from AWS's chain."""
    with BedrockServer() as server:
        done = console.call(
            *("run", LOGS / "travis", "--json", "--provider", "bedrock", "--model", MODEL),
            BIFROST_BEDROCK_ENDPOINT_URL=server.url,
            BIFROST_BEDROCK_REGION="eu-west-1",
            AWS_ACCESS_KEY_ID="AKIDEXAMPLE",
            AWS_SECRET_ACCESS_KEY="geheim",
        )
        assert done.code == 0, done.err
        assert (done.json["provider"], done.json["model"]) == ("bedrock", MODEL)
        assert done.json["findings"] == done.json["groups"] == len(server.chats)
        assert "/eu-west-1/bedrock/aws4_request" in server.heads[0]


def test_what_a_provider_needs_is_named(console: Console) -> None:
    """Without it the run is a usage error that names the setting."""
    done = console.call("run", LOGS / "travis", "--provider", "openai")
    assert done.code == 2
    assert "openai.base_url" in done.err
