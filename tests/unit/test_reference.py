"""The reference says what the code says, and the README names every command."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from bifrost_flow import summary
from bifrost_flow.cli import app, failures
from bifrost_flow.language import ROOT
from bifrost_flow.settings import name_variable, setting_fields
from connectors.warehouse.catalog import TABLES, describe_catalog, read_views
from connectors.warehouse.named import read_named_queries

SCRIPT = ROOT / "docs" / "generate_reference.py"


@cache
def read_page() -> str:
    return (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")


def run_script(*words: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *words],
        env=os.environ | environment,
        capture_output=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def generator() -> ModuleType:
    """Return the script as a module."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("generate_reference", SCRIPT)
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def list_commands(group: Any = None, path: str = "bifrost-flow") -> Iterator[tuple[str, Any]]:
    """Yield each command's words and the command, groups included."""
    for name, command in vars(group or typer.main.get_command(app))["commands"].items():
        yield f"{path} {name}", command
        if "commands" in vars(command):
            yield from list_commands(command, f"{path} {name}")


def find_section(heading: str) -> str:
    """Return the text below a heading of the page, up to the next one."""
    return read_page().partition(f"\n{heading}\n")[2].partition("\n#")[0]


def test_reference_is_up_to_date() -> None:
    """The page is what the code says now, whatever the terminal, the language and the settings are."""
    done = run_script("--check", COLUMNS="31", BIFROST_LANG="ko", BIFROST_PROVIDER="bedrock", LC_ALL="C")
    assert (done.returncode, done.stdout.decode()) == (0, ""), "renew the page with: make docs"


def test_a_stale_page_is_told(
    generator: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Any
) -> None:
    """`--check` ends with 1, shows what differs, and writes nothing."""
    stale = tmp_path / "reference.md"
    stale.write_text(read_page().replace("| `lang` |", "| `tongue` |"), encoding="utf-8")
    before = stale.read_bytes()
    monkeypatch.setattr(generator, "PAGE", stale)
    monkeypatch.setattr(generator, "render_reference", read_page)
    monkeypatch.setattr("sys.argv", [str(SCRIPT), "--check"])
    assert generator.main() == 1
    shown = capfdbinary.readouterr().out.decode()
    assert "\n-| `tongue` |" in shown and "\n+| `lang` |" in shown
    assert stale.read_bytes() == before
    monkeypatch.setattr("sys.argv", [str(SCRIPT)])
    assert generator.main() == 0
    assert stale.read_text(encoding="utf-8") == read_page()


@pytest.mark.parametrize(("path", "command"), [pytest.param(*each, id=each[0]) for each in list_commands()])
def test_every_command_is_described(path: str, command: Any) -> None:
    """Each command has a section that names each of its options and says what it does."""
    section = find_section(f"### `{path}`")
    assert section.strip()
    for parameter in command.params:
        is_option = parameter.param_type_name == "option"
        name = parameter.opts[-1] if is_option else parameter.metavar or parameter.name
        row = next(line for line in section.splitlines() if line.startswith("| `") and name in unescape(line))
        assert row.split(" | ")[-1].strip(" |"), f"{name} has no help"
    if "commands" not in vars(command):
        assert "Exit codes: 0, " in section


def unescape(line: str) -> str:
    return line.replace(r"\|", "|")


def test_every_setting_is_described() -> None:
    """Each setting has a row with its variable and its meaning, and the page names no other."""
    section = read_page().partition("\n## Settings\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([\w.]+)` \| (.+) \| (.+) \| `(\w+)`.* \| (.+) \|$", section, re.MULTILINE)
    assert [(key, variable) for key, _, _, variable, _ in rows] == [
        (key, name_variable(key)) for key in setting_fields()
    ]
    assert [key for key, field in setting_fields().items() if str(field.description) not in section] == []


def test_every_table_and_view_is_described() -> None:
    """Each table and view has a section that begins with its grain and lists its columns."""
    for name in {*TABLES, *read_views()}:
        section = find_section(f"### `{name}`")
        assert re.match(r"\n[A-Z]", section), name
        rows = re.findall(r"^\| `\w+` \| (.*) \| (.*) \| (.*) \|$", section, re.MULTILINE)
        assert len(rows) >= 3 and all(meaning for _, _, meaning in rows), name
        assert [row for row in rows if row[0] in ("BIGINT", "DOUBLE") and not row[1]] == [], name
    assert "| `lines` | BIGINT[][] | line | [[first, last], …], inclusive |" in find_section("### `chunks`")


def test_views_describe_the_columns_that_they_have(generator: ModuleType) -> None:
    """No view has a column that its comment leaves out, nor the reverse, and in the same order."""
    described = describe_catalog()
    for name, columns in generator.read_columns().items():
        assert [column for column, _ in columns] == list(described[name].columns), name


def test_every_named_query_is_described() -> None:
    """Each has a section that says what it tells, what one row is, and what it takes."""
    for name, query in read_named_queries().items():
        section = find_section(f"### `{name}`")
        assert "Grain: " in section and "Columns: `" in section, name
        for parameter in query.parameters:
            assert f"| `{parameter.name}` | {parameter.type} | `{parameter.default}` |" in section


def test_every_exit_code_is_described(generator: ModuleType) -> None:
    """The codes of the page are those of the code, and none is told of a command that isn't there."""
    named = (vars(summary) | vars(failures)).items()
    codes = {value for name, value in named if name.startswith("EXIT_") and isinstance(value, int)}
    described = {int(code) for code in re.findall(r"^\| (\d+) \|", read_page(), re.MULTILINE)}
    assert described == codes
    assert {*generator.COMMAND_EXITS} <= {path.split()[1] for path, _ in list_commands()}


def test_readme_names_every_command() -> None:
    """Whoever reads the README's table of commands learns of each of them."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = "\n".join(line for line in readme.splitlines() if line.lstrip().startswith("|"))
    told = {word for code in re.findall(r"`([^`]+)`", rows) for word in re.split(r"[\s,/|\\]+", code)}
    assert {path.split()[1] for path, _ in list_commands()} - told == set()
