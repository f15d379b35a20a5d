from dataclasses import replace

import pytest

from bifrost_flow.answer import Answer
from bifrost_flow.excerpt import cut_chunk
from bifrost_flow.grounding import find_foreign_names, is_grounded, look_up_evidence
from tests.samples import TRACEBACK, make_chunk

LOG = """src/net/client.c:88:5: error: implicit declaration of function 'tls_open'
FAILED tests/test_net.py::TestClient::test_retry - AssertionError: 3 != 4
npm ERR! peer react@^18 from @testing-library/react@14.0.0
C:\\work\\App\\Main.cs(12,5): error CS1002: ; expected
requests.exceptions.ConnectionError: HTTPSConnectionPool(host='db01.internal', port=443)
see https://ci.example/build/77"""


def _answer(root_cause: str, *, title: str = "It failed", evidence: tuple[int, ...] = (1,)) -> Answer:
    return Answer(
        evidence=list(evidence),
        root_cause=root_cause,
        title=title,
        category="crash",
        severity="error",
        explanation="Nothing in here is checked: see made_up.py.",
        suggestion="Look at other_made_up.py.",
        confidence=0.5,
    )


@pytest.mark.parametrize(
    "claim",
    [
        "The function `tls_open` is not declared in src/net/client.c.",
        "src/net/client.c:88 calls tls_open() too early.",
        "client.c does not compile.",
        "The test TestClient::test_retry in tests/test_net.py fails with an AssertionError.",
        "tests/test_net.py::TestClient::test_retry fails.",
        "Package @testing-library/react wants react@^18.",
        "`Main.cs` has error CS1002.",
        "App/Main.cs has an error.",
        'The host "db01.internal" refused: requests.exceptions.ConnectionError.',
        "See https://ci.example/build/77.",
        "The test failed because of a network problem on GitHub, e.g. a read/write error in Node.js.",
        "`tls_open`의 선언이 없어 client.c가 컴파일되지 않습니다.",
        "It exits with code 1 after 3.5 seconds.",
        "",
    ],
)
def test_names_of_the_log_are_grounded(claim: str) -> None:
    """A cause that only names what the excerpt names passes, however it is phrased."""
    assert find_foreign_names(claim, LOG) == []


@pytest.mark.parametrize(
    ("claim", "foreign"),
    [
        ("The function `ssl_open` is missing.", "ssl_open"),
        ("src/net/server.c does not compile.", "src/net/server.c"),
        ("It is in server.c.", "server.c"),
        ("The test TestClient::test_timeout fails.", "TestClient::test_timeout"),
        ("A NullPointerException was thrown.", "NullPointerException"),
        ("Package @testing-library/vue is missing.", "@testing-library/vue"),
        ("The error is TS2304.", "TS2304"),
        ("open_socket() fails.", "open_socket"),
        ("The module numpy.linalg is missing.", "numpy.linalg"),
        ("See https://evil.example/fix.", "https://evil.example/fix"),
        ('The host "db02.internal" refused.', "db02.internal"),
        ("`numpy` 패키지가 없습니다.", "numpy"),
        ("MAX_RETRIES가 너무 작습니다.", "MAX_RETRIES"),
        ("The file sr\u0441/tls.c is broken.", "sr\u0441/tls.c"),  # Cyrillic
        ("The symbol tls\uff3fopen is not declared.", "tls\uff3fopen"),  # full-width
    ],
)
def test_names_from_nowhere_are_found(claim: str, foreign: str) -> None:
    """A file, test, symbol, package, code or address that the excerpt lacks is found, in both languages."""
    assert find_foreign_names(claim, LOG) == [foreign]


def test_an_invented_name_clears_grounded() -> None:
    """Title and root cause are both checked, explanation and suggestion are not."""
    chunk = make_chunk(LOG, anchor=0)
    assert is_grounded(_answer("`tls_open` is not declared."), chunk)
    assert not is_grounded(_answer("`tls_close` is not declared."), chunk)
    assert not is_grounded(_answer("It failed.", title="server.c is broken"), chunk)


def test_an_answer_that_cites_nothing_is_not_grounded() -> None:
    """Without a line to stand on, nothing is grounded."""
    assert not is_grounded(_answer("It failed.", evidence=()), make_chunk(LOG, anchor=0))


def test_citations_become_lines_of_the_file() -> None:
    """Numbers of the excerpt turn into the file's own line numbers, over gaps, in the order of citing."""
    chunk = make_chunk("a\n  b  \nc\nd", anchor=0, spans=((10, 11), (40, 41)))
    found = look_up_evidence(chunk, [3, 2, 3])
    assert [(evidence.path, evidence.line, evidence.quote) for evidence in found] == [
        ("nightly/build.log", 40, "c"),
        ("nightly/build.log", 11, "  b"),
    ]


def test_citations_of_nothing_are_left_out() -> None:
    """Numbers beyond the excerpt quote nothing."""
    assert look_up_evidence(make_chunk("a\nb", anchor=0), [0, 3, -1]) == ()


def test_a_shortened_line_is_quoted_whole() -> None:
    """What a model saw with its middle cut out is quoted as it stands in the file."""
    line = "ERROR " + "x" * 5000
    chunk = make_chunk(f"before\n{line}\nafter", anchor=1)
    cut, _ = cut_chunk(chunk, 300)
    number = cut.line_numbers().index(chunk.anchor) + 1
    (evidence,) = look_up_evidence(cut, [number], source=chunk)
    assert evidence.quote == line
    assert evidence.line == 101


def test_redacted_text_stays_redacted() -> None:
    """A quote comes from the chunk, which holds no secrets, never from the file."""
    chunk = replace(make_chunk(TRACEBACK.replace("db01", "[REDACTED:host]")), redactions=2)
    assert "[REDACTED:host]" in look_up_evidence(chunk, [6])[0].quote
