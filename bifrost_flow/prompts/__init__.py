"""Prompts: the packaged defaults, and how a prompt and a piece of evidence become the text that a model gets.

A prompt is two templates with `{{variables}}`, as MLflow's registry writes them. `{{log}}` becomes the
numbered lines of the excerpt between markers that the excerpt can't close; it holds nothing of the run (no
path, no date, no line number of the file), so that the same failure gives the same text every night.
"""

import hashlib
import json
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import yaml

from bifrost_flow.errors import SettingsError
from bifrost_flow.excerpt import format_excerpt
from bifrost_flow.language import t
from bifrost_flow.records import CATEGORIES, SEVERITIES, Chunk

DEFAULT_PROMPT = "error_analysis"
PRODUCTION = "production"  # the alias in the registry that chooses what runs use
LANGUAGE_NAMES = {"en": "English", "ko": "Korean (한국어)"}
VARIABLES = ("lang", "log", "categories", "severities")

_FOLDER = Path(__file__).parent
_VARIABLE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_BRACES = re.compile(r"\{\{([^{}\n]{0,40})\}\}")
_REFERENCE = re.compile(r"([A-Za-z0-9_.-]{1,100})(?:@([A-Za-z0-9_.-]{1,100})|:(\d{1,9}))?")


@dataclass(frozen=True, slots=True)
class Prompt:
    """Two templates; `version` is a hash of them for packaged prompts, the registry's number for others."""

    name: str
    version: str
    system: str
    user: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class PromptReference:
    """Which prompt is meant: `name` alone is its production version, else the packaged one."""

    name: str
    alias: str | None = None
    version: int | None = None

    @property
    def is_exact(self) -> bool:
        """Whether it can only be in the registry."""
        return self.alias is not None or self.version is not None

    def __str__(self) -> str:
        if self.version is not None:
            return f"{self.name}:{self.version}"
        return f"{self.name}@{self.alias}" if self.alias else self.name


def parse_reference(text: str) -> PromptReference:
    """Return what `NAME`, `NAME@alias` or `NAME:version` refers to.

    Raises:
        SettingsError: it is none of these.
    """
    found = _REFERENCE.fullmatch(text)
    if not found:
        raise SettingsError(t("prompt.bad_reference", name=repr(text)))
    return PromptReference(found[1], found[2], int(found[3]) if found[3] else None)


def list_prompts() -> tuple[str, ...]:
    """Return the names of the packaged prompts, the default first."""
    names = sorted(path.stem for path in _FOLDER.glob("*.yaml"))
    return (DEFAULT_PROMPT, *(name for name in names if name != DEFAULT_PROMPT))


@cache
def load_prompt(name: str = DEFAULT_PROMPT) -> Prompt:
    """Return the packaged prompt `name`.

    Raises:
        SettingsError: there is none of that name.
    """
    if name not in list_prompts():
        raise SettingsError(t("prompt.unknown", name=repr(name), known=", ".join(list_prompts())))
    fields = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    prompt = Prompt(name, "", fields["system"], fields["user"], fields["description"])
    check_prompt(prompt)
    return replace(prompt, version=hash_prompt(prompt))


def hash_prompt(prompt: Prompt) -> str:
    """Return a version for a prompt without one: `p1:` and 12 hex digits of its templates' SHA-256."""
    canonical = json.dumps([prompt.system, prompt.user], separators=(",", ":"))
    return "p1:" + hashlib.sha256(canonical.encode("ascii")).hexdigest()[:12]


def check_prompt(prompt: Prompt) -> None:
    """Check that `prompt` can be rendered.

    Raises:
        SettingsError: it uses a variable that nobody fills, or leaves out the log or the language.
    """
    texts = f"{prompt.system}\n{prompt.user}"
    unknown = sorted({name.strip() for name in _BRACES.findall(texts)} - {*VARIABLES})
    shown = {name: f"{{{{{name}}}}}" for name in (*VARIABLES, *unknown)}
    if unknown:
        known = ", ".join(shown[name] for name in VARIABLES)
        message = t(
            "prompt.unknown_variable", name=repr(prompt.name), variable=shown[unknown[0]], known=known
        )
        raise SettingsError(message)
    if "log" not in _VARIABLE.findall(prompt.user):
        raise SettingsError(t("prompt.without_log", name=repr(prompt.name), variable=shown["log"]))
    if "lang" not in _VARIABLE.findall(texts):
        raise SettingsError(t("prompt.without_lang", name=repr(prompt.name), variable=shown["lang"]))
    if not prompt.system.strip():
        raise SettingsError(t("prompt.without_system", name=repr(prompt.name)))


def render_prompt(prompt: Prompt, chunk: Chunk, language: str) -> tuple[str, str]:
    """Return the system and user text that ask about `chunk`, to be answered in `language`."""
    values = {
        "lang": LANGUAGE_NAMES[language],
        "log": format_excerpt(chunk),
        "categories": ", ".join(CATEGORIES),
        "severities": ", ".join(SEVERITIES),
    }

    # One pass, so that `{{lang}}` in a log stays what it is.
    def fill(found: re.Match[str]) -> str:
        return values[found[1]]

    return _VARIABLE.sub(fill, prompt.system).strip(), _VARIABLE.sub(fill, prompt.user).strip()
