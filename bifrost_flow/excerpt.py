"""How a piece of evidence is shown to a model: numbered lines between markers, cut to fit its window."""

import hashlib
import re
from dataclasses import replace

from bifrost_flow.records import Chunk

# Control tokens of chat templates (ChatML, Llama, Mistral, Gemma, GLM, EXAONE). Servers turn them into real
# turns even inside a message, so a log that holds one could speak as the user or the system; a space takes
# their power. Plain replacements: they take a tenth of a regular expression's time.
_ANGLED = (
    *(
        "s",
        "bos",
        "eos",
        "pad",
        "unk",
        "sop",
        "eop",
        "BOS_TOKEN",
        "EOS_TOKEN",
        "start_of_turn",
        "end_of_turn",
    ),
    *("think", "tools", "tool_call", "tool_response", "start_of_image", "end_of_image", "end_of_utterance"),
)
_SQUARE = (
    *("INST", "SYSTEM_PROMPT", "AVAILABLE_TOOLS", "TOOL_CALLS", "TOOL_RESULTS", "TOOL_CONTENT", "ARGS"),
    *("CALL_ID", "THINK", "IMG", "MODEL_SETTINGS", "gMASK"),
)
_CONTROL_TOKENS = (
    *(("<" + bar, "< " + bar) for bar in "|｜"),
    *((bar + ">", bar + " >") for bar in "|｜"),
    ("[|", "[ |"),
    ("|]", "| ]"),
    *((f"<{slash}{name}>", f"< {slash}{name}>") for name in _ANGLED for slash in ("", "/")),
    ("<<SYS>>", "< <SYS>>"),
    ("<</SYS>>", "< </SYS>>"),
    *((f"[{slash}{name}]", f"[ {slash}{name}]") for name in _SQUARE for slash in ("", "/")),
)
# Other characters that some program takes for the end of a line, and ones that no person would see.
_LINE_BREAK = re.compile("[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)
_DIGITS = b"0123456789"
_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_SPACES = b" \t\n"
_ASCII = bytes(range(128))

_CLIPPED = " […] "
_MIN_LINE_CHARS = 200


def estimate_tokens(text: str) -> int:
    """Return a careful, high estimate of the tokens in `text`, for fitting it into a window.

    Tokenizers differ: some spend a token on each digit, and two or three bytes a token on Korean. The usual
    bytes / 4 is less than half of the truth for logs full of hashes and paths.
    """
    data = text.encode("utf-8", "replace")
    foreign = len(data.translate(None, _ASCII))
    digits = len(data) - len(data.translate(None, _DIGITS))
    letters = len(data) - len(data.translate(None, _LETTERS))
    spaces = len(data) - len(data.translate(None, _SPACES))
    others = len(data) - foreign - digits - letters - spaces
    return round(letters / 2.6 + digits + others * 0.95 + spaces / 2.5 + foreign / 2) + 1


def count_tokens(text: str) -> int:
    """Return the tokens of `text` as the tables count them: UTF-8 bytes / 4."""
    return -(-len(text.encode("utf-8", "replace")) // 4)


def show_text(text: str) -> str:
    """Return `text` as a model may see it: one line a newline, nothing hidden, no control tokens."""
    if not text.isascii() or "\r" in text or not text.replace("\n", "").isprintable():
        text = _INVISIBLE.sub("", _LINE_BREAK.sub(" ", text))
    present = {first for first in "<[|｜" if first in text}
    for token, harmless in _CONTROL_TOKENS:
        if token[0] in present:
            text = text.replace(token, harmless)
    return text


def format_excerpt(chunk: Chunk) -> str:
    """Return the lines of `chunk` numbered 1…n, between markers whose tag occurs nowhere in them."""
    lines = show_text(chunk.text).split("\n")
    body = "\n".join(f"{number}| {line}" for number, line in enumerate(lines, 1))
    tag = _make_tag(body)
    facts = (
        f"lines=1-{len(lines)} standing-out={find_anchor(chunk) + 1} guess={chunk.category}/{chunk.severity}"
    )
    return f"<log-{tag} {facts}>\n{body}\n</log-{tag}>"


def _make_tag(body: str) -> str:
    """Return a tag that the text lacks, made of the text alone, since it is part of the cache key."""
    tag = ""
    while not tag or tag in body:
        tag = hashlib.sha256(f"{tag}\n{body}".encode("utf-8", "replace")).hexdigest()[:12]
    return tag


def find_anchor(chunk: Chunk) -> int:
    """Return the 0-based position in `chunk.text` of the line that it was built around."""
    position = 0
    for first, last in chunk.spans:
        if first <= chunk.anchor <= last:
            return min(position + chunk.anchor - first, chunk.text.count("\n"))
        position += last - first + 1
    return 0


def cut_chunk(chunk: Chunk, max_tokens: int) -> tuple[Chunk, int]:
    """Return `chunk` with its least valuable lines left out, and how many lines were left out or shortened.

    The farther from the anchor, the less a line is worth; the anchor's line stays. `max_tokens` is by
    `estimate_tokens`. A line of more characters than half of that loses its middle.
    """
    if len(chunk.text) + 8 * chunk.text.count("\n") <= max_tokens and chunk.text.isascii():
        return chunk, 0  # a token is never less than a byte
    lines = chunk.text.split("\n")
    if estimate_tokens(chunk.text) + 4 * len(lines) <= max_tokens:
        return chunk, 0
    anchor = find_anchor(chunk)
    numbers = chunk.line_numbers()
    longest = max(_MIN_LINE_CHARS, max_tokens // 2)
    shown = [_clip_line(line, longest) for line in lines]
    left = max_tokens
    kept: list[int] = []
    for position in sorted(range(len(lines)), key=lambda place: (abs(place - anchor), place)):
        left -= estimate_tokens(shown[position]) + 4
        if left < 0 and kept:
            break
        kept.append(position)
    kept.sort()
    text = "\n".join(shown[position] for position in kept)
    spans = _join_spans([numbers[position] for position in kept])
    shortened = sum(shown[position] != lines[position] for position in kept)
    cut = replace(chunk, text=text, spans=spans, tokens=count_tokens(text))
    return cut, len(lines) - len(kept) + shortened


def _clip_line(line: str, max_chars: int) -> str:
    if len(line) <= max_chars:
        return line
    half = (max_chars - len(_CLIPPED)) // 2
    return line[:half] + _CLIPPED + line[-half:]


def _join_spans(numbers: list[int]) -> tuple[tuple[int, int], ...]:
    spans: list[tuple[int, int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1] = (spans[-1][0], number)
        else:
            spans.append((number, number))
    return tuple(spans)
