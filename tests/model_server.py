"""A scripted model server on loopback that speaks Ollama's and OpenAI's protocols, for tests.

    with ModelServer() as server:
        server.script(Fault(status=429, headers={"Retry-After": "1"}))
        …  # point something at server.url (Ollama) or server.openai_url; server.chats holds what was asked

It counts tokens as bytes / 4, and cuts a prompt to `num_ctx` unseen, as a real one does. It can also be
started on its own: `python -m tests.model_server --port 11434 --delay 0.2`.
"""

import argparse
import asyncio
import json
import re
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any, Self
from weakref import WeakSet

Payload = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one chat call instead of a good answer; fields that are not set change nothing."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    error: str = "scripted fault"
    code: str = ""  # the service's own name for the error
    content: str | None = None  # the model's text
    body: bytes | None = None  # the whole HTTP body
    delay_s: float = 0.0
    drop: bool = False  # close the connection before any answer
    endless: bool = False  # the answer never ends: its pieces in a stream, junk in a whole one
    trickle_s: float = 0.0  # between the pieces of a stream
    drop_after: int | None = None  # in a stream: close it after so many pieces
    done_reason: str = "stop"
    prompt_eval_count: int | None = None


# Writes the answer to a call; returns whether the connection stays open.
Reply = Callable[[Payload, Fault, asyncio.StreamWriter], Awaitable[bool]]


def answer_well(payload: Payload) -> str:
    """Return a valid answer: it cites the first line of the excerpt that looks like a failure."""
    user = payload["messages"][-1]["content"]
    lines = [(int(number), text) for number, text in re.findall(r"(?m)^(\d+)\| (.*)$", user)]
    telling = [line for line in lines if re.search(r"(?i)error|fail|exception|panic|denied", line[1])]
    number, text = (telling or lines or [(1, "nothing")])[0]
    answer = {
        "evidence": [number] if lines else [],
        "root_cause": f"The log says: {text}",
        "title": text[:80].strip() or "An empty line",
        "category": "crash",
        "severity": "error",
        "explanation": "A scripted server wrote this.",
        "suggestion": "Look at the line that is cited.",
        "confidence": 0.7,
    }
    return json.dumps(answer)


