"""What an OpenAI-compatible server says of its models, asked once before the work begins."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from connectors.models.http import hide_password, is_loopback
from connectors.models.openai import authorize

# Where servers write a model's window: vLLM, OpenRouter and others, Groq, LM Studio.
_WINDOW_KEYS = ("max_model_len", "context_length", "context_window", "max_context_length")


@dataclass(frozen=True, slots=True)
class OpenAIState:
    """The models that a server lists, each with its window in tokens if it says one; or why it lists none."""

    windows: Mapping[str, int | None] = field(default_factory=dict)
    reason: str = ""


def probe_openai(base_url: str, api_key: str | None, *, timeout_s: float) -> OpenAIState:
    """Ask the server at `base_url` for its models."""
    url = httpx.URL(base_url)
    auth = (url.username, url.password) if url.username and not api_key else None
    try:
        with httpx.Client(
            headers=authorize(api_key), auth=auth, timeout=timeout_s, trust_env=not is_loopback(base_url)
        ) as client:
            bare = hide_password(base_url)
            response = client.get(f"{bare}/models")
            if response.status_code != httpx.codes.OK:
                return OpenAIState(reason=f"HTTP {response.status_code}")
            entries = [entry for entry in response.json()["data"] if _has_name(entry)]
            return OpenAIState({entry["id"]: _read_window(client, bare, entry) for entry in entries})
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        return OpenAIState(reason=type(error).__name__)


def _has_name(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("id"), str)


def _read_window(client: httpx.Client, base_url: str, entry: dict[str, Any]) -> int | None:
    meta = entry.get("meta")
    named = [entry.get(key) for key in _WINDOW_KEYS]
    named.append(meta.get("n_ctx") if isinstance(meta, dict) else None)
    windows = [number for number in named if isinstance(number, int) and number > 0]
    if windows:
        return windows[0]
    # Older llama.cpp servers tell it beside the API, for the one model that they serve.
    return _ask_llama_server(client, base_url) if entry.get("owned_by") == "llamacpp" else None


def _ask_llama_server(client: httpx.Client, base_url: str) -> int | None:
    try:
        shown = client.get(f"{base_url.removesuffix('/v1')}/props").json()
        window = shown["default_generation_settings"]["n_ctx"]
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None
    return window if isinstance(window, int) and window > 0 else None
