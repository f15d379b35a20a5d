"""What is read of an answer that is still being written, and how it is shown."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bifrost_flow.answer import parse_answer
from bifrost_flow.draft import Draft, read_draft
from bifrost_flow.language import t
from bifrost_flow.prompts import load_prompt
from bifrost_flow.render.markdown import render_draft
from bifrost_flow.render.plain import PlainAnswer
from connectors.models.questions import GroupAnswer, build_finding, plan
from connectors.models.rules import RulesProvider
from tests.samples import make_chunk, make_group

CHUNK = make_chunk()
NOW = datetime(2026, 3, 1, tzinfo=UTC)
ANSWER = {
    "evidence": [6, 5],
    "root_cause": "No route to db01.",
    "title": "The database can't be reached",
    "category": "network_or_flaky",
    "severity": "error",
    "explanation": 'It "ended" with\na 데이터베이스 error.',
    "suggestion": "Look at the network.",
    "confidence": 0.5,
}
TEXT = json.dumps(ANSWER)


def read(text: str) -> Draft:
    return read_draft(text, "f1:0001", CHUNK, CHUNK)


@given(st.integers(0, len(TEXT)))
def test_a_draft_is_the_beginning_of_the_answer(length: int) -> None:
    """However much has arrived, each text is the beginning of its field, and each quote a line of the log."""
    draft = read(TEXT[:length])
    for name, text in draft.texts:
        assert str(ANSWER[name]).startswith(text)
    lines = dict(zip(CHUNK.line_numbers(), CHUNK.text.split("\n"), strict=True))
    assert all(lines[piece.line] == piece.quote for piece in draft.evidence)
    assert len(draft.evidence) in (0, 2), "a number may lack digits until its list has ended"


@pytest.mark.parametrize(
    "text", ["", "no object", '["a list"]', "{]", '{"title": 3, "evidence": "all"}', '{"title": {"a": "b"}}']
)
def test_what_is_no_answer_says_nothing(text: str) -> None:
    """A model may write anything."""
    assert (read(text).texts, read(text).evidence) == ((), ())


def test_a_draft_steers_no_terminal_and_makes_no_markup() -> None:
    """Escape sequences, hidden characters and Markdown in an answer that is being written stay inert."""
    draft = read(json.dumps({"title": "a\x1b[31mb\u202e", "root_cause": "[x](http://evil.example) <b>"}))
    assert dict(draft.texts)["title"] == "ab"
    shown = render_draft(draft, "en") + PlainAnswer("en").grow(draft)
    assert "\x1b" not in shown
    markdown = render_draft(draft, "en")
    assert "<b>" not in markdown and r"\[x\](http\://" in markdown


def make_answer() -> GroupAnswer:
    (question,) = plan([make_group(1, text=CHUNK.text)], RulesProvider(), load_prompt(), "en")
    return GroupAnswer(question, parse_answer(TEXT, 6), "scripted", "m1", "p1", False, False, 10, 5)


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_plain_text_only_grows_and_says_everything_once(step: int) -> None:
    """The pieces together hold each text once, whatever the size of the pieces that the model sent."""
    answer, finding = PlainAnswer("en"), build_finding(make_answer(), first_seen=NOW, last_seen=NOW)
    shown = "".join(answer.grow(read(TEXT[:end])) for end in range(0, len(TEXT) + step, step))
    assert shown.index("Evidence") < shown.index("Root cause") < shown.index("No route to db01.")
    shown += answer.end(finding)
    for text in ("root_cause", "title", "explanation", "suggestion"):
        assert shown.count(str(ANSWER[text])) == 1
    assert shown.count("ConnectionError: no route") == 1
    assert "Confidence 50%" in shown and "scripted m1" in shown


@pytest.mark.parametrize(
    "escape", ["\x1b[31m", "\x1b]0;t\x07", "\x1b[1;2", "\x1b", "\x1b]8;;x", "e\u0301" * 30]
)
def test_an_escape_in_an_answer_hides_nothing_of_it(escape: str) -> None:
    """Whatever pieces an escape sequence comes in, the reader gets the words after it, and no more of it."""
    fields = ANSWER | {"root_cause": f"before {escape}\x1b[0m after the escape"}
    text = json.dumps(fields)
    answer = PlainAnswer("en")
    shown = "".join(answer.grow(read(text[:end])) for end in range(len(text) + 1))
    (question,) = plan([make_group(1, text=CHUNK.text)], RulesProvider(), load_prompt(), "en")
    parsed = GroupAnswer(question, parse_answer(text, 6), "scripted", "m1", "p1", False, False, 10, 5)
    shown += answer.end(build_finding(parsed, first_seen=NOW, last_seen=NOW))
    assert shown.count("after the escape") == 1
    assert "\x1b" not in shown and "[31" not in shown and "[0m" not in shown


def test_an_answer_that_was_never_a_draft_begins_with_its_title() -> None:
    """An answer from the cache is in the order in which a person reads."""
    finding = build_finding(make_answer(), first_seen=NOW, last_seen=NOW)
    shown = PlainAnswer("en").end(finding)
    assert shown.startswith(finding.title)
    assert shown.index("Root cause") < shown.index("What to do") < shown.index("Evidence")


def test_an_answer_that_begins_anew_is_told() -> None:
    """After a dropped stream the reader learns why the text begins again."""
    answer = PlainAnswer("en")
    answer.grow(read(TEXT[:60]))
    assert t("analyze.restarted") not in answer.grow(read(TEXT[:70]))
    again = answer.grow(read("{"))
    assert t("analyze.restarted") in again
    assert "No route to db01." in answer.grow(read(TEXT))
