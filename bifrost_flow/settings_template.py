"""A `bifrost.yaml` to fill in: each setting with its meaning and default, all commented out."""

from typing import Any, get_args

from pydantic.fields import FieldInfo

from bifrost_flow.language import t
from bifrost_flow.settings import name_variable, setting_fields


def render_template() -> str:
    """Return the file in the language in force; without the `# `, its lines say what holds anyway."""
    lines = [f"# {line}" for line in t("config.template").splitlines()]
    section = ""
    for key, field in setting_fields().items():
        table, _, name = key.rpartition(".")
        if table != section or not table:
            lines.append("")
        if table and table != section:
            lines.append(f"{table}:")
        section = table
        indent = "  " if table else ""
        lines.append(f"{indent}# {t(f'settings.{key}')}{_list_choices(field)} [{name_variable(key)}]")
        lines.append(f"{indent}# {name}: {_render_default(field)}".rstrip())
    return "\n".join(lines) + "\n"


def _list_choices(field: FieldInfo) -> str:
    choices = [each for each in get_args(field.annotation) if isinstance(each, str)]
    return f" ({', '.join(choices)})" if choices else ""


def _render_default(field: FieldInfo) -> str:
    """Return the default as YAML in one line; nothing for what is not set."""
    import yaml

    value: Any = field.default
    return (
        "" if value is None else yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()
    )
