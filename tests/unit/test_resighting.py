import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bifrost_flow.answer import Answer, parse_answer
from bifrost_flow.prompts import load_prompt
from bifrost_flow.records import CachedAnswer, Chunk, Group
from bifrost_flow.resighting import carry_over, describe_sighting, find_codes, pair_values
from connectors.models.fanout import answer_questions
from connectors.models.ollama import OllamaProvider
from connectors.models.questions import Question, build_finding, plan, read_first
from connectors.models.rules import RulesProvider
from tests.samples import make_chunk

NOW = datetime(2026, 11, 23, tzinfo=UTC)
FIRST = """$ make deploy
12:00:01 connecting to db-17.internal:5432
ERROR: no route to host db-17.internal after 3012 ms
make: *** [deploy] Error 2"""
LATER = """[7/9] deploy
retrying once
some other context
12:44:59 connecting to db-22.internal:5432
ERROR: no route to host db-22.internal after 2871 ms
make: *** [deploy] Error 2"""


def _answer(**changes: object) -> Answer:
    fields = {
        "evidence": [3, 2],
        "root_cause": "db-17.internal can't be reached: no route to host after 3012 ms.",
        "title": "No route to db-17.internal",
        "category": "network_or_flaky",
        "severity": "error",
        "explanation": "It gave up after 3012 ms.",
        "suggestion": "Check that db-17.internal is up.",
        "confidence": 0.8,
        **changes,
    }
    return parse_answer(json.dumps(fields), 1000)


def _carry(answer: Answer, first: Chunk, later: Chunk) -> Answer | None:
    return carry_over(answer, describe_sighting(answer, first), later)


def _chunk(text: str, anchor: int = 2) -> Chunk:
    return make_chunk(text, anchor=anchor)


def test_an_answer_follows_its_lines_and_their_values() -> None:
    """Citations land on the like lines of the later log, and what the text names is what stands there."""
    carried = _carry(_answer(), _chunk(FIRST), _chunk(LATER, 4))
    assert carried is not None
    assert carried.evidence == [5, 4]
    assert carried.title == "No route to db-22.internal"
    assert carried.root_cause == "db-22.internal can't be reached: no route to host after 2871 ms."
    assert carried.suggestion == "Check that db-22.internal is up."
    assert carried.explanation == "It gave up after 2871 ms."


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("12:44:59 connecting to db-22.internal:5432", "nothing of the kind"),
        ("ERROR: no route to host db-22.internal after 2871 ms", "ERROR: name or service not known"),
    ],
)
def test_a_cited_line_that_is_gone_is_asked_about(old: str, new: str) -> None:
    """An answer that stands on a line which the later log lacks does not serve it."""
    assert _carry(_answer(), _chunk(FIRST), _chunk(LATER.replace(old, new), 4)) is None


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ("Process completed with exit code 137", "Process completed with exit code 1"),
        ("upload failed: HTTP 403", "upload failed: HTTP 503"),
        ("killed by signal 9", "killed by signal 11"),
        ("child exited with status: 0xC0000005", "child exited with status: 0xC0000374"),
    ],
)
@pytest.mark.parametrize("evidence", [[1], []])
def test_another_code_is_another_question(first: str, later: str, evidence: list[int]) -> None:
    """What explains one exit code explains no other, though the fingerprint masks both, cited or not."""
    answer = _answer(evidence=evidence, title="It failed", root_cause="The process was ended.")
    assert _carry(answer, _chunk(first, 0), _chunk(later, 0)) is None
    assert _carry(answer, _chunk(first, 0), _chunk(f"context\n{first}", 1)) is not None


def test_grounds_are_kept_or_it_is_asked() -> None:
    """A name from lines that nobody cited, which the later log lacks, makes the answer another's."""
    answer = _answer(evidence=[3], root_cause="`make` failed in deploy_stage.yml: no route to db-17.internal")
    first = _chunk(f"{FIRST}\nsee deploy_stage.yml")
    assert _carry(answer, first, _chunk(f"{LATER}\nsee deploy_stage.yml", 4)) is not None
    assert _carry(answer, first, _chunk(LATER, 4)) is None


def test_what_was_not_grounded_stays_so() -> None:
    """An answer that named something foreign from the start is served as what it is."""
    answer = _answer(evidence=[3], root_cause="frobnicator.py broke")
    assert _carry(answer, _chunk(FIRST), _chunk(LATER, 4)) is not None


def test_cannot_tell_is_no_answer_to_other_surroundings() -> None:
    """A model that could not tell may do so with another context."""
    assert _carry(_answer(evidence=[], category="unknown"), _chunk(FIRST), _chunk(LATER, 4)) is None


def test_of_like_lines_the_nearest_is_taken() -> None:
    """Where the masked line occurs more than once, the one at the same distance from the anchor counts."""
    first = "step 1 done in 5 s\nstep 2 done in 9 s\nError: quota"
    later = "step 1 done in 7 s\nstep 2 done in 8 s\nstep 3 done in 8 s\nError: quota"
    answer = _answer(evidence=[2, 1], title="Quota", root_cause="Quota")
    carried = _carry(answer, _chunk(first), _chunk(later, 3))
    assert carried is not None
    assert carried.evidence == [3, 2]


