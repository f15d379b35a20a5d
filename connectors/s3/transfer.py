"""Get, put and list objects, whatever the network does meanwhile.

A call that may succeed later is made again, after a pause that grows and is random (so that many that were
told to slow down don't come back at once). A body that breaks off is gone on with where it ended, of the same
version of the object or not at all.
"""

import errno
import mimetypes
import random
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar

from bifrost_flow.language import t
from bifrost_flow.progress import stop_requested
from connectors.s3.access import S3Access
from connectors.s3.client import (
    VENDOR_ERRORS,
    is_unreachable,
    may_pass,
    open_client,
    read_retry_after,
    translate_error,
)

T = TypeVar("T")

MAX_ATTEMPTS = 8
# A server that isn't there is not waited for as long as one that is busy.
MAX_ATTEMPTS_UNREACHABLE = 3
FIRST_PAUSE_S = 0.2
MAX_PAUSE_S = 10.0
_POLL_S = 0.1
_PIECE_BYTES = 1 << 20

# So many requests at once keep a bucket some 30 ms away busy; each is a thread that waits.
CONCURRENCY = 32
# A listing is cut into about so many pieces that are listed side by side.
LIST_PIECES = 16
_MAX_LEVELS = 6


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as a listing tells of it."""

    key: str
    size: int  # bytes
    modified: datetime
    etag: str  # without its quotation marks


@dataclass(frozen=True, slots=True)
class Fetched:
    """Some bytes of an object, and which version of it they are of."""

    content: bytes
    etag: str
    size: int  # bytes of the whole object


@cache
def fetchers() -> ThreadPoolExecutor:
    """Return the threads that wait for answers, for the whole process."""
    return ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="s3")


def ask(access: S3Access, url: str, call: Callable[[Any], T]) -> T:
    """Return what `call` gives with a client, made again while it may help; `url` is for messages.

    Raises:
        OSError: it failed for good; the reason says what to do.
    """
    client = open_client(access)
    attempt = 0
    while True:
        try:
            return call(client)
        except VENDOR_ERRORS as error:
            attempt += 1
            _pause_or_raise(error, attempt, url, access)


def _pause_or_raise(error: Exception, attempt: int, url: str, access: S3Access) -> None:
    attempts = MAX_ATTEMPTS_UNREACHABLE if is_unreachable(error) else MAX_ATTEMPTS
    if not may_pass(error) or attempt >= attempts or stop_requested():
        raise translate_error(error, url, access) from error
    longest = min(MAX_PAUSE_S, FIRST_PAUSE_S * 2 ** (attempt - 1))
    until = time.monotonic() + max(random.uniform(longest / 4, longest), min(read_retry_after(error), 60.0))
    while (left := until - time.monotonic()) > 0 and not stop_requested():
        time.sleep(min(left, _POLL_S))


def fetch(
    access: S3Access,
    bucket: str,
    key: str,
    *,
    start: int = 0,
    end: int | None = None,
    etag: str | None = None,
) -> Fetched:
    """Return the bytes of an object from `start` to before `end`, of the version `etag` if that is given.

    Raises:
        OSError: it can't be read; with the number ESTALE, it is another version by now.
    """
    url = f"s3://{bucket}/{key}"
    pieces: list[bytes] = []
    got, size, attempt = 0, 0, 0
    client = open_client(access)
    while True:
        try:
            answer = client.get_object(Bucket=bucket, Key=key, **_narrow(start + got, end, etag))
            found = answer["ETag"].strip('"')
            if etag is not None and found != etag:
                # Not every server knows the condition.
                raise OSError(errno.ESTALE, t("s3.changed"))
            # What is fetched in parts is all of one version.
            etag = found
            size = _read_size(answer)
            body = answer["Body"]
            while piece := body.read(_PIECE_BYTES):
                pieces.append(piece)
                got += len(piece)
                attempt = 0
            return Fetched(pieces[0] if len(pieces) == 1 else b"".join(pieces), etag, size)
        except VENDOR_ERRORS as error:
            attempt += 1
            _pause_or_raise(error, attempt, url, access)


def _narrow(start: int, end: int | None, etag: str | None) -> dict[str, str]:
    options = {}
    if start or end is not None:
        options["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
    if etag is not None:
        options["IfMatch"] = f'"{etag}"'
    return options


def _read_size(answer: dict[str, Any]) -> int:
    found = re.search(r"/(\d+)$", answer.get("ContentRange") or "")
    return int(found[1]) if found else int(answer["ContentLength"])


def find_object(access: S3Access, bucket: str, key: str) -> Listed | None:
    """Return the object `key`, None where there is none.

    Raises:
        OSError: the server refuses to tell.
    """
    url = f"s3://{bucket}/{key}"
    try:
        try:
            found = ask(access, url, lambda client: client.head_object(Bucket=bucket, Key=key))
        except FileNotFoundError:
            return None
        except OSError:
            # The answer to HEAD has no body, and so no reason: a byte of the object is asked for to learn it.
            first = {"Range": "bytes=0-0"}
            found = ask(access, url, lambda client: client.get_object(Bucket=bucket, Key=key, **first))
    except FileNotFoundError:
        return None
    return Listed(key, _read_size(found), _read_time(found), found["ETag"].strip('"'))


def put(access: S3Access, bucket: str, key: str, content: bytes, **conditions: str) -> None:
    """Write an object whole; `conditions` are botocore's (`IfNoneMatch`, `IfMatch`)."""
    # A browser shows a page that is said to be one, and saves all else.
    kind = mimetypes.guess_type(key)[0] or "application/octet-stream"
    ask(
        access,
        f"s3://{bucket}/{key}",
        lambda client: client.put_object(
            Bucket=bucket, Key=key, Body=content, ContentType=kind, **conditions
        ),
    )


