"""Ask about each distinct failure that nobody has explained yet."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bifrost_flow.evidence.redact import VERSION as REDACTION_VERSION
from bifrost_flow.progress import progress, stop_requested
from bifrost_flow.prompts import Prompt
from bifrost_flow.records import CachedAnswer, Call, Group
from connectors.journal import Journal
from connectors.models.fanout import Circuit, FanOut, RetryPolicy, answer_questions
from connectors.models.protocol import Provider
from connectors.models.questions import GroupAnswer, Question, plan, read_cached, read_first
from connectors.warehouse import Warehouse
from tasks.stage import stage

STOP_POLL_S = 0.1


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
    done: int = 0


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
        found = read_first(question, cached.pop(keys, ()))
        if found is None:
            misses.append(question)
        else:
            answered.append(found)
    return CachePlan(tuple(answered), tuple(misses))


def split_batches(questions: Sequence[Question], *, concurrency: int) -> list[Sequence[Question]]:
    """Return `questions` in batches, one a task: a task costs 15–20 ms, so each holds some rounds of calls.

    Questions are dealt out in turn, so that the largest groups are first in every batch.
    """
    count = max(1, min(len(questions) // max(1, concurrency * 8), 16))
    return [questions[first::count] for first in range(count)] if questions else []


@stage("analyse")
async def analyse(
    questions: Sequence[Question], provider: Provider, *, limits: Limits, journal: Journal
) -> FanOut:
    """Ask `questions`; each answer is in the journal the moment it arrives, and a stop keeps those."""
    answers: list[GroupAnswer] = []
    calls: list[Call] = []
    by_key = {question.cache_key: question for question in questions}

    def keep(cached: CachedAnswer | None, call: Call) -> None:
        journal.append(cached, call)
        calls.append(call)
        if cached is not None:
            answers.append(replace(read_cached(by_key[cached.cache_key], cached), cached=False))
            limits.done += 1
            progress().advance("analyse", limits.done)

    asking = asyncio.create_task(
        answer_questions(
            questions,
            provider,
            concurrency=limits.concurrency,
            semaphore=limits.semaphore,
            circuit=limits.circuit,
            retry=limits.retry,
            on_call=keep,
        )
    )
    while not asking.done() and not stop_requested():
        await asyncio.wait([asking], timeout=STOP_POLL_S)
    if asking.done():
        return asking.result()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    # Two questions may share a key (the same text in two groups); each answer that arrived is kept once.
    return FanOut(tuple(answers), (), tuple(calls))
