"""Which provider answers: the one that is named, or the best that is there."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from bifrost_flow.errors import SettingsError
from bifrost_flow.language import t
from connectors.models.http import hide_password, is_loopback
from connectors.models.ollama import DEFAULT_CONTEXT_TOKENS, DEFAULT_URL, OllamaProvider
from connectors.models.openai import OpenAIProvider
from connectors.models.openai_probe import probe_openai
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
    """What the settings say about models, as plain values; of each provider what its section says."""

    ollama_url: str = DEFAULT_URL
    ollama_model: str | None = None
    openai_base_url: str | None = None
    openai_model: str | None = None
    openai_api_key: str | None = field(default=None, repr=False)
    bedrock_model: str | None = None
    bedrock_region: str | None = None
    bedrock_profile: str | None = None
    bedrock_endpoint_url: str | None = None
    timeout_s: float = 120.0
    context_tokens: int | None = None  # None: what the model has, within MAX_CONTEXT_TOKENS


@dataclass(frozen=True, slots=True)
class OllamaState:
    """What an Ollama server says of itself; `models` are names, the largest model first."""

    answers: bool
    models: tuple[str, ...] = ()


def choose_provider(name: str, settings: ModelSettings | None = None) -> tuple[Provider, str]:
    """Return the provider `name`, and a sentence that says which one it is and how to get more.

    `auto` takes Ollama where one answers and has the model that is named (any, if none is), else `rules`: it
    never fails for want of a model. No address but the chosen provider's is asked.

    Raises:
        SettingsError: there is no such provider, or what it needs is not set and can't be found.
    """
    if name not in _PROVIDERS:
        raise SettingsError(t("model.provider_unknown", name=repr(name), known=", ".join(_PROVIDERS)))
    return _PROVIDERS[name](settings or ModelSettings())


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


def _open_ollama(settings: ModelSettings, url: str, model: str) -> Provider:
    window, thinks = _show_model(url, model)
    return OllamaProvider(
        url,
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
    url = settings.ollama_url.rstrip("/")
    state = probe_ollama(url)
    model = _find_model(settings.ollama_model or None, state.models)
    if model is not None:
        return _open_ollama(settings, url, model), t(
            "model.ollama_chosen", url=hide_password(url), model=model
        )
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
    url = settings.ollama_url.rstrip("/")
    state = probe_ollama(url)
    model = _find_model(settings.ollama_model or None, state.models)
    if model is not None:
        return _open_ollama(settings, url, model), t(
            "model.ollama_chosen", url=hide_password(url), model=model
        )
    if not state.answers:
        return RulesProvider(), t("model.rules_chosen", url=hide_password(url))
    if settings.ollama_model is not None:
        return RulesProvider(), t(
            "model.rules_missing_model", url=hide_password(url), model=settings.ollama_model
        )
    return RulesProvider(), t("model.rules_no_models", url=hide_password(url), suggested=SUGGESTED_MODEL)


def _choose_openai(settings: ModelSettings) -> tuple[Provider, str]:
    if not settings.openai_base_url:
        raise SettingsError(t("model.openai_no_url"))
    url = settings.openai_base_url.rstrip("/")
    api_key = (settings.openai_api_key or "").strip() or None
    if api_key and not (api_key.isascii() and api_key.isprintable()):
        raise SettingsError(t("model.openai_bad_key"))
    state = probe_openai(
        url, api_key, timeout_s=_PROBE_TIMEOUT_S if is_loopback(url) else _REMOTE_PROBE_TIMEOUT_S
    )
    # A server of one's own serves one model; where there are more, one of them has to be named.
    model = settings.openai_model or (next(iter(state.windows)) if len(state.windows) == 1 else None)
    shown = hide_password(url)
    if model is None:
        raise SettingsError(
            t("model.openai_name_a_model", url=shown, models=", ".join(state.windows) or state.reason or "–")
        )
    window = min(state.windows.get(model) or MAX_CONTEXT_TOKENS, MAX_CONTEXT_TOKENS)
    provider = OpenAIProvider(
        url,
        model,
        api_key=api_key,
        timeout_s=settings.timeout_s,
        context_tokens=settings.context_tokens or window,
    )
    # Not every gateway lists its models, so one that it does not list is asked all the same.
    key = "model.openai_silent" if state.reason else "model.openai_chosen"
    return provider, t(key, url=shown, model=model, reason=state.reason)


def _choose_bedrock(settings: ModelSettings) -> tuple[Provider, str]:
    if not settings.bedrock_model:
        raise SettingsError(t("model.bedrock_name_a_model"))
    # Late: botocore costs 0.2 s.
    from connectors.models.aws import open_client
    from connectors.models.bedrock import BedrockProvider

    client = open_client(
        region=settings.bedrock_region or None,
        profile=settings.bedrock_profile or None,
        endpoint_url=settings.bedrock_endpoint_url or None,
        timeout_s=settings.timeout_s,
    )
    provider = BedrockProvider(
        client,
        settings.bedrock_model,
        endpoint_url=settings.bedrock_endpoint_url or "",
        timeout_s=settings.timeout_s,
        context_tokens=settings.context_tokens or MAX_CONTEXT_TOKENS,
    )
    return provider, t("model.bedrock_chosen", model=settings.bedrock_model, region=client.meta.region_name)


# A provider joins by its entry here.
_PROVIDERS: dict[str, Callable[[ModelSettings], tuple[Provider, str]]] = {
    "auto": _choose_automatically,
    "rules": _choose_rules,
    "ollama": _choose_ollama,
    "openai": _choose_openai,
    "bedrock": _choose_bedrock,
}
