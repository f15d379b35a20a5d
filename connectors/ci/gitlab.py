"""Logs of GitLab: the traces of a pipeline's jobs.

https://docs.gitlab.com/api/pipelines/ and …/jobs/. Retried jobs are left out, as GitLab does by default.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from connectors.ci.access import CiAccess, CiTarget, check_host
from connectors.ci.github import pick_status
from connectors.ci.http import CiClient, Patience
from connectors.ci.pieces import PAGE, Piece, name_part, read_number, read_rows

_STATUSES = (
    *("created", "waiting_for_resource", "preparing", "pending", "running", "success", "failed"),
    *("canceled", "skipped", "manual", "scheduled"),
)
_ALIASES = {"failure": "failed", "passed": "success", "cancelled": "canceled"}
# Of a job that never ran there is no trace; one that still runs may be the one that asks.
_ENDED = ("success", "failed", "canceled")


def open_gitlab(access: CiAccess, patience: Patience) -> CiClient:
    """Return a client for GitLab's API."""
    headers = {"PRIVATE-TOKEN": access.gitlab_token} if access.gitlab_token else {}
    return CiClient(access.gitlab_url, patience, key="gitlab.token", headers=headers)


class GitLab:
    """GitLab's API for one target `gitlab://host/group/project?…`.

    Raises:
        SettingsError: the target's host is not the one in the settings, or there is no such status.
    """

    def __init__(self, target: CiTarget, access: CiAccess, patience: Patience) -> None:
        check_host(target, access.gitlab_url, key="gitlab.url")
        self._target = target
        self._status = pick_status(target, _STATUSES, _ALIASES)
        self._root = f"/api/v4/projects/{quote('/'.join(target.parts), safe='')}"
        self._client = open_gitlab(access, patience)

    def close(self) -> None:
        self._client.close()

    def list_pieces(self) -> Iterator[Piece]:
        """Yield the trace of each job that has ended; with a `status`, of those that ended so."""
        job = self._target.option("job")
        if job and job.isdecimal():
            path = f"{self._root}/jobs/{job}"
            row, _ = self._client.get_json(path)
            (row,) = read_rows([row], None, path)
            (pipeline,) = read_rows([row.get("pipeline")], None, path)
            yield self._piece(row, read_number(pipeline, "id", path), name_part(str(row.get("name") or job)))
            return
        if pipeline := self._target.option("pipeline"):
            yield from self._list_jobs(int(pipeline))
            return
        for number in self._list_pipelines():
            yield from self._list_jobs(number)

    def _piece(self, row: dict[str, Any], pipeline: int, name: str) -> Piece:
        path = f"{self._root}/jobs/{read_number(row, 'id', self._root)}/trace"
        return Piece(
            f"{self._target.text}/{pipeline}/{name}.log", lambda file: self._client.download(path, file)
        )

    def _list_jobs(self, pipeline: int) -> Iterator[Piece]:
        path = f"{self._root}/pipelines/{pipeline}/jobs"
        wanted = {"scope[]": [self._status] if self._status else list(_ENDED), "per_page": PAGE}
        seen: Counter[str] = Counter()
        for row in self._pages(path, wanted, PAGE):
            name = str(row.get("name") or row.get("id"))
            if (only := self._target.option("job")) and only != name:
                continue
            shown = name_part(name)
            seen[shown] += 1
            yield self._piece(row, pipeline, shown if seen[shown] == 1 else f"{shown} ({seen[shown]})")

    def _list_pipelines(self) -> Iterator[int]:
        target, path = self._target, f"{self._root}/pipelines"
        size = min(PAGE, target.limit)
        wanted: dict[str, Any] = {"per_page": size}
        if branch := target.option("branch"):
            wanted["ref"] = branch
        if self._status:
            wanted["status"] = self._status
        if target.since:
            wanted["updated_after"] = f"{target.since:%Y-%m-%dT%H:%M:%SZ}"
        for given, row in enumerate(self._pages(path, wanted, size), 1):
            yield read_number(row, "id", path)
            if given == target.limit:
                return

    def _pages(self, path: str, wanted: dict[str, Any], size: int) -> Iterator[dict[str, Any]]:
        page = "1"
        while page:
            answer, headers = self._client.get_json(path, {**wanted, "page": page})
            rows = read_rows(answer, None, path)
            yield from rows
            following = headers.get("x-next-page")
            if following is None:  # left out by some proxies
                following = str(int(page) + 1) if len(rows) == size else ""
            page = following if following.isdecimal() and following != page else ""
