"""When a call is tried again, and when nobody need be asked any more."""

import asyncio
import random
import time
from dataclasses import dataclass

from bifrost_flow.errors import ModelError, ModelUnavailable


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how soon a call is tried again; waits double from `base_s` up to `cap_s`, with jitter."""

    max_retries: int = 3
    base_s: float = 0.5
    cap_s: float = 30.0
    max_retry_after_s: float = 120.0  # a server that asks for more is given up on

    def wait_s(self, attempt: int, error: ModelUnavailable) -> float | None:
        """Return the seconds to wait after the failed `attempt` (1 is the first), or None to give up."""
        if attempt > self.max_retries:
            return None
        asked = error.retry_after_s
        if asked is not None and asked > self.max_retry_after_s:
            return None
        backoff = min(self.cap_s, self.base_s * 2 ** (attempt - 1))
        # Half of it at random, so that calls that failed together don't come back together.
        return max(asked or 0.0, backoff / 2) + random.uniform(0, backoff / 2)


class Circuit:
    """What all calls of a run know about the provider: whether to wait, and whether it is plainly down.

    It opens, for good, when a question has used up its retries and at least `unreachable_limit` attempts in a
    row, over all questions, met nobody; when `failure_limit` questions in a row failed otherwise; or when
    that many were refused for the same reason, as a missing model or a wrong key would. Any answer resets it.
    """

    def __init__(self, *, unreachable_limit: int = 3, failure_limit: int = 10) -> None:
        self.reason = ""  # why it is open; empty while it is not
        self._unreachable_limit = unreachable_limit
        self._failure_limit = failure_limit
        self._unreachable = 0
        self._failed = 0
        self._refusals: tuple[str, int] = ("", 0)
        self._resume_at = 0.0

    def record_success(self) -> None:
        self._unreachable = self._failed = 0
        self._refusals = ("", 0)

    def record_attempt(self, error: ModelError) -> None:
        """Count a failed attempt."""
        if isinstance(error, ModelUnavailable):
            self._unreachable = self._unreachable + 1 if error.unreachable else 0

    def record_failure(self, error: ModelError) -> None:
        """Count a question that is given up on."""
        if isinstance(error, ModelUnavailable):
            self._failed += 1
            down = error.unreachable and self._unreachable >= self._unreachable_limit
            if down or self._failed >= self._failure_limit:
                self.reason = self.reason or str(error)
            return
        message, count = self._refusals
        self._refusals = (str(error), count + 1 if message == str(error) else 1)
        if self._refusals[1] >= self._failure_limit:
            self.reason = self.reason or str(error)

    def pause(self, seconds: float) -> None:
        """Let no call start for `seconds`: the server asked for it, or nobody is there."""
        self._resume_at = max(self._resume_at, time.monotonic() + seconds)

    async def wait(self) -> None:
        """Wait until calls may start again."""
        while (left := self._resume_at - time.monotonic()) > 0:
            # Up to a tenth more, at random, so that those who waited together don't come back together.
            await asyncio.sleep(left * random.uniform(1.0, 1.1))
