"""The warehouse's folder: which one is meant, whether it is one, and how a file comes to be in it whole."""

import os
import re
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from bifrost_flow.errors import WarehouseError
from bifrost_flow.language import t

MARKER = "warehouse.json"

# What may lie in a folder that is to become a warehouse: a creation that was cut short, and what other parts
# of a run keep there. Anything else means that the user named a folder of their own by mistake.
_OURS = ("mlflow", "mlruns", "mlartifacts", "journal", "reports", "bifrost.duckdb", MARKER, ".")


def resolve_location(location: str) -> Path:
    """Return the absolute path of a warehouse's folder.

    Raises:
        WarehouseError: it isn't on a local disk, or can't be a path.
    """
    if re.match(r"[a-z][a-z0-9+.-]*://", location, re.IGNORECASE):
        raise WarehouseError(t("warehouse.not_local", location=location))
    try:
        return Path(location).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise WarehouseError(t("warehouse.unusable", location=location, reason=error)) from error


def prepare_folder(root: Path, tables: tuple[str, ...], *, create: bool) -> None:
    """Make sure that `root` is a warehouse, or (`create`) can become one.

    Raises:
        WarehouseError: it isn't there, isn't a folder, isn't a warehouse, or can't be written.
    """
    with translating_os_errors(root):
        if not create and not root.exists():
            raise WarehouseError(t("warehouse.missing", location=root))
        if root.exists() and not root.is_dir():
            raise WarehouseError(t("warehouse.not_a_folder", location=root))
        if not (root / MARKER).exists():
            _refuse_foreign_folder(root, tables, create=create)
        if create:
            # The logs' text is in here: closed to others unless the owner opens this one folder.
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(root, os.W_OK | os.X_OK):
                raise WarehouseError(t("warehouse.not_writable", location=root))


def _refuse_foreign_folder(root: Path, tables: tuple[str, ...], *, create: bool) -> None:
    names = sorted(path.name for path in root.iterdir()) if root.exists() else []
    foreign = next((name for name in names if name not in tables and not name.startswith(_OURS)), None)
    if foreign is not None:
        raise WarehouseError(t("warehouse.foreign", location=root, name=foreign))
    if not create:
        raise WarehouseError(t("warehouse.missing", location=root))


@contextmanager
def translating_os_errors(root: Path) -> Generator[None]:
    """Raise what the operating system refuses below `root` as `WarehouseError`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise WarehouseError(t("warehouse.unusable", location=root, reason=reason)) from error


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a file that appears under `path` at once and complete, and survives a loss of power.

    Until then its name ends in `.tmp`, which no reader's pattern matches. What was there before is replaced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the disk keep the names in `folder`."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def encode_name(name: str) -> str:
    """Return `name` as one safe part of a path; letters of any script stay readable."""
    return re.sub(r"[^\w.-]|^\.+", lambda found: quote(found.group(), safe="").replace(".", "%2E"), name)
