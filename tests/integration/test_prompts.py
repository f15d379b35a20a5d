"""Prompts in a real MLflow store, and what runs take from it."""

import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking._model_registry.client import ModelRegistryClient

from bifrost_flow.errors import DeliveryError, SettingsError
from bifrost_flow.prompts import Prompt, PromptReference, load_prompt, parse_reference
from bifrost_flow.tracked import describe_run
from connectors.prompts import PromptRegistry, choose_prompt, read_snapshot, write_snapshot
from connectors.tracking import Tracker, open_tracker
from connectors.tracking_process import RemoteTracker, preload
from connectors.tracking_process import open_tracker as open_remote

MINE = Prompt("mine", "", "You explain, in {{lang}}.", "{{log}}\nWhy? {{categories}} 왜?", "About it")
OPTIONS: dict[str, Any] = {"tracking_uri": None, "experiment": "e", "enabled": True, "timeout_s": 60.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an MLflow store, which takes a while to make."""
    folder = tmp_path_factory.mktemp("registry")
    open_tracker(str(folder), **OPTIONS).prepare()
    return folder


@pytest.fixture(scope="module")
def tracker(folder: Path) -> Tracker:
    return open_tracker(str(folder), **OPTIONS)


@pytest.fixture
def registry(tracker: Tracker) -> PromptRegistry:
    return PromptRegistry(tracker.open_client())


def save(registry: PromptRegistry, name: str, system: str = MINE.system, **options: object) -> str:
    prompt = replace(MINE, name=name, system=system)
    return registry.save(prompt, message="m", tags={"team": "ci"}, **options).prompt.version  # ty: ignore[invalid-argument-type]


def test_a_version_comes_back_as_it_was_saved(registry: PromptRegistry) -> None:
    """Texts, description, message, tags and alias survive; production is what a bare name means."""
    assert save(registry, "whole") == "1"
    found = registry.find(PromptReference("whole"))
    assert found
    assert found.prompt == replace(MINE, name="whole", version="1")
    assert (found.message, dict(found.tags), found.aliases) == ("m", {"team": "ci"}, ("production",))
    assert "whole" in registry.list_names()


def test_aliases_choose_and_drafts_change_nothing(registry: PromptRegistry) -> None:
    """A draft is found by its number alone; pointing back brings the old text back."""
    save(registry, "moving", "One {{lang}}")
    save(registry, "moving", "Two {{lang}}")
    save(registry, "moving", "Three {{lang}}", alias=None)
    save(registry, "moving", "Four {{lang}}", alias="staging")

    def read(text: str) -> str | None:
        found = registry.find(parse_reference(text))
        return found.prompt.system if found else None

    assert read("moving") == read("moving@production") == "Two {{lang}}"
    assert (read("moving:3"), read("moving@staging")) == ("Three {{lang}}", "Four {{lang}}")
    registry.point("moving", "production", 1)
    assert read("moving") == "One {{lang}}"
    assert [each.prompt.version for each in registry.list_versions("moving")] == ["4", "3", "2", "1"]
    for missing in ("moving:9", "moving@nobody", "nothing", "nothing:1"):
        assert read(missing) is None


@pytest.mark.parametrize(
    ("system", "user", "said"),
    [
        ("{{lnag}} {{lang}}", "{{log}}", "lnag"),
        ("{{ file name }} {{lang}}", "{{log}}", "file name"),
        ("{{lang}}", "no log", "log"),
        ("no language", "{{log}}", "lang"),
        (" ", "{{log}} {{lang}}", "system"),
    ],
)
def test_variables_are_checked_when_a_prompt_is_saved(
    registry: PromptRegistry, system: str, user: str, said: str
) -> None:
    """What can't be rendered never becomes a version."""
    with pytest.raises(SettingsError, match=said):
        registry.save(Prompt("refused", "", system, user), message="", tags={})
    assert registry.list_versions("refused") == []


def test_what_others_register_is_checked_when_it_is_used(tracker: Tracker, registry: PromptRegistry) -> None:
    """A prompt that MLflow takes and we can't ask is refused with its name, not sent to a model."""
    client = tracker.open_client()
    client.register_prompt("foreign", "Say {{ something }}.")
    client.set_prompt_alias("foreign", "production", 1)
    with pytest.raises(SettingsError, match="foreign"):
        registry.find(PromptReference("foreign"))
    assert [each.prompt.version for each in registry.list_versions("foreign")] == ["1"]


def _save_many(folder: str, worker: int) -> list[str]:
    registry = PromptRegistry(open_tracker(folder, **OPTIONS).open_client())
    return [save(registry, "crowded", f"{worker}/{number} {{{{lang}}}}") for number in range(5)]


def test_concurrent_edits_all_become_versions(folder: Path, registry: PromptRegistry) -> None:
    """Three processes that save at once lose nothing and share no number."""
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        numbers = pool.starmap(_save_many, [(str(folder), worker) for worker in range(3)])
    flat = sorted(int(number) for each in numbers for number in each)
    assert flat == list(range(1, 16))
    texts = {each.prompt.system for each in registry.list_versions("crowded")}
    assert len(texts) == 15


def test_a_prompt_that_another_process_made_first_gets_the_next_version(
    registry: PromptRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow looks whether a prompt is there before it makes it: whoever is second saves all the same."""
    ask = ModelRegistryClient.get_registered_model

    def come_second(client: ModelRegistryClient, name: str) -> Any:
        monkeypatch.setattr(ModelRegistryClient, "get_registered_model", ask)
        try:
            return ask(client, name)
        finally:
            save(registry, name, "first {{lang}}")

    monkeypatch.setattr(ModelRegistryClient, "get_registered_model", come_second)
    assert save(registry, "raced", "second {{lang}}") == "2"
    assert [each.prompt.system for each in registry.list_versions("raced")] == [
        "second {{lang}}",
        "first {{lang}}",
    ]


def test_the_process_that_tracks_answers_for_the_registry(folder: Path, registry: PromptRegistry) -> None:
    """The preloaded process finds prompts, passes errors on, and still writes the run afterwards."""
    from tests.samples import make_report

    save(registry, "remote")
    preload()
    tracker = open_remote(str(folder), **OPTIONS)
    assert isinstance(tracker, RemoteTracker)
    tracker.start()
    found = tracker.find_prompt(PromptReference("remote"))
    assert found == replace(MINE, name="remote", version="1")
    assert tracker.find_prompt(PromptReference("nothing")) is None
    assert tracker.log(describe_run(make_report(), {})).status == "tracked"


def test_the_snapshot_has_what_production_names(
    folder: Path, tracker: Tracker, registry: PromptRegistry
) -> None:
    """Whoever can't wait for MLflow reads the production versions of this registry, and of no other."""
    save(registry, "deployment", "Old {{lang}}")
    save(registry, "deployment", "Draft {{lang}}", alias=None)
    # One that can't be used does not keep the others out.
    client = tracker.open_client()
    client.register_prompt("security", "Say {{ something }}.")
    client.set_prompt_alias("security", "production", 1)
    write_snapshot(registry, str(folder), tracker.tracking_uri)
    kept = read_snapshot(str(folder), tracker.tracking_uri)["deployment"]
    assert (kept.version, kept.system) == ("1", "Old {{lang}}")
    assert read_snapshot(str(folder), "http://elsewhere.example") == {}
    registry.delete("deployment")
    write_snapshot(registry, str(folder), tracker.tracking_uri)
    assert "deployment" not in read_snapshot(str(folder), tracker.tracking_uri)


def _raise(error: Exception) -> Callable[[PromptReference], Prompt | None]:
    def ask(reference: PromptReference) -> Prompt | None:
        raise error

    return ask


@pytest.mark.parametrize("error", [DeliveryError("it is down"), TimeoutError("too slow")])
def test_without_a_registry_packaged_prompts_serve_and_it_is_said(error: Exception) -> None:
    """A registry that is down or slow costs no run; a version that only it has is not made up."""
    prompt, note = choose_prompt(PromptReference("security"), _raise(error))
    assert prompt == load_prompt("security")
    assert note and str(error) in note
    for text in ("security@production", "security:2", "mine"):
        with pytest.raises(SettingsError, match=str(error)):
            choose_prompt(parse_reference(text), _raise(error))


def test_an_unknown_prompt_names_the_known_ones() -> None:
    """A registry that has not got it, and no packaged prompt of that name."""
    with pytest.raises(SettingsError, match=r"poem.*error_analysis"):
        choose_prompt(PromptReference("poem"), lambda reference: None)
