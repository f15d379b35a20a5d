"""Typer's own words, and what it says of wrong calls, in the language in force.

Typer 0.29 translates nothing, and of a wrong value it names the option and not the value. It is met at three
places: the `_` that it calls for some of its words, the class that writes its help, and `show` of its
errors. This goes when Typer takes translations; tests provoke each text, so an upgrade can't undo it unseen.
"""

import re
from collections.abc import Sequence
from typing import IO, Any

import typer.core
from typer._click import HelpFormatter, echo
from typer._click import core as click
from typer._click import exceptions as errors

from bifrost_flow.language import t

_WORDS = {
    "Arguments": "typer.arguments",
    "Options": "typer.options",
    "Commands": "typer.commands",
    "Missing command.": "typer.no_command_given",
    "required": "typer.required",
    "Show this message and exit.": "typer.show_help",
    "Install completion for the current shell.": "typer.install_completion",
    "Show completion for the current shell, to copy it or customize the installation.": (
        "typer.show_completion"
    ),
}
_SENTENCES = (
    (re.compile(r"No such command '(?P<name>.*)'\.(?: Did you mean (?P<nearest>.+)\?)?"), "no_command"),
    (re.compile(r"Got unexpected extra argument\(s\) \((?P<words>.*)\)", re.DOTALL), "extra"),
    (re.compile(r"Option '(?P<name>.*)' requires an argument\."), "needs_value"),
    (re.compile(r"Option '(?P<name>.*)' does not take a value\."), "takes_no_value"),
)
_CHOICES = re.compile(r" is not one of ('[^.]*')")


class _Formatter(HelpFormatter):
    """Writes help with our words where Typer has its own."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        super().write_usage(prog, args, f"{t('typer.usage')} " if prefix is None else prefix)

    def write_dl(self, rows: Sequence[tuple[str, str]], *args: Any, **options: Any) -> None:
        super().write_dl([(term, _translate(text)) for term, text in rows], *args, **options)


def translate_typer() -> None:
    """Make Typer speak the language in force, from now on in this process."""
    setattr(typer.core, "_", _translate)  # noqa: B010 - it's no name that a type checker knows
    click.Context.formatter_class = _Formatter
    for kind in (errors.ClickException, errors.UsageError):
        setattr(kind, "show", _show)  # noqa: B010 - so is this


def _translate(text: str) -> str:
    if text == "default: {default}":
        return f"{t('typer.default')}: {{default}}"
    return t(_WORDS[text]) if text in _WORDS else text


def _show(error: errors.ClickException, file: IO[Any] | None = None) -> None:
    """Print what is wrong with a call: its usage, where to read on, and the reason."""
    context = error.ctx if isinstance(error, errors.UsageError) else None
    if context is not None:
        echo(context.get_usage(), file=file, err=True)
        command = f"{context.command_path} {context.help_option_names[0]}"
        echo(t("typer.try_help", command=command) + "\n", file=file, err=True)
    echo(t("cli.error", message=describe_wrong_call(error)), file=file, err=True)


def describe_wrong_call(error: errors.ClickException) -> str:
    """Say in one sentence what Typer found wrong: which word, which value, and what may stand there."""
    match error:
        case errors.MissingParameter(param=param) if param is not None:
            return t(f"typer.missing_{param.param_type_name}", name=param.get_error_hint().strip("'"))
        case errors.BadParameter():
            return _describe_wrong_value(error)
        case errors.NoSuchOption(option_name=name, possibilities=possible):
            hint = t("typer.possible", options=", ".join(sorted(possible))) if possible else ""
            return f"{t('typer.no_option', name=name)} {hint}".rstrip()
    message = error.format_message()
    for pattern, key in _SENTENCES:
        if found := pattern.fullmatch(message):
            values = found.groupdict()
            nearest = values.pop("nearest", None)
            hint = f" {t('settings_error.nearest', name=nearest)}" if nearest else ""
            return t(f"typer.{key}", **values) + hint
    return message


def _describe_wrong_value(error: errors.BadParameter) -> str:
    from pydantic import ValidationError

    from bifrost_flow.settings_errors import describe_allowed

    hint = error.param.get_error_hint() if error.param is not None else error.param_hint
    name = hint.replace("'", "") if isinstance(hint, str) else ""
    if not isinstance(error.__cause__, ValidationError):
        return f"{name}: {error.message}" if name else error.message
    problem = error.__cause__.errors(include_url=False)[0]
    choices = _CHOICES.search(problem["msg"])
    if choices:
        allowed = t("settings_error.one_of", choices=choices[1].replace("'", ""))
    else:
        allowed = describe_allowed(problem, None)
    return t("typer.wrong_value", name=name, value=problem["input"], allowed=allowed)
