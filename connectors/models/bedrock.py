"""The provider `bedrock`: a model on AWS Bedrock, asked through Converse and ConverseStream.

The answer's schema goes into `outputConfig.textFormat`. Model families differ in what they take, so a model
that refuses it is given the schema as the input of a tool that it has to call, and one that refuses that as
well is asked for JSON in words. The form that worked is kept for the calls after it. There is no seed in this
API.

Protocol: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

from bifrost_flow.errors import ModelRefused, ModelUnavailable
from bifrost_flow.language import t
from connectors.models.aws import VENDOR_ERRORS, read_code, read_detail, translate_error
from connectors.models.forms import ask_for_json, narrow_schema
from connectors.models.http import MAX_BODY_BYTES, STREAM_TIMEOUTS, encodable
from connectors.models.protocol import (
    ModelDescription,
    ModelReply,
    ModelRequest,
    OnCount,
    ignore_count,
)
from connectors.models.threads import call_in_thread, iterate_in_thread
from connectors.models.window import TEMPLATE_TOKENS, cut_error, estimate_prompt

# Current models have far more; evidence is a few thousand tokens.
DEFAULT_CONTEXT_TOKENS = 32_768
_SMALLEST_ANSWER_TOKENS = 256
_TOOL = "give_answer"

_SCHEMA_FORMS = ("schema", "tool", "text")
_ABOUT_SCHEMA = re.compile(r"(?i)output_?config|output_?format|text_?format|structured|schema|tool")
_ABOUT_SYSTEM = re.compile(r"(?i)system (prompt|message|instruction|role)")
_ABOUT_WINDOW = re.compile(r"(?i)(input|prompt) is too long|too many input tokens|context (length|window)")
_WITHHELD = ("content_filtered", "guardrail_intervened", "malformed_model_output", "malformed_tool_use")


@dataclass(frozen=True, slots=True)
class _Form:
    """How a call is put to this model."""

    schema: str = _SCHEMA_FORMS[0]
    temperature: bool = True
    system: bool = True  # whether the model has a place for instructions of their own

    def step_down(self, complaint: str) -> "_Form | None":
        """Return the form to try after `complaint`, or None if it is about nothing that could be changed."""
        if self.temperature and "temperature" in complaint.lower():
            return replace(self, temperature=False)
        if self.system and _ABOUT_SYSTEM.search(complaint):
            return replace(self, system=False)
        if self.schema != _SCHEMA_FORMS[-1] and _ABOUT_SCHEMA.search(complaint):
            return replace(self, schema=_SCHEMA_FORMS[_SCHEMA_FORMS.index(self.schema) + 1])
        return None


class BedrockProvider:
    """A model on Bedrock.

    Args:
        client: of `bedrock-runtime`, as `aws.open_client` returns it; its calls run in threads.
        model: id of a model or of an inference profile, or an ARN.
        endpoint_url: of the client, if it was set.
        timeout_s: for a whole call.
        context_tokens: the most that the prompt and the answer may take together.
    """

    def __init__(
        self,
        client: Any,
        model: str,
        *,
        endpoint_url: str = "",
        timeout_s: float = 120.0,
        context_tokens: int = DEFAULT_CONTEXT_TOKENS,
        temperature: float = 0.0,
    ) -> None:
        self._client = client
        self._model = model
        self._endpoint_url = endpoint_url
        self._timeout_s = timeout_s
        self._context_tokens = context_tokens
        self._temperature = temperature
        self._server = f"Bedrock ({client.meta.region_name})"
        self._form = _Form()

    def describe(self) -> ModelDescription:
        parameters = json.dumps({"temperature": self._temperature}, separators=(",", ":"))
        # Without the region: the same model in another one gives the same answers.
        return ModelDescription("bedrock", self._model, self._endpoint_url, parameters, self._context_tokens)

    async def complete(self, request: ModelRequest) -> ModelReply:
        response = await self._call(self._client.converse, request)
        usage = response.get("usage") or {}
        tokens_in, tokens_out = usage.get("inputTokens", 0), usage.get("outputTokens", 0)
        try:
            self._check_end(response.get("stopReason"), tokens_out)
            text = _read_text(response)
            if not text.strip():
                raise ModelRefused(t("model.answer_empty", server=self._server))
        except ModelRefused as error:
            # It was paid for all the same.
            error.tokens_in, error.tokens_out = tokens_in, tokens_out
            raise
        return ModelReply(text, tokens_in, tokens_out)

    async def stream(self, request: ModelRequest, *, on_count: OnCount = ignore_count) -> AsyncIterator[str]:
        """Yield the answer's text as it is written. A dropped stream raises, whatever came before."""
        response = await self._call(self._client.converse_stream, request)
        reason, size = None, 0
        usage: dict[str, Any] = {}
        deadline = time.monotonic() + STREAM_TIMEOUTS * self._timeout_s
        events = response["stream"]
        try:
            async for event in iterate_in_thread(events, close=events.close):
                delta = (event.get("contentBlockDelta") or {}).get("delta") or {}
                if text := delta.get("text") or (delta.get("toolUse") or {}).get("input"):
                    size += len(text)
                    yield text
                if size > MAX_BODY_BYTES:
                    raise ModelRefused(t("model.too_long", server=self._server, limit=MAX_BODY_BYTES))
                if time.monotonic() > deadline:
                    raise self._time_out()
                reason = (event.get("messageStop") or {}).get("stopReason") or reason
                usage = (event.get("metadata") or {}).get("usage") or usage
        except VENDOR_ERRORS as error:
            raise translate_error(error, server=self._server, model=self._model) from error
        if reason is None:
            raise ModelUnavailable(t("model.broke_off", server=self._server, detail=""))
        tokens_out = usage.get("outputTokens", 0)
        on_count(usage.get("inputTokens", 0), tokens_out)
        self._check_end(reason, tokens_out)

    async def aclose(self) -> None:
        """Nothing of a loop is held open; the client's connections close with it."""

    async def _call(self, operation: Callable[..., Any], request: ModelRequest) -> dict[str, Any]:
        """Return what `operation` answers, in the first form that the model takes.

        Raises:
            ModelError: it fails in any form.
        """
        prompt = estimate_prompt(request, self._context_tokens, server=self._server)
        left = self._context_tokens - prompt - TEMPLATE_TOKENS
        room = min(request.max_output_tokens, max(left, _SMALLEST_ANSWER_TOKENS))
        form = self._form
        try:
            async with asyncio.timeout(self._timeout_s):
                while True:
                    try:
                        response = await call_in_thread(operation, **self._build_call(request, form, room))
                    except VENDOR_ERRORS as error:
                        form = self._adapt(form, error)
                    except (AttributeError, UnicodeDecodeError) as error:
                        # botocore trips over what is no JSON object, such as a proxy may send.
                        raise ModelUnavailable(t("model.not_json", server=self._server)) from error
                    else:
                        self._form = form
                        return response
        except TimeoutError as error:
            raise self._time_out() from error

    def _time_out(self) -> ModelUnavailable:
        message = t("model.timed_out", server=self._server, setting="bedrock.timeout")
        return ModelUnavailable(message, may_have_cost=True)

    def _adapt(self, form: _Form, error: Exception) -> _Form:
        """Return the form in which to make the call again.

        Raises:
            ModelError: the refusal is about something else.
        """
        if read_code(error) == "ValidationException":
            if _ABOUT_WINDOW.search(read_detail(error)):
                raise cut_error(self._context_tokens, server=self._server) from error
            if changed := form.step_down(read_detail(error)):
                return changed
        raise translate_error(error, server=self._server, model=self._model) from error

    def _build_call(self, request: ModelRequest, form: _Form, room: int) -> dict[str, Any]:
        schema = narrow_schema(request.schema)
        system = encodable(
            request.system if form.schema == "schema" else ask_for_json(request.system, schema)
        )
        user = encodable(request.user)
        warmth = {"temperature": self._temperature} if form.temperature else {}
        call: dict[str, Any] = {"modelId": self._model, "inferenceConfig": {"maxTokens": room, **warmth}}
        if form.system:
            call["system"] = [{"text": system}]
        else:
            user = f"{system}\n\n{user}"
        call["messages"] = [{"role": "user", "content": [{"text": user}]}]
        if form.schema == "schema":
            structure = {"jsonSchema": {"name": "answer", "schema": json.dumps(schema)}}
            call["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": structure}}
        elif form.schema == "tool":
            tool = {"name": _TOOL, "description": "Give the answer.", "inputSchema": {"json": schema}}
            call["toolConfig"] = {"tools": [{"toolSpec": tool}], "toolChoice": {"tool": {"name": _TOOL}}}
        return call

    def _check_end(self, reason: str | None, tokens_out: int) -> None:
        if reason == "max_tokens":
            raise ModelRefused(t("model.answer_cut", server=self._server, tokens=tokens_out))
        if reason == "model_context_window_exceeded":
            raise cut_error(self._context_tokens, server=self._server)
        if reason in _WITHHELD:
            raise ModelRefused(t("model.withheld", server=self._server, reason=reason))


def _read_text(response: dict[str, Any]) -> str:
    """Return the answer: the tool's input if the model called it, else what it wrote."""
    blocks = ((response.get("output") or {}).get("message") or {}).get("content") or []
    inputs = [block["toolUse"].get("input") for block in blocks if "toolUse" in block]
    if inputs:
        return json.dumps(inputs[0], ensure_ascii=False)
    return "".join(block["text"] for block in blocks if "text" in block)
