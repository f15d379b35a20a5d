import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bifrost_flow.answer import parse_answer
from bifrost_flow.grounding import find_foreign_names
from bifrost_flow.records import CATEGORIES, SEVERITIES
from bifrost_flow.rules import RULES_VERSION, answer_by_rules
from bifrost_flow.rules.headline import MAX_TITLE_CHARS
from connectors.models.rules import RulesProvider
from tests.samples import make_chunk

# text, position of the anchor, category, expected title, a citation that must be there
CASES = {
    "traceback": (
        "Traceback (most recent call last):\n"
        '  File "/srv/app/main.py", line 3, in <module>\n'
        '  File "/usr/lib/python3/dist-packages/yaml/loader.py", line 9, in load\n'
        "ValueError: bad thing {braces}",
        0,
        "crash",
        "ValueError: bad thing {braces}",
        4,
    ),
    "compiler": (
        "main.c: In function 'main':\nmain.c:12:5: error: expected ';' before 'return'\n"
        "make: *** [all] Error 1",
        2,
        "compile_error",
        "main.c:12:5: error: expected ';' before 'return'",
        2,
    ),
    "rust": (
        "error[E0308]: mismatched types\n --> src/main.rs:3:5\n  |\nerror: aborting due to 1 previous error",
        3,
        "compile_error",
        "error[E0308]: mismatched types",
        1,
    ),
    "pytest": (
        "FAILED tests/test_a.py::test_b - assert 1 == 2\n=== 1 failed, 3 passed in 2.31s ===",
        1,
        "test_assertion",
        "FAILED tests/test_a.py::test_b - assert 1 == 2",
        1,
    ),
    "pytest collecting": (
        "____ ERROR collecting tests/test_a.py ____\nE   ModuleNotFoundError: No module named 'web.menu'\n"
        "=== short test summary info ===\nERROR tests/test_a.py",
        0,
        "test_assertion",
        "ModuleNotFoundError: No module named 'web.menu'",
        2,
    ),
    "go": (
        "--- FAIL: TestDial (0.00s)\n    dial_test.go:12: expected 1, got 2\nFAIL\nexit status 1",
        1,
        "test_assertion",
        "TestDial: dial_test.go:12: expected 1, got 2",
        2,
    ),
    "github": (
        "npm ERR! code ERESOLVE\nnpm ERR! ERESOLVE unable to resolve dependency tree\n"
        "##[error]Process completed with exit code 1.",
        2,
        "dependency_error",
        "ERESOLVE unable to resolve dependency tree",
        2,
    ),
    "docker": (
        "#9 12.31 tar: write error: No space left on device\n"
        'ERROR: failed to solve: process "/bin/sh -c make" did not complete successfully: exit code: 1',
        1,
        "docker_build",
        "tar: write error: No space left on device",
        1,
    ),
    "only the echo": (
        "##[error]Process completed with exit code 1.",
        0,
        "unknown",
        "Process completed with exit code 1.",
        1,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_title_and_evidence_name_the_cause_rather_than_its_echo(case: tuple[str, int, str, str, int]) -> None:
    """The headline is the line that names a cause, and it is cited."""
    text, anchor, category, title, cited = case
    answer = answer_by_rules(make_chunk(text, anchor=anchor, category=category), "en")
    assert answer.title == title
    assert answer.category == category
    assert answer.evidence[0] == cited
    assert title in answer.root_cause


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("category", CATEGORIES)
def test_every_category_has_words_in_both_languages(category: str, language: str) -> None:
    """No category leaves a text empty, and none is answered in the other language."""
    answer = answer_by_rules(
        make_chunk("step 3 broke\nthings happened", anchor=0, category=category), language
    )
    assert answer.category == category
    for text in (answer.root_cause, answer.explanation, answer.suggestion):
        assert bool(re.search("[가-힣]", text)) == (language == "ko")
        assert "{" not in text


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("write /tmp/a: no space left on device: No space left on device", "space"),
        ("FATAL ERROR: Reached heap limit - JavaScript heap out of memory", "memory"),
        ("curl: (6) Could not resolve host: mirror.internal", "name resolution"),
        ("connect ECONNREFUSED 127.0.0.1:5432", "listens"),
        ("git@host: Permission denied (publickey).", "deploy key"),
        ("ERROR: No matching distribution found for left-pad==9", "index"),
        ("ModuleNotFoundError: No module named 'yaml'", "dependency"),
        ("/bin/sh: 1: cargo: command not found", "PATH"),
        ("main.o: undefined reference to `foo'", "linker"),
    ],
)
def test_well_known_messages_have_a_remedy_of_their_own(line: str, word: str) -> None:
    """The suggestion fits the message where it is a common one."""
    assert word in answer_by_rules(make_chunk(line, anchor=0, category="unknown"), "en").suggestion


