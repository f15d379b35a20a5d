"""Which provider answers: the one that is named, or the best that is there."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from bifrost_flow.errors import SettingsError
from bifrost_flow.language import t
from connectors.models.http import hide_password, is_loopback
from connectors.models.ollama import DEFAULT_CONTEXT_TOKENS, DEFAULT_URL, OllamaProvider
from connectors.models.protocol import Provider
from connectors.models.rules import RulesProvider

SUGGESTED_MODEL = "qwen2.5-coder:3b"
# A model's own window may be far more than this machine has memory for; evidence is a few thousand tokens.
MAX_CONTEXT_TOKENS = 32_768

_PROBE_TIMEOUT_S = 0.5
_REMOTE_PROBE_TIMEOUT_S = 3.0
_EMBEDDING_FAMILIES = ("bert", "nomic-bert")


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """What the settings say about models, as plain values."""

    ollama_url: str = DEFAULT_URL
    ollama_model: str | None = None
    timeout_s: float = 120.0
    context_tokens: int | None = None  # None: what the model has, within MAX_CONTEXT_TOKENS


@dataclass(frozen=True, slots=True)
class OllamaState:
    """What an Ollama server says of itself; `models` are names, the largest model first."""

    answers: bool
    models: tuple[str, ...] = ()


def choose_provider(
    name: str,
    *,
    ollama_url: str = DEFAULT_URL,
    ollama_model: str | None = None,
    timeout_s: float = 120.0,
    context_tokens: int | None = None,
) -> tuple[Provider, str]:
    """Return the provider `name`, and a sentence that says which one it is and how to get more.

    `auto` takes Ollama where one answers and has the model that is named (any, if none is), else `rules`: it
    never fails for want of a model. No address but `ollama_url` is asked.

    Raises:
        SettingsError: there is no such provider, or Ollama is named and no model can be found.
    """
    if name not in _PROVIDERS:
        raise SettingsError(t("model.provider_unknown", name=repr(name), known=", ".join(_PROVIDERS)))
    settings = ModelSettings(ollama_url.rstrip("/"), ollama_model or None, timeout_s, context_tokens)
    return _PROVIDERS[name](settings)


def probe_ollama(url: str) -> OllamaState:
    """Ask the server at `url` for its models; one that does not answer at once counts as absent."""
    timeout_s = _PROBE_TIMEOUT_S if is_loopback(url) else _REMOTE_PROBE_TIMEOUT_S
    try:
        response = httpx.get(f"{url}/api/tags", timeout=timeout_s, trust_env=not is_loopback(url))
        response.raise_for_status()
        listed = response.json()["models"]
        entries = [entry for entry in listed if _writes_text(entry)]
        entries.sort(key=lambda entry: (-int(entry.get("size") or 0), entry["name"]))
        return OllamaState(True, tuple(str(entry["name"]) for entry in entries))
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError, AttributeError):
        return OllamaState(False)


def _writes_text(entry: dict[str, Any]) -> bool:
    family = (entry.get("details") or {}).get("family") or ""
    return family not in _EMBEDDING_FAMILIES and "embed" not in entry["name"]


def _find_model(wanted: str | None, models: tuple[str, ...]) -> str | None:
    if wanted is None:
        return models[0] if models else None
    return next((name for name in (wanted, f"{wanted}:latest") if name in models), None)


def _open_ollama(settings: ModelSettings, model: str) -> Provider:
    window, thinks = _show_model(settings.ollama_url, model)
    return OllamaProvider(
        settings.ollama_url,
        model,
        timeout_s=settings.timeout_s,
        context_tokens=settings.context_tokens or min(window, MAX_CONTEXT_TOKENS),
        thinks=thinks,
    )


def _show_model(url: str, model: str) -> tuple[int, bool]:
    """Return the model's window in tokens, and whether it can think aloud."""
    timeout_s = _PROBE_TIMEOUT_S if is_loopback(url) else _REMOTE_PROBE_TIMEOUT_S
    try:
        response = httpx.post(
            f"{url}/api/show", json={"model": model}, timeout=timeout_s, trust_env=not is_loopback(url)
        )
        response.raise_for_status()
        shown = response.json()
        facts = shown.get("model_info") or {}
        windows = [int(value) for key, value in facts.items() if key.endswith(".context_length")]
        return (windows or [DEFAULT_CONTEXT_TOKENS])[0], "thinking" in (shown.get("capabilities") or ())
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, TypeError, AttributeError):
        return DEFAULT_CONTEXT_TOKENS, False


def _choose_rules(settings: ModelSettings) -> tuple[Provider, str]:
    return RulesProvider(), t("model.rules_asked")


def _choose_ollama(settings: ModelSettings) -> tuple[Provider, str]:
    url = settings.ollama_url
    state = probe_ollama(url)
    model = _find_model(settings.ollama_model, state.models)
    if model is not None:
        return _open_ollama(settings, model), t("model.ollama_chosen", url=hide_password(url), model=model)
    if settings.ollama_model is None:
        raise SettingsError(t("model.ollama_name_a_model", url=hide_password(url), suggested=SUGGESTED_MODEL))
    # Its calls will fail, the run won't; the server may also be back by then.
    key = "model.ollama_missing_model" if state.answers else "model.ollama_unreachable"
    provider = OllamaProvider(
        url,
        settings.ollama_model,
        timeout_s=settings.timeout_s,
        context_tokens=settings.context_tokens or DEFAULT_CONTEXT_TOKENS,
    )
    return provider, t(key, url=hide_password(url), model=settings.ollama_model)


def _choose_automatically(settings: ModelSettings) -> tuple[Provider, str]:
    url = settings.ollama_url
    state = probe_ollama(url)
    model = _find_model(settings.ollama_model, state.models)
    if model is not None:
        return _open_ollama(settings, model), t("model.ollama_chosen", url=hide_password(url), model=model)
    if not state.answers:
        return RulesProvider(), t("model.rules_chosen", url=hide_password(url))
    if settings.ollama_model is not None:
        return RulesProvider(), t(
            "model.rules_missing_model", url=hide_password(url), model=settings.ollama_model
        )
    return RulesProvider(), t("model.rules_no_models", url=hide_password(url), suggested=SUGGESTED_MODEL)


def _refuse(name: str) -> Callable[[ModelSettings], tuple[Provider, str]]:
    def choose(settings: ModelSettings) -> tuple[Provider, str]:
        known = ", ".join(key for key in _PROVIDERS if key not in _LATER)
        raise SettingsError(t("model.provider_later", name=name, known=known))

    return choose


_LATER = ("openai", "bedrock")

# A provider joins by its entry here.
_PROVIDERS: dict[str, Callable[[ModelSettings], tuple[Provider, str]]] = {
    "auto": _choose_automatically,
    "rules": _choose_rules,
    "ollama": _choose_ollama,
    **{name: _refuse(name) for name in _LATER},
}
