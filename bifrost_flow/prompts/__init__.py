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
LANGUAGE_NAMES = {"en": "English", "ko": "Korean (한국어)"}
VARIABLES = ("lang", "log", "categories", "severities")

_FOLDER = Path(__file__).parent
_VARIABLE = re.compile(r"\{\{\s*(\w+)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Prompt:
    """Two templates; `version` is a hash of them for packaged prompts, the registry's number for others."""

    name: str
    version: str
    system: str
    user: str
    description: str = ""


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
        SettingsError: it uses a variable that nobody fills, or leaves the log out of the question.
    """
    unknown = sorted({name for name in _find_variables(prompt) if name not in VARIABLES})
    shown = {name: f"{{{{{name}}}}}" for name in (*VARIABLES, *unknown)}
    if unknown:
        known = ", ".join(shown[name] for name in VARIABLES)
        message = t(
            "prompt.unknown_variable", name=repr(prompt.name), variable=shown[unknown[0]], known=known
        )
        raise SettingsError(message)
    if "log" not in _VARIABLE.findall(prompt.user):
        raise SettingsError(t("prompt.without_log", name=repr(prompt.name), variable=shown["log"]))


def _find_variables(prompt: Prompt) -> list[str]:
    return _VARIABLE.findall(prompt.system) + _VARIABLE.findall(prompt.user)


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
