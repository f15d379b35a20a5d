"""The provider without a model: built in, offline, free, and always there."""

from collections.abc import AsyncIterator

from bifrost_flow.rules import RULES_VERSION, answer_by_rules
from connectors.models.protocol import (
    ModelDescription,
    ModelReply,
    ModelRequest,
    OnCount,
    ignore_count,
)

# It reads no prompt, so nothing has to be cut for it.
_CONTEXT_TOKENS = 1_000_000


class RulesProvider:
    """Answer from the patterns that the extractor found; costs no tokens."""

    def describe(self) -> ModelDescription:
        return ModelDescription("rules", RULES_VERSION, "", "{}", _CONTEXT_TOKENS, carries_over=False)

    async def complete(self, request: ModelRequest) -> ModelReply:
        return ModelReply(answer_by_rules(request.chunk, request.language).model_dump_json(), 0, 0)

    async def stream(self, request: ModelRequest, *, on_count: OnCount = ignore_count) -> AsyncIterator[str]:
        yield (await self.complete(request)).text
        on_count(0, 0)

    async def aclose(self) -> None:
        """Nothing is held open."""
