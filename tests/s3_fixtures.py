"""Fixtures over `tests.s3_server`."""

from collections.abc import Iterator

import pytest

from connectors.s3 import transfer
from connectors.s3.access import S3Access, use_access
from tests.s3_server import CREDENTIALS, REGION, Bucket, open_bucket, serve_s3


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Yield the URL of a server."""
    with serve_s3() as url:
        yield url


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """Yield an empty bucket, which the process reaches, with no long pauses between attempts."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setattr(transfer, "FIRST_PAUSE_S", 0.01)
    with open_bucket(s3_server) as made:
        use_access(made.access)
        yield made
        use_access(S3Access())
