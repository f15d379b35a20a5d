"""What the shell offers for the values of options and arguments, alike on every command that has them."""

import inspect
from collections.abc import Callable, Iterator

import typer

from bifrost_flow.errors import BifrostError
from bifrost_flow.language import LANGUAGES
from bifrost_flow.records import SEVERITIES

Completer = Callable[[str], list[str] | list[tuple[str, str]]]

PROVIDERS = ("auto", "rules", "ollama", "openai", "bedrock")


def complete_values(app: typer.Typer) -> None:
    """Give the options and arguments of all commands of `app` their completions, by what they are called.

    Those whose type is an enumeration have Typer's own.
    """
    for callback in _list_callbacks(app):
        for name, parameter in inspect.signature(callback).parameters.items():
            for info in getattr(parameter.annotation, "__metadata__", ()):
                if name in _BY_NAME:
                    info.autocompletion = _BY_NAME[name]
                elif "RUN" in (info.metavar or "").replace("_", "|").split("|"):
                    info.autocompletion = complete_runs


def _list_callbacks(app: typer.Typer) -> Iterator[Callable[..., object]]:
    yield from (command.callback for command in app.registered_commands if command.callback)
    for group in app.registered_groups:
        if group.typer_instance:
            yield from _list_callbacks(group.typer_instance)


def complete_from(values: tuple[str, ...]) -> Completer:
    """Return a completer that offers `values`."""

    def offer(incomplete: str) -> list[str]:
        return [value for value in values if value.startswith(incomplete)]

    return offer


def complete_formats(incomplete: str) -> list[str]:
    """Offer the formats of reports; what stands before the last comma is kept."""
    from bifrost_flow.render import FORMATS

    before, comma, _ = incomplete.rpartition(",")
    return [each for name in FORMATS if (each := f"{before}{comma}{name}").startswith(incomplete)]


def complete_prompts(incomplete: str) -> list[str]:
    """Offer the prompts that come with the package."""
    from bifrost_flow.prompts import list_prompts

    return [name for name in list_prompts() if name.startswith(incomplete)]


def complete_runs(incomplete: str) -> list[tuple[str, str]]:
    """Offer the runs of the warehouse that the settings name, newest first, each with source and time."""
    from bifrost_flow.render.defuse import put_on_one_line
    from bifrost_flow.settings import load_settings
    from connectors.warehouse import Warehouse

    try:
        store = Warehouse.open(load_settings().warehouse, create=False)
        runs = store.query_named("runs", "name_runs").rows
    except BifrostError:
        return []
    offered = [("latest", "")] + [
        (run_id, put_on_one_line(f"{source} {started_at:%Y-%m-%d %H:%M}"))
        for run_id, source, started_at in runs
    ]
    return [(name, note) for name, note in offered if name.startswith(incomplete)]


_BY_NAME: dict[str, Completer] = {
    "provider": complete_from(PROVIDERS),
    "lang": complete_from(LANGUAGES),
    "severity": complete_from(SEVERITIES),
    "fail_on": complete_from(("new", "any", *SEVERITIES)),
    "formats": complete_formats,
    "prompt": complete_prompts,
    "prompts": complete_prompts,
}
