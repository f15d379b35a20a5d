"""The provider `openai`: any server that speaks OpenAI's `/chat/completions`: vLLM, llama.cpp, a gateway.

Such servers differ in what they take. A call starts with all that we want (the answer's schema, temperature
0, a seed); what the server says it does not take is left out, and the call made again. The form that worked
is kept for the calls after it.

Protocol: https://platform.openai.com/docs/api-reference/chat
"""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import httpx

from bifrost_flow.errors import ModelRefused, ModelUnavailable
from bifrost_flow.language import t
from connectors.models.forms import ask_for_json, narrow_schema
from connectors.models.http import (
    LoopClients,
    check_status,
    encodable,
    hide_password,
    iterate_lines,
    post_json,
    read_error,
    shorten,
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

DEFAULT_CONTEXT_TOKENS = 32_768
_PATH = "/chat/completions"
_SMALLEST_ANSWER_TOKENS = 256
# A server that will not take a call as it is: the usual status, FastAPI's, and "not implemented".
_COMPLAINTS = (400, 422, 501)

# From the most that a server may take of the answer's schema to nothing at all.
_SCHEMA_FORMS = ("full", "narrow", "object", "none")
_ABOUT_SCHEMA = re.compile(r"(?i)response[ _]?format|schema|json_object|grammar|structured|guided|parser")
_ABOUT_WINDOW = re.compile(
    r"(?i)context[ _](length|size|window)|exceed_context|prompt is too long|input is too long"
)


@dataclass(frozen=True, slots=True)
class _Form:
    """How a call is put to this server."""

    schema: str = _SCHEMA_FORMS[0]
    length_key: str = "max_tokens"  # newer models of OpenAI only know max_completion_tokens
    left_out: frozenset[str] = frozenset()

    def step_down(self, complaint: str) -> "_Form | None":
        """Return the form to try after `complaint`, or None if it is about nothing that could be changed."""
        if self.length_key == "max_tokens" and "max_completion_tokens" in complaint:
            return replace(self, length_key="max_completion_tokens")
        for name in ("temperature", "seed", "stream_options"):
            if name in complaint and name not in self.left_out:
                return replace(self, left_out=self.left_out | {name})
        if self.schema != _SCHEMA_FORMS[-1] and _ABOUT_SCHEMA.search(complaint):
            return replace(self, schema=_SCHEMA_FORMS[_SCHEMA_FORMS.index(self.schema) + 1])
        return None


class OpenAIProvider:
    """A model on an OpenAI-compatible server.

    Args:
        base_url: what comes before `/chat/completions`.
        api_key: sent as a bearer token; never part of a message.
        timeout_s: for a whole call.
        context_tokens: the most that the prompt and the answer may take together.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 120.0,
        context_tokens: int = DEFAULT_CONTEXT_TOKENS,
        temperature: float = 0.0,
        seed: int = 7,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._model = model
        self._api_key = api_key
        self._timeout_s = timeout_s
        self._context_tokens = context_tokens
        self._options: dict[str, Any] = {"temperature": temperature, "seed": seed}
        self._server = f"OpenAI API ({hide_password(self._base_url)})"
        self._clients = LoopClients(self._base_url, timeout_s, headers=authorize(api_key))
        self._form = _Form()

    def describe(self) -> ModelDescription:
        parameters = json.dumps(self._options, sort_keys=True, separators=(",", ":"))
        # The address without a password: who pays for an answer does not change it.
        url = hide_password(self._base_url)
        return ModelDescription("openai", self._model, url, parameters, self._context_tokens)

    async def complete(self, request: ModelRequest) -> ModelReply:
        room = self._make_room(request)
        form = self._form
        async with translate_errors(self._server, self._timeout_s, setting="openai.timeout"):
            while True:
                body = self._build_body(request, form, room, stream=False)
                response, content = await post_json(self._clients.open(), _PATH, body, server=self._server)
                if response.status_code == httpx.codes.OK:
                    break
                form = self._adapt(form, response, content)
        self._form = form
        return self._read_reply(request, self._parse(content))

    async def stream(self, request: ModelRequest, *, on_count: OnCount = ignore_count) -> AsyncIterator[str]:
        """Yield the answer's text as it is written. A dropped stream raises, whatever came before."""
        room = self._make_room(request)
        form = self._form
        async with translate_errors(self._server, None, setting="openai.timeout"):
            while True:
                body = self._build_body(request, form, room, stream=True)
                async with self._clients.open().stream("POST", _PATH, json=body) as response:
                    if response.status_code == httpx.codes.OK:
                        self._form = form
                        async for piece in self._read_stream(request, response, room, on_count):
                            yield piece
                        return
                    error_body = await response.aread()
                form = self._adapt(form, response, error_body)

    async def aclose(self) -> None:
        """Close the connections of the running loop; each loop that asked has to."""
        await self._clients.aclose()

    def _make_room(self, request: ModelRequest) -> int:
        """Return the tokens that an answer may have: some servers refuse a sum that is beyond the window.

        Raises:
            ModelRefused: the prompt alone is more than the model can hold.
        """
        prompt = estimate_prompt(request, self._context_tokens, server=self._server)
        left = self._context_tokens - prompt - TEMPLATE_TOKENS
        return min(request.max_output_tokens, max(left, _SMALLEST_ANSWER_TOKENS))

    def _build_body(self, request: ModelRequest, form: _Form, room: int, *, stream: bool) -> dict[str, Any]:
        schema = request.schema if form.schema == "full" else narrow_schema(request.schema)
        formats: dict[str, dict[str, Any]] = {
            "object": {"response_format": {"type": "json_object"}},
            "none": {},
        }
        named = {"name": "answer", "schema": schema, "strict": True}
        whole = {"response_format": {"type": "json_schema", "json_schema": named}}
        counted = "stream_options" not in form.left_out
        system = request.system if form.schema not in formats else ask_for_json(request.system, schema)
        return {
            "model": self._model,
            "messages": [
                {"role": "system", "content": encodable(system)},
                {"role": "user", "content": encodable(request.user)},
            ],
            "stream": stream,
            # Without being asked, servers count nothing in a stream.
            **({"stream_options": {"include_usage": True}} if stream and counted else {}),
            form.length_key: room,
            **{name: value for name, value in self._options.items() if name not in form.left_out},
            **formats.get(form.schema, whole),
        }

    def _adapt(self, form: _Form, response: httpx.Response, body: bytes) -> _Form:
        """Return the form in which to make the call again.

        Raises:
            ModelError: the server's refusal is about something else.
        """
        status, complaint = response.status_code, _read_complaint(body)
        detail = self._hide_key(read_error(body) or "–")
        if status in _COMPLAINTS:
            if _ABOUT_WINDOW.search(complaint):
                raise cut_error(self._context_tokens, server=self._server)
            if changed := form.step_down(complaint):
                return changed
        if status in (401, 403):
            raise ModelRefused(t("model.openai_denied", server=self._server, status=status, detail=detail))
        if status == httpx.codes.NOT_FOUND:
            raise ModelRefused(
                t("model.openai_not_found", server=self._server, model=self._model, detail=detail)
            )
        if "insufficient_quota" in complaint:
            # It comes as a 429, but no waiting helps.
            raise ModelRefused(t("model.openai_quota", server=self._server, detail=detail))
        check_status(self._server, response, detail.encode())
        raise AssertionError(f"status {status} is a success")

    def _hide_key(self, text: str) -> str:
        return text.replace(self._api_key, "***") if self._api_key else text

    def _parse(self, body: bytes | str) -> dict[str, Any]:
        try:
            value = json.loads(body)
        except ValueError as error:
            raise ModelUnavailable(t("model.not_json", server=self._server)) from error
        if isinstance(value, dict) and value.get("error"):
            # Gateways send errors with status 200, and in the middle of a stream there is no other way.
            detail = self._hide_key(read_error(json.dumps(value).encode()))
            raise ModelUnavailable(t("model.server_error", server=self._server, detail=detail))
        if not isinstance(value, dict) or not isinstance(value.get("choices"), list):
            raise ModelUnavailable(t("model.not_json", server=self._server))
        return value

    async def _read_stream(
        self, request: ModelRequest, response: httpx.Response, room: int, on_count: OnCount
    ) -> AsyncIterator[str]:
        """Yield the text in a stream of server-sent events; of their fields only `data` means anything."""
        if "event-stream" not in response.headers.get("content-type", ""):
            # Some gateways know no streams, and send the whole answer.
            reply = self._read_reply(request, self._parse(await response.aread()))
            yield reply.text
            on_count(reply.tokens_in, reply.tokens_out)
            return
        reason, usage = "", dict[str, Any]()
        lines = iterate_lines(
            response, server=self._server, timeout_s=self._timeout_s, setting="openai.timeout"
        )
        async for line in lines:
            field, _, data = line.partition(":")
            if field == "error":
                data = json.dumps({"error": data.strip()})
            elif field != "data" or data.strip() == "[DONE]":
                continue
            event = self._parse(data)
            choice, usage = _get_choice(event), _get_object(event, "usage") or usage
            message = _get_object(choice, "delta")
            reason = choice.get("finish_reason") or reason
            self._check_refusal(message)
            if isinstance(text := message.get("content"), str) and text:
                yield text
        if not reason:
            raise ModelUnavailable(t("model.broke_off", server=self._server, detail=""))
        on_count(_get_count(usage, "prompt_tokens"), _get_count(usage, "completion_tokens"))
        self._check_end(reason, room)

    def _read_reply(self, request: ModelRequest, value: dict[str, Any]) -> ModelReply:
        choice, usage = _get_choice(value), _get_object(value, "usage")
        tokens_in, tokens_out = _get_count(usage, "prompt_tokens"), _get_count(usage, "completion_tokens")
        if reads_too_little(request, tokens_in):
            raise cut_error(tokens_in, server=self._server)
        message = _get_object(choice, "message")
        try:
            self._check_refusal(message)
            self._check_end(choice.get("finish_reason"), tokens_out)
            text = message.get("content")
            if not isinstance(text, str) or not text.strip():
                raise ModelRefused(t("model.answer_empty", server=self._server))
        except ModelRefused as error:
            # It was paid for all the same.
            error.tokens_in, error.tokens_out = tokens_in, tokens_out
            raise
        return ModelReply(text, tokens_in, tokens_out)

    def _check_refusal(self, message: dict[str, Any]) -> None:
        if refusal := message.get("refusal"):
            raise ModelRefused(t("model.withheld", server=self._server, reason=shorten(str(refusal))))

    def _check_end(self, reason: object, tokens_out: int) -> None:
        if reason == "length":
            raise ModelRefused(t("model.answer_cut", server=self._server, tokens=tokens_out))
        if reason == "content_filter":
            raise ModelRefused(t("model.withheld", server=self._server, reason="content_filter"))


def authorize(api_key: str | None) -> dict[str, str]:
    """Return the header that carries `api_key`, if there is one."""
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


def _read_complaint(body: bytes) -> str:
    """Return the server's own words about a call it refused, and not what they quote of it.

    FastAPI lists what is wrong with the place, the reason, and the whole input, which is a log of anybody's.
    """
    try:
        value = json.loads(body)
    except ValueError:
        return read_error(body)
    if not isinstance(value, dict):
        return ""
    error = value.get("error")
    parts = error if isinstance(error, dict) else value
    if isinstance(listed := parts.get("detail"), list):
        words = [f"{each.get('loc')} {each.get('msg')}" for each in listed if isinstance(each, dict)]
        return " ".join(words)
    if isinstance(error, str):
        return error
    return " ".join(str(parts[key]) for key in ("message", "detail", "param", "code", "type") if key in parts)


def _get_choice(value: dict[str, Any]) -> dict[str, Any]:
    """Return the first choice; a stream's last event, with the usage, has none."""
    choices = value["choices"]
    return choices[0] if choices and isinstance(choices[0], dict) else {}


def _get_object(value: dict[str, Any], name: str) -> dict[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _get_count(value: dict[str, Any], name: str) -> int:
    count = value.get(name)
    return count if isinstance(count, int) and count > 0 else 0
