"""An answer while it is being written: what can be read of JSON that has not ended yet."""

import re
from dataclasses import dataclass

from pydantic_core import from_json

from bifrost_flow.answer import MAX_REPLY_CHARS, clean_text
from bifrost_flow.grounding import look_up_evidence
from bifrost_flow.records import Chunk, Evidence

# An escape sequence whose end has not come yet: its letters would stand there until it does.
_OPEN_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*)?$")

TEXT_FIELDS = ("title", "root_cause", "explanation", "suggestion")


@dataclass(frozen=True, slots=True)
class Draft:
    """What there is of an answer. The text that came last may go on; the others are whole."""

    fingerprint: str
    texts: tuple[tuple[str, str], ...] = ()  # of TEXT_FIELDS, name and text, in the order they were written
    evidence: tuple[Evidence, ...] = ()


def read_draft(text: str, fingerprint: str, shown: Chunk, source: Chunk) -> Draft:
    """Return what `text`, the beginning of a model's answer about `shown`, says so far.

    A draft claims nothing: it is not checked against the schema, and may turn out not to be an answer. Cited
    lines are looked up as for a finding, `source` being the excerpt before it was cut to fit.
    """
    start = text.find("{")
    if start < 0:
        return Draft(fingerprint)
    try:
        # Half of a surrogate pair, which JSON can spell, is no UTF-8.
        written = text[start:MAX_REPLY_CHARS].encode("utf-8", "replace")
        fields = from_json(written, allow_partial="trailing-strings")
    except ValueError:
        return Draft(fingerprint)
    if not isinstance(fields, dict):
        return Draft(fingerprint)
    texts = tuple(
        (name, clean_text(_OPEN_ESCAPE.sub("", value)))
        for name, value in fields.items()
        if name in TEXT_FIELDS and isinstance(value, str)
    )
    return Draft(fingerprint, texts, _look_up(fields, shown, source))


def _look_up(fields: dict[str, object], shown: Chunk, source: Chunk) -> tuple[Evidence, ...]:
    cited = fields.get("evidence")
    # The last number of a list that is still open may lack digits.
    if not isinstance(cited, list) or next(reversed(fields)) == "evidence":
        return ()
    return look_up_evidence(shown, [number for number in cited if type(number) is int], source=source)
