"""What goes wrong outside of us, met by whole runs: what the user is told, the exit code, and that nothing
that was paid for or found is lost.

BIFROST_FAULTS_TABLE=docs/faults.md writes what was seen as a table; `make torture` does.
"""

import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.console import LOGS, Console, Done
from tests.model_server import Fault, ModelServer, answer_well

FAILED = tuple(
    LOGS / name
    for name in (
        "travis/alacritty-rust-564527447.log",
        "jenkins/node-osx1010-19307.log",
        "zuul/console-pep8.fail.log",
    )
)
ASK = ("--provider", "ollama", "--model", "scripted", "--concurrency", "1")
FAST = {
    "BIFROST_OLLAMA_TIMEOUT": "1",
    "BIFROST_OLLAMA_MAX_RETRIES": "1",
    "BIFROST_MLFLOW_ENABLED": "false",
}
# The whole list takes minutes: the test suite meets a part of it, `make torture` all.
LONG = os.environ.get("BIFROST_TORTURE") == "1"
ANSWER = answer_well({"messages": [{"content": "1| error: x"}]})


@dataclass(frozen=True, slots=True)
class Met:
    """A fault, and what a run makes of it."""

    name: str
    faults: tuple[Fault, ...]  # what the second of three questions meets, attempt by attempt
    passes: bool  # a retry or a repair gets over it
    says: str = ""  # in the problem that the user is told


MODEL_FAULTS = (
    Met("429 with Retry-After", (Fault(429, {"Retry-After": "1"}),), True),
    Met("429 without Retry-After", (Fault(429),), True),
    Met("429 for good", (Fault(429, {"Retry-After": "0"}),) * 2, False, "429"),
    Met("500 once", (Fault(500),), True),
    Met("502 for good", (Fault(502),) * 2, False, "502"),
    Met("connection reset once", (Fault(drop=True),), True),
    Met("connection reset for good", (Fault(drop=True),) * 2, False, "closed the connection"),
    Met("no answer in time", (Fault(delay_s=3.0),) * 2, False, "ollama.timeout"),
    Met("an answer that never ends", (Fault(endless=True),), False, "which no answer has"),
    Met("truncated JSON once", (Fault(content=ANSWER[:60]),), True),
    Met("invalid JSON for good", (Fault(content="I think that it broke."),) * 2, False, "JSON"),
    Met(
        "HTML instead of an answer",
        (Fault(body=b"<html>Bad gateway</html>"),) * 2,
        False,
        "no reply of its protocol",
    ),
    Met(
        "an answer of 10 MB", (Fault(content='{"title": "' + "x" * 10_000_000),), False, "which no answer has"
    ),
    Met(
        "half a surrogate in the answer",
        (Fault(body=rb'{"message": {"content": "{\"title\": \"\ud800"}, "done": true}'),) * 2,
        False,
        "no JSON object",
    ),
    Met(
        "a redirect to elsewhere",
        (Fault(302, {"Location": "http://127.0.0.1:9/"}, body=b""),),
        False,
        "which is not followed",
    ),
    Met("refused (403)", (Fault(403, error="no access"),), False, "403"),
)


def note(seam: str, name: str, code: int, said: str) -> None:
    """Add a row to the table of faults, if one is being made."""
    table = os.environ.get("BIFROST_FAULTS_TABLE")
    if table:
        shown = " ".join(said.split()).replace("|", "\\|") or "nothing: a retry gets over it"
        with Path(table).open("a", encoding="utf-8") as out:
            out.write(f"| {seam} | {name} | {code} | {shown} |\n")


def pick_problem(done: Done) -> str:
    return "; ".join(done.json["problems"])


@pytest.mark.parametrize(
    "met", MODEL_FAULTS if LONG else MODEL_FAULTS[::4], ids=lambda met: met.name.replace(" ", "-")
)
def test_model(console: Console, met: Met) -> None:
    """Whatever one call meets, the others are answered and kept, and the next run asks for that one alone."""
    words = ("run", *FAILED, *ASK, "--json", "--quiet")
    with ModelServer() as server:
        environment = {**FAST, "BIFROST_OLLAMA_URL": server.url}
        server.script(Fault(), *met.faults)
        done = console.call(*words, **environment)
        problem = pick_problem(done)
        note("model", met.name, done.code, problem)
        assert "Traceback" not in done.err
        if met.passes:
            assert (done.code, done.json["status"], done.json["findings"]) == (0, "completed", 3), problem
        else:
            assert (done.code, done.json["status"], done.json["findings"]) == (3, "partial", 2), problem
            assert met.says in problem
        server.script()
        server.chats.clear()
        again = console.call(*words, **environment)
        assert (again.code, again.json["findings"]) == (0, 3)
        assert again.json["llm_calls"] == len(server.chats) == (0 if met.passes else 1)


def test_a_certificate_that_nobody_vouches_for(console: Console, tmp_path: Path) -> None:
    """A server that shows its own certificate gets no log and no key, and the user is told why."""
    seen: list[str] = []
    with serve_https(tmp_path, seen) as url:

        def ask(**extra: str) -> Done:
            return console.call(
                *("run", FAILED[2], "--provider", "openai", "--model", "scripted", "--json", "--quiet"),
                **FAST,
                BIFROST_OPENAI_BASE_URL=url,
                BIFROST_OPENAI_API_KEY="sk-secret",
                BIFROST_OPENAI_MAX_RETRIES="0",
                **extra,
            )

        done = ask()
        note("model", "a certificate that nobody vouches for", done.code, pick_problem(done))
        assert done.code == 3
        assert "certificate" in pick_problem(done) and "SSL_CERT_FILE" in pick_problem(done)
        assert seen == []
        assert "sk-secret" not in done.out + done.err
        ask(SSL_CERT_FILE=str(tmp_path / "cert.pem"))
        assert seen == ["/v1/chat/completions"], "the way out that the message names is none"


@contextmanager
def serve_https(folder: Path, seen: list[str]) -> Iterator[str]:
    """Serve with a certificate of our own making; `seen` gets each request's path."""
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=127.0.0.1",
            ),
            *(
                "-addext",
                "subjectAltName=IP:127.0.0.1",
                "-keyout",
                folder / "key.pem",
                "-out",
                folder / "cert.pem",
            ),
        ],
        check=True,
        capture_output=True,
    )

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(self.path)
            self.send_error(403)

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # ty: ignore[invalid-assignment] - the client hangs up, as it should
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
