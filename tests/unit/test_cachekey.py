from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bifrost_flow.cachekey import cache_key
from bifrost_flow.prompts import load_prompt
from connectors.models.fanout import plan
from connectors.models.ollama import OllamaProvider
from connectors.models.protocol import ModelDescription
from connectors.models.rules import RulesProvider
from tests.samples import make_chunk, make_group

WHO = ModelDescription("ollama", "llama", "http://127.0.0.1:1", '{"seed":7}', 8192)


def _key(who: ModelDescription = WHO, **changes: str) -> str:
    parts = {"system": "s", "user": "u", "schema_version": "s1", "redaction_version": "r1", **changes}
    return cache_key(who, **parts)


@pytest.mark.parametrize("name", ["provider", "model", "base_url", "parameters"])
def test_another_model_has_another_key(name: str) -> None:
    """One model's answer never serves another, nor the same one asked otherwise."""
    assert _key(replace(WHO, **{name: "other"})) != _key()


@pytest.mark.parametrize("name", ["system", "user", "schema_version", "redaction_version"])
def test_another_question_has_another_key(name: str) -> None:
    """Prompt, schema and redaction rules are part of the key."""
    changed: dict[str, Any] = {name: "other"}
    assert _key(**changed) != _key()


def test_the_window_is_not_part_of_the_key() -> None:
    """A larger window changes an answer only through the prompt, which is in the key."""
    assert _key(replace(WHO, context_tokens=1)) == _key()


def test_the_key_is_tagged_and_stable() -> None:
    """A change of the recipe would show here, and would have to raise the tag."""
    assert _key() == "k1:2aeefda7c1bed90ec410277c42df810c02345753eb0d82524dbab89aca6a0d4f"


@given(st.text(), st.text(), st.text(), st.text())
def test_texts_do_not_run_together(a: str, b: str, c: str, d: str) -> None:
    """Moving characters between system and user text gives another key."""
    assert (_key(system=a, user=b) == _key(system=c, user=d)) == ((a, b) == (c, d))


def test_lone_surrogates_have_a_key() -> None:
    """Text that UTF-8 can't hold does not break the key."""
    assert _key(user="\ud800").startswith("k1:")


def test_same_failure_in_another_run_has_the_same_key() -> None:
    """Path, position in the file, chunk id, score and company in the group are not part of the question."""
    tonight = make_group(1)
    chunk = replace(
        tonight.exemplar, path="2026-11-24/other.log", spans=((7, 8),), anchor=8, chunk_id="z", score=9.0
    )
    later = replace(tonight, exemplar=chunk, chunks=(chunk, chunk, chunk))
    for provider in (RulesProvider(), OllamaProvider("http://127.0.0.1:1", "m")):
        keys = [
            question.cache_key
            for groups in ([tonight, make_group(2)], [make_group(2), later])
            for question in plan(groups, provider, load_prompt(), "en")
            if question.fingerprint == tonight.fingerprint
        ]
        assert keys[0] == keys[1]


@pytest.mark.parametrize(
    "chunk",
    [
        make_chunk("other\ntext", anchor=1),
        make_chunk(anchor=1),
        make_chunk(category="timeout"),
        make_chunk(severity="critical"),
    ],
    ids=["text", "anchor", "category", "severity"],
)
def test_whatever_rules_go_by_is_in_the_key(chunk) -> None:
    """The rules read the chunk, not the prompt, so all that they go by must show in the prompt."""
    group = make_group(1, text=make_chunk().text)
    group = replace(group, exemplar=make_chunk())
    changed = replace(group, exemplar=chunk)
    (first,), (second,) = (plan([each], RulesProvider(), load_prompt(), "en") for each in (group, changed))
    assert first.cache_key != second.cache_key


def test_language_and_prompt_are_in_the_key() -> None:
    """A Korean answer does not serve an English reader, nor one prompt's answer another prompt's user."""
    keys = {
        plan([make_group()], RulesProvider(), load_prompt(name), language)[0].cache_key
        for name in ("error_analysis", "security")
        for language in ("en", "ko")
    }
    assert len(keys) == 4
