"""What a job opens before it starts: its warehouse, and who will answer."""

from concurrent.futures import Future, ThreadPoolExecutor

from pydantic import SecretStr

from bifrost_flow.errors import WarehouseError
from bifrost_flow.settings import BedrockSettings, OllamaSettings, OpenAISettings, Settings
from connectors.ci.access import CiAccess
from connectors.models.choose import ModelSettings, choose_provider
from connectors.models.protocol import Provider
from connectors.warehouse import Warehouse


def open_warehouse(settings: Settings, *, create: bool) -> Warehouse | None:
    """Return the warehouse; with `create=False`, None where there is none yet."""
    try:
        return Warehouse.open(settings.warehouse, project=settings.project, create=create)
    except WarehouseError:
        if create:
            raise
        return None


def start_choosing(settings: Settings) -> "Future[tuple[Provider, str]]":
    """Ask beside the reading who will answer: a server that is down takes half a second to say so."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="choose")
    future = pool.submit(choose_provider, settings.provider, list_model_settings(settings))
    pool.shutdown(wait=False)
    return future


def list_model_settings(settings: Settings) -> ModelSettings:
    """Return what the connectors need to know of `settings`; `model` goes before each provider's own."""
    section, key = pick_section(settings), settings.openai.api_key
    return ModelSettings(
        ollama_url=settings.ollama.url,
        ollama_model=settings.model or settings.ollama.model,
        openai_base_url=settings.openai.base_url,
        openai_model=settings.model or settings.openai.model,
        openai_api_key=key.get_secret_value() if key else None,
        bedrock_model=settings.model or settings.bedrock.model,
        bedrock_region=settings.bedrock.region,
        bedrock_profile=settings.bedrock.profile,
        bedrock_endpoint_url=settings.bedrock.endpoint_url,
        timeout_s=section.timeout,
        context_tokens=section.context_tokens,
    )


def list_ci_access(settings: Settings) -> CiAccess:
    """Return what the connectors need to know of `settings` to fetch logs from CI systems."""
    github, gitlab, jenkins, ci = settings.github, settings.gitlab, settings.jenkins, settings.ci

    def read(secret: SecretStr | None) -> str | None:
        # From a file it often comes with the end of its line.
        return secret.get_secret_value().strip() or None if secret else None

    return CiAccess(
        github_api_url=github.api_url,
        github_token=read(github.token),
        gitlab_url=gitlab.url,
        gitlab_token=read(gitlab.token),
        jenkins_url=jenkins.url,
        jenkins_user=jenkins.user,
        jenkins_token=read(jenkins.token),
        timeout_s=ci.timeout,
        max_retries=ci.max_retries,
        max_wait_s=ci.max_wait,
        max_download_bytes=int(ci.max_download_mb * 1_000_000),
    )


def pick_section(settings: Settings) -> OllamaSettings | OpenAISettings | BedrockSettings:
    """Return the settings of the provider that is named; `auto` can only mean Ollama."""
    match settings.provider:
        case "openai":
            return settings.openai
        case "bedrock":
            return settings.bedrock
    return settings.ollama
