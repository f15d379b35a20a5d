"""Settings: precedence, origins, masking, and messages that say where and what."""

import json
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bifrost_flow.errors import SettingsError
from bifrost_flow.language import LANGUAGES, set_language
from bifrost_flow.settings import (
    explain_settings,
    load_settings,
    masked_settings,
    name_variable,
    setting_fields,
    settings_files,
)
from bifrost_flow.settings_errors import MASK
from bifrost_flow.settings_template import render_template

# Names that other systems' users know and that keep their meaning.
KEPT_KEYS = [
    *("ollama.url", "ollama.model", "ollama.timeout", "ollama.max_retries"),
    *("bedrock.region", "bedrock.model", "bedrock.profile"),
    *("log.max_size_mb", "log.remove_timestamps"),
    *("output.format", "output.color", "output.verbose"),
]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty folder, without settings of the machine's user."""
    for name in os.environ:
        if name.startswith("BIFROST_") or name == "MLFLOW_TRACKING_URI":
            monkeypatch.delenv(name)
    monkeypatch.setattr("bifrost_flow.language._current", "en")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def write_user_file(text: str) -> Path:
    path = settings_files()[1]
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    return path


def find_origin(key: str, overrides: dict[str, object] | None = None) -> tuple[object, str]:
    return next((each.value, each.origin) for each in explain_settings(overrides) if each.key == key)


def fail_to_load(**overrides: object) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(overrides)
    return str(caught.value)


def test_defaults_need_nothing() -> None:
    """Without files, flags and environment everything has its default."""
    found = load_settings()
    assert (found.warehouse, found.project, found.provider, found.lang) == (
        "./bifrost-warehouse",
        "default",
        "auto",
        "en",
    )
    assert found.ollama.url == "http://127.0.0.1:11434"
    assert {each.origin for each in explain_settings()} == {"default"}


