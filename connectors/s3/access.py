"""How buckets are reached, and how places in them are written. Importing this costs nothing."""

from dataclasses import dataclass

SCHEME = "s3://"


@dataclass(frozen=True, slots=True)
class S3Access:
    """How a bucket is reached; what is None is found as AWS's own tools find it."""

    endpoint: str | None = None
    region: str | None = None
    profile: str | None = None
    anonymous: bool = False
    path_style: bool | None = None  # None: where an endpoint is set


_access = S3Access()


def use_access(access: S3Access) -> None:
    """Reach all buckets of this process in this way from now on."""
    global _access
    _access = access


def current_access() -> S3Access:
    """Return how buckets are reached."""
    return _access


def is_s3(location: str) -> bool:
    """Tell whether a location is in a bucket."""
    return location[: len(SCHEME)].lower() == SCHEME


def split_url(url: str) -> tuple[str, str]:
    """Return bucket and key (or prefix) of an `s3://` URL."""
    bucket, _, key = url[len(SCHEME) :].partition("/")
    return bucket, key
