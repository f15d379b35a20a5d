"""Logs of GitHub Actions: the archive of a run, or the log of one job.

https://docs.github.com/en/rest/actions/workflow-runs and …/workflow-jobs, API version 2022-11-28. A run's
archive is redirected to a blob store, whose address is signed and must not see the token.
"""

from collections.abc import Collection, Iterator
from typing import Any

from bifrost_flow.errors import SettingsError
from bifrost_flow.language import t
from connectors.ci.access import CiAccess, CiTarget
from connectors.ci.http import CiClient, Patience
from connectors.ci.pieces import PAGE, Piece, read_number, read_rows

_STATUSES = (
    *("completed", "action_required", "cancelled", "failure", "neutral", "skipped", "stale", "success"),
    *("timed_out", "in_progress", "queued", "requested", "waiting", "pending"),
)
_ALIASES = {"failed": "failure", "passed": "success", "canceled": "cancelled"}


def open_github(access: CiAccess, patience: Patience) -> CiClient:
    """Return a client for GitHub's API."""
    headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
    if access.github_token:
        headers["Authorization"] = f"Bearer {access.github_token}"
    return CiClient(access.github_api_url, patience, key="github.token", headers=headers)


class GitHub:
    """GitHub's API for one target `gha://owner/repo?…`.

    Raises:
        SettingsError: there is no such status.
    """

    def __init__(self, target: CiTarget, access: CiAccess, patience: Patience) -> None:
        self._target = target
        self._status = pick_status(target, _STATUSES, _ALIASES)
        owner, repo = target.parts
        self._root = f"/repos/{owner}/{repo}/actions"
        self._client = open_github(access, patience)

    def close(self) -> None:
        self._client.close()

    def list_pieces(self) -> Iterator[Piece]:
        """Yield the archive of each run, or with `job=NUMBER` that job's log."""
        job = self._target.option("job")
        if job and job.isdecimal():
            yield self._find_job(int(job))
            return
        if run := self._target.option("run"):
            yield self._piece(int(run), job)
            return
        for number in self._list_runs():
            yield self._piece(number, job)

    def _piece(self, run: int, job: str | None) -> Piece:
        path = f"{self._root}/runs/{run}/logs"
        return Piece(
            f"{self._target.text}/{run}",
            lambda file: self._client.download(path, file),
            archive=True,
            job=job,
        )

    def _find_job(self, job: int) -> Piece:
        path = f"{self._root}/jobs/{job}"
        row, _ = self._client.get_json(path)
        (row,) = read_rows([row], None, path)
        run = read_number(row, "run_id", path)
        # Named as in a run's archive, so that the same job is known by the same name.
        name = str(row.get("name") or job)
        return Piece(
            f"{self._target.text}/{run}/0_{name}.txt",
            lambda file: self._client.download(f"{path}/logs", file),
        )

    def _list_runs(self) -> Iterator[int]:
        target = self._target
        workflow = target.option("workflow")
        path = f"{self._root}/workflows/{_quote(workflow)}/runs" if workflow else f"{self._root}/runs"
        wanted: dict[str, Any] = {"per_page": min(PAGE, target.limit)}
        wanted |= {name: target.options[name] for name in ("branch", "event") if target.option(name)}
        if self._status:
            wanted["status"] = self._status
        if target.since:
            wanted["created"] = f">={target.since:%Y-%m-%dT%H:%M:%SZ}"
        given, page = 0, 1
        while given < target.limit:
            answer, _ = self._client.get_json(path, {**wanted, "page": page})
            rows = read_rows(answer, "workflow_runs", path)
            for row in rows[: target.limit - given]:
                yield read_number(row, "id", path)
            given, page = given + len(rows), page + 1
            if len(rows) < wanted["per_page"]:
                return


def _quote(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")


def pick_status(target: CiTarget, known: Collection[str], aliases: dict[str, str]) -> str | None:
    """Return the status that `target` asks for in its system's own word.

    Raises:
        SettingsError: the system has none such.
    """
    asked = target.option("status")
    if asked is None:
        return None
    status = aliases.get(asked.lower(), asked.lower())
    if status not in known:
        raise SettingsError(t("ci.bad_status", scheme=target.scheme, value=asked, known=", ".join(known)))
    return status
