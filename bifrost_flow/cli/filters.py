"""The options that choose events, alike on every command that reads logs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bifrost_flow.language import t

if TYPE_CHECKING:
    from bifrost_flow.evidence.filtering import EventFilter

Severity = Annotated[str | None, typer.Option("--severity", help=t("evidence.filter.severity"))]
Keywords = Annotated[list[str] | None, typer.Option("--keyword", help=t("evidence.filter.keyword"))]
Regex = Annotated[bool, typer.Option("--regex", help=t("evidence.filter.regex"))]
Since = Annotated[str | None, typer.Option("--since", help=t("evidence.filter.since"))]
SinceRun = Annotated[
    str | None, typer.Option("--since", help=t("evidence.filter.since") + " " + t("run.since"))
]
Until = Annotated[str | None, typer.Option("--until", help=t("evidence.filter.until"))]


def read_filter(options: Mapping[str, Any]) -> "EventFilter | None":
    """Return the filter that the options of a command ask for, None if they ask for none.

    Raises:
        SettingsError: one can't be understood.
    """
    if not any(options[name] for name in ("severity", "keywords", "since", "until")):
        return None
    from bifrost_flow.evidence.filtering import build_filter

    return build_filter(
        severity=options["severity"],
        keywords=options["keywords"] or (),
        regex=options["regex"],
        since=options["since"],
        until=options["until"],
    )
