"""What the settings say about how a command talks."""

import logging
import os

from bifrost_flow.language import set_language
from bifrost_flow.settings import Settings


def apply_output_settings(settings: Settings) -> None:
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
