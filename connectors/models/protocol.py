"""What a model provider is to the rest of the program."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from bifrost_flow.records import Chunk


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """Who answers; every field but the last two is part of the cache key."""

    provider: str  # rules, ollama, …
    model: str
    base_url: str  # empty for a provider without one
    parameters: str  # canonical JSON of what shapes the answer: temperature, seed, …
    context_tokens: int  # the model's window; prompts are kept within it
    # Whether an answer may serve another sighting of the same failure. Not worth it where asking is free.
    carries_over: bool = True


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One question about one chunk."""

    system: str
    user: str
    schema: dict[str, Any]  # JSON schema of the answer; cited line numbers restricted to those that exist
    chunk: Chunk  # what the question is about, for providers that don't read prompts
    language: str
    max_output_tokens: int


@dataclass(frozen=True, slots=True)
class ModelReply:
    """The text that a model gave, and the provider's own count of tokens."""

    text: str
    tokens_in: int
    tokens_out: int


# Takes the tokens read and written, by the provider's own count, at the end of a stream.
OnCount = Callable[[int, int], None]


def ignore_count(tokens_in: int, tokens_out: int) -> None:
    """Be told how many tokens a stream took, and keep it to yourself."""


class Provider(Protocol):
    """A model behind a protocol.

    `complete` and `stream` raise `ModelUnavailable` for what may pass, `ModelRefused` for what won't.
    """

    def describe(self) -> ModelDescription: ...

    async def complete(self, request: ModelRequest) -> ModelReply: ...

    def stream(self, request: ModelRequest, *, on_count: OnCount = ignore_count) -> AsyncIterator[str]: ...

    async def aclose(self) -> None: ...
