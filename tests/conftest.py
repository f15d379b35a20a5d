"""What holds for all tests."""

import os
import sys

import pytest
from hypothesis import settings

# A busy machine is no defect: no example has a deadline.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

_ended_with = pytest.StashKey[int]()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Note how the tests ended."""
    session.config.stash[_ended_with] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """End without the interpreter's own shutdown, as our commands do (`cli/failures.leave`).

    All is told and cleaned up by then. Native code that is still loaded or has threads ended the process with
    a segmentation fault, after all tests had passed, when the interpreter took its modules away.
    """
    if _ended_with in config.stash:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[_ended_with])