class ModelServer:
    """The server; a context manager. Attributes may be changed while it runs."""

    def __init__(
        self,
        *,
        models: tuple[str, ...] = ("scripted:latest",),
        delay_s: float = 0.0,
        piece_delay_s: float = 0.0,
        context_length: int = 32_768,
        answer: Callable[[Payload], str] = answer_well,
        port: int = 0,
    ) -> None:
        self.models = models
        self.delay_s = delay_s
        self.piece_delay_s = piece_delay_s  # between the pieces of a stream
        self.context_length = context_length
        self.model_facts: Payload = {}  # what /v1/models says of each model beside its id
        self.answer = answer
        self.chats: list[Payload] = []  # bodies of all chat calls, in order of arrival
        self.paths: list[str] = []  # "METHOD /path" of all requests
        self.heads: list[str] = []  # request line and headers of all requests
        self.tokens = 0  # billed so far, in and out
        self.in_flight = 0
        self.most_in_flight = 0
        self.port = port
        self._faults: deque[Fault] = deque()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="model-server", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def openai_url(self) -> str:
        return f"{self.url}/v1"

    def script(self, *faults: Fault, times: int = 1) -> None:
        """Let the next chat calls meet `faults`, one each, `times` over."""
        self._faults.extend(faults * times)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(120):
            raise RuntimeError("the scripted model server did not start")
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(120)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()
        self._transports: WeakSet[asyncio.WriteTransport] = WeakSet()
        server = await asyncio.start_server(self._connect, "127.0.0.1", self.port, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        # One that is closed but has more to send than the client takes would outlive the loop.
        for transport in list(self._transports):
            transport.abort()
        await asyncio.sleep(0)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._connections.add(task)
        self._transports.add(writer.transport)
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left, or the server stops
        finally:
            self._connections.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; return whether the connection stays open."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, path, _ = head.split(" ", 2)
        length = re.search(r"(?im)^content-length: *(\d+)", head)
        body = await reader.readexactly(int(length[1])) if length else b""
        self.paths.append(f"{method} {path}")
        self.heads.append(head)
        return await self.serve_path(path, body, writer)

    async def serve_path(self, path: str, body: bytes, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return whether the connection stays open. Other protocols override it."""
        if path == "/api/chat":
            return await self.chat(json.loads(body), writer, self._reply)
        if path == "/v1/chat/completions":
            return await self.chat(json.loads(body), writer, self._reply_as_openai)
        status, value = self._describe(path, body)
        write(writer, status, json.dumps(value).encode())
        await writer.drain()
        return True

    def _describe(self, path: str, body: bytes) -> tuple[int, Payload]:
        if path == "/api/version":
            return 200, {"version": "0.0.0-scripted"}
        if path == "/api/tags":
            entries = [
                {"name": name, "model": name, "size": 1, "details": {"family": "llama"}}
                for name in self.models
            ]
            return 200, {"models": entries}
        if path == "/api/show" and json.loads(body).get("model") in self.models:
            facts = {"general.architecture": "llama", "llama.context_length": self.context_length}
            return 200, {"model_info": facts, "capabilities": ["completion"]}
        if path == "/v1/models":
            entries = [{"id": name, "object": "model", **self.model_facts} for name in self.models]
            return 200, {"object": "list", "data": entries}
        if path == "/props":
            return 200, {"default_generation_settings": {"n_ctx": self.context_length}}
        return 404, {"error": f"not found: {path}"}

    async def chat(self, payload: Payload, writer: asyncio.StreamWriter, reply: Reply) -> bool:
        """Take a call, let it meet its fault or `reply` to it; return whether the connection stays open."""
        self.chats.append(payload)
        fault = self._faults.popleft() if self._faults else Fault()
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.delay_s + fault.delay_s)
        finally:
            self.in_flight -= 1
        if fault.drop:
            return False
        if fault.endless and not payload.get("stream"):
            write_stream_head(writer, "application/json")
            while True:
                await write_chunk(writer, b'{"message": "' + b"x" * 65_536)
        if fault.body is not None:
            write(writer, fault.status, fault.body, fault.headers)
        elif fault.status != 200:
            self.write_error(fault, writer)
        elif payload["model"] not in self.models:
            self.write_error(Fault(404, error=f"model '{payload['model']}' not found"), writer)
        else:
            return await reply(payload, fault, writer)
        await writer.drain()
        return True

    def write_error(self, fault: Fault, writer: asyncio.StreamWriter) -> None:
        """Write an error as Ollama does, or as OpenAI does if it has a code."""
        error = {"message": fault.error, "code": fault.code} if fault.code else fault.error
        write(writer, fault.status, json.dumps({"error": error}).encode(), fault.headers)

    def compose(self, payload: Payload, fault: Fault, num_ctx: int | None = None) -> tuple[str, int, int]:
        """Return the answer's text, and the tokens read and written."""
        content = self.answer(payload) if fault.content is None else fault.content
        prompt = "".join(message["content"] for message in payload["messages"])
        read = len(prompt.encode()) // 4 if num_ctx is None else min(len(prompt.encode()) // 4, num_ctx)
        count = read if fault.prompt_eval_count is None else fault.prompt_eval_count
        written = len(content.encode()) // 4
        self.tokens += count + written
        return content, count, written

    async def _reply_as_openai(self, payload: Payload, fault: Fault, writer: asyncio.StreamWriter) -> bool:
        content, read, written = self.compose(payload, fault)
        usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
        base = {"id": "chatcmpl-1", "created": 1_790_000_000, "model": payload["model"]}
        if not payload.get("stream"):
            message = {"role": "assistant", "content": content}
            choice = {"index": 0, "message": message, "finish_reason": fault.done_reason}
            value = {**base, "object": "chat.completion", "choices": [choice], "usage": usage}
            write(writer, 200, json.dumps(value).encode(), fault.headers)
            await writer.drain()
            return True
        write_stream_head(writer, "text/event-stream")
        base["object"] = "chat.completion.chunk"
        # What servers send beside the text: comments to keep the line open, a first event without text.
        await write_chunk(writer, b": ping\n\n")
        pieces = cut_pieces(content, endless=fault.endless)
        first: Payload = {"role": "assistant", "content": None}
        for number, delta in enumerate(chain([first], ({"content": piece} for piece in pieces))):
            await asyncio.sleep(fault.trickle_s)
            if fault.drop_after is not None and number > fault.drop_after:
                return await break_off(writer, fault, b"data: %s\n\n")
            choice = {"index": 0, "delta": delta, "finish_reason": None}
            event = json.dumps({**base, "choices": [choice]}).encode()
            await write_chunk(writer, b"data: %s\n\n" % event)
            await asyncio.sleep(self.piece_delay_s)
        end = {"index": 0, "delta": {}, "finish_reason": fault.done_reason}
        tails: list[Payload] = [{"choices": [end]}]
        if (payload.get("stream_options") or {}).get("include_usage"):
            tails.append({"choices": [], "usage": usage})
        for tail in tails:
            await write_chunk(writer, b"data: %s\n\n" % json.dumps({**base, **tail}).encode())
        await write_chunk(writer, b"data: [DONE]\n\n")
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _reply(self, payload: Payload, fault: Fault, writer: asyncio.StreamWriter) -> bool:
        content, read, written = self.compose(payload, fault, payload["options"].get("num_ctx", 4096))
        end = {
            "model": payload["model"],
            "created_at": "2026-01-01T00:00:00Z",
            "done": True,
            "done_reason": fault.done_reason,
            "prompt_eval_count": read,
            "eval_count": written,
        }
        if not payload.get("stream", True):
            message = {"role": "assistant", "content": content}
            write(writer, 200, json.dumps({**end, "message": message}).encode(), fault.headers)
            await writer.drain()
            return True
        write_stream_head(writer, "application/x-ndjson")
        for number, piece in enumerate(cut_pieces(content, endless=fault.endless)):
            await asyncio.sleep(fault.trickle_s)
            if number == fault.drop_after:
                return await break_off(writer, fault, b"%s\n")
            message = {"role": "assistant", "content": piece}
            event = {"model": payload["model"], "message": message, "done": False}
            await write_chunk(writer, json.dumps(event).encode() + b"\n")
            await asyncio.sleep(self.piece_delay_s)
        last = {**end, "message": {"role": "assistant", "content": ""}}
        await write_chunk(writer, json.dumps(last).encode() + b"\n")
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


def cut_pieces(content: str, *, endless: bool = False) -> Iterable[str]:
    """Return the pieces in which a stream brings `content`; if it is `endless`, large ones without end."""
    if endless:
        return repeat(content * 100)
    return [content[start : start + 16] for start in range(0, len(content), 16)]


async def break_off(writer: asyncio.StreamWriter, fault: Fault, frame: bytes) -> bool:
    """End a stream before its time: with an error in it if the fault has a code, else without a word."""
    if fault.code:
        error = {"error": {"message": fault.error, "code": fault.code}}
        await write_chunk(writer, frame % json.dumps(error).encode())
        writer.write(b"0\r\n\r\n")
    await writer.drain()
    return bool(fault.code)


def write_stream_head(writer: asyncio.StreamWriter, kind: str) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head.encode())


def write(
    writer: asyncio.StreamWriter, status: int, body: bytes, headers: dict[str, str] | None = None
) -> None:
    lines = [f"HTTP/1.1 {status} Scripted", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


async def write_chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"%x\r\n%s\r\n" % (len(data), data))
    await writer.drain()


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds that each answer takes")
    options = parser.parse_args()
    with ModelServer(port=options.port, delay_s=options.delay) as server:
        print(server.url, flush=True)
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    main()