def test_a_failing_test_leads_the_title() -> None:
    """A test's name is found near the assertion and put in front."""
    text = (
        "  ● cart › adds items (12 ms)\n\n    expect(received).toBe(expected)\n\n"
        "      at t (src/cart.test.js:10:5)"
    )
    answer = answer_by_rules(make_chunk(text, anchor=2, category="test_assertion"), "en")
    assert answer.title == "cart › adds items: expect(received).toBe(expected)"
    assert "src/cart.test.js:10:5" in answer.root_cause


def test_rules_are_never_sure() -> None:
    """Confidence stays at one half or below, and lower for what is only an echo or unknown."""
    confidence = [
        answer_by_rules(make_chunk(text, anchor=anchor, category=category), "en").confidence
        for text, anchor, category, *_ in (CASES["traceback"], CASES["only the echo"])
    ]
    assert confidence == [0.5, 0.1]


@given(
    text=st.lists(st.text(st.characters(exclude_characters="\n"), max_size=60), min_size=1, max_size=12),
    category=st.sampled_from(CATEGORIES),
    severity=st.sampled_from(SEVERITIES),
    data=st.data(),
)
def test_any_chunk_gets_a_valid_short_answer(
    text: list[str], category: str, severity: str, data: st.DataObject
) -> None:
    """Whatever a log holds, the rules answer within the schema, with a short title and lines that exist."""
    anchor = data.draw(st.integers(0, len(text) - 1))
    chunk = make_chunk("\n".join(text), anchor=anchor, category=category, severity=severity)
    answer = answer_by_rules(chunk, data.draw(st.sampled_from(["en", "ko"])))
    assert parse_answer(answer.model_dump_json(), len(text)) == answer
    assert len(answer.title) <= MAX_TITLE_CHARS
    assert answer.severity == severity


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("language", ["en", "ko"])
def test_rules_name_nothing_that_the_log_does_not(
    case: tuple[str, int, str, str, int], language: str
) -> None:
    """What the rules say is grounded by construction."""
    text, anchor, category, *_ = case
    answer = answer_by_rules(make_chunk(text, anchor=anchor, category=category), language)
    assert find_foreign_names(f"{answer.title}\n{answer.root_cause}", text) == []


@pytest.mark.parametrize("word", ["a/b.c:1 ", "a", "a/", "a.", "=", "(", " > ", "E  ", "x::", "1 "])
def test_long_lines_do_not_stall_the_patterns(word: str) -> None:
    """A line of 200,000 characters gets a short title; a quadratic pattern would take hours here."""
    answer = answer_by_rules(make_chunk("ERROR: " + word * (200_000 // len(word)), anchor=0), "en")
    assert len(answer.title) <= MAX_TITLE_CHARS


def test_rules_are_free_and_described() -> None:
    """The provider has the rules' version for a model, no address and no parameters."""
    description = RulesProvider().describe()
    assert (description.provider, description.model) == ("rules", RULES_VERSION)
    assert (description.base_url, description.parameters) == ("", "{}")


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("Tests: 401, Assertions: 1341, Failures: 1, Skipped: 13.", "credential"),
        ("took 429 ms", "mirror"),
        ("step 137 of 200 is done", "memory"),
    ],
)
def test_plain_numbers_are_no_status_codes(line: str, word: str) -> None:
    """A count that happens to be 401, 429 or 137 is no refused access, throttling or kill."""
    assert word not in answer_by_rules(make_chunk(line, anchor=0), "en").suggestion


def test_a_long_address_stays_grounded() -> None:
    """A title cut within an address still names only what the log names."""
    text = "error: Couldn't download https://ftp.example/" + "pub/nightly/" * 12 + "x.tar.xz"
    answer = answer_by_rules(make_chunk(text, anchor=0, category="network_or_flaky"), "en")
    assert answer.title.endswith("…")
    assert find_foreign_names(f"{answer.title}\n{answer.root_cause}", text) == []


def test_the_last_lines_of_a_step_are_named_for_what_they_ask() -> None:
    """Where no line is a failure by its words, the one that says what is wanted makes the title."""
    text = "Done.\n M shared/app.js\nPlease rebuild the JavaScript and commit the changes.\nexited with 1"
    chunk = make_chunk(text, anchor=0, category="unknown", severity="error")
    assert answer_by_rules(chunk, "en").title == "Please rebuild the JavaScript and commit the changes."
