"""Calls that must not hold anybody up: each has a daemon thread, left behind when it takes too long."""

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """A call that runs beside other work; unlike a pool's thread it does not keep the process from ending."""

    def __init__(self, function: Callable[..., T], *arguments: Any, name: str = "background") -> None:
        self._outcome: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(function, arguments), name=name, daemon=True)
        self._thread.start()

    def _run(self, function: Callable[..., T], arguments: tuple[Any, ...]) -> None:
        try:
            self._outcome.append(function(*arguments))
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            self._error = error

    def wait(self, timeout_s: float) -> T:
        """Return what the call returned, or raise what it raised.

        Raises:
            TimeoutError: it still runs after `timeout_s` seconds.
        """
        self._thread.join(max(timeout_s, 0))
        if self._thread.is_alive():
            raise TimeoutError(f"no answer within {timeout_s:g} s")
        if self._error is not None:
            raise self._error
        return self._outcome[0]
