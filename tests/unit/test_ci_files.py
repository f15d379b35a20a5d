"""The CI files for users: valid by their systems' schemas, with commands that there are, careful with
secrets."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer.main
import yaml
from typer.core import TyperGroup

from bifrost_flow.cli import app
from bifrost_flow.language import ROOT
from bifrost_flow.render import find_format
from bifrost_flow.settings import FOREIGN_NAMES, name_variable, setting_fields
from tests.tools import call_tool

FILES = {
    name: ROOT / "deployments" / "ci" / name
    for name in ("github-actions.yml", "gitlab-ci.yml", "Jenkinsfile")
}


def read_text(name: str) -> str:
    return FILES[name].read_text(encoding="utf-8")


def list_scripts(name: str) -> list[str]:
    """Return the shell scripts in a CI file."""
    if name == "Jenkinsfile":
        text = read_text(name)
        return [*re.findall(r"sh '''(.*?)'''", text, re.DOTALL), *re.findall(r"sh '([^']+)'", text)]
    value = yaml.safe_load(read_text(name))
    if name == "gitlab-ci.yml":
        return ["\n".join(value["explain"]["script"])]
    return [step["run"] for step in value["jobs"]["explain"]["steps"] if "run" in step]


def list_commands(text: str) -> list[list[str]]:
    """Return the words of each call of bifrost-flow in a script or a page."""
    commands = []
    for line in text.replace("\\\n", " ").splitlines():
        if "bifrost-flow " not in line:
            continue
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&()")
        lexer.whitespace_split = True
        words = list(lexer)
        while "bifrost-flow" in words:
            words = words[words.index("bifrost-flow") + 1 :]
            end = next((at for at, word in enumerate(words) if set(word) <= set("|;&()")), len(words))
            if end:
                commands.append(words[:end])
    return commands


def check_command(words: list[str]) -> None:
    """Fail unless there is such a command with such options."""
    command = typer.main.get_command(app)
    context = command.make_context("bifrost-flow", list(words), resilient_parsing=True)
    rest = list(words)
    while isinstance(command, TyperGroup):
        name = rest.pop(0)
        command = command.commands[name]  # a KeyError names what there is not
        context = type(context)(command, info_name=name, parent=context)
    options = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
    given = {word.partition("=")[0] for word in rest if word.startswith("-") and word != "-"}
    assert given <= options | {"--help"}, (words, given - options)
    formats = [rest[at + 1] for at, word in enumerate(rest[:-1]) if word == "--format"]
    if command.name in ("run", "export"):
        for each in ",".join(formats).split(",") if formats else []:
            if not each.isupper():  # a word that stands for one
                find_format(each)


@pytest.mark.parametrize("schema", ["github-workflows", "gitlab-ci"])
def test_files_hold_against_the_schemas(schema: str) -> None:
    """GitHub's and GitLab's own schemas take the files."""
    name = {"github-workflows": "github-actions.yml", "gitlab-ci": "gitlab-ci.yml"}[schema]
    words = ["--data-transform", "gitlab-ci"] if schema == "gitlab-ci" else []
    done = call_tool("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *words, FILES[name])
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", FILES)
def test_scripts_are_shell_and_commands_exist(name: str) -> None:
    """Each script parses, and each command in it is one of ours with options that it has."""
    commands = []
    for script in list_scripts(name):
        done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), script
        commands += list_commands(script)
    assert [words[0] for words in commands] == ["run", "export", "export"]
    for words in commands:
        check_command(words)
    joined = [" ".join(words) for words in commands]
    assert "--fail-on new" in joined[0] and "pr-comment" in joined[1] and "sarif" in joined[2]


@pytest.mark.parametrize("name", FILES)
def test_variables_are_settings(name: str) -> None:
    """A variable named BIFROST_… that is no setting would stop the command."""
    known = {name_variable(key) for key in setting_fields()} | set(FOREIGN_NAMES)
    named = set(re.findall(r"\bBIFROST_[A-Z_]+", read_text(name)))
    unknown = named - known
    assert unknown == set(), unknown


def test_github_hands_nothing_to_a_fork() -> None:
    """The workflow runs beside the tests with few rights, checks out nothing, and puts no text of others into
    a script."""
    text = read_text("github-actions.yml")
    value = yaml.safe_load(text)
    assert set(value[True]) == {"workflow_run"}  # YAML reads `on` as true
    assert "pull_request_target" not in text and "actions/checkout" not in text
    assert value["permissions"] == {}
    rights = value["jobs"]["explain"]["permissions"]
    assert {name for name, right in rights.items() if right == "write"} == {
        "pull-requests",
        "security-events",
    }
    assert not [script for script in list_scripts("github-actions.yml") if "${{" in script]
    saving = [step for step in value["jobs"]["explain"]["steps"] if "cache/save" in step.get("uses", "")]
    assert "default_branch" in saving[0]["if"]


def test_jenkins_and_gitlab_hand_nothing_to_a_fork() -> None:
    """Groovy never sees a secret, and where there is no token nothing is fetched or posted."""
    jenkins = read_text("Jenkinsfile")
    assert 'sh "' not in jenkins and 'sh """' not in jenkins
    assert "env.CHANGE_ID && !env.CHANGE_FORK" in jenkins
    rules = yaml.safe_load(read_text("gitlab-ci.yml"))["explain"]["rules"]
    assert rules[0] == {"if": "$GITLAB_TOKEN == null", "when": "never"}


def test_each_file_is_documented() -> None:
    """The deployment guide names each of them."""
    guide = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    assert [name for name in FILES if f"deployments/ci/{Path(name).name}" not in guide] == []
