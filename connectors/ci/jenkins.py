"""Logs of Jenkins: the console text of builds.

https://www.jenkins.io/doc/book/using/remote-access-api/ and "Accessing Progressive Console Output" at
`…/api/` of any build: `logText/progressiveText?start=N` answers with what came since byte N; X-Text-Size is
the next N, and X-More-Data says that the build is still writing.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, BinaryIO
from urllib.parse import quote

from connectors.ci.access import CiAccess, CiTarget, check_host
from connectors.ci.github import pick_status
from connectors.ci.http import CiClient, CiFault, Patience
from connectors.ci.pieces import PAGE, Piece, name_part, read_number, read_rows

_STATUSES = ("success", "failure", "unstable", "aborted", "not_built")
_ALIASES = {"failed": "failure", "passed": "success", "canceled": "aborted", "cancelled": "aborted"}
_FIELDS = "number,result,building,timestamp"


def open_jenkins(access: CiAccess, patience: Patience) -> CiClient:
    """Return a client for Jenkins, whose address must be set."""
    auth = None
    if access.jenkins_user and access.jenkins_token:
        auth = (access.jenkins_user, access.jenkins_token)
    return CiClient(access.jenkins_url or "", patience, key="jenkins.token", headers={}, auth=auth)


class Jenkins:
    """Jenkins's API for one target `jenkins://host/job/NAME?…`; folders are `/job/FOLDER/job/NAME`.

    Raises:
        SettingsError: the target's host is not the one in the settings, or there is no such status.
    """

    def __init__(self, target: CiTarget, access: CiAccess, patience: Patience) -> None:
        check_host(target, access.jenkins_url, key="jenkins.url")
        self._target = target
        self._status = pick_status(target, _STATUSES, _ALIASES)
        # Before /job/ stands where Jenkins is installed below its host, which the setting says too.
        first = target.parts.index("job")
        self._root = "".join(f"/{quote(part, safe='')}" for part in target.parts[first:])
        self._client = open_jenkins(access, patience)

    def close(self) -> None:
        self._client.close()

    def list_pieces(self) -> Iterator[Piece]:
        """Yield the console of each build, or of the one that is named by number or as `lastFailedBuild`."""
        if build := self._target.option("build"):
            path = f"{self._root}/{quote(build, safe='')}/api/json"
            row, _ = self._client.get_json(path, {"tree": _FIELDS})
            (row,) = read_rows([row], None, path)
            yield self._piece(row)
            return
        yield from self._list_builds()

    def _piece(self, row: dict[str, Any]) -> Piece:
        number = read_number(row, "number", self._root)
        fetch = self._fetch_growing if row.get("building") else self._fetch_whole
        path = f"{self._target.scheme}://{self._target.host}"
        parts = "".join(f"/{name_part(part)}" for part in self._target.parts)
        return Piece(f"{path}{parts}/{number}/consoleText", lambda file: fetch(number, file))

    def _list_builds(self) -> Iterator[Piece]:
        target, path = self._target, f"{self._root}/api/json"
        first, given = 0, 0
        while given < target.limit:
            tree = f"allBuilds[{_FIELDS}]{{{first},{first + PAGE}}}"
            rows = read_rows(self._client.get_json(path, {"tree": tree})[0], "allBuilds", path)
            for row in rows:
                if target.since and _read_time(row) < target.since:
                    return  # newest first
                if self._status and str(row.get("result")).lower() != self._status:
                    continue
                yield self._piece(row)
                given += 1
                if given == target.limit:
                    return
            if len(rows) < PAGE:
                return
            first += PAGE

    def _fetch_whole(self, number: int, file: BinaryIO) -> None:
        self._client.download(f"{self._root}/{number}/consoleText", file)

    def _fetch_growing(self, number: int, file: BinaryIO) -> None:
        """Write what a build that still runs has said so far; its end is not waited for."""
        start, path = 0, f"{self._root}/{number}/logText/progressiveText"
        while True:
            size, headers = self._client.download(path, file, {"start": start})
            end = headers.get("x-text-size", "")
            if not size or headers.get("x-more-data") != "true" or not end.isdecimal() or int(end) <= start:
                return
            start = int(end)


def _read_time(row: dict[str, Any]) -> datetime:
    try:
        return datetime.fromtimestamp(read_number(row, "timestamp", "timestamp") / 1000, UTC)
    except (OverflowError, OSError, ValueError) as error:
        raise CiFault("unreadable", str(error)) from error
