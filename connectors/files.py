"""Write a result to a file that is either there whole or not at all."""

from pathlib import Path

from bifrost_flow.errors import DeliveryError
from bifrost_flow.language import t
from connectors.storage import write_whole


def write_text_file(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`, whose folders are made if need be; what was there before is replaced.

    A pipe or a device is written to as it is.

    Raises:
        DeliveryError: the file can't be written.
    """
    content = text.encode()
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
        else:
            write_whole(path, content)
    except OSError as error:
        raise DeliveryError(t("files.unwritable", path=path, reason=error.strerror or error)) from error
