"""One Prefect server for all end-to-end tests; the tests of start-up start their own."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.prefect_server import EmbeddedServer
from tests.browser import Browser, start_browser
from tests.console import Console


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the test session's Prefect database."""
    return tmp_path_factory.mktemp("prefect")


@pytest.fixture(scope="session")
def prefect_api(prefect_home: Path) -> Iterator[str]:
    """Yield the address of a real Prefect server."""
    before = os.environ.get("PREFECT_HOME")
    os.environ["PREFECT_HOME"] = str(prefect_home)
    server = EmbeddedServer()
    server.start()
    try:
        yield server.wait()
    finally:
        server.stop()
        os.environ.pop("PREFECT_HOME")
        if before is not None:
            os.environ["PREFECT_HOME"] = before


@pytest.fixture
def console(tmp_path: Path, prefect_home: Path, prefect_api: str) -> Console:
    """Return a shell in an empty folder, against the session's Prefect server."""
    return Console(tmp_path, prefect_home, prefect_api)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Yield one Chromium for all pages."""
    with start_browser(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser
