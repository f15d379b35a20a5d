"""The fan-out: questions go out side by side, and each answer is handed over the moment it is there.

No Prefect in here: a task hands a batch of questions to `answer_questions`, and shares `Circuit` and
semaphore between its batches, so that the limits hold for the whole run.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from bifrost_flow.answer import Answer
from bifrost_flow.errors import ModelError, ModelRefused, ModelUnavailable
from bifrost_flow.language import t
from bifrost_flow.prompts import Prompt
from bifrost_flow.records import CachedAnswer, Call, Group, Problem
from bifrost_flow.resighting import describe_sighting
from connectors.models.circuit import Circuit, RetryPolicy
from connectors.models.limits import Budget, Rates, Reservation
from connectors.models.protocol import ModelReply, ModelRequest, Provider
from connectors.models.questions import GroupAnswer, Question, build_finding, join_answer, plan, read_cached
from connectors.models.repair import UnusableReply, read_reply, repair_request

__all__ = [
    "Circuit",
    "FanOut",
    "GroupAnswer",
    "Question",
    "RetryPolicy",
    "answer_groups",
    "answer_questions",
    "build_finding",
    "plan",
    "read_cached",
]

# Takes the answer, or None for a failed attempt, and the call; `Journal.append` fits.
OnCall = Callable[[CachedAnswer | None, Call], None]
# Takes a question and its answer's text as far as it is written; a try that fails begins anew.
OnText = Callable[[Question, str], None]

STOP_POLL_S = 0.1

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FanOut:
    """What came of a batch: an answer or a problem for each question, and every call that was made.

    `left_out` are questions that the budget had no room for, or no more after a failed attempt.
    """

    answers: tuple[GroupAnswer, ...]
    problems: tuple[Problem, ...]
    calls: tuple[Call, ...]
    left_out: tuple[Question, ...] = ()


class _Batch:
    """One batch under way."""

    def __init__(
        self,
        provider: Provider,
        *,
        semaphore: AbstractAsyncContextManager[object],
        circuit: Circuit,
        retry: RetryPolicy,
        budget: Budget,
        rates: Rates,
        on_call: OnCall | None,
        on_text: OnText | None = None,
        on_answer: Callable[[GroupAnswer], None] | None = None,
    ) -> None:
        self.answers: list[GroupAnswer] = []
        self.problems: list[Problem] = []
        self.calls: list[Call] = []
        self.left_out: list[Question] = []
        self._provider = provider
        self._description = provider.describe()
        self._semaphore = semaphore
        self._circuit = circuit
        self._retry = retry
        self._budget = budget
        self._rates = rates
        self._on_call = on_call
        self._on_text = on_text
        self._on_answer = on_answer

    async def work(self, questions: Iterator[Question]) -> None:
        """Answer questions until there are none left; many workers share one iterator."""
        for question in questions:
            if self._circuit.reason:
                self._skip(question)
            elif self._budget.exhausted:
                self.left_out.append(question)
            else:
                await self._answer(question)

    def _skip(self, question: Question) -> None:
        message = t("model.circuit_open", provider=self._description.provider, reason=self._circuit.reason)
        self.problems.append(Problem("analyse", question.fingerprint, message))

    async def _answer(self, question: Question) -> None:
        request = question.request
        attempt = failures = repairs = 0
        error: ModelError | None = None
        while True:
            await self._circuit.wait()
            if error and self._circuit.reason:
                return self._give_up(question, attempt, error)
            attempt += 1
            try:
                return await self._try(question, request, attempt)
            except _NoRoom:
                self.left_out.append(question)
                return None
            except UnusableReply as caught:
                error = caught
                if repairs:
                    return self._give_up(question, attempt, error)
                repairs += 1
                request = repair_request(question.request, caught, question.context_tokens)
            except ModelUnavailable as caught:
                error = caught
                failures += 1
                wait_s = self._retry.wait_s(failures, caught)
                if wait_s is None:
                    return self._give_up(question, attempt, error)
                if caught.unreachable or caught.retry_after_s is not None:
                    self._circuit.pause(wait_s)
                else:
                    await asyncio.sleep(wait_s)
            except ModelRefused as caught:
                return self._give_up(question, attempt, caught)

    async def _try(self, question: Question, request: ModelRequest, attempt: int) -> None:
        """Make one call, read its answer, and hand both over; a failed call too, but not a cancelled one.

        Raises:
            _NoRoom: the budget does not allow the call; none was made.
        """
        # Nothing between an answer's arrival and its handing over may wait: a cancellation would lose it.
        async with self._semaphore:
            reservation = await self._budget.reserve(request)
            if reservation is None:
                raise _NoRoom
            try:
                error = await self._call(question, request, reservation, attempt)
            except BaseException:
                # Given up on: nobody knows what it cost.
                self._budget.settle(reservation, 0, 0, known=False)
                raise
        if error:
            raise error

    async def _call(
        self, question: Question, request: ModelRequest, reservation: Reservation, attempt: int
    ) -> ModelError | None:
        """Make the call when the rates allow it, and hand over what came of it; return why it failed."""
        taken = await self._rates.take(question.tokens_estimate + reservation.tokens_out)
        await self._circuit.wait()
        started_at, clock = datetime.now(UTC), time.perf_counter()
        reply, answer, error = ModelReply("", 0, 0), None, None
        try:
            reply = await self._fetch(question, replace(request, max_output_tokens=reservation.tokens_out))
            answer = read_reply(reply, question.n_lines)
            self._circuit.record_success()
        except ModelError as caught:
            error = caught
            reply = replace(reply, tokens_in=caught.tokens_in, tokens_out=caught.tokens_out)
            self._circuit.record_attempt(caught)
        known = not (isinstance(error, ModelUnavailable) and error.may_have_cost)
        self._budget.settle(reservation, reply.tokens_in, reply.tokens_out, known=known)
        if known:
            self._rates.tokens.correct(taken, reply.tokens_in + reply.tokens_out)
        latency_ms = (time.perf_counter() - clock) * 1000
        self._hand_over(question, attempt, reply, answer, error, latency_ms, started_at)
        return error

    async def _fetch(self, question: Question, request: ModelRequest) -> ModelReply:
        """Return the reply to one call; where somebody listens, its text is told while it is written."""
        if self._on_text is None:
            return await self._provider.complete(request)
        text, count = "", (0, 0)

        def keep(tokens_in: int, tokens_out: int) -> None:
            nonlocal count
            count = tokens_in, tokens_out

        async for piece in self._provider.stream(request, on_count=keep):
            text += piece
            self._on_text(question, text)
        return ModelReply(text, *count)

    def _hand_over(
        self,
        question: Question,
        attempt: int,
        reply: ModelReply,
        answer: Answer | None,
        error: ModelError | None,
        latency_ms: float,
        started_at: datetime,
    ) -> None:
        call = Call(
            cache_key=question.cache_key,
            fingerprint=question.fingerprint,
            provider=self._description.provider,
            model=self._description.model,
            attempt=attempt,
            status="failed" if error else "ok",
            error=str(error) if error else None,
            latency_ms=latency_ms,
            tokens_in=reply.tokens_in,
            tokens_out=reply.tokens_out,
            cost_usd=self._budget.price(reply.tokens_in, reply.tokens_out),
            started_at=started_at,
        )
        _log.debug(
            "%s of %s: attempt %d for %s %s after %.0f ms, %d tokens in, %d out",
            *(call.model, call.provider, attempt, call.fingerprint, call.status),
            *(latency_ms, reply.tokens_in, reply.tokens_out),
        )
        kept = self._make_cached(question, reply, answer) if answer else None
        self.calls.append(call)
        if self._on_call:
            self._on_call(kept, call)
        if answer and kept:
            self.answers.append(join_answer(question, answer, kept, cached=False))
            if self._on_answer:
                self._on_answer(self.answers[-1])

    def _make_cached(self, question: Question, reply: ModelReply, answer: Answer) -> CachedAnswer:
        return CachedAnswer(
            cache_key=question.cache_key,
            response=answer.model_dump_json(),
            provider=self._description.provider,
            model=self._description.model,
            prompt_version=question.prompt.version,
            tokens_in=reply.tokens_in,
            tokens_out=reply.tokens_out,
            created_at=datetime.now(UTC),
            identity=question.identity,
            fingerprint=question.fingerprint,
            sighting=describe_sighting(answer, question.chunk) if question.identity else "",
        )

    def _give_up(self, question: Question, attempts: int, error: ModelError) -> None:
        self._circuit.record_failure(error)
        message = t("model.failed", provider=self._description.provider, attempts=attempts, reason=str(error))
        self.problems.append(Problem("analyse", question.fingerprint, message))


class _NoRoom(Exception):
    """The budget does not allow a call."""


async def answer_questions(
    questions: Iterable[Question],
    provider: Provider,
    *,
    concurrency: int = 4,
    semaphore: asyncio.Semaphore | None = None,
    circuit: Circuit | None = None,
    retry: RetryPolicy | None = None,
    budget: Budget | None = None,
    rates: Rates | None = None,
    on_call: OnCall | None = None,
    on_text: OnText | None = None,
    on_answer: Callable[[GroupAnswer], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> FanOut:
    """Ask `provider` all `questions`, in order, at most `concurrency` at once, with no barrier between.

    A question that fails becomes a problem while the others go on. `on_call` gets every attempt the moment
    it ends, with its answer unless it failed; so when this is cancelled, what arrived has been handed over.

    Args:
        questions: an iterator may be shared with other batches, which then take turns.
        semaphore: a limit shared with other batches, held during a call and not while waiting to retry.
        circuit: shared with other batches of the run, as are `budget` and `rates`.
        on_text: answers are streamed, and it is told of each piece.
        on_answer: told of each answer that arrived.
        stop: asked now and then; once it is true, calls under way are given up and what arrived is returned.
    """
    batch = _Batch(
        provider,
        semaphore=semaphore or nullcontext(),
        circuit=circuit or Circuit(),
        retry=retry or RetryPolicy(),
        budget=budget or Budget(),
        rates=rates or Rates.per_minute(),
        on_call=on_call,
        on_text=on_text,
        on_answer=on_answer,
    )
    count = min(concurrency, len(questions)) if isinstance(questions, Sized) else concurrency
    waiting = iter(questions)
    workers = [asyncio.create_task(batch.work(waiting)) for _ in range(count)]
    try:
        await _finish(workers, stop)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return FanOut(tuple(batch.answers), tuple(batch.problems), tuple(batch.calls), tuple(batch.left_out))


async def _finish(workers: Sequence[asyncio.Task[None]], stop: Callable[[], bool] | None) -> None:
    """Wait until all `workers` are done, one has failed, or `stop` says so."""
    pending = set(workers)
    while pending and not (stop and stop()):
        done, pending = await asyncio.wait(
            pending, timeout=STOP_POLL_S if stop else None, return_when=asyncio.FIRST_EXCEPTION
        )
        for worker in done:
            worker.result()


async def answer_groups(
    groups: Sequence[Group],
    provider: Provider,
    prompt: Prompt,
    *,
    language: str = "en",
    concurrency: int = 4,
    max_retries: int = 3,
    redaction_version: str | None = None,
    on_call: OnCall | None = None,
) -> FanOut:
    """Plan and ask about `groups` in one go, without a cache."""
    return await answer_questions(
        plan(groups, provider, prompt, language, redaction_version=redaction_version),
        provider,
        concurrency=concurrency,
        retry=RetryPolicy(max_retries=max_retries),
        on_call=on_call,
    )
