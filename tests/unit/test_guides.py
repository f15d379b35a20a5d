"""The guides name commands, options, settings and messages that there are."""

import json
import re
import shlex

import pytest

from bifrost_flow.language import ROOT
from bifrost_flow.settings import FOREIGN_NAMES, name_variable, setting_fields
from tests.unit.test_ci_files import check_command, list_commands

# The reference is made from the code, and has a test of its own.
GUIDES = {
    path.name: path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "docs").glob("*.md"))
    if path.name != "reference.md"
}


def list_typed(text: str) -> list[list[str]]:
    """Return the words of each command in a page: in its blocks, and between backticks in its sentences."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    spoken = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`[^`\n]*?\bbifrost-flow ([a-z][^`|\n]*)", spoken)
    return [words for block in blocks for words in list_commands(block)] + [
        shlex.split(each) for each in inline
    ]


def test_guides_are_there() -> None:
    """Who deploys, operates or begins finds a page."""
    assert {"deployment.md", "operations.md", "use-cases.md"} <= set(GUIDES)


@pytest.mark.parametrize("name", GUIDES)
def test_commands_in_guides_exist(name: str) -> None:
    """Each command that a guide names is one of ours, with options that it has."""
    for words in list_typed(GUIDES[name]):
        check_command([word for word in words if word != "…"])


@pytest.mark.parametrize("name", GUIDES)
def test_variables_in_guides_are_settings(name: str) -> None:
    """Each variable of ours that a guide names is one that is read."""
    known = {name_variable(key) for key in setting_fields()} | set(FOREIGN_NAMES)
    assert set(re.findall(r"\bBIFROST_[A-Z_]*[A-Z]\b", GUIDES[name])) - known == set()


def test_troubleshooting_quotes_the_program() -> None:
    """What a reader searches the page for is what the program says."""
    messages = json.loads((ROOT / "locales" / "en.json").read_text(encoding="utf-8")).values()
    table = GUIDES["operations.md"].partition("## Troubleshooting")[2]
    quoted = re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)
    assert len(quoted) > 10
    assert [words for words in quoted if not any(words in message for message in messages)] == []
