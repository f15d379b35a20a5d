"""What calls cost, from the price table in the settings."""

from collections.abc import Mapping
from typing import Protocol

# Whose models cost money, as far as anybody knows; a local server's has the price 0 in the table.
PAID_PROVIDERS = frozenset({"openai", "bedrock"})


class Price(Protocol):
    """USD per million tokens."""

    @property
    def input(self) -> float: ...
    @property
    def output(self) -> float: ...


def cost_of(prices: Mapping[str, Price], model: str, *, tokens_in: int, tokens_out: int) -> float:
    """Return the cost in USD; a model without a price is free, as local ones are."""
    price = prices.get(model)
    if price is None:
        return 0.0
    return (tokens_in * price.input + tokens_out * price.output) / 1_000_000
