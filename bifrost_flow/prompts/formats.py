"""Prompts as files: JSON, YAML as the packaged ones are written, and plain text."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from bifrost_flow.errors import SettingsError
from bifrost_flow.language import t
from bifrost_flow.prompts import Prompt

FORMATS = ("yaml", "json", "text")
SUFFIXES = {".yaml": "yaml", ".yml": "yaml", ".json": "json", ".txt": "text", ".md": "text"}

_SYSTEM, _USER = "=== system ===", "=== user ==="
_KEYS = ("name", "version", "description", "tags", "system", "user")


@dataclass(frozen=True, slots=True)
class PromptFile:
    """What a file says of a prompt; `name` is empty where it says none."""

    prompt: Prompt
    tags: Mapping[str, str] = field(default_factory=dict)


class _Dumper(yaml.SafeDumper):
    pass


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def dump_prompt(prompt: Prompt, tags: Mapping[str, str], format: str) -> str:
    """Return `prompt` as the text of a file in one of `FORMATS`; plain text holds the two templates alone."""
    if format == "text":
        return f"{_SYSTEM}\n{prompt.system.strip()}\n\n{_USER}\n{prompt.user.strip()}\n"
    values = {
        "name": prompt.name,
        "version": prompt.version,
        "description": prompt.description,
        "tags": dict(tags),
        "system": prompt.system.strip() + "\n",
        "user": prompt.user.strip() + "\n",
    }
    if format == "json":
        return json.dumps(values, ensure_ascii=False, indent=2) + "\n"
    return yaml.dump(values, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=1000)


def parse_prompt(text: str, format: str) -> PromptFile:
    """Return the prompt in `text`. Its version is not taken over: the registry numbers what it saves.

    Raises:
        SettingsError: it is not in that format, or says something else than a prompt does.
    """
    if format == "text":
        return PromptFile(_parse_text(text))
    try:
        values: Any = json.loads(text) if format == "json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise SettingsError(t("prompts.unreadable", format=format, reason=str(error))) from error
    if not isinstance(values, dict):
        raise SettingsError(t("prompts.unreadable", format=format, reason=type(values).__name__))
    unknown = [str(key) for key in values if key not in _KEYS]
    if unknown:
        raise SettingsError(t("prompts.unknown_key", key=unknown[0], known=", ".join(_KEYS)))
    texts = {key: values.get(key) or "" for key in ("name", "description", "system", "user")}
    tags = values.get("tags") or {}
    wrong = [key for key, value in texts.items() if not isinstance(value, str)]
    if wrong or not isinstance(tags, dict):
        raise SettingsError(t("prompts.wrong_type", key=(wrong or ["tags"])[0]))
    prompt = Prompt(texts["name"], "", texts["system"], texts["user"], texts["description"])
    return PromptFile(prompt, {str(key): str(value) for key, value in tags.items()})


def _parse_text(text: str) -> Prompt:
    parts = re.split(rf"(?m)^({re.escape(_SYSTEM)}|{re.escape(_USER)})[ \t]*\r?$", text)
    named = dict(zip(parts[1::2], parts[2::2], strict=True))
    if len(parts) != 5 or len(named) != 2 or parts[0].strip():
        raise SettingsError(t("prompts.no_parts", system=_SYSTEM, user=_USER))
    return Prompt("", "", named[_SYSTEM].strip() + "\n", named[_USER].strip() + "\n")