def test_precedence(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flags, environment, the project's file, the user's file, defaults: the first that has a value wins."""
    user = write_user_file("fanout:\n  concurrency: 2\nproject: user\n")
    assert find_origin("fanout.concurrency") == (2, str(user))
    Path("bifrost.yaml").write_text("fanout:\n  concurrency: 3\n")
    assert find_origin("fanout.concurrency") == (3, "bifrost.yaml")
    assert find_origin("project") == ("user", str(user))
    monkeypatch.setenv("BIFROST_FANOUT_CONCURRENCY", "5")
    assert find_origin("fanout.concurrency") == (5, "environment BIFROST_FANOUT_CONCURRENCY")
    assert find_origin("fanout.concurrency", {"fanout.concurrency": 7}) == (7, "flag")
    assert load_settings({"fanout.concurrency": 7}).fanout.concurrency == 7
    assert find_origin("fanout.max_calls") == (None, "default")


def test_flags_that_are_none_are_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag that was left out leaves the environment's value alone."""
    monkeypatch.setenv("BIFROST_PROJECT", "nightly")
    assert load_settings({"project": None}).project == "nightly"


def test_a_section_takes_each_value_from_its_own_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Setting one value of a section doesn't hide the section's other values."""
    Path("bifrost.yaml").write_text("ollama:\n  url: http://a:1\n  model: m\n")
    monkeypatch.setenv("BIFROST_OLLAMA_URL", "http://b:2")
    found = load_settings({"ollama.timeout": 5})
    assert (found.ollama.url, found.ollama.model, found.ollama.timeout) == ("http://b:2", "m", 5)


@pytest.mark.parametrize("key", KEPT_KEYS)
def test_known_keys_keep_their_names(key: str) -> None:
    """Settings that users of the earlier system know exist under the same names."""
    assert key in setting_fields()


def test_every_setting_has_one_environment_variable() -> None:
    """No two settings share a variable."""
    names = [name_variable(key) for key in setting_fields()]
    assert len({*names}) == len(names)
    assert {
        "BIFROST_OLLAMA_URL",
        "BIFROST_OLLAMA_MODEL",
        "BIFROST_BEDROCK_REGION",
        "BIFROST_BEDROCK_MODEL",
    } <= {*names}


def test_every_setting_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting takes its value from its BIFROST_ variable."""
    values = {
        "prices": '{"m": {"input": 1, "output": 2}}',
        "provider": "rules",
        "lang": "ko",
        "serve.catch_up": "all",
        "runner.kind": "dask",
        "output.format": "json",
        "metrics.pushgateway": "http://h:1",
    }
    for key, field in setting_fields().items():
        kind = str(field.annotation)
        value = values.get(key) or (
            "true" if "bool" in kind else "700" if "int" in kind or "float" in kind else ""
        )
        value = value or ("http://h:1" if "url" in key or "endpoint" in key else "some")
        monkeypatch.setenv(name_variable(key), value)
    origins = {each.key: each.origin for each in explain_settings()}
    assert origins == {key: f"environment {name_variable(key)}" for key in setting_fields()}


def test_mlflows_own_variable_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLFLOW_TRACKING_URI counts, and goes behind our own name for it."""
    Path("bifrost.yaml").write_text("mlflow:\n  tracking_uri: http://file:1\n")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://foreign:1")
    assert find_origin("mlflow.tracking_uri") == ("http://foreign:1", "environment MLFLOW_TRACKING_URI")
    monkeypatch.setenv("BIFROST_MLFLOW_TRACKING_URI", "http://ours:1")
    assert find_origin("mlflow.tracking_uri") == ("http://ours:1", "environment BIFROST_MLFLOW_TRACKING_URI")


def test_empty_variables_are_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose files and config maps leave empty variables behind: they mean nothing."""
    monkeypatch.setenv("BIFROST_OLLAMA_URL", "")
    assert find_origin("ollama.url")[1] == "default"


def test_prices_of_several_places_are_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A project's table of prices adds to the user's, and both are named."""
    user = write_user_file("prices:\n  a: {input: 1, output: 2}\n")
    Path("bifrost.yaml").write_text("prices:\n  b: {input: 3, output: 4}\n")
    assert sorted(load_settings().prices) == ["a", "b"]
    assert find_origin("prices")[1] == f"bifrost.yaml, {user}"


def test_unknown_key_in_a_file_names_the_nearest() -> None:
    """A typing error in a file is told with its line and the name that was meant."""
    Path("bifrost.yaml").write_text("lang: en\nollama:\n  urll: x\n")
    assert fail_to_load() == "bifrost.yaml:3: no such setting: ollama.urll. Did you mean ollama.url?"


def test_unknown_key_finds_its_section() -> None:
    """A key that stands outside of its section is told where it belongs."""
    Path("bifrost.yaml").write_text("max_retries: 4\n")
    assert "Did you mean ollama.max_retries?" in fail_to_load()


def test_unknown_variable_names_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing error in a variable is told with the name that was meant."""
    monkeypatch.setenv("BIFROST_OLAMA_URL", "http://x")
    message = fail_to_load()
    assert "BIFROST_OLAMA_URL" in message
    assert "Did you mean BIFROST_OLLAMA_URL?" in message
    assert "http://x" not in message


def test_unknown_key_like_nothing_points_to_the_list() -> None:
    """Where no name is near, the message says where all names are."""
    Path("bifrost.yaml").write_text("xyzzy: 4\n")
    assert "config show" in fail_to_load()


def test_unknown_flag_is_refused() -> None:
    """Overrides with a name that is no setting are refused too."""
    with pytest.raises(SettingsError, match=r"ollama\.url"):
        load_settings({"ollama.ulr": "x"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "fanout:\n  concurrency: 0\n",
            "bifrost.yaml:2: fanout.concurrency is 0, but must be a whole number ≥ 1.",
        ),
        ("fanout:\n  concurrency: 1.5\n", "fanout.concurrency is 1.5, but must be a whole number."),
        ("ollama:\n  timeout: soon\n", 'ollama.timeout is "soon", but must be a number.'),
        ("lang: fr\n", 'bifrost.yaml:1: lang is "fr", but must be one of: en, ko.'),
        ("output:\n  color: 7\n", "output.color is 7, but must be true or false."),
        ("project: 12\n", "project is 12, but must be text that is not empty (numbers in quotes)."),
        ("project: ../up\n", 'project is "../up", but must be 1 to 64 letters'),
        ("ollama:\n  url: localhost:11434\n", "but must be an address that starts with http:// or https://."),
        ("ollama: http://x\n", "bifrost.yaml:1: ollama is a section"),
        ("prices:\n  m: 3\n", "prices.m is 3, but must be a table such as"),
        ("lang: en\nlang: ko\n", "bifrost.yaml:2: lang stands twice; the first is on line 1."),
        ("- lang\n", "bifrost.yaml: must hold settings as `name: value` lines."),
        ("lang: en\nollama: [\n", "bifrost.yaml:3: not valid YAML"),
        ("!!python/object/apply:os.getcwd []\n", "bifrost.yaml:1: not valid YAML"),
    ],
)
def test_wrong_values_are_explained(text: str, expected: str) -> None:
    """A message says where the value stands, what it is and what it may be."""
    Path("bifrost.yaml").write_text(text)
    assert expected in fail_to_load()


