"""Write a result to a file that is either there whole or not at all."""

import os
import stat
from pathlib import Path

from bifrost_flow.errors import DeliveryError
from bifrost_flow.language import t
from connectors.storage import is_remote, write_whole


def write_file(target: str | Path, content: bytes) -> None:
    """Write `content` to `target`, whose folders are made if need be; what was there before is replaced.

    A pipe or a device is written to as it is. This is the one place that knows what kinds of targets exports
    have: paths, and objects in buckets.

    Raises:
        DeliveryError: the file can't be written, or `target` is a folder, or an address of another kind.
    """
    if is_remote(str(target)):
        try:
            write_whole(str(target), content)
        except ValueError as error:
            raise DeliveryError(t("files.no_address", path=target)) from error
        except OSError as error:
            raise DeliveryError(t("files.unwritable", path=target, reason=error.strerror or error)) from error
        return
    path = Path(target)
    try:
        kind = path.stat().st_mode if path.exists() else stat.S_IFREG
        if stat.S_ISDIR(kind):
            raise DeliveryError(t("files.folder", path=path))
        if stat.S_ISREG(kind):
            # A link stays one: what it points to is replaced.
            write_whole(Path(os.path.realpath(path)), content)
        else:
            path.write_bytes(content)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DeliveryError(t("files.unwritable", path=path, reason=reason)) from error


def write_text_file(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`, as `write_file` does.

    Raises:
        DeliveryError: the file can't be written.
    """
    write_file(path, text.encode())
