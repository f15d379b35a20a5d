"""Prompts as files: what is written is read back, and what is no prompt is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bifrost_flow.errors import SettingsError
from bifrost_flow.prompts import (
    Prompt,
    PromptReference,
    hash_prompt,
    list_prompts,
    load_prompt,
    parse_reference,
)
from bifrost_flow.prompts.formats import FORMATS, dump_prompt, parse_prompt

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1)
TAGS = st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), TEXTS, max_size=3)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", list_prompts())
def test_packaged_prompts_survive_every_format(name: str, format: str) -> None:
    """A prompt that goes out and comes back asks the same question, so the cache still answers it."""
    prompt = load_prompt(name)
    back = parse_prompt(dump_prompt(prompt, {"a": "b"}, format), format)
    assert hash_prompt(back.prompt) == prompt.version
    if format != "text":
        assert (back.prompt.name, back.prompt.description) == (name, prompt.description)
        assert back.tags == {"a": "b"}


@given(TEXTS, TEXTS, TAGS, st.sampled_from(["yaml", "json"]))
def test_any_text_survives(system: str, user: str, tags: dict[str, str], format: str) -> None:
    """Quotes, colons, dashes and scripts of all kinds are text."""
    back = parse_prompt(dump_prompt(Prompt("n", "", system, user, user), tags, format), format)
    assert (back.prompt.system.strip(), back.prompt.user.strip()) == (system.strip(), user.strip())
    assert back.tags == tags


@pytest.mark.parametrize(
    ("text", "format", "said"),
    [
        ("{", "json", "json"),
        ("a: [", "yaml", "yaml"),
        ("[]", "json", "list"),
        ("", "yaml", "NoneType"),
        ("sytem: x", "yaml", "sytem"),
        ("system: 3", "yaml", "system"),
        ("system: x\nuser: y\ntags: z", "yaml", "tags"),
        ("only this", "text", "=== system ==="),
        ("=== system ===\na\n", "text", "=== user ==="),
    ],
)
def test_what_is_no_prompt_is_refused(text: str, format: str, said: str) -> None:
    """The message says what is wrong with the file."""
    with pytest.raises(SettingsError, match=said):
        parse_prompt(text, format)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("security", PromptReference("security")),
        ("my.own-one@staging", PromptReference("my.own-one", alias="staging")),
        ("security:12", PromptReference("security", version=12)),
    ],
)
def test_references_are_read_as_they_are_written(text: str, meant: PromptReference) -> None:
    """NAME, NAME@alias and NAME:version."""
    assert parse_reference(text) == meant
    assert str(meant) == text


@pytest.mark.parametrize("text", ["", "a b", "a@", "a:", "a:x", "@production", "a@b:1", "../a"])
def test_other_references_are_refused(text: str) -> None:
    """Anything else is a slip, or worse."""
    with pytest.raises(SettingsError, match="NAME@alias"):
        parse_reference(text)
