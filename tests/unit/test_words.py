"""Typer's words and its complaints are told in both languages, with the value that was wrong."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from bifrost_flow import language
from bifrost_flow.cli import app
from bifrost_flow.cli.completion import PROVIDERS, complete_formats, complete_from, complete_runs
from bifrost_flow.language import set_language, t
from bifrost_flow.settings import Settings
from tests.console import BIFROST


@pytest.fixture(autouse=True)
def _language_of_its_own() -> Iterator[None]:
    yield
    language._current = None


def call(capsys: pytest.CaptureFixture[str], lang: str, *words: str) -> tuple[int, str, str]:
    """Call the program in this process; return its exit code, output and errors."""
    set_language(lang)
    with pytest.raises(SystemExit) as ended:
        app(list(words), prog_name="bifrost-flow")
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


WRONG_CALLS = [
    (("run", "x", "--concurrency", "many"), "--concurrency: 'many' is not a whole number.", "'many'"),
    (("run", "x", "--concurrency", "0"), "--concurrency: '0' is not a number ≥ 1.", "숫자 ≥ 1"),
    (("run", "x", "--max-cost", "much"), "--max-cost: 'much' is not a number.", "'much'"),
    (("run", "x", "--model"), "Option --model needs a value.", "값이 필요합니다"),
    (("run", "x", "--no-cache=3"), "Option --no-cache takes no value.", "값을 받지 않습니다"),
    (("run",), "PATH|GLOB|- is missing.", "빠졌습니다"),
    (("run", "x", "--fail-onn", "new"), "No such option: --fail-onn. Did you mean --fail-on?", "--fail-onn"),
    (("rum",), "No such command: 'rum'. Did you mean 'run'?", "명령이 없습니다"),
    (("show", "a", "b"), "Unexpected words: b. Quote a value that holds spaces.", "예상하지 못한 단어: b"),
    (("extract", "x", "--format", "xml"), "--format: xml is not one of jsonl, text.", "--format: xml"),
    (("history", "--format", "xml"), "'xml' is not one of: table, json.", "허용: 다음 중 하나: table, json"),
]


@pytest.mark.parametrize(("words", "english", "korean"), WRONG_CALLS, ids=lambda value: str(value)[:40])
def test_a_wrong_call_is_told(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], english: str, korean: str
) -> None:
    """Each kind of wrong call ends with 2 and says what was wrong, in English and in Korean."""
    code, out, err = call(capsys, "en", *words)
    assert (code, out) == (2, "")
    assert english in err.splitlines()[-1]
    code, out, err = call(capsys, "ko", *words)
    assert (code, out) == (2, "")
    assert korean in err
    for foreign in ("Usage", "Error", "Try ", "Invalid value", "No such", "Missing", "is not a"):
        assert foreign not in err


def test_help_has_no_english_words_of_typer() -> None:
    """In Korean the frame of a help page is Korean too, on commands, groups and the program itself."""
    environment = {**os.environ, "BIFROST_LANG": "ko", "COLUMNS": "100", "PYTHONUTF8": "1"}
    for words in ([], ["run"], ["config", "init"], ["prompts"]):
        done = subprocess.run(
            [BIFROST, *words, "--help"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.startswith("사용법: ")
        assert t("typer.show_help", lang="ko") in done.stdout
        for foreign in (
            "Usage",
            "Options:",
            "Commands:",
            "Arguments:",
            "Show this",
            "[required]",
            "[default",
        ):
            assert foreign not in done.stdout


def test_numbers_take_the_word_that_goes_with_them() -> None:
    """One is singular, all else plural, with or without separators."""
    assert t("cache.totals", answers="1", size="2 kB", lang="en") == "1 answer, 2 kB"
    assert t("cache.totals", answers=0, size="0 B", lang="en") == "0 answers, 0 B"
    assert t("cache.totals", answers="1,001", size="2 kB", lang="en") == "1,001 answers, 2 kB"


def test_providers_offered_are_those_of_the_settings() -> None:
    """The shell offers what the setting allows, no more and no less."""
    assert get_args(Settings.model_fields["provider"].annotation) == PROVIDERS


def test_completion_keeps_what_is_typed() -> None:
    """Only what goes on from the typed text is offered, after a comma too."""
    assert complete_from(("new", "any"))("n") == ["new"]
    assert "markdown,html" in complete_formats("markdown,h")
    assert all(each.startswith("markdown,h") for each in complete_formats("markdown,h"))


def test_no_warehouse_offers_no_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Completing a run where there is no warehouse is silent and makes none."""
    monkeypatch.setenv("BIFROST_WAREHOUSE", str(tmp_path / "none"))
    assert complete_runs("") == []
    assert not (tmp_path / "none").exists()


def complete(line: str) -> list[str]:
    """Return what the program offers bash at the end of `line`."""
    environment = {
        **os.environ,
        "_BIFROST_FLOW_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
    }
    done = subprocess.run([BIFROST], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_the_shell_completes_commands_options_and_values() -> None:
    """The installed program answers bash's questions."""
    assert "analyze" in complete("bifrost-flow ana")
    assert "--fail-on" in complete("bifrost-flow run --fail")
    assert complete("bifrost-flow run --provider o") == ["ollama", "openai"]
    assert complete("bifrost-flow analyze --lang ") == ["en", "ko"]
