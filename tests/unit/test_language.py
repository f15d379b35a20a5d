"""The locales say the same things, the code asks for nothing else, and nothing in them is left over."""

import ast
import json
import re
import string
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from bifrost_flow import language
from bifrost_flow.errors import SettingsError
from bifrost_flow.language import LANGUAGES, ROOT, check_language, current_language, set_language, t
from bifrost_flow.settings import setting_fields

CODE = ("bifrost_flow", "connectors", "tasks", "flows")


@cache
def read_locale(name: str) -> dict[str, str]:
    return json.loads((ROOT / "locales" / f"{name}.json").read_text(encoding="utf-8"))


def find_placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@cache
def parse_sources() -> list[tuple[Path, ast.Module]]:
    paths = [path for folder in CODE for path in sorted((ROOT / folder).rglob("*.py"))]
    return [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in paths]


def find_calls() -> Iterator[tuple[str, ast.Call]]:
    """Yield each call of `t`, and where it stands. Lambdas only pass on what a template asks for."""
    for path, tree in parse_sources():
        passed_on = {
            id(node) for each in ast.walk(tree) if isinstance(each, ast.Lambda) for node in ast.walk(each)
        }
        for node in ast.walk(tree):
            named_t = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "t"
            if named_t and node.args and id(node) not in passed_on:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def list_keys(node: ast.expr) -> list[str]:
    """Return the keys that an argument can be, as far as it is written out."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.IfExp):
        return [*list_keys(node.body), *list_keys(node.orelse)]
    return []


def make_pattern(node: ast.JoinedStr) -> re.Pattern[str]:
    parts = [
        re.escape(str(each.value)) if isinstance(each, ast.Constant) else r"[\w.-]+" for each in node.values
    ]
    return re.compile("".join(parts))


def list_patterns() -> list[re.Pattern[str]]:
    """Return what f-strings that begin like a key can become, in calls of `t` or before them."""
    areas = {key.partition(".")[0] for key in read_locale("en")}
    patterns = []
    for _, tree in parse_sources():
        skipped = {
            id(node) for each in ast.walk(tree) if isinstance(each, ast.Lambda) for node in ast.walk(each)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.JoinedStr) or id(node) in skipped:
                continue
            first = node.values[0] if node.values else None
            head = str(first.value) if isinstance(first, ast.Constant) else ""
            if "." in head and head.partition(".")[0] in areas:
                patterns.append(make_pattern(node))
    return patterns


def list_template_keys() -> set[str]:
    """Return the keys that the report's templates ask for; `t` adds their area there."""
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "bifrost_flow").rglob("*.j2"))
    return {f"render.{key}" for key in re.findall(r"""\bt\(\s*["']([\w.-]+)["']""", text)}


@pytest.mark.parametrize("name", LANGUAGES)
def test_locales_have_the_same_keys(name: str) -> None:
    """No text exists in one language only."""
    assert read_locale(name).keys() == read_locale("en").keys()


@pytest.mark.parametrize("name", LANGUAGES)
def test_locales_have_the_same_placeholders(name: str) -> None:
    """A translation tells the same facts."""
    english = read_locale("en")
    different = [
        key
        for key, text in read_locale(name).items()
        if find_placeholders(text) != find_placeholders(english[key])
    ]
    assert different == []


@pytest.mark.parametrize("name", LANGUAGES)
def test_no_text_is_empty(name: str) -> None:
    """Every key says something."""
    assert [key for key, text in read_locale(name).items() if not text.strip()] == []


def test_keys_in_code_exist() -> None:
    """No call of `t` names a key that the locales lack."""
    known = read_locale("en").keys()
    missing = [
        (place, key) for place, call in find_calls() for key in list_keys(call.args[0]) if key not in known
    ]
    missing += [("template", key) for key in list_template_keys() if key not in known]
    assert missing == []


def test_key_prefixes_in_code_exist() -> None:
    """Each f-string given to `t` can become at least one key."""
    known = read_locale("en").keys()
    patterns = [
        (place, make_pattern(call.args[0]))
        for place, call in find_calls()
        if isinstance(call.args[0], ast.JoinedStr)
    ]
    assert [place for place, pattern in patterns if not any(map(pattern.fullmatch, known))] == []


def test_calls_fill_the_placeholders() -> None:
    """Each call of `t` gives exactly the values that its text has places for."""
    english = read_locale("en")
    wrong = []
    for place, call in find_calls():
        given = {each.arg for each in call.keywords} - {"lang"}
        if None in given:
            continue  # `**values` can't be seen from here
        wanted = [find_placeholders(english[key]) for key in list_keys(call.args[0]) if key in english]
        if wanted and given != set().union(*wanted):
            wrong.append((place, sorted(set().union(*wanted) ^ given, key=str)))
    assert wrong == []


def test_no_key_is_left_over() -> None:
    """Each key is used somewhere: written out, by an f-string, or in a template."""
    written = {
        node.value
        for _, tree in parse_sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    written |= list_template_keys()
    patterns = list_patterns()
    unused = [
        key
        for key in read_locale("en")
        if key not in written and not any(each.fullmatch(key) for each in patterns)
    ]
    assert unused == []


def test_every_setting_is_described_and_nothing_else() -> None:
    """The texts under `settings.` are those of the settings that exist."""
    described = {key.removeprefix("settings.") for key in read_locale("en") if key.startswith("settings.")}
    assert described == setting_fields().keys()


def test_language_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was set goes before the command line, that before the environment, that before English."""
    monkeypatch.setattr(language, "_current", None)
    monkeypatch.setattr("sys.argv", ["bifrost-flow", "doctor"])
    monkeypatch.delenv("BIFROST_LANG", raising=False)
    assert current_language() == "en"
    monkeypatch.setenv("BIFROST_LANG", "ko")
    assert current_language() == "ko"
    monkeypatch.setattr("sys.argv", ["bifrost-flow", "doctor", "--lang=en"])
    assert current_language() == "en"
    monkeypatch.setattr("sys.argv", ["bifrost-flow", "doctor", "--lang", "en"])
    assert current_language() == "en"
    set_language("ko")
    assert t("doctor.status.ok") == "정상"
    assert t("doctor.status.ok", lang="en") == "ok"


def test_unknown_language_is_refused() -> None:
    """A language without a locale is a settings error that names those there are."""
    with pytest.raises(SettingsError, match="en, ko"):
        check_language("fr")
