"""Asking a model what the cache does not answer, within the limits of a run."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from bifrost_flow.cost import cost_of
from bifrost_flow.language import t
from bifrost_flow.progress import progress
from bifrost_flow.records import Call, Problem
from bifrost_flow.settings import Settings
from connectors.journal import Journal
from connectors.models.fanout import Circuit, RetryPolicy
from connectors.models.limits import Budget, Caps, Rates
from connectors.models.protocol import Provider
from connectors.models.questions import GroupAnswer
from flows.opening import pick_section
from tasks.analyse import CachePlan, Limits, Listener, analyse, count_batches


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of asking: answers from the cache and from calls, and what went wrong."""

    answers: tuple[GroupAnswer, ...] = ()
    calls: tuple[Call, ...] = ()
    problems: tuple[Problem, ...] = ()
    budget_exhausted: bool = False


async def ask(
    cached: CachePlan,
    provider: Provider,
    *,
    limits: Limits,
    journal: Journal,
    project: str,
    listener: Listener | None = None,
) -> Asked:
    """Ask what the cache does not answer, in batches side by side, largest groups first."""
    count = count_batches(len(cached.misses), concurrency=limits.concurrency)
    waiting = iter(cached.misses)
    progress().start_stage("analyse", len(cached.misses))
    batches = [
        analyse(
            waiting,
            provider,
            workers=-(-limits.concurrency // count),
            limits=limits,
            journal=journal,
            project=project,
            listener=listener,
        )
        for _ in range(count)
    ]
    done = await asyncio.gather(*batches)
    answers = (*cached.answered, *(answer for batch in done for answer in batch.answers))
    calls = tuple(call for batch in done for call in batch.calls)
    left_out = [question for batch in done for question in batch.left_out]
    note = t("run.left_out", limit=limits.budget.exhausted, calls=len(calls))
    problems = (
        *(problem for batch in done for problem in batch.problems),
        *(Problem("analyse", question.fingerprint, note) for question in left_out),
    )
    summary = t("run.analysed", calls=len(calls), hits=len(cached.answered), failed=len(problems))
    progress().end_stage("analyse", summary)
    left = len(cached.misses) + len(cached.answered) - len(answers) - len(problems)
    if left:
        progress().tell(t("run.interrupted", left=left))
    return Asked(answers, calls, problems, budget_exhausted=bool(left_out))


def set_limits(settings: Settings, provider: Provider, *, spent: Sequence[Call]) -> Limits:
    """Return what all batches share; `spent` are calls that count against the run's budget already."""
    fanout, model = settings.fanout, provider.describe().model

    def price(tokens_in: int, tokens_out: int) -> float:
        return cost_of(settings.prices, model, tokens_in=tokens_in, tokens_out=tokens_out)

    caps = Caps(fanout.max_calls, fanout.max_tokens, fanout.max_cost_usd).after(spent)
    return Limits(
        concurrency=fanout.concurrency,
        semaphore=asyncio.Semaphore(fanout.concurrency),
        circuit=Circuit(),
        retry=RetryPolicy(max_retries=pick_section(settings).max_retries),
        budget=Budget(caps, price=price),
        rates=Rates.per_minute(requests=fanout.requests_per_minute, tokens=fanout.tokens_per_minute),
    )
