"""How errors leave the command line: one line on standard error, and an exit code that scripts can trust."""

import os
import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from typing import NoReturn

import typer

from bifrost_flow.errors import BifrostError, SettingsError
from bifrost_flow.language import t
from bifrost_flow.summary import EXIT_INTERRUPTED, EXIT_PARTIAL, EXIT_USAGE

EXIT_DEFECT = 70  # EX_SOFTWARE of sysexits.h; Python's own 1 would look like a gate that tripped


@contextmanager
def exit_on_errors(*, at_once: bool = False) -> Generator[None]:
    """Turn our own errors and Ctrl-C into a message and an exit code; a defect keeps its trace.

    2 for what the user must mend in the call or the settings, 3 for what failed outside, 70 for a defect, 130
    for Ctrl-C. `at_once` is for commands that ran a flow, see `leave`.
    """
    code = 0
    try:
        yield
    except BrokenPipeError:
        # `bifrost-flow … | head` closes our output: nothing to report, and Python must not flush it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except typer.Exit as asked:
        code = asked.exit_code
    except SettingsError as error:
        code = _say(EXIT_USAGE, t("cli.error", message=error))
    except BifrostError as error:
        code = _say(EXIT_PARTIAL, t("cli.error", message=error))
    except KeyboardInterrupt:
        code = _say(EXIT_INTERRUPTED, t("cli.interrupted"))
    except Exception:  # noqa: BLE001 - the edge of the program
        traceback.print_exc()
        code = _say(EXIT_DEFECT, t("run.defect"))
    if at_once:
        leave(code)
    if code:
        raise typer.Exit(code)


def _say(code: int, message: str) -> int:
    print(message, file=sys.stderr)
    return code


def leave(code: int) -> NoReturn:
    """End the process with `code` after a flow, without the interpreter's own shutdown.

    All is saved, delivered and stopped by then. What is left are Prefect's daemon threads and DuckDB's
    bindings, which report leaks and broken connections when their modules are taken away.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
