"""What a stage is: one of Prefect's tasks within a flow run, and the plain function elsewhere.

So a command that needs no server runs the same stages without importing Prefect.
"""

import sys
from collections.abc import Callable
from functools import cached_property, update_wrapper
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

if TYPE_CHECKING:
    from prefect import Task

P = ParamSpec("P")
R = TypeVar("R")


class Stage(Generic[P, R]):
    """A function that is a task of Prefect's when a flow run calls it."""

    def __init__(self, function: Callable[P, R], name: str) -> None:
        self.function = function
        self.name = name
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if find_flow_run_id() is None:
            return self.function(*args, **kwargs)
        from prefect.utilities.annotations import quote

        # Stages hand over whole tables, never futures: Prefect need not look for any inside of them.
        return self.task(*map(quote, args), **{name: quote(value) for name, value in kwargs.items()})

    @cached_property
    def task(self) -> "Task[..., Any]":
        """The task. No Prefect cache: its default policy hashes all inputs (a second for 50 MB) and runs
        uncached in silence when that fails; what may be reused is decided by our own content keys. No
        persisted results: stages hand over whole tables, which the warehouse stores.
        """
        from prefect import task
        from prefect.cache_policies import NO_CACHE

        return task(name=self.name, cache_policy=NO_CACHE, persist_result=False)(self.function)


def stage(name: str) -> Callable[[Callable[P, R]], Stage[P, R]]:
    """Return the decorator that makes a function the stage `name`."""

    def decorate(function: Callable[P, R]) -> Stage[P, R]:
        return Stage(function, name)

    return decorate


def find_flow_run_id() -> str | None:
    """Return the id of the flow run that we are called from, None outside of any."""
    context = sys.modules.get("prefect.context")
    run = context.FlowRunContext.get() if context else None
    return str(run.flow_run.id) if run and run.flow_run else None
