"""The provider `ollama`: a model on an Ollama server, asked through `/api/chat` with the answer's schema.

Protocol: https://github.com/ollama/ollama/blob/main/docs/api.md
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx

from bifrost_flow.errors import ModelRefused, ModelUnavailable
from bifrost_flow.language import t
from connectors.models.http import (
    LoopClients,
    check_status,
    encodable,
    hide_password,
    iterate_lines,
    post_json,
    read_error,
    translate_errors,
)
from connectors.models.protocol import (
    ModelDescription,
    ModelReply,
    ModelRequest,
    OnCount,
    ignore_count,
)
from connectors.models.window import TEMPLATE_TOKENS, cut_error, estimate_prompt, reads_too_little

DEFAULT_URL = "http://127.0.0.1:11434"
DEFAULT_CONTEXT_TOKENS = 8192
SMALLEST_NUM_CTX = 4096


class OllamaProvider:
    """A model on an Ollama server.

    Args:
        timeout_s: for a whole call, loading the model included.
        context_tokens: the most that the prompt and the answer may take together.
        thinks: whether the model can think aloud first, which is then switched off.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        timeout_s: float = 120.0,
        context_tokens: int = DEFAULT_CONTEXT_TOKENS,
        temperature: float = 0.0,
        seed: int = 7,
        thinks: bool = False,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._model = model
        self._timeout_s = timeout_s
        self._context_tokens = context_tokens
        self._options: dict[str, Any] = {"temperature": temperature, "seed": seed}
        self._thinking: dict[str, Any] = {"think": False} if thinks else {}
        self._shown_url = hide_password(self._base_url)
        self._server = f"Ollama ({self._shown_url})"
        self._clients = LoopClients(self._base_url, timeout_s)
        self._num_ctx = 0

    def describe(self) -> ModelDescription:
        parameters = json.dumps({**self._options, **self._thinking}, sort_keys=True, separators=(",", ":"))
        return ModelDescription("ollama", self._model, self._base_url, parameters, self._context_tokens)

    async def complete(self, request: ModelRequest) -> ModelReply:
        num_ctx = self._fit_num_ctx(request)
        while (reply := await self._chat(request, num_ctx)) is None:
            if num_ctx >= self._context_tokens:
                raise cut_error(num_ctx, server=self._server)
            # The estimate was too low for this tokenizer, and the window has room for more.
            num_ctx = min(2 * num_ctx, self._context_tokens)
            self._num_ctx = max(self._num_ctx, num_ctx)
        return _read_reply(reply, self._server)

    async def stream(self, request: ModelRequest, *, on_count: OnCount = ignore_count) -> AsyncIterator[str]:
        """Yield the answer's text as it is written. A dropped stream raises, whatever came before."""
        num_ctx = self._fit_num_ctx(request)
        body = self._build_body(request, num_ctx, stream=True)
        last: dict[str, Any] = {}
        async with (
            translate_errors(self._server, None),
            self._clients.open().stream("POST", "/api/chat", json=body) as response,
        ):
            if response.status_code != httpx.codes.OK:
                self._check(response, await response.aread())
            lines = iterate_lines(
                response, server=self._server, timeout_s=self._timeout_s, setting="ollama.timeout"
            )
            async for line in lines:
                last = self._parse(line.encode()) if line.strip() else last
                if text := _get_content(last):
                    yield text
        if not last.get("done"):
            raise ModelUnavailable(t("model.broke_off", server=self._server, detail=""))
        on_count(_get_count(last, "prompt_eval_count"), _get_count(last, "eval_count"))
        if _was_cut(request, last, num_ctx):
            raise cut_error(num_ctx, server=self._server)
        _check_end(last, self._server)

    async def aclose(self) -> None:
        """Close the connections of the running loop; each loop that asked has to."""
        await self._clients.aclose()

    async def _chat(self, request: ModelRequest, num_ctx: int) -> dict[str, Any] | None:
        """Return the server's reply, or None if the prompt did not fit into `num_ctx` tokens."""
        async with translate_errors(self._server, self._timeout_s):
            body = self._build_body(request, num_ctx, stream=False)
            response, content = await post_json(self._clients.open(), "/api/chat", body, server=self._server)
        if response.status_code == httpx.codes.BAD_REQUEST and "context" in read_error(content):
            return None
        self._check(response, content)
        value = self._parse(content)
        return None if _was_cut(request, value, num_ctx) else value

    def _build_body(self, request: ModelRequest, num_ctx: int, *, stream: bool) -> dict[str, Any]:
        return {
            "model": self._model,
            "messages": [
                {"role": "system", "content": encodable(request.system)},
                {"role": "user", "content": encodable(request.user)},
            ],
            "format": request.schema,
            "stream": stream,
            "options": {**self._options, "num_ctx": num_ctx, "num_predict": request.max_output_tokens},
            # Newer servers then refuse a prompt that does not fit; older ones ignore both and cut it unseen.
            "truncate": False,
            "shift": False,
            **self._thinking,
        }

    def _fit_num_ctx(self, request: ModelRequest) -> int:
        """Return a window that holds prompt and answer, in powers of two, and never smaller than the last
        one.

        The server loads the model anew whenever this number changes.

        Raises:
            ModelRefused: the prompt alone is more than the model can hold.
        """
        prompt = estimate_prompt(request, self._context_tokens, server=self._server)
        needed = prompt + request.max_output_tokens + TEMPLATE_TOKENS
        num_ctx = max(SMALLEST_NUM_CTX, 1 << (needed - 1).bit_length(), self._num_ctx)
        self._num_ctx = min(num_ctx, self._context_tokens)
        return self._num_ctx

    def _check(self, response: httpx.Response, body: bytes) -> None:
        if response.status_code == httpx.codes.NOT_FOUND and "model" in read_error(body).lower():
            raise ModelRefused(t("model.ollama_missing_model", url=self._shown_url, model=self._model))
        check_status(self._server, response, body)

    def _parse(self, body: bytes) -> dict[str, Any]:
        try:
            value = json.loads(body)
        except ValueError as error:
            raise ModelUnavailable(t("model.not_json", server=self._server)) from error
        if not isinstance(value, dict):
            raise ModelUnavailable(t("model.not_json", server=self._server))
        if "error" in value:
            # In the middle of a stream, errors come as a line of their own with status 200.
            raise ModelUnavailable(t("model.server_error", server=self._server, detail=read_error(body)))
        return value


