"""One place that settings come from, flat, with the place of each value; and the reading of YAML into it."""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bifrost_flow.errors import SettingsError
from bifrost_flow.language import t


@dataclass(frozen=True, slots=True)
class Layer:
    """Values by dotted key, and where each stands."""

    values: dict[str, object]
    places: dict[str, str]
    lines: dict[str, int] = field(default_factory=dict)  # 1-based, for files only

    def name_place(self, key: str, *, line: bool = False) -> str:
        """Return where `key` stands, with its line in a file if asked."""
        return f"{self.places[key]}:{self.lines[key]}" if line and key in self.lines else self.places[key]


def nest_keys(values: Mapping[str, object]) -> dict[str, object]:
    """Turn dotted keys into nested tables."""
    nested: dict[str, object] = {}
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        table = nested.setdefault(section, {}) if section else nested
        assert isinstance(table, dict)
        table[name] = value
    return nested


def find_nearest(name: str, known: Collection[str]) -> str:
    """Return a sentence with the known name most like `name`, or all of them where none is like it."""
    # Of sections with a key of this name, the first declared is meant.
    tails = {each.rpartition(".")[2]: each for each in reversed([*known])}
    if name in tails:
        return t("settings_error.nearest", name=tails[name])
    if near := difflib.get_close_matches(name, known, n=1, cutoff=0.6):
        return t("settings_error.nearest", name=near[0])
    if near := difflib.get_close_matches(name.rpartition(".")[2], tails, n=1, cutoff=0.75):
        return t("settings_error.nearest", name=tails[near[0]])
    return t("settings_error.known")


def read_secret_file(name: str, path: Path) -> str:
    """Return the secret in the file that variable `name` names, without the line's end.

    Raises:
        SettingsError: it can't be read, or is empty.
    """
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(
            t("settings_error.secret_file", name=name, path=path, reason=error.strerror)
        ) from None
    except UnicodeDecodeError:
        raise SettingsError(t("settings_error.secret_file", name=name, path=path, reason="UTF-8")) from None
    if not text:
        raise SettingsError(t("settings_error.secret_empty", name=name, path=path))
    return text


def read_yaml_layer(path: Path, known: Collection[str], tables: Collection[str]) -> Layer:
    """Read a file of settings; one that does not exist is an empty layer.

    `known` are the dotted keys that settings have; the keys in `tables` take a mapping as their value.

    Raises:
        SettingsError: it can't be read, is not YAML, or has a key that is unknown or stands twice.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Layer({}, {})
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(t("settings_error.unreadable", path=path, reason=str(error))) from error
    try:
        root = yaml.compose(text, yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        reason = getattr(error, "problem", None) or str(error)
        raise SettingsError(t("settings_error.yaml", path=path, line=line, reason=reason)) from error
    if content is None:
        return Layer({}, {})
    if not isinstance(content, dict):
        raise SettingsError(t("settings_error.no_mapping", path=path))
    lines = _find_lines(path, root)
    values = _flatten(path, content, known, tables, lines)
    return Layer(values, dict.fromkeys(values, str(path)), lines)


def _find_lines(path: Path, root: object) -> dict[str, int]:
    """Return the line of each key of the first two levels; PyYAML drops the first of two equal keys."""
    import yaml

    lines: dict[str, int] = {}

    def visit(node: object, prefix: str) -> None:
        if not isinstance(node, yaml.MappingNode):
            return
        for key_node, value_node in node.value:
            key = f"{prefix}{key_node.value}"
            line = key_node.start_mark.line + 1
            if key in lines:
                raise SettingsError(
                    t("settings_error.twice", path=path, line=line, key=key, first=lines[key])
                )
            lines[key] = line
            if not prefix:
                visit(value_node, f"{key}.")

    visit(root, "")
    return lines


def _flatten(
    path: Path,
    content: dict[object, object],
    known: Collection[str],
    tables: Collection[str],
    lines: Mapping[str, int],
) -> dict[str, object]:
    sections = {key.partition(".")[0] for key in known if "." in key}
    values: dict[str, object] = {}
    for name, value in content.items():
        if name in sections:
            if value is None:  # a section whose lines are all commented out
                continue
            if not isinstance(value, dict):
                where = f"{path}:{lines[str(name)]}"
                raise SettingsError(t("settings_error.section", where=where, key=name))
            found = {f"{name}.{inner}": each for inner, each in value.items()}
        elif name in tables and value is None:
            continue
        else:
            found = {str(name): value}
        for key, each in found.items():
            if key not in known:
                where = f"{path}:{lines.get(key, 1)}"
                hint = find_nearest(key, [*known, *sections] if "." not in key else known)
                raise SettingsError(t("settings_error.unknown", where=where, key=key, hint=hint))
            values[key] = each
    return values
