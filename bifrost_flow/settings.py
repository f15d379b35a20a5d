"""The settings: where they are read, what they mean, and where each value came from.

Precedence, first wins: flags, the environment (`BIFROST_SECTION_FIELD`), `bifrost.yaml` in the working
directory, the user's `bifrost-flow/bifrost.yaml` below `XDG_CONFIG_HOME` (`~/.config`), defaults. A key that
nobody knows is an error in each of them. What a field means, with its unit, is in the locales under
`settings.<key>`, so that `config` speaks both languages; `description` holds the English text.

One field for each meaning: `--format` and `--out` set `output.format` and `output.out`; `--model` sets
`model`, which goes before the chosen provider's own (`ollama.model`, …). An empty environment variable counts
as not set, as compose files and config maps leave them.
"""

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bifrost_flow.errors import SettingsError
from bifrost_flow.language import t
from bifrost_flow.render import split_formats
from bifrost_flow.settings_errors import explain_invalid, mask_urls
from bifrost_flow.settings_layers import Layer, find_nearest, nest_keys, read_secret_file, read_yaml_layer

FILE_NAME = "bifrost.yaml"
PREFIX = "BIFROST_"
BLOCK_PREFIX = "prefect-block:secret/"  # the value of a secret that is a Secret block of Prefect
FILE_SUFFIX = "_FILE"  # `BIFROST_SLACK_TOKEN_FILE` names a file that holds the secret

# Names that others gave to settings of ours; the BIFROST_ name goes first where both are set.
FOREIGN_NAMES = {
    "MLFLOW_TRACKING_URI": "mlflow.tracking_uri",
    "GITHUB_TOKEN": "github.token",
    "GITHUB_API_URL": "github.api_url",
    "GITLAB_TOKEN": "gitlab.token",
}


def _described(key: str, default: Any = None, **limits: Any) -> Any:
    """Return the field for `key`; its description is the English text of `settings.<key>`."""
    return Field(default, description=t(f"settings.{key}", lang="en"), **limits)


def _section(kind: type[BaseModel]) -> Any:
    return Field(default_factory=kind)


def _check_url(value: str) -> str:
    if not re.match(r"https?://[^/\s]+", value):
        raise ValueError(t("settings_error.url"))
    return value.rstrip("/")


def _split_words(value: object) -> object:
    # An environment variable is one text, with commas between its words, or a list as JSON.
    if not isinstance(value, str):
        return value
    if value.startswith("["):
        with suppress(json.JSONDecodeError):
            return json.loads(value)
    return [word.strip() for word in value.split(",") if word.strip()]


def _check_project(value: str) -> str:
    if not re.fullmatch(r"\w[\w.-]{0,63}", value):
        raise ValueError(t("settings_error.project"))
    return value


def _check_formats(value: str) -> str:
    try:
        return ",".join(split_formats((value,))) or "markdown"
    except SettingsError as error:
        raise ValueError(str(error)) from None


def _expand_home(value: str) -> str:
    return str(Path(value).expanduser()) if value.startswith("~") else value


Url = Annotated[str, AfterValidator(_check_url)]
FormatNames = Annotated[str, AfterValidator(_check_formats)]
Words = Annotated[list[str], BeforeValidator(_split_words)]
PathText = Annotated[str, AfterValidator(_expand_home)]
ProjectName = Annotated[str, AfterValidator(_check_project)]


