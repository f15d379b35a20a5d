import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bifrost_flow.errors import ModelError, ModelRefused, ModelUnavailable
from bifrost_flow.prompts import load_prompt
from connectors.models.fanout import FanOut, RetryPolicy, answer_questions, plan
from connectors.models.limits import Budget, Caps, Rate, Rates
from connectors.models.protocol import ModelDescription, ModelReply, ModelRequest, OnCount, ignore_count
from connectors.models.rules import RulesProvider
from tests.samples import make_group

PROMPT = load_prompt()
QUICK = RetryPolicy(max_retries=2, base_s=0.001, cap_s=0.002)


class CountingProvider:
    """Answers after `delay_s`, and counts what it would bill: bytes / 4 of the prompt, and `tokens_out`."""

    def __init__(
        self,
        *,
        script: Callable[[int], ModelError | str | None] = lambda call: None,
        tokens_out: int = 150,
        delay_s: float = 0.002,
        factor: float = 1.0,
    ) -> None:
        self.calls = self.tokens = 0
        self.most_tokens_out = 0
        self.asked: list[str] = []
        self.started: list[float] = []
        self._script, self._tokens_out, self._delay_s, self._factor = script, tokens_out, delay_s, factor

    def describe(self) -> ModelDescription:
        return ModelDescription("counting", "m", "", "{}", 32_768)

    async def complete(self, request: ModelRequest) -> ModelReply:
        self.calls += 1
        call = self.calls
        self.asked.append(request.chunk.fingerprint)
        self.started.append(time.monotonic())
        self.most_tokens_out = max(self.most_tokens_out, request.max_output_tokens)
        await asyncio.sleep(self._delay_s)
        step = self._script(call)
        if isinstance(step, ModelUnavailable):
            raise step
        read = round(len((request.system + request.user).encode()) / 4 * self._factor)
        written = min(self._tokens_out, request.max_output_tokens)
        self.tokens += read + written
        if isinstance(step, ModelError):
            step.tokens_in, step.tokens_out = read, written
            raise step
        text = (await RulesProvider().complete(request)).text if step is None else step
        return ModelReply(text, read, written)

    def stream(self, request: ModelRequest, *, on_count: OnCount = ignore_count) -> Any:
        raise NotImplementedError

    async def aclose(self) -> None:
        pass


async def _ask(provider: CountingProvider, count: int, caps: Caps, **options: Any) -> tuple[FanOut, Budget]:
    groups = [make_group(number, size=count - number + 1) for number in range(1, count + 1)]
    budget = Budget(caps, price=lambda tokens_in, tokens_out: (tokens_in + 5 * tokens_out) / 1e6)
    options = {"concurrency": 8, "retry": QUICK, **options}
    questions = plan(groups, provider, PROMPT, "en")
    return await answer_questions(questions, provider, budget=budget, **options), budget


def _flaky(call: int) -> ModelError | str | None:
    """Return a fault for four calls in five: of each kind that costs, or may cost, something."""
    faults: list[ModelError | str | None] = [
        ModelUnavailable("HTTP 503"),
        "no answer",
        ModelRefused("cut its answer off"),
        ModelUnavailable("no answer in time", may_have_cost=True),
    ]
    return faults[call % 5] if call % 5 < 4 else None


@pytest.mark.parametrize("cap", [0, 1, 7, 30])
@pytest.mark.parametrize("script", [lambda call: None, _flaky])
async def test_calls_are_never_more_than_allowed(cap: int, script: Any) -> None:
    """Retries and repairs count like any other call; what was left out is named, the smallest groups."""
    provider = CountingProvider(script=script)
    result, budget = await _ask(provider, 25, Caps(max_calls=cap))
    assert provider.calls == min(cap, provider.calls)
    assert len(result.calls) == provider.calls <= cap
    if result.left_out:
        assert budget.exhausted == f"max_calls {cap}"
        assert provider.calls == cap
    assert len(result.answers) + len(result.problems) + len(result.left_out) == 25


@pytest.mark.parametrize("cap", [100, 3_000, 20_000, 100_000])
@pytest.mark.parametrize("script", [lambda call: None, _flaky])
@pytest.mark.parametrize("concurrency", [1, 16])
async def test_tokens_are_never_more_than_allowed(cap: int, script: Any, concurrency: int) -> None:
    """What the provider counted, answers, failed calls and all, stays within the budget."""
    provider = CountingProvider(script=script)
    result, budget = await _ask(provider, 60, Caps(max_tokens=cap), concurrency=concurrency)
    assert provider.tokens <= cap
    assert sum(call.tokens_in + call.tokens_out for call in result.calls) == provider.tokens
    assert len(result.answers) + len(result.problems) + len(result.left_out) == 60
    if result.left_out:
        assert budget.exhausted == f"max_tokens {cap}"


async def test_a_budget_is_used_as_far_as_it_goes() -> None:
    """Calls wait for those under way to turn out cheaper than the worst case: little is left unused."""
    provider = CountingProvider()
    await _ask(provider, 100, Caps(max_tokens=40_000), concurrency=16)
    assert 40_000 - 2_500 < provider.tokens <= 40_000


async def test_the_last_call_gets_a_shorter_answer_rather_than_none() -> None:
    """Where the worst case of a whole answer does not fit, one of 512 tokens may."""
    provider = CountingProvider()
    result, _ = await _ask(provider, 1, Caps(max_tokens=2_400))
    assert len(result.answers) == 1
    assert provider.most_tokens_out == 512


