"""MLflow in a process of its own, so that its import does not hold up ours.

Importing MLflow takes the interpreter one to three seconds, and a thread would take them from the run beside
it. `preload` starts a process that imports it while ours imports Prefect. The two speak pickle over pipes
that nobody else holds. The process ends with its pipe, and so with ours, however that ends.
"""

import pickle
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any, Protocol

from bifrost_flow.errors import BifrostError
from bifrost_flow.language import current_language, set_language
from bifrost_flow.prompts import Prompt, PromptReference
from bifrost_flow.tracked import TrackedRun
from connectors import tracking
from connectors.deadline import Background
from connectors.tracking import TrackingResult
from connectors.tracking_store import import_quietly

_preloaded: subprocess.Popen[bytes] | None = None


class RunTracker(Protocol):
    """What a run asks of a tracker."""

    def start(self) -> None: ...

    def log(self, run: TrackedRun) -> TrackingResult: ...

    def find_prompt(self, reference: PromptReference) -> Prompt | None: ...

    def may_hold_prompts(self) -> bool: ...


def preload() -> None:
    """Start the process that imports MLflow; the next tracker that is opened works there."""
    global _preloaded
    if _preloaded is None:
        _preloaded = subprocess.Popen(
            # -P: a folder of the same name where we are called must not be taken for our package.
            [sys.executable, "-P", "-m", "connectors.tracking_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Ctrl-C in the terminal is for us: what was found until then is still to be tracked.
            start_new_session=True,
        )


def open_tracker(
    warehouse: str, *, tracking_uri: str | None, experiment: str, enabled: bool, timeout_s: float
) -> RunTracker:
    """Return a tracker as `tracking.open_tracker` does, in the preloaded process if there is one."""
    global _preloaded
    process, _preloaded = _preloaded, None
    options = {
        "tracking_uri": tracking_uri,
        "experiment": experiment,
        "enabled": enabled,
        "timeout_s": timeout_s,
    }
    tracker = tracking.open_tracker(warehouse, **options)
    if process is None or tracker.disabled is not None:
        stop(process)
        return tracker
    return RemoteTracker(tracker, process, (warehouse, options))


class RemoteTracker:
    """A tracker that works in another process; if that process is lost, it works in ours."""

    def __init__(self, tracker: tracking.Tracker, process: subprocess.Popen[bytes], arguments: Any) -> None:
        self._tracker = tracker
        self._process = process
        self._arguments = arguments
        self._exchange: Background[Any] | None = None
        self._speaking = threading.Lock()  # one question at a time, and its answer

    def start(self) -> None:
        """Let the process set up the store, and return at once."""
        self._exchange = Background(self._tell, (current_language(), *self._arguments), name="tracking")

    def log(self, run: TrackedRun) -> TrackingResult:
        """Write one run, as `tracking.Tracker.log` does; the process ends with it."""
        timeout_s = self._tracker.timeout_s
        try:
            if self._exchange:
                self._exchange.wait(timeout_s)
            # The process keeps to the time-out itself; some seconds more are for its start.
            return Background(self._ask, ("log", run), name="tracking").wait(timeout_s + 5)
        except TimeoutError:
            return self._tracker.describe_timeout()
        except (OSError, EOFError, pickle.PickleError):
            return self._tracker.log(run)
        finally:
            stop(self._process)

    def find_prompt(self, reference: PromptReference) -> Prompt | None:
        """Return what is in the registry, as `tracking.Tracker.find_prompt` does.

        Raises:
            TimeoutError: the process takes too long; it goes on, and the run may still be written there.
        """
        timeout_s = self._tracker.timeout_s
        try:
            if self._exchange:
                self._exchange.wait(timeout_s)
            answer = Background(self._ask, ("find_prompt", reference), name="tracking").wait(timeout_s)
        except TimeoutError:
            raise  # it is an OSError too, and no sign of a lost process
        except (OSError, EOFError, pickle.PickleError):
            return Background(self._tracker.find_prompt, reference, name="tracking").wait(timeout_s)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def may_hold_prompts(self) -> bool:
        """Tell what `tracking.Tracker.may_hold_prompts` does."""
        return self._tracker.may_hold_prompts()

    def _tell(self, message: object) -> None:
        assert self._process.stdin is not None
        pickle.dump(message, self._process.stdin)
        self._process.stdin.flush()

    def _ask(self, message: object) -> Any:
        assert self._process.stdout is not None
        with self._speaking:
            self._tell(message)
            return pickle.load(self._process.stdout)


def stop(process: subprocess.Popen[bytes] | None) -> None:
    """End the process, if there is one."""
    if process is not None:
        process.kill()
        for pipe in (process.stdin, process.stdout):
            # What is still in the buffer has nobody to go to.
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()
        process.wait()


def serve() -> None:
    """Be the process: import, set up, answer, and end when nobody is there any more."""
    answers = sys.stdout.buffer
    sys.stdout = sys.stderr  # what a library prints must not get into the answers
    import_quietly()
    try:
        language, warehouse, options = pickle.load(sys.stdin.buffer)
        set_language(language)
        tracker = tracking.open_tracker(warehouse, **options)
        tracker.start()
        while True:
            method, argument = pickle.load(sys.stdin.buffer)
            try:
                answer = getattr(tracker, method)(argument)
            except BifrostError as error:
                answer = type(error)(str(error))
            pickle.dump(answer, answers)
            answers.flush()
    except EOFError:
        return


if __name__ == "__main__":
    serve()
