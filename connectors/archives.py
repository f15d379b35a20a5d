"""Find the logs in zip and tar archives, and tell what of one can't be read."""

from collections.abc import Iterator
from pathlib import Path

from bifrost_flow.language import t
from connectors.listing import Enough, Listing, Report, is_archive
from connectors.members import Location
from connectors.reading import BROKEN_ERRORS, Source
from connectors.tars import find_in_tar
from connectors.zips import find_in_zip

__all__ = ["find_members", "is_archive"]


def find_members(
    path: str, *, report: Report, max_bytes: int | None = None, location: Location | None = None
) -> Iterator[Source]:
    """Yield the logs in the archive `path`, in its order, as `path!/member`.

    What can't be read is told to `report` with a status and a message; nothing is raised for it.
    `max_bytes` leaves members out that are larger unpacked. `location` is where the bytes are, of what is no
    path.
    """
    listing = Listing(path, location or Path(path), report, max_bytes)
    find = find_in_zip if path.lower().endswith(".zip") else find_in_tar
    try:
        with listing.location.open("rb") as raw:
            yield from find(raw, listing)
    except Enough as limit:
        report(path, "too_large", str(limit))
    except OSError as error:
        if error.errno is None:  # the unpacker's, not the disk's
            listing.report_broken(error)
        else:
            reason = error.strerror or error
            report(path, "unreadable", t("source.unreadable", path=path, reason=reason))
    except BROKEN_ERRORS as error:
        listing.report_broken(error)
