"""The warehouse's place: which one is meant, whether it is one, and how parts of it are named."""

import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from bifrost_flow.errors import WarehouseError
from bifrost_flow.language import t
from connectors.storage import LocalStorage, Storage, is_remote, open_storage

MARKER = "warehouse.json"

# What may lie in a folder that is to become a warehouse: a creation that was cut short, and what other parts
# of a run keep there. Anything else means that the user named a folder of their own by mistake.
_OURS = ("mlflow", "mlruns", "mlartifacts", "journal", "reports", "bifrost.duckdb", MARKER, ".")


def resolve_location(location: str) -> Storage:
    """Return the place of a warehouse.

    Raises:
        WarehouseError: it is neither a path nor an S3 prefix.
    """
    if is_remote(location):
        try:
            return open_storage(location)
        except ValueError as error:
            raise WarehouseError(t("warehouse.unknown_place", location=location)) from error
    try:
        return open_storage(str(Path(location).expanduser().resolve()))
    except (OSError, RuntimeError, ValueError) as error:
        raise WarehouseError(t("warehouse.unusable", location=location, reason=error)) from error


def prepare_place(storage: Storage, tables: tuple[str, ...], *, create: bool) -> None:
    """Make sure that `storage` is a warehouse, or (`create`) can become one.

    Raises:
        WarehouseError: it isn't there, isn't a folder, isn't a warehouse, or can't be written.
    """
    with translating_os_errors(storage):
        folder = storage.folder if isinstance(storage, LocalStorage) else None
        if folder and not create and not folder.exists():
            raise WarehouseError(t("warehouse.missing", location=folder))
        if folder and folder.exists() and not folder.is_dir():
            raise WarehouseError(t("warehouse.not_a_folder", location=folder))
        if storage.find(MARKER) is None:
            _refuse_foreign_place(storage, tables, create=create)
        if folder and create:
            # The logs' text is in here: closed to others unless the owner opens this one folder.
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise WarehouseError(t("warehouse.not_writable", location=folder))


def _refuse_foreign_place(storage: Storage, tables: tuple[str, ...], *, create: bool) -> None:
    names = sorted(storage.list_top())
    foreign = next((name for name in names if name not in tables and not name.startswith(_OURS)), None)
    if foreign is not None:
        raise WarehouseError(t("warehouse.foreign", location=storage.location, name=foreign))
    if not create:
        raise WarehouseError(t("warehouse.missing", location=storage.location))


@contextmanager
def translating_os_errors(storage: Storage) -> Generator[None]:
    """Raise what the place refuses as `WarehouseError`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise WarehouseError(t("warehouse.unusable", location=storage.location, reason=reason)) from error


def encode_name(name: str) -> str:
    """Return `name` as one safe part of a path; letters of any script stay readable."""
    return re.sub(r"[^\w.-]|^\.+", lambda found: quote(found.group(), safe="").replace(".", "%2E"), name)
