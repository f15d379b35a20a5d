"""Ask about each distinct failure that nobody has explained yet."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bifrost_flow.evidence.redact import VERSION as REDACTION_VERSION
from bifrost_flow.progress import progress, stop_requested
from bifrost_flow.prompts import Prompt
from bifrost_flow.records import CachedAnswer, Call, Group
from connectors.journal import Journal
from connectors.metrics import metrics
from connectors.models.fanout import Circuit, FanOut, OnText, RetryPolicy, answer_questions
from connectors.models.limits import Budget, Rates
from connectors.models.protocol import Provider
from connectors.models.questions import GroupAnswer, Question, plan, read_first
from connectors.warehouse import Warehouse
from tasks.stage import stage


@dataclass(frozen=True, slots=True)
class CachePlan:
    """What is answered already, and what must be asked, largest group first."""

    answered: tuple[GroupAnswer, ...]
    misses: tuple[Question, ...]


@dataclass(slots=True)
class Limits:
    """What all batches of a run share: limits, what is known of the provider, and how many calls are done."""

    concurrency: int
    semaphore: asyncio.Semaphore
    circuit: Circuit
    retry: RetryPolicy
    budget: Budget
    rates: Rates
    done: int = 0


@dataclass(frozen=True, slots=True)
class Listener:
    """Who hears of each answer the moment it is there, and of its text till then where it is streamed."""

    hear_answer: Callable[[GroupAnswer], None]
    on_text: OnText | None = None


@stage("look-up")
def look_up(
    groups: Sequence[Group],
    provider: Provider,
    prompt: Prompt,
    *,
    language: str,
    warehouse: Warehouse | None,
) -> CachePlan:
    """Return which of `groups` the cache answers, in one join; without a warehouse, none."""
    questions = plan(groups, provider, prompt, language, redaction_version=REDACTION_VERSION)
    if warehouse is None or not questions:
        return CachePlan((), tuple(questions))
    wanted = [(question.cache_key, question.fingerprint) for question in questions]
    cached = warehouse.find_candidates(questions[0].identity, wanted)
    answered, misses = [], []
    for question, keys in zip(questions, wanted, strict=True):
        found = read_first(question, cached.get(keys, ()))
        if found is None:
            misses.append(question)
        else:
            answered.append(found)
    return CachePlan(tuple(answered), tuple(misses))


def count_batches(questions: int, *, concurrency: int) -> int:
    """Return how many batches shall share the asking: a task costs 15–20 ms, so each does some rounds of
    calls."""
    return min(questions, max(1, min(questions // max(1, concurrency * 8), 16)))


@stage("analyse")
async def analyse(
    waiting: Iterator[Question],
    provider: Provider,
    *,
    workers: int,
    limits: Limits,
    journal: Journal,
    project: str,
    listener: Listener | None = None,
) -> FanOut:
    """Ask questions until there are none left `waiting`, which other batches take from as well.

    So the largest groups are first over all batches, and none of them waits for another. Each answer is in
    the journal the moment it arrives, and a stop keeps those.
    """

    def keep(cached: CachedAnswer | None, call: Call) -> None:
        journal.append(cached, call)
        metrics().record_call(call, project=project, response=cached.response if cached else None)
        if cached is not None:
            limits.done += 1
            progress().advance("analyse", limits.done)

    return await answer_questions(
        waiting,
        provider,
        concurrency=workers,
        semaphore=limits.semaphore,
        circuit=limits.circuit,
        retry=limits.retry,
        budget=limits.budget,
        rates=limits.rates,
        on_call=keep,
        on_text=listener.on_text if listener else None,
        on_answer=listener.hear_answer if listener else None,
        stop=stop_requested,
    )