class Section(BaseModel):
    """A group of settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OllamaSettings(Section):
    url: Url = _described("ollama.url", "http://127.0.0.1:11434")
    model: str | None = _described("ollama.model")
    timeout: float = _described("ollama.timeout", 120.0, gt=0)
    max_retries: int = _described("ollama.max_retries", 3, ge=0)
    context_tokens: int | None = _described("ollama.context_tokens", ge=512)


class BedrockSettings(Section):
    region: str | None = _described("bedrock.region")
    model: str | None = _described("bedrock.model")
    profile: str | None = _described("bedrock.profile")
    endpoint_url: Url | None = _described("bedrock.endpoint_url")
    timeout: float = _described("bedrock.timeout", 120.0, gt=0)
    max_retries: int = _described("bedrock.max_retries", 3, ge=0)
    context_tokens: int | None = _described("bedrock.context_tokens", ge=512)


class OpenAISettings(Section):
    base_url: Url | None = _described("openai.base_url")
    model: str | None = _described("openai.model")
    api_key: SecretStr | None = _described("openai.api_key")
    timeout: float = _described("openai.timeout", 120.0, gt=0)
    max_retries: int = _described("openai.max_retries", 3, ge=0)
    context_tokens: int | None = _described("openai.context_tokens", ge=512)


class LogSettings(Section):
    max_size_mb: float | None = _described("log.max_size_mb", gt=0)
    remove_timestamps: bool = _described("log.remove_timestamps", True)


class OutputSettings(Section):
    format: FormatNames = _described("output.format", "markdown")
    out: PathText | None = _described("output.out")
    base_url: Url | None = _described("output.base_url")
    dashboard: bool = _described("output.dashboard", False)
    color: bool = _described("output.color", True)
    verbose: bool = _described("output.verbose", False)


class EvidenceSettings(Section):
    budget_tokens: int = _described("evidence.budget_tokens", 2000, ge=1)


class RunnerSettings(Section):
    kind: Literal["threads", "dask", "ray"] = _described("runner.kind", "threads")
    address: str | None = _described("runner.address")


class FanoutSettings(Section):
    concurrency: int = _described("fanout.concurrency", 4, ge=1)
    max_calls: int | None = _described("fanout.max_calls", ge=0)
    max_tokens: int | None = _described("fanout.max_tokens", ge=0)
    max_cost_usd: float | None = _described("fanout.max_cost_usd", ge=0)
    requests_per_minute: int | None = _described("fanout.requests_per_minute", ge=1)
    tokens_per_minute: int | None = _described("fanout.tokens_per_minute", ge=1)


class S3Settings(Section):
    endpoint: Url | None = _described("s3.endpoint")
    region: str | None = _described("s3.region")
    profile: str | None = _described("s3.profile")
    anonymous: bool = _described("s3.anonymous", False)
    path_style: bool | None = _described("s3.path_style")


class SlackSettings(Section):
    webhook_url: SecretStr | None = _described("slack.webhook_url")
    token: SecretStr | None = _described("slack.token")
    channel: str | None = _described("slack.channel")
    thread: bool = _described("slack.thread", True)
    always: bool = _described("slack.always", False)


class WebhookSettings(Section):
    url: SecretStr | None = _described("webhook.url")
    secret: SecretStr | None = _described("webhook.secret")
    timeout: float = _described("webhook.timeout", 10.0, gt=0)
    max_retries: int = _described("webhook.max_retries", 3, ge=0)
    always: bool = _described("webhook.always", False)


class MLflowSettings(Section):
    enabled: bool = _described("mlflow.enabled", True)
    tracking_uri: str | None = _described("mlflow.tracking_uri")
    experiment: str = _described("mlflow.experiment", "bifrost-flow", min_length=1)
    timeout: float = _described("mlflow.timeout", 30.0, gt=0)


class MetricsSettings(Section):
    textfile: PathText | None = _described("metrics.textfile")
    pushgateway: Url | None = _described("metrics.pushgateway")
    timeout: float = _described("metrics.timeout", 10.0, gt=0)


class GitHubSettings(Section):
    api_url: Url = _described("github.api_url", "https://api.github.com")
    token: SecretStr | None = _described("github.token")


class GitLabSettings(Section):
    url: Url = _described("gitlab.url", "https://gitlab.com")
    token: SecretStr | None = _described("gitlab.token")


class JenkinsSettings(Section):
    url: Url | None = _described("jenkins.url")
    user: str | None = _described("jenkins.user")
    token: SecretStr | None = _described("jenkins.token")


class CiSettings(Section):
    timeout: float = _described("ci.timeout", 60.0, gt=0)
    max_retries: int = _described("ci.max_retries", 3, ge=0)
    max_wait: float = _described("ci.max_wait", 120.0, ge=0)
    max_download_mb: float = _described("ci.max_download_mb", 1000.0, gt=0)


class ServeSettings(Section):
    paths: Words = _described("serve.paths", [])
    allow: Words = _described("serve.allow", [])
    cron: str = _described("serve.cron", "0 2 * * *")
    timezone: str = _described("serve.timezone", "UTC")
    catch_up: Literal["latest", "all", "none"] = _described("serve.catch_up", "latest")
    adhoc_limit: int = _described("serve.adhoc_limit", 4, ge=1)
    metrics_host: str = _described("serve.metrics_host", "127.0.0.1")
    metrics_port: int = _described("serve.metrics_port", 9464, ge=0, le=65535)
    # Prefect takes 512 KiB of parameters, JSON's escapes included.
    max_text_kb: float = _described("serve.max_text_kb", 400.0, gt=0)


class ModelPrice(Section):
    """What a model costs, in USD per million tokens."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)


