"""Write a result to a file that is either there whole or not at all."""

from pathlib import Path

from bifrost_flow.errors import DeliveryError
from bifrost_flow.language import t
from connectors.storage import is_remote, write_whole


def write_text_file(path: Path | str, text: str) -> None:
    """Write `text` as UTF-8 to `path`, whose folders are made if need be, or to an `s3://` object; what was
    there before is replaced.

    A pipe or a device is written to as it is.

    Raises:
        DeliveryError: the file can't be written.
    """
    content = text.encode()
    try:
        if not is_remote(str(path)) and Path(path).exists() and not Path(path).is_file():
            Path(path).write_bytes(content)
        else:
            write_whole(path, content)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DeliveryError(t("files.unwritable", path=path, reason=reason)) from error
