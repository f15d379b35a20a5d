"""What a model answers, the JSON schema that asks for it, and the reading of what really came back.

A model cites line *numbers* of the excerpt it was shown; code looks the text up (`grounding`). "Cannot tell"
is an answer like any other: category `unknown` and no citation. Nothing is ever filled in for a model that
did not say it.
"""

import json
import re
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)

from bifrost_flow.errors import ModelRefused
from bifrost_flow.language import t
from bifrost_flow.records import CATEGORIES, SEVERITIES

# Part of the cache key: raise it whenever the schema or the meaning of a field changes.
SCHEMA_VERSION = "s1"

MAX_CITATIONS = 12
MAX_REPLY_CHARS = 200_000
_MAX_OBJECTS_TRIED = 200

# Escape sequences, control characters, bidirectional overrides, invisible, tag and variation characters:
# nothing that a model writes may steer a terminal or hide text. Lone surrogates can't be stored as UTF-8 at
# all.
_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)


def clean_text(text: str) -> str:
    """Return `text` without what could steer a terminal, hide text or break UTF-8; newlines and tabs stay."""
    return _UNSAFE.sub("", _ESCAPE_SEQUENCE.sub("", text.replace("\r\n", "\n"))).strip()


def _clean_value(value: object) -> object:
    return clean_text(value) if isinstance(value, str) else value


def _check_category(value: str) -> str:
    if value not in CATEGORIES:
        raise ValueError(f"must be one of {', '.join(CATEGORIES)}")
    return value


def _check_severity(value: str) -> str:
    if value not in SEVERITIES:
        raise ValueError(f"must be one of {', '.join(SEVERITIES)}")
    return value


Text = Annotated[str, BeforeValidator(_clean_value), Field(min_length=1)]


class Answer(BaseModel):
    """A model's explanation of one failure. `evidence` holds numbers of the excerpt's lines, 1-based."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    # In this order, since a model writes them in the order of the schema: look first, conclude then.
    evidence: list[Annotated[int, Field(ge=1)]]
    root_cause: Text
    title: Text
    category: Annotated[str, AfterValidator(_check_category)]
    severity: Annotated[str, AfterValidator(_check_severity)]
    explanation: Text
    suggestion: Text
    confidence: float = Field(ge=0.0, le=1.0, allow_inf_nan=False)

    @field_validator("title")
    @classmethod
    def _join_lines(cls, title: str) -> str:
        return " ".join(title.split())

    @field_validator("evidence")
    @classmethod
    def _drop_repeats(cls, evidence: list[int]) -> list[int]:
        return list(dict.fromkeys(evidence))

    @property
    def abstains(self) -> bool:
        """Whether the model said that it cannot tell."""
        return self.category == "unknown" and not self.evidence


def answer_schema(n_lines: int) -> dict[str, Any]:
    """Return the JSON schema of an answer about an excerpt of `n_lines` lines.

    Grammars of the llama.cpp kind hold `required`, `enum` and string shapes but no numeric limits, so numbers
    that matter are enumerated: citations 1…n, confidence in tenths.
    """
    text = {"type": "string", "minLength": 1}
    properties: dict[str, Any] = {
        "evidence": {
            "type": "array",
            "items": {"type": "integer", "enum": list(range(1, n_lines + 1))},
            "maxItems": MAX_CITATIONS,
        },
        "root_cause": text,
        "title": text,
        "category": {"type": "string", "enum": list(CATEGORIES)},
        "severity": {"type": "string", "enum": list(SEVERITIES)},
        "explanation": text,
        "suggestion": text,
        "confidence": {"type": "number", "enum": [tenth / 10 for tenth in range(11)]},
    }
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def parse_answer(text: str, n_lines: int) -> Answer:
    """Return the answer in `text`, which may be wrapped in prose, a code fence or a model's thinking.

    Raises:
        ModelRefused: there is no answer, more than one, or one that breaks the schema; the message says what.
    """
    objects = _find_objects(text)
    answers: list[Answer] = []
    trouble = "there is no JSON object in it"
    for candidate in objects:
        try:
            answer = Answer.model_validate(candidate)
        except ValidationError as error:
            trouble = _describe_trouble(error)
            continue
        beyond = [number for number in answer.evidence if number > n_lines]
        if beyond:
            trouble = f"evidence cites line {beyond[0]}, but the excerpt has lines 1 to {n_lines}"
            continue
        if answer not in answers:
            answers.append(answer)
    if len(answers) > 1:
        # One of them may be an answer that the log planted; there is no telling which.
        raise ModelRefused(t("model.several_answers", count=len(answers)))
    if not answers:
        raise ModelRefused(t("model.unusable", trouble=trouble))
    return answers[0]


def _find_objects(text: str) -> list[object]:
    """Return the outermost JSON objects in `text`."""
    text = text[:MAX_REPLY_CHARS]
    decoder = json.JSONDecoder()
    found: list[object] = []
    position = text.find("{")
    tried = 0
    while position >= 0 and tried < _MAX_OBJECTS_TRIED:
        tried += 1
        try:
            value, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            position = text.find("{", position + 1)
            continue
        found.append(value)
        position = text.find("{", end)
    return found


def _describe_trouble(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the answer"
    return f"{where}: {first['msg'][:400]}"
