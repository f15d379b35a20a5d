"""How a command talks: what the settings and its own options say about that."""

import logging
import os
from collections.abc import Iterable
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
    """Speak the language that is set, without colour if that is off, and with details if asked; and reach
    buckets as the settings say."""
    from connectors.s3.access import S3Access, use_access

    set_language(settings.lang)
    use_access(S3Access(**settings.s3.model_dump()))
    if not settings.output.color:
        os.environ["NO_COLOR"] = "1"
    if settings.output.verbose:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
        for name in ("bifrost_flow", "connectors", "tasks", "flows"):
            logging.getLogger(name).addHandler(handler)
            logging.getLogger(name).setLevel(logging.DEBUG)


def reach_buckets(paths: Iterable[str]) -> None:
    """Read the settings, for a command that does without them, if one of `paths` is in a bucket.

    Raises:
        SettingsError: they are wrong.
    """
    from connectors.s3.access import S3Access, is_s3, use_access

    if any(is_s3(path) for path in paths):
        from bifrost_flow.settings import load_settings

        use_access(S3Access(**load_settings().s3.model_dump()))
