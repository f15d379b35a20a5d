"""The guides name commands, options, settings and messages that there are."""

import json
import re
import shlex

import pytest
import yaml

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
    """Each variable of ours that a guide names is one that is read: by the program, or by a test that it
    names beside it."""
    known = {name_variable(key) for key in setting_fields()} | set(FOREIGN_NAMES)
    for test in set(re.findall(r"\btests/[a-z0-9_/]+\.py\b", GUIDES[name])):
        source = (ROOT / test).read_text(encoding="utf-8")
        known |= set(re.findall(r"environ[^\n]*\"(BIFROST_[A-Z_]+)\"", source))
    assert set(re.findall(r"\bBIFROST_[A-Z_]*[A-Z]\b", GUIDES[name])) - known == set()


@pytest.mark.parametrize("name", GUIDES)
def test_deployments_in_guides_exist(name: str) -> None:
    """What a guide has Prefect run, or names in a table, is deployed by that name."""
    file = yaml.safe_load((ROOT / "deployments" / "prefect.yaml").read_text(encoding="utf-8"))
    deployed = {f"{each['entrypoint'].split('.')[1]}/{each['name']}" for each in file["deployments"]}
    named = set(re.findall(r"\b(?:audit|analyze)/[a-z][a-z-]*", GUIDES[name]))
    assert named <= deployed


def test_shards_run_side_by_side() -> None:
    """What a petabyte is divided into does not wait for its neighbour, as a night does."""
    run = set(re.findall(r"^ *prefect deployment run (\S+)", GUIDES["petabyte.md"], re.MULTILINE))
    assert run == {"audit/shard"}
    file = yaml.safe_load((ROOT / "deployments" / "prefect.yaml").read_text(encoding="utf-8"))
    limits = {each["name"]: each.get("concurrency_limit") for each in file["deployments"]}
    assert limits["nightly"]["limit"] == 1
    assert limits["shard"] is limits["shard-kubernetes"] is None


def test_troubleshooting_quotes_the_program() -> None:
    """What a reader searches the page for is what the program says."""
    messages = json.loads((ROOT / "locales" / "en.json").read_text(encoding="utf-8")).values()
    table = GUIDES["operations.md"].partition("## Troubleshooting")[2]
    quoted = re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)
    assert len(quoted) > 10
    assert [words for words in quoted if not any(words in message for message in messages)] == []