class Settings(BaseSettings):
    """All settings, checked; `load_settings` makes them, and says clearly what is wrong."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    warehouse: PathText = _described("warehouse", "./bifrost-warehouse", min_length=1)
    project: ProjectName = _described("project", "default")
    provider: Literal["auto", "rules", "ollama", "openai", "bedrock"] = _described("provider", "auto")
    model: str | None = _described("model")
    lang: Literal["en", "ko"] = _described("lang", "en")
    ollama: OllamaSettings = _section(OllamaSettings)
    bedrock: BedrockSettings = _section(BedrockSettings)
    openai: OpenAISettings = _section(OpenAISettings)
    log: LogSettings = _section(LogSettings)
    output: OutputSettings = _section(OutputSettings)
    evidence: EvidenceSettings = _section(EvidenceSettings)
    runner: RunnerSettings = _section(RunnerSettings)
    fanout: FanoutSettings = _section(FanoutSettings)
    s3: S3Settings = _section(S3Settings)
    slack: SlackSettings = _section(SlackSettings)
    webhook: WebhookSettings = _section(WebhookSettings)
    mlflow: MLflowSettings = _section(MLflowSettings)
    metrics: MetricsSettings = _section(MetricsSettings)
    github: GitHubSettings = _section(GitHubSettings)
    gitlab: GitLabSettings = _section(GitLabSettings)
    jenkins: JenkinsSettings = _section(JenkinsSettings)
    ci: CiSettings = _section(CiSettings)
    serve: ServeSettings = _section(ServeSettings)
    prices: dict[str, ModelPrice] = _described("prices", {})

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put our layers, which know where each value stands, in place of pydantic-settings' own sources."""
        return (init_settings, *(_LayerSource(settings_cls, layer) for layer in _read_layers()))


class _LayerSource(PydanticBaseSettingsSource):
    def __init__(self, settings_cls: type[BaseSettings], layer: Layer) -> None:
        super().__init__(settings_cls)
        self._layer = layer

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        raise NotImplementedError("a layer is read whole")

    def __call__(self) -> dict[str, Any]:
        return nest_keys(self._layer.values)


@dataclass(frozen=True, slots=True)
class SettingOrigin:
    """A setting's value, masked, and where it came from."""

    key: str  # dotted
    value: object  # JSON-ready
    origin: str  # flag, `environment NAME`, a path, default
    description: str  # in the language in force


def load_settings(overrides: Mapping[str, object] | None = None) -> Settings:
    """Return the settings in force; `overrides` are dotted keys from flags, of which None means not given.

    Raises:
        SettingsError: a key is unknown, a value is of the wrong kind, or a file can't be read.
    """
    flags = _read_flags(overrides)
    try:
        return Settings.model_validate(nest_keys(flags.values))
    except ValidationError as error:
        raise SettingsError(explain_invalid(error, [flags, *_read_layers()], setting_fields())) from None


def explain_settings(overrides: Mapping[str, object] | None = None) -> list[SettingOrigin]:
    """Return each setting with its value, secrets masked, and where it came from.

    Raises:
        SettingsError: as `load_settings`.
    """
    values = masked_settings(load_settings(overrides))
    layers = [_read_flags(overrides), *_read_layers()]
    explained = []
    for key in setting_fields():
        section, _, name = key.rpartition(".")
        places = [layer.name_place(key) for layer in layers if key in layer.values]
        # Tables merge, all others come from the first layer that has them.
        origin = ", ".join(places if key == "prices" else places[:1]) or "default"
        value = values[section][name] if section else values[name]
        explained.append(SettingOrigin(key, value, origin, t(f"settings.{key}")))
    return explained


