"""How errors leave the command line: one line on standard error, and an exit code that scripts can trust."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import NoReturn

import typer

from bifrost_flow.errors import BifrostError, SettingsError
from bifrost_flow.language import t
from bifrost_flow.summary import EXIT_INTERRUPTED, EXIT_PARTIAL, EXIT_USAGE


@contextmanager
def exit_on_errors() -> Generator[None]:
    """Turn our own errors and Ctrl-C into a message and an exit code; a defect keeps its trace.

    2 for what the user must mend in the call or the settings, 3 for what failed outside, 130 for Ctrl-C.
    """
    try:
        yield
    except BifrostError as error:
        print(t("cli.error", message=error), file=sys.stderr)
        raise typer.Exit(EXIT_USAGE if isinstance(error, SettingsError) else EXIT_PARTIAL) from error
    except KeyboardInterrupt as interrupt:
        print(t("cli.interrupted"), file=sys.stderr)
        raise typer.Exit(EXIT_INTERRUPTED) from interrupt
    except BrokenPipeError:
        # `bifrost-flow … | head` closes our output: nothing to report, and Python must not flush it again.
        sys.stdout = None
        raise typer.Exit(0) from None


def leave(code: int) -> NoReturn:
    """End the process with `code` after a flow, without the interpreter's own shutdown.

    All is saved, delivered and stopped by then. What is left are Prefect's daemon threads and DuckDB's
    bindings, which report leaks and broken connections when the interpreter takes their modules away under them.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
