"""Make log text harmless to look at: no terminal escapes, no invisible or direction-changing characters.

What a format must escape for itself (HTML, Markdown, CSV, Slack) is escaped by that format's module; all of
them start from the text that comes from here. JSON alone keeps the text exact: its own escapes are lossless.
"""

import re
import unicodedata

# ECMA-48: control sequences, then control strings with their terminator, then two-character escapes. A string
# that never ends loses its introducer only. The bound keeps a line of many introducers from costing quadratic
# time.
TERMINAL_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d\x9e\x9f])[^\n]{0,2000}?(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
)
_JOINERS = "\u200c\u200d"  # within emoji and several scripts they are spelling; after ASCII they only hide
# Letters and marks that show nothing: fillers, and the variation selectors that no script uses but that can
# carry any text unseen.
_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\U000e0100-\U000e01ef]")
# More marks on one letter than any script writes; they would cover the lines around.
MAX_MARKS = 8
_SPACE = re.compile(r"\s+")


def make_visible(text: str) -> str:
    """Return `text` without terminal escapes, with line ends as ``\\n`` and anything invisible spelled out.

    Controls, direction overrides, zero-width characters, line separators and bytes that were no text come out
    as ``\\x07`` or ``\\u202e``: a reader sees that they were there, and they do nothing. Tabs and newlines
    stay. Of the marks piled on one letter `MAX_MARKS` are left, and an ellipsis.
    """
    if text.isascii() and text.isprintable():
        return text
    text = TERMINAL_ESCAPE.sub("", text).replace("\r\n", "\n")
    pieces: list[str] = []
    before, marks = "", 0
    for char in text:
        marks = marks + 1 if _is_mark(char) else 0
        if marks <= MAX_MARKS:
            pieces.append(char if _shows(char, before) else _spell_out(char))
        elif marks == MAX_MARKS + 1:
            pieces.append("…")
        before = char
    return "".join(pieces)


def put_on_one_line(text: str, limit: int | None = None) -> str:
    """Return `text` made visible, on one line, and cut to `limit` characters where one is given."""
    line = _SPACE.sub(" ", make_visible(text)).strip()
    return line if limit is None else cut(line, limit)


def escape_unprintable(text: str) -> str:
    """Return JSON with all but printable characters escaped: exact for a parser, inert on a screen."""
    return "\n".join(
        line
        if line.isprintable()
        else "".join(char if char.isprintable() else _escape_in_json(char) for char in line)
        for line in text.split("\n")
    )


def cut(text: str, limit: int) -> str:
    """Return `text`, or its first `limit` characters with an ellipsis as the last of them."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def _is_mark(char: str) -> bool:
    return char >= "\u0300" and not char.isalnum() and unicodedata.category(char).startswith("M")


def _shows(char: str, before: str) -> bool:
    if char.isprintable() or char in "\n\t":
        return char.isascii() or not _BLANK.match(char)
    if char in _JOINERS:
        return bool(before) and not before.isascii()
    return unicodedata.category(char) in ("Zs", "Co")  # wide and no-break spaces, icon fonts


def _spell_out(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8, as Python keeps it in file names
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _escape_in_json(char: str) -> str:
    # Not by `json.dumps`, which leaves DEL as it is.
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
