"""Log text is made harmless to look at, and stays readable."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bifrost_flow.render.defuse import cut, make_visible, put_on_one_line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[1;31merror\x1b[0m: no", "error: no"),
        ("\x1b]8;;https://evil.example\x07click\x1b]8;;\x07", "click"),
        ("\x1b]0;title without an end", "0;title without an end"),
        ("\x1b\x1b[31m[0m", "\\x1b[0m"),
        ("a\x9b2Jb", "ab"),
        ("a\u202eb", "a\\u202eb"),
        ("a\u200bb\ufeff", "a\\u200bb\\ufeff"),
        ("a\u200db", "a\\u200db"),
        ("\U0001f469\u200d\U0001f4bb", "\U0001f469\u200d\U0001f4bb"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("one\r\ntwo\tthree\n", "one\ntwo\tthree\n"),
        ("50%\r100%", "50%\\x0d100%"),
        ("caf\udce9.log", "caf\\xe9.log"),
        ("\ud800", "\\ud800"),
        ("a\u3164b\u115f\u034f", "a\\u3164b\\u115f\\u034f"),
        ("x\U000e0101\U000e01ef", "x\\U000e0101\\U000e01ef"),
        ("e" + "\u0301" * 500 + "!", "e" + "\u0301" * 8 + "…!"),
        (
            "\u2764\ufe0f Vie\u0302\u0323t \u0e17\u0e35\u0e48",
            "\u2764\ufe0f Vie\u0302\u0323t \u0e17\u0e35\u0e48",
        ),
        ("한국어 日本語\u00a0x\u3000", "한국어 日本語\u00a0x\u3000"),
    ],
)
def test_make_visible(text: str, expected: str) -> None:
    """Terminal escapes go, invisible characters are spelled out, other scripts stay as they are."""
    assert make_visible(text) == expected


@given(st.text(st.characters(codec=None)))
def test_nothing_invisible_is_left(text: str) -> None:
    """Whatever comes in, no control, direction or half character comes out, and UTF-8 can hold it."""
    visible = make_visible(text)
    visible.encode()
    left = {unicodedata.category(char) for char in visible if char not in "\n\t\u200c\u200d"}
    assert not left & {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_one_line() -> None:
    """Runs of blanks and line ends become one space, and a limit counts the ellipsis."""
    assert put_on_one_line(" a\n\n b\tc ") == "a b c"
    assert put_on_one_line("abcdef", 4) == "abc…"
    assert cut("abcd", 4) == "abcd"
