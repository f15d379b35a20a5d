"""The providers that ask a server, each with a server of its kind, for tests of what holds for all."""

from dataclasses import dataclass
from typing import Any

from bifrost_flow.answer import answer_schema
from bifrost_flow.prompts import load_prompt, render_prompt
from connectors.models.aws import open_client
from connectors.models.bedrock import BedrockProvider
from connectors.models.ollama import OllamaProvider
from connectors.models.openai import OpenAIProvider
from connectors.models.protocol import ModelRequest, Provider
from tests.bedrock_server import BedrockServer
from tests.model_server import ModelServer
from tests.samples import TRACEBACK, make_chunk

MODEL = "scripted:latest"
KINDS = ("ollama", "openai", "bedrock")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of provider and a server that speaks its protocol."""

    name: str
    server: ModelServer

    def open(self, *, url: str | None = None, model: str = MODEL, **options: Any) -> Provider:
        """Return a provider that asks the server, or `url`."""
        url = url or self.server.url
        options = {"timeout_s": 5, "context_tokens": 16_384, **options}
        if self.name == "ollama":
            return OllamaProvider(url, model, **options)
        if self.name == "openai":
            return OpenAIProvider(f"{url}/v1", model, **options)
        client = open_client(
            region="eu-west-1", profile=None, endpoint_url=url, timeout_s=options["timeout_s"]
        )
        return BedrockProvider(client, model, endpoint_url=url, **options)


def make_server(name: str) -> ModelServer:
    """Return a server for the provider `name`, not yet started."""
    return BedrockServer() if name == "bedrock" else ModelServer()


def make_request(text: str = TRACEBACK, language: str = "en", anchor: int = 0) -> ModelRequest:
    """Return the question about an excerpt of `text`."""
    chunk = make_chunk(text, anchor=anchor)
    system, user = render_prompt(load_prompt(), chunk, language)
    return ModelRequest(system, user, answer_schema(text.count("\n") + 1), chunk, language, 800)