def _get_content(value: dict[str, Any]) -> str:
    message = value.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    return content if isinstance(content, str) else ""


def _get_count(value: dict[str, Any], name: str) -> int:
    count = value.get(name)
    return count if isinstance(count, int) and count > 0 else 0


def _was_cut(request: ModelRequest, value: dict[str, Any], num_ctx: int) -> bool:
    """Return whether the server read less than the whole prompt.

    Older servers cut the last message to fill the window to the last token, or leave the system message out.
    """
    read = _get_count(value, "prompt_eval_count")
    return read >= num_ctx or reads_too_little(request, read)


def _check_end(value: dict[str, Any], server: str) -> None:
    if value.get("done_reason") == "length":
        read, written = _get_count(value, "prompt_eval_count"), _get_count(value, "eval_count")
        message = t("model.answer_cut", server=server, tokens=written)
        raise ModelRefused(message, tokens_in=read, tokens_out=written)


def _read_reply(value: dict[str, Any], server: str) -> ModelReply:
    _check_end(value, server)
    text = _get_content(value)
    read, written = _get_count(value, "prompt_eval_count"), _get_count(value, "eval_count")
    if not text.strip():
        raise ModelRefused(t("model.answer_empty", server=server), tokens_in=read, tokens_out=written)
    return ModelReply(text, read, written)
