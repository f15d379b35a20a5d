"""The way of numbers from flow runs in processes of their own to the process that serves them.

Prefect's runner starts a process for each flow run. These find the serving process' socket in their
environment and send it a line of JSON for whatever they count.
"""

import json
import os
import socket
import socketserver
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from connectors.metrics_store import Change, MetricStore

# Where children of a serving process find it.
SOCKET_VARIABLE = "METRICS_SOCKET_OF_BIFROST_FLOW"
TIMEOUT_S = 1.0


class Relay:
    """The way from a child to the serving process. What can't be told is lost, and nobody waits for it."""

    def __init__(self, path: str) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        with suppress(OSError):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.settimeout(TIMEOUT_S)
            self._socket.connect(path)

    def send(self, changes: Sequence[Change]) -> None:
        """Hand `changes` over."""
        with self._lock:
            if self._socket is None:
                return
            try:
                self._socket.sendall(json.dumps(changes).encode() + b"\n")
            except OSError:
                # Half a line may be sent: nothing after it could be understood.
                self._socket.close()
                self._socket = None


class _Child(socketserver.StreamRequestHandler):
    """The line to one child, open as long as it lives."""

    def handle(self) -> None:
        assert isinstance(self.server, _ChildServer)
        store = self.server.store
        going_on: Counter[str] = Counter()
        try:
            for line in self.rfile:
                changes = [Change(*change) for change in json.loads(line)]
                for change in changes:
                    if change.name == "in_progress":
                        going_on[change.labels["project"]] += int(change.value)
                store.apply(changes)
        except (OSError, ValueError, KeyError, TypeError):
            return  # a child that was killed within a line, or no child of ours
        finally:
            # What a killed child had begun goes on no more.
            store.apply(
                Change("count", "in_progress", -count, {"project": project})
                for project, count in going_on.items()
            )


class _ChildServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, path: str, store: MetricStore) -> None:
        self.store = store
        super().__init__(path, _Child)


def listen(store: MetricStore) -> Callable[[], None]:
    """Keep what children count in `store`, from now until what is returned is called."""
    folder = tempfile.TemporaryDirectory(prefix="bifrost-metrics-")
    path = str(Path(folder.name) / "socket")
    server = _ChildServer(path, store)
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    before = os.environ.get(SOCKET_VARIABLE)
    os.environ[SOCKET_VARIABLE] = path

    def close() -> None:
        if before is None:
            os.environ.pop(SOCKET_VARIABLE, None)
        else:
            os.environ[SOCKET_VARIABLE] = before
        server.shutdown()
        server.server_close()
        thread.join()
        folder.cleanup()

    return close