async def test_a_provider_that_counts_more_than_we_do_is_allowed_for() -> None:
    """From the first count on, later prompts are taken for as long as the provider counts them."""
    provider = CountingProvider(factor=4.0)
    await _ask(provider, 60, Caps(max_tokens=40_000), concurrency=1)
    assert provider.calls > 3
    assert provider.tokens <= 40_000


@pytest.mark.parametrize("cap", [0.001, 0.01, 0.05])
async def test_the_cost_is_never_more_than_allowed(cap: float) -> None:
    """USD by the table of prices, in and out, failed calls included."""
    provider = CountingProvider(script=_flaky)
    result, budget = await _ask(provider, 60, Caps(max_cost_usd=cap), concurrency=16)
    spent = sum(call.cost_usd for call in result.calls)
    assert spent <= cap
    assert budget.cost_usd >= spent - 1e-9
    assert result.left_out
    assert budget.exhausted == f"max_cost_usd {cap:g}"


async def test_batches_share_a_budget_and_take_the_largest_groups_first() -> None:
    """Over all batches the groups that are asked about are the largest ones, in order."""
    provider = CountingProvider(delay_s=0.005)
    groups = [make_group(number, size=41 - number) for number in range(1, 41)]
    waiting = iter(plan(groups[::-1], provider, PROMPT, "en"))
    budget, semaphore = Budget(Caps(max_calls=10)), asyncio.Semaphore(6)
    results = await asyncio.gather(
        *(
            answer_questions(waiting, provider, concurrency=2, semaphore=semaphore, budget=budget)
            for _ in range(3)
        )
    )
    assert provider.asked == [f"f1:{number:04}" for number in range(1, 11)]
    assert sum(len(result.answers) for result in results) == 10
    left = [question.fingerprint for result in results for question in result.left_out]
    assert sorted(left) == [f"f1:{number:04}" for number in range(11, 41)]


async def test_no_batch_waits_for_another() -> None:
    """While one batch's call hangs, the others take all the rest."""
    release = asyncio.Event()

    class OneHangs(CountingProvider):
        async def complete(self, request: ModelRequest) -> ModelReply:
            if request.chunk.fingerprint == "f1:0001":
                await release.wait()
            reply = await super().complete(request)
            if self.calls == 39:
                release.set()
            return reply

    provider = OneHangs()
    waiting = iter(plan([make_group(number) for number in range(1, 41)], provider, PROMPT, "en"))
    batches = (answer_questions(waiting, provider, concurrency=2) for _ in range(4))
    results = await asyncio.wait_for(asyncio.gather(*batches), 120)
    assert sum(len(result.answers) for result in results) == 40
    assert provider.asked[-1] == "f1:0001"


async def test_a_stop_keeps_what_arrived() -> None:
    """Asked to stop, the batch returns its answers and calls, and asks for nothing more."""
    provider = CountingProvider(delay_s=0.02)
    questions = plan([make_group(number) for number in range(1, 101)], provider, PROMPT, "en")
    result = await answer_questions(questions, provider, concurrency=4, stop=lambda: provider.calls >= 12)
    assert 8 <= len(result.answers) == len(result.calls) < 100
    asked = provider.calls
    await asyncio.sleep(0.05)
    assert provider.calls == asked
    assert not result.left_out


async def test_no_window_holds_more_requests_than_the_limit() -> None:
    """In any window at most so many calls start, over all batches, retries included."""
    provider = CountingProvider(script=_flaky, delay_s=0.001)
    rates = Rates(Rate(10, window_s=0.3), Rate())
    await _ask(provider, 12, Caps(), rates=rates, concurrency=12)
    assert provider.calls > 12
    for first, after in zip(provider.started, provider.started[10:], strict=False):
        assert after - first >= 0.29


async def test_tokens_of_a_window_are_limited_by_what_was_really_used() -> None:
    """A call takes its estimate from the rate until the provider's own count is known."""
    rate = Rate(1000, window_s=1.0)
    started = time.monotonic()
    taken = await rate.take(900)
    rate.correct(taken, 100)
    await rate.take(900)
    assert time.monotonic() - started < 0.9
    await rate.take(300)
    assert time.monotonic() - started >= 1.0
    await rate.take(5000)
    assert time.monotonic() - started >= 0.6, "more than the limit goes, alone"


async def test_rates_serve_in_the_order_of_asking() -> None:
    """Nobody is overtaken: the largest groups asked first."""
    rate, order = Rate(2, window_s=0.05), []

    async def take(number: int) -> None:
        await rate.take(1)
        order.append(number)

    await asyncio.gather(*(take(number) for number in range(7)))
    assert order == list(range(7))


async def test_a_repair_keeps_within_the_window() -> None:
    """What is quoted of a bad reply is cut to the room that the window has."""
    requests: list[ModelRequest] = []

    class Small(CountingProvider):
        def describe(self) -> ModelDescription:
            return replace(super().describe(), context_tokens=2_200)

        async def complete(self, request: ModelRequest) -> ModelReply:
            requests.append(request)
            return await super().complete(request)

    text = "\n".join(f"line {number:03}: nothing of interest happens here" for number in range(300))
    provider = Small(script=lambda call: "한글 " * 2000 if call == 1 else None)
    questions = plan([make_group(1, text=text)], provider, PROMPT, "en")
    result = await answer_questions(questions, provider, retry=QUICK)
    assert len(result.answers) == 1
    from bifrost_flow.excerpt import estimate_tokens

    assert all(estimate_tokens(each.system) + estimate_tokens(each.user) <= 2_200 for each in requests)
    assert "could not be used" in requests[1].user
