"""`config` and `doctor` through the installed console script."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bifrost_flow.language import LANGUAGES
from bifrost_flow.settings import setting_fields

PROGRAM = Path(sys.executable).with_name("bifrost-flow")


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A bare user in an empty folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    return kept | {"HOME": str(tmp_path), "PYTHONUTF8": "1"}


def call(environment: dict[str, str], *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *arguments],
        env=environment | variables,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=240,
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_init_writes_a_file_that_works(environment: dict[str, str], language: str) -> None:
    """The file has every setting, explained in the language asked for, and is valid as it stands."""
    done = call(environment, "config", "init", "--lang", language)
    assert (done.returncode, done.stderr) == (0, "")
    text = Path("bifrost.yaml").read_text(encoding="utf-8")
    assert all(f"{key.rpartition('.')[2]}:" in text for key in setting_fields())
    assert ("기록합니다" in text) == (language == "ko")
    assert call(environment, "config", "show").returncode == 0


def test_init_never_overwrites_unasked(environment: dict[str, str]) -> None:
    """An existing file stays, and the exit code says so; --force replaces it."""
    Path("bifrost.yaml").write_text("lang: ko\n")
    done = call(environment, "config", "init")
    assert (done.returncode, Path("bifrost.yaml").read_text()) == (2, "lang: ko\n")
    assert "--force" in done.stderr
    assert call(environment, "config", "init", "--force").returncode == 0
    assert Path("bifrost.yaml").read_text() != "lang: ko\n"


def test_init_elsewhere(environment: dict[str, str], tmp_path: Path) -> None:
    """--path makes the folders that are missing, and tells when the file is not one that is looked at."""
    done = call(environment, "config", "init", "--path", str(tmp_path / ".config/bifrost-flow/bifrost.yaml"))
    assert (done.returncode, done.stderr) == (0, "")
    other = call(environment, "config", "init", "--path", "other.yaml")
    assert other.returncode == 0
    assert "other.yaml" in other.stderr
    assert call(environment, "config", "init", "--path", "other.yaml/below.yaml").returncode == 2


def test_show_tells_value_and_origin(environment: dict[str, str]) -> None:
    """Each setting has its value and where it came from, in all formats, secrets masked."""
    Path("bifrost.yaml").write_text("ollama:\n  model: qwen\nslack:\n  token: xoxb-geheim\n")
    variables = {"BIFROST_FANOUT_CONCURRENCY": "9"}
    done = call(environment, "config", "show", "--format", "json", "--warehouse", "w", **variables)
    rows = {row["key"]: row for row in json.loads(done.stdout)}
    assert rows.keys() == setting_fields().keys()
    assert (rows["ollama.model"]["value"], rows["ollama.model"]["origin"]) == ("qwen", "bifrost.yaml")
    assert rows["fanout.concurrency"]["origin"] == "environment BIFROST_FANOUT_CONCURRENCY"
    assert (rows["warehouse"]["value"], rows["warehouse"]["origin"]) == ("w", "flag")
    shown = call(environment, "config", "show", "--format", "yaml", **variables)
    assert yaml.safe_load(shown.stdout)["fanout"]["concurrency"] == 9
    table = call(environment, "config", "show", **variables)
    assert "qwen" in next(line for line in table.stdout.splitlines() if line.startswith("ollama.model"))
    assert "geheim" not in done.stdout + shown.stdout + table.stdout
    assert (done.stderr, shown.stderr, table.stderr) == ("", "", "")


def test_show_refuses_what_is_wrong(environment: dict[str, str]) -> None:
    """Wrong settings end with exit code 2 and one line in the language asked for, without a traceback."""
    Path("bifrost.yaml").write_text("ollama:\n  urll: x\n")
    done = call(environment, "config", "show")
    assert (done.returncode, done.stdout) == (2, "")
    assert "bifrost.yaml:2: no such setting: ollama.urll. Did you mean ollama.url?" in done.stderr
    korean = call(environment, "config", "show", BIFROST_LANG="ko")
    assert "없는 설정입니다" in korean.stderr
    assert len(korean.stderr.splitlines()) == 1


def test_path_tells_files_in_order(environment: dict[str, str], tmp_path: Path) -> None:
    """Both files are named, the project's first, with whether they exist."""
    Path("bifrost.yaml").write_text("")
    lines = call(environment, "config", "path").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["exists", "absent"]
    assert lines[0].endswith(str(tmp_path / "here" / "bifrost.yaml"))
    assert lines[1].endswith(str(tmp_path / ".config/bifrost-flow/bifrost.yaml"))


def test_language_of_a_file_is_spoken(environment: dict[str, str]) -> None:
    """`lang: ko` in the project's file makes the output Korean, and a flag goes before it."""
    Path("bifrost.yaml").write_text("lang: ko\n")
    assert "설정" in call(environment, "config", "show").stdout.splitlines()[0]
    assert "setting" in call(environment, "config", "show", "--lang", "en").stdout.splitlines()[0]


# A port that is never served, so that an Ollama on the machine doesn't change what is found.
NO_OLLAMA = {"BIFROST_OLLAMA_URL": "http://127.0.0.1:1"}


def test_doctor_passes_where_nothing_is_configured(environment: dict[str, str], tmp_path: Path) -> None:
    """Missing parts are optional: exit code 0, every part is told, and no file is made."""
    before = sorted(tmp_path.rglob("*"))
    done = call(environment, "doctor", "--format", "json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["status"], done.stderr) == (0, "ok", "")
    names = {each["name"]: each["status"] for each in found["checks"]}
    outside = {"ollama", "openai", "bedrock", "s3", "slack", "webhook", "github", "gitlab", "jenkins"}
    assert names.keys() == outside | {"python", "packages", "language", "warehouse", "prefect", "mlflow"}
    assert {names[each] for each in names.keys() - outside} == {"ok"}
    assert all(each["remedy"] for each in found["checks"] if each["status"] != "ok")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("language", LANGUAGES)
def test_doctor_fails_where_something_configured_is_down(environment: dict[str, str], language: str) -> None:
    """What is configured and doesn't work makes exit code 3, with how to mend it."""
    done = call(environment, "doctor", "--lang", language, **NO_OLLAMA)
    assert done.returncode == 3
    line = next(line for line in done.stdout.splitlines() if line.startswith("ollama"))
    assert ("failed" if language == "en" else "실패") in line
    assert "ollama serve" in done.stdout


def test_doctor_refuses_wrong_settings(environment: dict[str, str]) -> None:
    """Settings that can't be read are the user's to mend: exit code 2."""
    done = call(environment, "doctor", BIFROST_LANG="fr")
    assert (done.returncode, done.stdout) == (2, "")
    assert "BIFROST_LANG" in done.stderr


def test_doctor_checks_single_parts(environment: dict[str, str]) -> None:
    """A health check asks for what a run needs alone, and a part that there isn't is a slip."""
    done = call(environment, "doctor", "--check", "warehouse", "--check", "prefect", "--format", "json")
    assert done.returncode == 0
    assert [each["name"] for each in json.loads(done.stdout)["checks"]] == ["warehouse", "prefect"]
    down = {"PREFECT_API_URL": "http://127.0.0.1:9/api"}
    assert call(environment, "doctor", "--check", "prefect", **down).returncode == 3
    assert call(environment, "doctor", "--check", "warehouse", **down).returncode == 0
    assert call(environment, "doctor", "--check", "wherehouse").returncode == 2
