"""Prompts in MLflow's registry: versions that never change, and aliases that say which of them counts.

A prompt there is a chat of two messages, system and user. The alias `production` chooses what runs use. A
snapshot of the production versions lies beside the tables, for those who can't wait for MLflow: whoever
changes a prompt through here, and each tracked run, renews it.
"""

import hashlib
import json
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bifrost_flow.errors import DeliveryError, SettingsError
from bifrost_flow.language import t
from bifrost_flow.prompts import PRODUCTION, Prompt, PromptReference, check_prompt, list_prompts, load_prompt
from connectors.storage import open_storage

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import PromptVersion

SNAPSHOT = "mlflow-prompts.json"

_DESCRIPTION = "description"
_MISSING = ("RESOURCE_DOES_NOT_EXIST",)
_MAX_VERSIONS = 1000


@dataclass(frozen=True, slots=True)
class SavedPrompt:
    """One version of a prompt in the registry."""

    prompt: Prompt
    message: str
    created_at: datetime
    tags: Mapping[str, str]
    aliases: tuple[str, ...]


class PromptRegistry:
    """The prompts in the store of `client`.

    Every method raises `DeliveryError` when MLflow fails, `SettingsError` for a prompt that can't be used.
    """

    def __init__(self, client: "MlflowClient") -> None:
        self._client = client

    def list_names(self) -> list[str]:
        """Return the names of all prompts in the registry."""
        with _translating():
            names, token = [], None
            while True:
                page = self._client.search_prompts(max_results=_MAX_VERSIONS, page_token=token)
                names += [prompt.name for prompt in page]
                if not (token := page.token):
                    return sorted(names)

    def find(self, reference: PromptReference) -> SavedPrompt | None:
        """Return what `reference` names, its production version where it names none, or None."""
        try:
            if reference.version is not None:
                found = self._client.get_prompt_version(reference.name, reference.version)
            else:
                alias = reference.alias or PRODUCTION
                found = self._client.get_prompt_version_by_alias(reference.name, alias)
        except Exception as error:
            if _is_missing(error):
                return None
            raise _translate(error) from error
        return None if found is None else _restore(found)

    def list_versions(self, name: str) -> list[SavedPrompt]:
        """Return the versions of a prompt with their aliases, newest first; none if it is not there."""
        try:
            listed = self._client.search_prompt_versions(name, max_results=_MAX_VERSIONS)
            # The list leaves aliases out.
            versions = [self._client.get_prompt_version(name, each.version) for each in listed]
        except Exception as error:
            if _is_missing(error):
                return []
            raise _translate(error) from error
        saved = [_restore(each, check=False) for each in versions if each is not None]
        return sorted(saved, key=lambda each: -int(each.prompt.version))

    def save(
        self, prompt: Prompt, *, message: str, tags: Mapping[str, str], alias: str | None = PRODUCTION
    ) -> SavedPrompt:
        """Save `prompt` as the next version, and let `alias` name it."""
        check_prompt(prompt)
        template = [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}]
        described = {_DESCRIPTION: prompt.description} if prompt.description else {}

        def register() -> "PromptVersion":
            return self._client.register_prompt(
                prompt.name, template, commit_message=message or None, tags={**described, **tags}
            )

        with _translating():
            try:
                saved = register()
            except Exception as error:
                # MLflow looks whether the prompt is there, then makes it: another process may be faster.
                if getattr(error, "error_code", "") != "RESOURCE_ALREADY_EXISTS":
                    raise
                saved = register()
        if alias:
            self.point(prompt.name, alias, saved.version)
        return replace(_restore(saved), aliases=(alias,) if alias else ())

    def point(self, name: str, alias: str, version: int) -> None:
        """Let `alias` name `version`."""
        with _translating():
            self._client.set_prompt_alias(name, alias, version)

    def delete(self, name: str, version: int | None = None) -> None:
        """Delete a prompt with all its versions, or one version."""
        with _translating():
            if version is None:
                self._client.delete_prompt(name)
            else:
                self._client.delete_prompt_version(name, str(version))


