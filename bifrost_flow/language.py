"""English and Korean for everything that a person reads: one `t()` over `locales/*.json`."""

import json
import os
import string
import sys
from functools import cache
from pathlib import Path

from bifrost_flow.errors import SettingsError

ROOT = Path(__file__).resolve().parents[1]
LANGUAGES = ("en", "ko")

_current: str | None = None


@cache
def _read_locale(language: str) -> dict[str, str]:
    return json.loads((ROOT / "locales" / f"{language}.json").read_text(encoding="utf-8"))


def check_language(language: str) -> str:
    """Return `language` if there is a locale for it.

    Raises:
        SettingsError: there is none.
    """
    if language not in LANGUAGES:
        raise SettingsError(f"No such language: {language!r}. Choose one of: {', '.join(LANGUAGES)}.")
    return language


def set_language(language: str) -> None:
    """Make `language` the one that `t` speaks from now on in this process."""
    global _current
    _current = check_language(language)


def current_language() -> str:
    """Return the language in force: the one set, else `--lang`, else `BIFROST_LANG`, else English.

    The command line is looked at here, since help texts are made before it is parsed.
    """
    if _current:
        return _current
    for position, word in enumerate(sys.argv):
        asked = word.removeprefix("--lang=") if word.startswith("--lang=") else None
        if word == "--lang":
            asked = next(iter(sys.argv[position + 1 : position + 2]), None)
        if asked in LANGUAGES:
            return asked
    from_environment = os.environ.get("BIFROST_LANG", "")
    return from_environment if from_environment in LANGUAGES else "en"


def t(key: str, /, *, lang: str | None = None, **values: object) -> str:
    """Return the text of `key` in `lang` (default: the language in force) with `{name}` placeholders filled.

    `{calls:call|calls}` is a number with the word that goes with it: `1 call`, `2 calls`.

    Raises:
        KeyError: the locales have no such key; a test keeps this from happening.
    """
    text = _read_locale(lang or current_language())[key]
    # Most texts are said as they are, and a report says tens of thousands of them.
    return _TEXTS.vformat(text, (), values) if "{" in text or "}" in text else text


class _Texts(string.Formatter):
    def format_field(self, value: object, format_spec: str) -> str:
        one, choice, many = format_spec.partition("|")
        if not choice:
            return super().format_field(value, format_spec)
        return f"{value} {one if str(value) == '1' else many}"


_TEXTS = _Texts()
