"""How errors leave the command line: one line on standard error, and an exit code that scripts can trust."""

import errno
import os
import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import NoReturn

import typer

from bifrost_flow.errors import BifrostError, SettingsError, WarehouseError
from bifrost_flow.language import t
from bifrost_flow.render.defuse import make_visible
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
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        _forget_output()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _forget_output()
        code = _say(EXIT_PARTIAL, t("cli.output_failed", reason=error.strerror))
    except SystemExit as ended:
        # Rich ends the process with 1 when its output is closed, which would look like a gate that tripped.
        _forget_output()
        code = 0 if ended.code == 1 else int(ended.code or 0)
    except typer.Exit as asked:
        code = asked.exit_code
    except (SettingsError, WarehouseError) as error:
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


def _forget_output() -> None:
    """Let standard output lead nowhere: `… | head` has closed it, and Python must not flush it again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _say(code: int, message: str) -> int:
    # It may quote a file's name, a setting or what a server said.
    print(make_visible(message), file=sys.stderr)
    return code


def leave(code: int) -> NoReturn:
    """End the process with `code` after a flow, without the interpreter's own shutdown.

    All is saved, delivered and stopped by then. What is left are Prefect's daemon threads and DuckDB's
    bindings, which report leaks and broken connections when their modules are taken away.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)
