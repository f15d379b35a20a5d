"""Files of ours in a bucket, as `connectors.storage` wants them.

A put is whole or not there, and a later one replaces it: what a folder needs a rename for.
"""

import errno
import json
import socket
import threading
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO

from connectors.s3.access import S3Access, split_url
from connectors.s3.stream import ObjectPlace
from connectors.s3.transfer import delete, fetch, find_object, list_level, list_objects, put
from connectors.storage import StoredFile

# Who holds a lock says so this often; one that was silent for longer is dead.
LEASE_REFRESH_S = 30.0
LEASE_S = 300.0
_POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class S3Storage:
    """A prefix of a bucket."""

    location: str  # s3://bucket/prefix, without a slash at the end
    access: S3Access

    @property
    def bucket(self) -> str:
        return split_url(self.location)[0]

    def key(self, name: str) -> str:
        """Return the key of the object that holds the file `name`."""
        prefix = split_url(self.location)[1]
        return f"{prefix}/{name}" if prefix else name

    def place(self, name: str) -> str:
        return f"{self.location}/{name}"

    def list_files(self, prefix: str = "") -> list[StoredFile]:
        cut = len(self.key(""))
        found = list_objects(self.access, self.bucket, self.key(prefix))
        files = [StoredFile(each.key[cut:], each.size, each.modified, each.etag) for each in found]
        return [file for file in files if not _is_hidden(file.name)]

    def list_top(self) -> set[str]:
        objects, folders = list_level(self.access, self.bucket, self.key(""))
        cut = len(self.key(""))
        names = {each.key[cut:] for each in objects} | {each[cut:].rstrip("/") for each in folders}
        return names - {""}

    def find(self, name: str) -> StoredFile | None:
        found = find_object(self.access, self.bucket, self.key(name))
        return StoredFile(name, found.size, found.modified, found.etag) if found else None

    def read(self, name: str) -> bytes:
        return fetch(self.access, self.bucket, self.key(name)).content

    def open(self, name: str) -> BinaryIO:
        found = find_object(self.access, self.bucket, self.key(name))
        if found is None:
            raise FileNotFoundError(2, "no such object", self.place(name))
        return ObjectPlace(self.access, self.bucket, found.key, found.size, found.etag).open()

    def write(self, name: str, content: bytes | memoryview) -> None:
        put(self.access, self.bucket, self.key(name), bytes(content))

    def delete(self, name: str) -> None:
        delete(self.access, self.bucket, self.key(name))

    @contextmanager
    def hold_alone(self, name: str) -> Generator[None]:
        """Hold the lock `name`: an object that only one can make, and that its owner renews.

        A server that knows no conditional puts lets everybody in.
        """
        content = json.dumps({"host": socket.gethostname(), "id": uuid.uuid4().hex}).encode()
        while not self._take(name, content):
            time.sleep(_POLL_S)
        released = threading.Event()

        def renew() -> None:
            while not released.wait(LEASE_REFRESH_S):
                with suppress(OSError):
                    self.write(name, content)

        renewing = threading.Thread(target=renew, daemon=True)
        renewing.start()
        try:
            yield
        finally:
            released.set()
            renewing.join()
            self.delete(name)

    def _take(self, name: str, content: bytes) -> bool:
        try:
            put(self.access, self.bucket, self.key(name), content, IfNoneMatch="*")
            return True
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
        found = find_object(self.access, self.bucket, self.key(name))
        if found is None:
            return False  # it was let go of just now
        if (datetime.now(UTC) - found.modified).total_seconds() < LEASE_S:
            return False
        # Of two that find it stale one gets it: the other's condition is not met any more. Ceph wants the
        # etag without its marks here.
        for etag in (f'"{found.etag}"', found.etag):
            with suppress(OSError):
                put(self.access, self.bucket, self.key(name), content, IfMatch=etag)
                return True
        return False


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))
