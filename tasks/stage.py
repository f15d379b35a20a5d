"""The options that every stage's task has in common."""

from collections.abc import Callable
from typing import Any

from prefect import Task, task
from prefect.cache_policies import NO_CACHE


def stage(name: str, **options: Any) -> Callable[[Callable[..., Any]], Task[..., Any]]:
    """Return the decorator that makes a function the task of stage `name`.

    No Prefect cache: its default policy hashes all inputs (a second for 50 MB) and runs uncached in silence
    when that fails; what may be reused is decided by our own content keys. No persisted results: stages hand
    over whole tables, which the warehouse stores.
    """
    return task(name=name, cache_policy=NO_CACHE, persist_result=False, **options)