def choose_prompt(
    reference: PromptReference, ask: Callable[[PromptReference], Prompt | None]
) -> tuple[Prompt, str | None]:
    """Return the prompt to use, and what a person should know of the choice.

    `ask` looks into the registry. Where that fails or is too slow, packaged prompts serve.

    Raises:
        SettingsError: there is no such prompt, or the registry is needed for it and can't be asked.
    """
    packaged = reference.name in list_prompts() and not reference.is_exact
    try:
        found, trouble = ask(reference), None
    except (DeliveryError, TimeoutError) as error:
        found, trouble = None, str(error)
    if found is not None:
        return found, None
    if packaged:
        default = load_prompt(reference.name)
        return default, t("prompt.no_registry", name=default.name, reason=trouble) if trouble else None
    if trouble:
        raise SettingsError(t("prompt.registry_needed", name=str(reference), reason=trouble))
    raise SettingsError(
        t("prompt.not_in_registry", name=repr(str(reference)), known=", ".join(list_prompts()))
    )


def write_snapshot(registry: PromptRegistry, warehouse: str, tracking_uri: str) -> None:
    """Keep what production names of the packaged prompts where `read_snapshot` finds it."""
    known = {}
    for name in list_prompts():
        # One that can't be used is told of when somebody asks for it.
        with suppress(SettingsError):
            if found := registry.find(PromptReference(name)):
                known[name] = asdict(found.prompt)
    content = json.dumps({"store": _digest(tracking_uri), "prompts": known}, ensure_ascii=False, indent=1)
    try:
        storage, kept = open_storage(warehouse), b""
        with suppress(FileNotFoundError):
            kept = storage.read(SNAPSHOT)
        if kept != content.encode() and (known or kept):
            storage.write(SNAPSHOT, content.encode())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DeliveryError(t("files.unwritable", path=f"{warehouse}/{SNAPSHOT}", reason=reason)) from error


def read_snapshot(warehouse: str, tracking_uri: str) -> dict[str, Prompt]:
    """Return what production names of the packaged prompts, as somebody last saw it in this registry.

    Only for these: others can be in the registry alone, so whoever names one waits for it.
    """
    try:
        content = json.loads(open_storage(warehouse).read(SNAPSHOT))
        if content["store"] != _digest(tracking_uri):
            return {}
        return {name: Prompt(**fields) for name, fields in content["prompts"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _restore(found: "PromptVersion", *, check: bool = True) -> SavedPrompt:
    """Return a version as we use it.

    Raises:
        SettingsError: it is to be checked, and no chat of two messages that can be rendered.
    """
    prompt = _read_template(found.name, str(found.version), found.template, check=check)
    if check:
        check_prompt(prompt)
    tags = dict(found.tags or {})
    prompt = replace(prompt, description=tags.pop(_DESCRIPTION, ""))
    created_at = datetime.fromtimestamp((found.creation_timestamp or 0) / 1000, UTC)
    return SavedPrompt(prompt, found.commit_message or "", created_at, tags, tuple(found.aliases or ()))


def _read_template(name: str, version: str, template: Any, *, check: bool) -> Prompt:
    parts = {each["role"]: each["content"] for each in template} if isinstance(template, list) else {}
    if parts.keys() == {"system", "user"} and all(isinstance(each, str) for each in parts.values()):
        return Prompt(name, version, parts["system"], parts["user"])
    if check:
        raise SettingsError(t("prompt.no_chat", name=repr(name), version=version))
    return Prompt(name, version, "", str(template))


@contextmanager
def _translating() -> Generator[None]:
    try:
        yield
    except SettingsError:
        raise
    except Exception as error:
        raise _translate(error) from error


def _translate(error: Exception) -> Exception:
    from connectors.tracking_store import describe_error

    if isinstance(error, SettingsError):
        return error
    reason = describe_error(error)
    if getattr(error, "error_code", "") in ("INVALID_PARAMETER_VALUE", *_MISSING):
        return SettingsError(t("prompts.refused", reason=reason))
    return DeliveryError(t("prompts.failed", reason=reason))


def _is_missing(error: Exception) -> bool:
    code = getattr(error, "error_code", "")
    # MLflow calls a missing alias a wrong parameter. Source: sqlalchemy_store.get_model_version_by_alias.
    return code in _MISSING or (code == "INVALID_PARAMETER_VALUE" and "not found" in str(error))
