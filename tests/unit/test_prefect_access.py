"""A Prefect API that takes anybody is refused, and secrets come from files."""

from pathlib import Path

import pytest

from bifrost_flow.errors import SettingsError
from bifrost_flow.settings import check_no_blocks, load_settings
from connectors.prefect_access import check_prefect_access


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of whoever runs the tests away."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    for name in ("PREFECT_API_KEY", "PREFECT_API_AUTH_STRING", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("url", "environment", "allowed"),
    [
        ("http://127.0.0.1:4200/api", {}, True),
        ("http://[::1]:4200/api", {}, True),
        ("http://127.0.0.1.example.org/api", {}, False),
        ("http://prefect.internal:4200/api", {}, False),
        ("https://prefect.internal/api", {}, False),
        ("http://prefect.internal:4200/api", {"PREFECT_API_AUTH_STRING": "admin:x"}, True),
        ("https://api.prefect.cloud/api", {"PREFECT_API_KEY": "x"}, True),
        ("http://api.prefect.cloud/api", {"PREFECT_API_KEY": "x"}, False),
    ],
)
def test_only_authenticated_apis_are_reached(
    url: str, environment: dict[str, str], allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond this machine authentication must be set, and a key goes over https alone."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if allowed:
        check_prefect_access(url)
        return
    with pytest.raises(SettingsError, match="PREFECT_API_AUTH_STRING"):
        check_prefect_access(url)


def test_secret_from_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret's file is read without its line end, and its value never shown."""
    (tmp_path / "token").write_text("xoxb-1\n")
    monkeypatch.setenv("BIFROST_SLACK_TOKEN_FILE", str(tmp_path / "token"))
    token = load_settings().slack.token
    assert token is not None
    assert token.get_secret_value() == "xoxb-1"
    monkeypatch.setenv("BIFROST_SLACK_TOKEN", "xoxb-2")
    with pytest.raises(SettingsError, match="both set") as refused:
        load_settings()
    assert "xoxb" not in str(refused.value)


def test_block_needs_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block's name is never taken for the secret itself."""
    monkeypatch.setenv("BIFROST_SLACK_TOKEN", "prefect-block:secret/slack")
    with pytest.raises(SettingsError, match="slack"):
        check_no_blocks(load_settings())