def delete(access: S3Access, bucket: str, key: str) -> None:
    """Remove an object; one that isn't there is fine."""
    ask(access, f"s3://{bucket}/{key}", lambda client: client.delete_object(Bucket=bucket, Key=key))


def list_objects(access: S3Access, bucket: str, prefix: str) -> list[Listed]:
    """Return all objects whose keys start with `prefix`, sorted by key as S3 sorts them.

    The first thousand come with one request. Beyond, what lies below is cut where keys branch, and the pieces
    are listed side by side.

    Raises:
        OSError: the bucket can't be listed.
    """
    first, more = _list_page(access, bucket, prefix, after="")
    if not more:
        return first
    cuts = [cut for cut in _find_cuts(access, bucket, prefix) if cut > first[-1].key]
    starts = [first[-1].key, *_thin_out(cuts)]
    ends = [*starts[1:], None]
    with ThreadPoolExecutor(len(starts)) as threads:
        pieces = threads.map(
            lambda span: _list_span(access, bucket, prefix, *span), zip(starts, ends, strict=True)
        )
        return [*first, *(each for piece in pieces for each in piece)]


def list_level(
    access: S3Access, bucket: str, prefix: str, *, pages: int | None = None
) -> tuple[list[Listed], list[str]]:
    """Return the objects right below `prefix`, and the prefixes (each ends in a slash) that go on below;
    of the first `pages` pages."""
    objects: list[Listed] = []
    folders: list[str] = []
    token: dict[str, str] = {}
    while pages is None or pages > 0:
        answer = ask(
            access,
            f"s3://{bucket}/{prefix}",
            lambda client, token=token: client.list_objects_v2(
                Bucket=bucket, Prefix=prefix, Delimiter="/", **token
            ),
        )
        objects.extend(_read_listed(answer))
        folders.extend(each["Prefix"] for each in answer.get("CommonPrefixes", ()))
        if not answer.get("IsTruncated"):
            break
        token = {"ContinuationToken": answer["NextContinuationToken"]}
        pages = pages and pages - 1
    return objects, folders


def _find_cuts(access: S3Access, bucket: str, prefix: str) -> list[str]:
    """Return prefixes at which a listing can be cut, sorted: the first level with enough of them."""
    level = [prefix]
    for _ in range(_MAX_LEVELS):
        with ThreadPoolExecutor(len(level)) as threads:
            below = threads.map(lambda each: list_level(access, bucket, each, pages=1)[1], level)
            found = [folder for folders in below for folder in folders]
        if not found:
            break
        if len(found) >= LIST_PIECES:
            return sorted(found)
        level = found
    return sorted(level) if level != [prefix] else []


def _thin_out(cuts: list[str]) -> list[str]:
    step = -(-len(cuts) // LIST_PIECES) or 1
    return cuts[::step]


def _list_span(access: S3Access, bucket: str, prefix: str, after: str, before: str | None) -> list[Listed]:
    found: list[Listed] = []
    more = True
    while more:
        page, more = _list_page(access, bucket, prefix, after=after)
        if not page:
            break
        after = page[-1].key
        if before is not None and after >= before:
            return found + [each for each in page if each.key <= before]
        found += page
    return found


def _list_page(access: S3Access, bucket: str, prefix: str, *, after: str) -> tuple[list[Listed], bool]:
    options = {"StartAfter": after} if after else {}
    answer = ask(
        access,
        f"s3://{bucket}/{prefix}",
        lambda client: client.list_objects_v2(Bucket=bucket, Prefix=prefix, **options),
    )
    return list(_read_listed(answer)), bool(answer.get("IsTruncated"))


def _read_listed(answer: dict[str, Any]) -> Iterator[Listed]:
    for each in answer.get("Contents", ()):
        yield Listed(each["Key"], int(each["Size"]), _read_time(each), each["ETag"].strip('"'))


def _read_time(answer: dict[str, Any]) -> datetime:
    """Return when an object was written; only a listing knows fractions of a second."""
    return answer["LastModified"].astimezone(UTC).replace(microsecond=0)