def masked_settings(settings: Settings) -> dict[str, Any]:
    """Return `settings` as JSON-ready values, nested, with secrets and passwords in URLs masked."""
    return mask_urls(settings.model_dump(mode="json"))


def setting_fields() -> dict[str, FieldInfo]:
    """Return the field of each setting by its dotted key, in the order of declaration."""
    fields: dict[str, FieldInfo] = {}
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            fields |= {f"{name}.{inner}": each for inner, each in field.annotation.model_fields.items()}
        else:
            fields[name] = field
    return fields


def named_blocks(settings: Settings) -> dict[str, str]:
    """Return the names of the Prefect blocks that stand for secrets in `settings`, by dotted key."""
    blocks = {}
    for key in secret_keys():
        section, _, name = key.rpartition(".")
        secret = getattr(getattr(settings, section), name)
        if secret is not None and secret.get_secret_value().startswith(BLOCK_PREFIX):
            blocks[key] = secret.get_secret_value().removeprefix(BLOCK_PREFIX)
    return blocks


def check_no_blocks(settings: Settings) -> None:
    """Check that every secret is at hand, and none left on a Prefect server.

    Raises:
        SettingsError: one is a block's name.
    """
    for key, block in named_blocks(settings).items():
        raise SettingsError(t("secrets.only_in_flows", key=key, block=block, variable=name_variable(key)))


def secret_keys() -> list[str]:
    """Return the dotted keys of the settings that are secrets."""
    return [key for key, field in setting_fields().items() if "SecretStr" in str(field.annotation)]


def name_variable(key: str) -> str:
    """Return the environment variable for a dotted key."""
    return PREFIX + key.replace(".", "_").upper()


def settings_files() -> list[Path]:
    """Return the files that are looked at, first wins: the project's, then the user's."""
    base = os.environ.get("XDG_CONFIG_HOME") or ""
    home = Path(base) if Path(base).is_absolute() else Path("~/.config").expanduser()
    return [Path(FILE_NAME), home / "bifrost-flow" / FILE_NAME]


def _read_flags(overrides: Mapping[str, object] | None) -> Layer:
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    known = setting_fields()
    for key in given:
        if key not in known:
            raise SettingsError(
                t("settings_error.unknown", where="flag", key=key, hint=find_nearest(key, known))
            )
    return Layer(given, dict.fromkeys(given, "flag"))


def _read_layers() -> list[Layer]:
    known = setting_fields()
    tables = {"prices"}
    return [_read_environment(), *(read_yaml_layer(path, known, tables) for path in settings_files())]


def _read_environment() -> Layer:
    """Read `BIFROST_…` variables, which are text, tables as JSON, and secrets from files (`…_FILE`).

    Raises:
        SettingsError: a variable is named BIFROST_… and is no setting, a table is not JSON, or the file of a
            secret can't be read.
    """
    keys = {name_variable(key): key for key in setting_fields()}
    values: dict[str, object] = {}
    places: dict[str, str] = {}
    files = {name_variable(key) + FILE_SUFFIX: key for key in secret_keys()}
    for name, text in sorted(os.environ.items()):
        if not text or not (name.startswith(PREFIX) or name in FOREIGN_NAMES):
            continue
        if name in files:
            if os.environ.get(name.removesuffix(FILE_SUFFIX)):
                raise SettingsError(
                    t("settings_error.value_and_file", name=name.removesuffix(FILE_SUFFIX), file=name)
                )
            values[files[name]] = read_secret_file(name, Path(text))
            places[files[name]] = f"environment {name}"
            continue
        key = keys.get(name) or FOREIGN_NAMES.get(name)
        if key is None:
            hint = find_nearest(name, keys)
            raise SettingsError(
                t("settings_error.unknown", where=t("settings_error.environment"), key=name, hint=hint)
            )
        if key in values and name in FOREIGN_NAMES:
            continue
        values[key] = _parse_table(name, text) if key == "prices" else text
        places[key] = f"environment {name}"
    return Layer(values, places)


def _parse_table(name: str, text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise SettingsError(t("settings_error.json", name=name, reason=str(error))) from None