def test_all_wrong_values_are_told_at_once() -> None:
    """Nobody has to mend settings one error at a time."""
    Path("bifrost.yaml").write_text("lang: fr\nfanout:\n  concurrency: 0\n")
    assert len(fail_to_load().splitlines()) == 2


def test_wrong_value_in_the_environment_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The place of a wrong value is the variable that it came from, not a file that it hides."""
    Path("bifrost.yaml").write_text("fanout:\n  concurrency: 3\n")
    monkeypatch.setenv("BIFROST_FANOUT_CONCURRENCY", "many")
    assert fail_to_load().startswith("environment BIFROST_FANOUT_CONCURRENCY: ")


def test_broken_json_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table in a variable must be JSON."""
    monkeypatch.setenv("BIFROST_PRICES", "{m:")
    assert "BIFROST_PRICES must hold JSON" in fail_to_load()


def test_unreadable_file_is_a_settings_error() -> None:
    """A file that can't be read is never silently left out."""
    Path("bifrost.yaml").mkdir()
    assert "bifrost.yaml: can't be read" in fail_to_load()


def test_file_that_is_no_text_is_a_settings_error() -> None:
    """Bytes that aren't UTF-8 are refused with the file's name."""
    Path("bifrost.yaml").write_bytes(b"lang: \xff\xfe\n")
    assert "bifrost.yaml: can't be read" in fail_to_load()


@pytest.mark.parametrize("text", ["", "# nothing\n", "ollama:\n", "prices:\n", "model:\n"])
def test_empty_files_sections_and_values_are_fine(text: str) -> None:
    """What is all commented out means the defaults."""
    Path("bifrost.yaml").write_text(text)
    assert masked_settings(load_settings())["ollama"]["url"] == "http://127.0.0.1:11434"


def test_secrets_never_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets and passwords in addresses are masked wherever settings are shown."""
    monkeypatch.setenv("BIFROST_SLACK_TOKEN", "xoxb-geheim")
    monkeypatch.setenv("BIFROST_OPENAI_API_KEY", "sk-geheim")
    monkeypatch.setenv("BIFROST_SLACK_WEBHOOK_URL", "https://hooks.slack.com/services/geheim")
    monkeypatch.setenv("BIFROST_OLLAMA_URL", "http://me:geheim@h:1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:geheim@h/db")
    found = load_settings()
    shown = (
        json.dumps(masked_settings(found)) + str(explain_settings()) + repr(found.slack) + repr(found.openai)
    )
    assert "geheim" not in shown
    assert f"http://me:{MASK}@h:1" in shown
    assert found.slack.token is not None
    assert found.slack.token.get_secret_value() == "xoxb-geheim"


def test_secrets_never_show_in_errors() -> None:
    """A secret of the wrong kind isn't quoted back."""
    Path("bifrost.yaml").write_text("slack:\n  token: [geheim]\nollama:\n  url: ftp://me:geheim@h\n")
    message = fail_to_load()
    assert "geheim" not in message
    assert "slack.token" in message


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`~` in a path means the home folder, in files too, where no shell sees it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    Path("bifrost.yaml").write_text("warehouse: ~/tables\n")
    assert load_settings().warehouse == str(tmp_path / "tables")


def test_user_file_without_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without XDG_CONFIG_HOME the user's file is below ~/.config."""
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert settings_files()[1] == tmp_path / ".config/bifrost-flow/bifrost.yaml"


@pytest.mark.parametrize("language", LANGUAGES)
def test_template_is_a_file_of_defaults(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that `config init` writes is valid, and with every value uncommented says the defaults."""
    set_language(language)
    template = render_template()
    Path("bifrost.yaml").write_text(template, encoding="utf-8")
    before = masked_settings(load_settings())
    lines = []
    for line in template.splitlines():
        name = line.strip().removeprefix("# ").partition(":")[0]
        lines.append(
            line.replace("# ", "", 1) if line.strip().startswith("# ") and name.isidentifier() else line
        )
    Path("bifrost.yaml").write_text("\n".join(lines), encoding="utf-8")
    assert masked_settings(load_settings()) == before
    assert {each.origin for each in explain_settings()} == {"bifrost.yaml"}


NAMES = st.sampled_from(["ollama", "url", "prices", "lang", "x"]) | st.integers()
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=60) | VALUES.map(lambda value: yaml.safe_dump(value, allow_unicode=True)))
def test_any_file_loads_or_is_explained(text: str) -> None:
    """No content of a file of settings leads to anything but settings or a settings error."""
    Path("bifrost.yaml").write_text(text, encoding="utf-8", errors="replace")
    try:
        load_settings()
    except SettingsError as error:
        assert "bifrost.yaml" in str(error)
