"""Blocking calls from async code, each in a daemon thread of its own.

asyncio's own pool has too few threads for a fan-out, and keeps the process from ending while one waits for a
server; a cancelled call must not hold up Ctrl-C. The fan-out's limit bounds how many there are.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


async def call_in_thread(function: Callable[..., T], /, **arguments: Any) -> T:
    """Return what `function` returns. When this is cancelled, the call goes on unseen until it ends."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # ty: ignore[invalid-argument-type] - a result without an error is a T

    def work() -> None:
        result, error = None, None
        try:
            result = function(**arguments)
        except Exception as caught:  # noqa: BLE001 - handed to whoever waits
            error = caught
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=work, name="model call", daemon=True).start()
    return await future


async def iterate_in_thread(items: Iterable[T], *, close: Callable[[], object]) -> AsyncIterator[T]:
    """Yield `items`, which block while they wait for the next one; `close` is called in the end, once."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
    left = threading.Event()

    def post(kind: str, value: object = None) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            loop.call_soon_threadsafe(queue.put_nowait, (kind, value))

    def pump() -> None:
        try:
            for item in items:
                if left.is_set():
                    break
                post("item", item)
            post("end")
        except Exception as error:  # noqa: BLE001 - handed to whoever listens
            post("error", error)
        finally:
            close()

    threading.Thread(target=pump, name="model stream", daemon=True).start()
    try:
        while True:
            kind, value = await queue.get()
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value
    finally:
        left.set()
