"""What is wrong with settings, in words, with secrets masked."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from bifrost_flow.language import t
from bifrost_flow.settings_layers import Layer

MASK = "**********"  # as pydantic masks secrets

_PASSWORD_IN_URL = re.compile(r"(?<=://)([^/@\s:]*):[^/@\s]+@")
_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def explain_invalid(error: ValidationError, layers: Sequence[Layer], known: Mapping[str, FieldInfo]) -> str:
    """Say for each wrong value where it stands, what it is and may be; `known` are all fields by key."""
    lines = []
    for problem in error.errors(include_url=False):
        path = [str(step) for step in problem["loc"]]
        key = next((each for each in (".".join(path[:2]), path[0]) if each in known), ".".join(path))
        place = next((layer.name_place(key, line=True) for layer in layers if key in layer.values), "default")
        field = known.get(key)
        secret = field is not None and "SecretStr" in str(field.annotation)
        value = MASK if secret else json.dumps(mask_urls(problem["input"]), ensure_ascii=False, default=str)
        reason = problem.get("ctx", {}).get("error")
        allowed = str(reason) if isinstance(reason, ValueError) else describe_allowed(problem, field)
        shown = ".".join(path) if key == "prices" else key
        lines.append(t("settings_error.value", where=place, key=shown, value=value, allowed=allowed))
    return "\n".join(dict.fromkeys(lines))


def describe_allowed(problem: Mapping[str, Any], field: FieldInfo | None) -> str:
    """Say what a field takes, from pydantic's error and, for its limits, from the field."""
    kind, limits = str(problem["type"]), problem.get("ctx", {})
    bound = next((f" {sign} {limits[name]:g}" for name, sign in _BOUNDS.items() if name in limits), "")
    if kind == "literal_error":
        return t(
            "settings_error.one_of", choices=str(limits["expected"]).replace("'", "").replace(" or ", ", ")
        )
    if kind == "extra_forbidden":
        return t("settings_error.price")
    if bound or kind.startswith(("int_", "float_")):
        whole = kind.startswith("int_") or (bound and field is not None and "int" in str(field.annotation))
        return t("settings_error.integer" if whole else "settings_error.number", bound=bound)
    for name in ("bool", "string", "dict", "model", "missing"):
        if kind.startswith(name):
            return t(f"settings_error.{'price' if name in ('dict', 'model', 'missing') else name}")
    return str(problem["msg"])


def mask_urls(value: Any) -> Any:
    """Return a JSON-ready value with the passwords in its addresses masked."""
    if isinstance(value, dict):
        return {key: mask_urls(each) for key, each in value.items()}
    return _PASSWORD_IN_URL.sub(rf"\1:{MASK}@", value) if isinstance(value, str) else value
