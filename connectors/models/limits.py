"""What a run may spend and how fast it may ask; one of each is shared by all batches of a run.

Both are of one event loop, and serve in the order of asking, so that the largest groups come first.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bifrost_flow.excerpt import estimate_tokens
from bifrost_flow.records import Call
from connectors.models.protocol import ModelRequest
from connectors.models.window import TEMPLATE_TOKENS

# A second more than a minute: calls take different times on their way to a server that counts them.
WINDOW_S = 61.0
_LONGEST_NAP_S = 1.0

# With less room than this an answer would likely be cut off, and paid for in vain.
_SMALLEST_ANSWER_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Caps:
    """The most that a run may spend; None means no limit."""

    max_calls: int | None = None
    max_tokens: int | None = None  # in and out, by the provider's count
    max_cost_usd: float | None = None

    def after(self, calls: Sequence[Call]) -> "Caps":
        """Return what is left once `calls` were made."""
        tokens = sum(call.tokens_in + call.tokens_out for call in calls)
        cost_usd = sum(call.cost_usd for call in calls)
        return Caps(
            None if self.max_calls is None else max(0, self.max_calls - len(calls)),
            None if self.max_tokens is None else max(0, self.max_tokens - tokens),
            None if self.max_cost_usd is None else max(0.0, self.max_cost_usd - cost_usd),
        )


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a call that has not ended may cost at worst."""

    tokens_in: int
    tokens_out: int
    estimate: int  # of the prompt, before experience with the provider's count


class Budget:
    """A hard limit on calls, tokens and cost: the worst case of a call is set aside before it starts.

    Args:
        price: the cost in USD of so many tokens in and out.
    """

    def __init__(
        self, caps: Caps | None = None, *, price: Callable[[int, int], float] = lambda _in, _out: 0.0
    ) -> None:
        self.exhausted = ""  # which limit ended the asking, as `max_calls 10`; empty while none did
        self.price = price
        self.calls = 0  # started
        self.tokens = 0  # spent
        self.cost_usd = 0.0
        self._caps = caps or Caps()
        self._open: list[Reservation] = []
        self._ratio = 1.0  # the provider's count of a prompt to our estimate, the highest seen
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()

    async def reserve(self, request: ModelRequest) -> Reservation | None:
        """Set aside what `request` may cost, or return None: the budget has no room for it, nor for others.

        While calls under way may turn out cheaper than the worst case, this waits for them. An answer may get
        fewer tokens than asked for: `tokens_out` of the reservation.
        """
        if self._is_unlimited:
            self.calls += 1
            return Reservation(0, request.max_output_tokens, 0)
        estimate = estimate_tokens(request.system) + estimate_tokens(request.user) + TEMPLATE_TOKENS
        estimate += estimate_tokens(json.dumps(request.schema))
        async with self._turn:
            while not self.exhausted:
                tokens_in = round(estimate * self._ratio)
                wanted = request.max_output_tokens
                for tokens_out in (wanted, min(wanted, _SMALLEST_ANSWER_TOKENS)):
                    limit = self._find_limit(tokens_in, tokens_out)
                    if not limit:
                        self.calls += 1
                        self._open.append(reservation := Reservation(tokens_in, tokens_out, estimate))
                        return reservation
                if self._open and self._has_call_left:
                    self._changed.clear()
                    await self._changed.wait()
                else:
                    self.exhausted = limit
        return None

    def settle(
        self, reservation: Reservation, tokens_in: int, tokens_out: int, *, known: bool = True
    ) -> None:
        """Count what a call took in place of the worst case; unless that is `known`, the worst case."""
        if reservation in self._open:
            self._open.remove(reservation)
        if known and reservation.estimate:
            self._ratio = max(self._ratio, tokens_in / reservation.estimate)
        if not known:
            tokens_in, tokens_out = reservation.tokens_in, reservation.tokens_out
        self.tokens += tokens_in + tokens_out
        self.cost_usd += self.price(tokens_in, tokens_out)
        self._changed.set()

    @property
    def _is_unlimited(self) -> bool:
        return self._caps == Caps()

    @property
    def _has_call_left(self) -> bool:
        return self._caps.max_calls is None or self.calls < self._caps.max_calls

    def _find_limit(self, tokens_in: int, tokens_out: int) -> str:
        """Return the limit that a further call would break, if there is one."""
        caps = self._caps
        if not self._has_call_left:
            return f"max_calls {caps.max_calls}"
        tokens = self.tokens + sum(each.tokens_in + each.tokens_out for each in self._open)
        if caps.max_tokens is not None and tokens + tokens_in + tokens_out > caps.max_tokens:
            return f"max_tokens {caps.max_tokens}"
        if caps.max_cost_usd is not None:
            cost_usd = self.cost_usd + sum(self.price(each.tokens_in, each.tokens_out) for each in self._open)
            if cost_usd + self.price(tokens_in, tokens_out) > caps.max_cost_usd:
                return f"max_cost_usd {caps.max_cost_usd:g}"
        return ""


@dataclass(slots=True)
class Taken:
    """An amount that was taken from a rate at a time."""

    at: float
    amount: float


class Rate:
    """At most `limit` units in any minute; an amount above the limit goes alone.

    A sliding window rather than a bucket that refills: a full bucket lets twice the limit through in its
    first minute, and services answer that with 429.
    """

    def __init__(self, limit: int | None = None, *, window_s: float = WINDOW_S) -> None:
        self._limit = limit
        self._window_s = window_s
        self._taken: deque[Taken] = deque()
        self._turn = asyncio.Lock()

    async def take(self, amount: float) -> Taken:
        """Wait until `amount` more fits into the minute, and take it."""
        if self._limit is None:
            return Taken(0.0, amount)
        async with self._turn:
            while (wait_s := self._find_wait_s(amount)) > 0:
                # What was taken may be corrected meanwhile.
                await asyncio.sleep(min(wait_s, _LONGEST_NAP_S))
            self._taken.append(taken := Taken(time.monotonic(), amount))
            return taken

    def correct(self, taken: Taken, amount: float) -> None:
        """Let `amount` be what was taken, now that it is known."""
        taken.amount = amount

    def _find_wait_s(self, amount: float) -> float:
        now = time.monotonic()
        while self._taken and self._taken[0].at <= now - self._window_s:
            self._taken.popleft()
        excess = sum(each.amount for each in self._taken) + amount - (self._limit or 0)
        for each in self._taken:
            if excess <= 0:
                return 0.0
            excess -= each.amount
            leaves_at = each.at + self._window_s
            if excess <= 0:
                return leaves_at - now
        return 0.0 if not self._taken else self._taken[-1].at + self._window_s - now


@dataclass(frozen=True, slots=True)
class Rates:
    """How fast a run may ask."""

    requests: Rate
    tokens: Rate

    @classmethod
    def per_minute(cls, *, requests: int | None = None, tokens: int | None = None) -> "Rates":
        """Return rates of so many requests and tokens a minute; None means no limit."""
        return cls(Rate(requests), Rate(tokens))

    async def take(self, tokens: int) -> Taken:
        """Wait until one more call of about so many tokens may start."""
        await self.requests.take(1)
        return await self.tokens.take(tokens)
