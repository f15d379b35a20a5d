"""In which form an answer's schema is sent, for servers that take less than all of JSON Schema."""

from typing import Any

# Hosted services compile a schema on first use, and refuse one with more values than this in its lists.
MAX_ENUMERATED = 400

# Services whose grammars are stricter than llama.cpp's refuse these (OpenAI's and Bedrock's strict modes).
_LIMITS = frozenset({"minLength", "maxLength", "maxItems", "minimum", "maximum"})


def narrow_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Return `schema` with only what every service with strict schemas takes; the code checks the rest.

    An enumeration longer than `MAX_ENUMERATED`, as the lines of a huge excerpt make it, becomes its type.
    """
    narrow: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _LIMITS or (key == "enum" and len(value) > MAX_ENUMERATED):
            continue
        if key == "properties":
            narrow[key] = {name: narrow_schema(each) for name, each in value.items()}
        else:
            narrow[key] = narrow_schema(value) if isinstance(value, dict) else value
    return narrow


def ask_for_json(system: str, schema: dict[str, Any]) -> str:
    """Return `system` with the answer's keys named, for a server that is not given the schema itself."""
    keys = ", ".join(schema["properties"])
    return f"{system}\n\nReply with nothing but one JSON object with the keys {keys}."
