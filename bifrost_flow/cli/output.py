"""How a command talks: what the settings and its own options say about that."""

import logging
import os
from typing import TYPE_CHECKING, Annotated

import typer

from bifrost_flow.language import set_language, t

if TYPE_CHECKING:
    from bifrost_flow.settings import Settings


def _be_verbose(asked: bool) -> bool:
    # The setting's own name in the environment, so that all who load the settings see it.
    if asked:
        os.environ["BIFROST_OUTPUT_VERBOSE"] = "true"
    return asked


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help=t("run.quiet"))]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", callback=_be_verbose, help=t("run.verbose"))]


def apply_output_settings(settings: "Settings") -> None:
    """Speak the language that is set, without colour if that is off, and with details if asked."""
    set_language(settings.lang)
    if not settings.output.color:
        os.environ["NO_COLOR"] = "1"
    if settings.output.verbose:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
        for name in ("bifrost_flow", "connectors", "tasks", "flows"):
            logging.getLogger(name).addHandler(handler)
            logging.getLogger(name).setLevel(logging.DEBUG)