@pytest.mark.parametrize("kept", ["", "null", "[]", "{}", '{"grounded":1,"anchor":2,"cited":3}', "{"])
def test_what_was_not_kept_serves_nobody(kept: str) -> None:
    """A row of an older version, or a damaged one, is passed over."""
    assert carry_over(_answer(), kept, _chunk(LATER, 4)) is None


def test_values_in_doubt_are_left_alone() -> None:
    """A value that became two different ones, stayed the same elsewhere, or is short is not replaced."""
    pairs = [
        ("a job-11 took 250 of 9", "a job-12 took 260 of 8"),
        ("b 250", "b 270"),
        ("c job-11", "c job-11"),
    ]
    assert pair_values(pairs) == {}
    assert pair_values([("one two", "one two three")]) == {}
    assert pair_values([("in /tmp/a1/x.py:", "in /tmp/b2/x.py:")]) == {"/tmp/a1/x.py": "/tmp/b2/x.py"}


def test_counts_and_times_are_no_codes() -> None:
    """Only numbers that say what happened must be equal."""
    assert find_codes("error: 3 tests failed in 12 s, see line 40") == []
    assert find_codes("npm ERR! code 243 (exit status 1), HTTP/1.1 502 Bad Gateway") == ["243", "1", "502"]


@given(st.lists(st.text(max_size=40), min_size=1, max_size=8), st.data())
def test_evidence_is_true_whatever_the_lines(lines: list[str], data: st.DataObject) -> None:
    """Each carried citation is a line of the new excerpt with the text that the old one had, when masked."""
    text = "\n".join(line.replace("\n", " ") for line in lines)
    numbers = data.draw(st.lists(st.integers(1, len(lines)), unique=True, min_size=1))
    later = "\n".join(data.draw(st.permutations(text.split("\n"))))
    answer = _answer(evidence=numbers, title="It failed", root_cause="It failed")
    carried = _carry(answer, _chunk(text, 0), _chunk(later, 0))
    if carried is not None:
        from bifrost_flow.evidence.fingerprint import mask_text

        old, new = text.split("\n"), later.split("\n")
        assert [mask_text(new[number - 1]) for number in carried.evidence] == [
            mask_text(old[number - 1]) for number in numbers
        ]
        assert len(set(carried.evidence)) == len(numbers)


def _plan(text: str, anchor: int, path: str = "a.log", **options: str) -> Question:
    chunk = make_chunk(text, anchor=anchor, path=path)
    provider = OllamaProvider("http://127.0.0.1:1", options.pop("model", "m"))
    (question,) = plan(
        [Group(chunk.fingerprint, chunk, (chunk,))], provider, load_prompt(), options.get("language", "en")
    )
    return question


def _keep(question: Question) -> CachedAnswer:
    """Return what the cache keeps of an answer that the rules gave in a model's place."""
    kept: list[CachedAnswer | None] = []
    asked = answer_questions([question], RulesProvider(), on_call=lambda answer, call: kept.append(answer))
    asyncio.run(asked)
    assert kept[0]
    return kept[0]


def test_a_later_sighting_makes_a_finding_of_its_own() -> None:
    """Path, line number and quote are the later log's, the finding says where its text is from, and it is
    grounded."""
    first, later = _plan(FIRST, 2), _plan(LATER, 4, "tonight.log")
    assert first.cache_key != later.cache_key
    assert first.identity == later.identity != ""
    answered = read_first(later, [_keep(first)])
    assert answered is not None
    finding = build_finding(answered, first_seen=NOW, last_seen=NOW)
    assert finding.cached
    assert finding.grounded
    quotes = {found.quote for found in finding.evidence}
    assert "ERROR: no route to host db-22.internal after 2871 ms" in quotes
    assert {found.path for found in finding.evidence} == {"tonight.log"}
    assert "another sighting" in finding.explanation
    assert "db-17" not in f"{finding.title} {finding.root_cause} {finding.explanation} {finding.suggestion}"


def test_the_first_that_holds_is_taken() -> None:
    """Of several answers for a failure, those that do not hold here or can't be read are passed over."""
    later = _plan(LATER, 4)
    good = _keep(_plan(FIRST, 2))
    broken = replace(good, response="{}")
    other = _keep(_plan("Error: exit code 9", 0))
    answered = read_first(later, [broken, other, good])
    assert answered is not None
    assert answered.carried_over
    assert read_first(later, [broken, other]) is None


def test_who_was_asked_what_is_the_identity() -> None:
    """Another model, language or prompt is asked for its own answer; free answers are not carried over."""
    own = _plan(FIRST, 2).identity
    assert own == _plan(LATER, 4).identity
    assert len({own, _plan(FIRST, 2, model="n").identity, _plan(FIRST, 2, language="ko").identity}) == 3
    chunk = make_chunk(FIRST, anchor=2)
    group = Group(chunk.fingerprint, chunk, (chunk,))
    edited = replace(load_prompt(), system="Be brief.")
    ollama = OllamaProvider("http://127.0.0.1:1", "m")
    assert plan([group], ollama, edited, "en")[0].identity != own
    assert plan([group], ollama, load_prompt(), "en", redaction_version="r0")[0].identity != own
    assert plan([group], RulesProvider(), load_prompt(), "en")[0].identity == ""
