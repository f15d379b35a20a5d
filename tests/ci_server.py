"""The APIs of GitHub, GitLab and Jenkins on loopback, as far as logs are fetched through them, for tests.

Names, types and nesting of the fields, headers and status codes are those of the systems' own documents; the
values are ours:

    GitHub    docs.github.com/en/rest/actions/workflow-runs, …/workflow-jobs and
              …/using-the-rest-api/rate-limits-for-the-rest-api (API version
              2022-11-28); octokit/webhooks, payload-examples/api.github.com/workflow_job
    GitLab    doc/api/pipelines.md, doc/api/jobs.md and doc/api/rest/index.md of gitlab-org/gitlab
    Jenkins   www.jenkins.io/doc/book/using/remote-access-api and the `/api/` page of any build

A second server plays the blob store that GitHub redirects to: it refuses whoever brings a token.
"""

import io
import json
import threading
import zipfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Answer = tuple[int, dict[str, str], bytes]
FAILED_STEP = (
    "2026-03-01T10:00:00.0000000Z ##[group]Run make test\n"
    "2026-03-01T10:00:01.0000000Z src/cart.c:41:9: error: unknown type name 'total_t'\n"
    "2026-03-01T10:00:02.0000000Z make: *** [Makefile:12: cart.o] Error 1\n"
    "2026-03-01T10:00:02.0000000Z ##[error]Process completed with exit code 2.\n"
)
QUIET_STEP = "2026-03-01T09:59:00.0000000Z Current runner version: '2.331.0'\n"


@dataclass
class Recorder:
    """One server: what came in, and what it answers by path; `faults` come first, one a request."""

    url: str = ""
    routes: dict[str, Callable[[dict[str, str]], Answer]] = field(default_factory=dict)
    faults: dict[str, list[Answer | None]] = field(default_factory=dict)  # None: the connection is dropped
    requests: list[tuple[str, dict[str, str], dict[str, str]]] = field(default_factory=list)

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    def paths(self) -> list[str]:
        return [path for path, _, _ in self.requests]

    def answer(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Answer | None:
        self.requests.append((path, query, {name.lower(): value for name, value in headers.items()}))
        if waiting := self.faults.get(path):
            return waiting.pop(0)
        route = self.routes.get(path)
        return route(query) if route else (404, {}, b'{"message": "Not Found", "status": "404"}')


@contextmanager
def serve_recorder() -> Generator[Recorder]:
    record = Recorder()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query: dict[str, str] = {}
            for name, value in parse_qsl(url.query):  # of a name that comes often, all values
                query[name] = f"{query[name]} {value}" if name in query else value
            answer = record.answer(url.path, query, dict(self.headers))
            if answer is None:
                self.close_connection = True
                return
            status, headers, body = answer
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    record.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield record
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def say(value: Any, status: int = 200, **headers: str) -> Answer:
    """Return a JSON answer; `_` in a header's name stands for `-`."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return status, {"Content-Type": "application/json; charset=utf-8", **named}, json.dumps(value).encode()


def pack_run(members: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return packed.getvalue()


RUN_MEMBERS = {
    "0_build (3.12).txt": QUIET_STEP + FAILED_STEP,
    "1_lint.txt": QUIET_STEP,
    "build (3.12)/1_Set up job.txt": QUIET_STEP,
    "build (3.12)/2_Run make test.txt": FAILED_STEP,
    "build (3.12)/system.txt": "2026-03-01T09:58:00.0000000Z Job is waiting for a hosted runner.\n",
}


def describe_run(number: int, conclusion: str = "failure") -> dict[str, Any]:
    return {
        "id": number,
        "name": "Build",
        "head_branch": "main",
        "run_number": number - 30433600,
        "run_attempt": 1,
        "event": "push",
        "status": "completed",
        "conclusion": conclusion,
        "workflow_id": 159038,
        "created_at": "2026-03-01T09:57:00Z",
        "logs_url": "http://192.0.2.1/never-to-be-asked",
    }


def add_github(api: Recorder, blobs: Recorder, runs: list[int]) -> None:
    """Let `api` be GitHub's for the repository octo-org/shop, with these runs; `blobs` has their archives."""
    root = "/repos/octo-org/shop/actions"

    def list_runs(query: dict[str, str]) -> Answer:
        size, page = int(query.get("per_page", "30")), int(query.get("page", "1"))
        shown = runs[(page - 1) * size : page * size]
        rows = [describe_run(number) for number in shown]
        return say({"total_count": len(runs), "workflow_runs": rows})

    def refuse_tokens(path: str, body: bytes) -> Callable[[dict[str, str]], Answer]:
        def route(_: dict[str, str]) -> Answer:
            seen = next(headers for asked, _, headers in reversed(blobs.requests) if asked == path)
            if "authorization" in seen:
                return 403, {}, b"<Error><Code>AuthenticationFailed</Code></Error>"
            return 200, {"Content-Type": "application/zip"}, body

        return route

    api.routes[f"{root}/runs"] = list_runs
    api.routes[f"{root}/workflows/ci.yml/runs"] = list_runs
    for number in runs:
        blob = f"/actions-results/{number}.zip"
        blobs.routes[blob] = refuse_tokens(blob, pack_run(RUN_MEMBERS))
        location = f"{blobs.url}{blob}?sig=signed"
        api.routes[f"{root}/runs/{number}/logs"] = lambda _, to=location: (302, {"Location": to}, b"")
    job = {
        "id": 289782451,
        "run_id": runs[0],
        "status": "completed",
        "conclusion": "failure",
        "name": "build (3.12)",
        "steps": [{"name": "Run make test", "status": "completed", "conclusion": "failure", "number": 2}],
    }
    api.routes[f"{root}/jobs/289782451"] = lambda _: say(job)
    blobs.routes["/job.txt"] = refuse_tokens("/job.txt", (QUIET_STEP + FAILED_STEP).encode())
    api.routes[f"{root}/jobs/289782451/logs"] = lambda _: (302, {"Location": f"{blobs.url}/job.txt"}, b"")


def add_gitlab(api: Recorder, pipelines: int = 1, jobs: int = 3) -> None:
    """Let `api` be GitLab for the project acme/web/shop, whose path is one part of the address, quoted:
    pipelines numbered from 47, each with some jobs that ended, of which every third failed, and one that
    runs."""
    root = "/api/v4/projects/acme%2Fweb%2Fshop"

    def paginate(rows: list[dict[str, Any]], query: dict[str, str]) -> Answer:
        size, page = int(query.get("per_page", "20")), int(query.get("page", "1"))
        more = str(page + 1) if page * size < len(rows) else ""
        return say(rows[(page - 1) * size : page * size], X_Next_Page=more, X_Page=str(page))

    numbers = [47 + index for index in range(pipelines)]
    listed = [{"id": number, "iid": number, "status": "failed", "ref": "main"} for number in numbers]
    api.routes[f"{root}/pipelines"] = lambda query: paginate(listed, query)
    for number in numbers:
        rows = []
        for index in range(jobs + 1):
            ended = "failed" if index % 3 == 2 else "success"
            ended = "running" if index == jobs else ended
            row = {"id": number * 1000 + index, "name": f"rspec {index + 1}/{jobs}", "stage": "test"}
            rows.append(row | {"status": ended, "pipeline": {"id": number, "ref": "main"}})
            path = f"{root}/jobs/{row['id']}"
            api.routes[path] = lambda _, row=rows[-1]: say(row)
            text = f"job {row['id']}\nERROR: Job failed: exit code 1\n".encode()
            api.routes[f"{path}/trace"] = lambda _, text=text: (200, {"Content-Type": "text/plain"}, text)

        def list_jobs(query: dict[str, str], rows: list[dict[str, Any]] = rows) -> Answer:
            scopes = query["scope[]"].split()
            wanted = [row for row in rows if row["status"] in scopes]
            return paginate(wanted, query)

        api.routes[f"{root}/pipelines/{number}/jobs"] = list_jobs


def add_jenkins(api: Recorder, results: list[str | None]) -> None:
    """Let `api` be Jenkins, installed under /ci, with the job team/nightly whose builds, newest first, ended
    so; None is one that still runs."""
    root = "/ci/job/team/job/nightly"
    count = len(results)
    rows = [
        {
            "_class": "hudson.model.FreeStyleBuild",
            "building": result is None,
            "number": count - index,
            "result": result,
            "timestamp": 1_772_323_200_000 - index * 3_600_000,
        }
        for index, result in enumerate(results)
    ]

    def list_builds(query: dict[str, str]) -> Answer:
        first, end = (int(text) for text in query["tree"].partition("]{")[2].strip("}").split(","))
        return say({"_class": "hudson.model.FreeStyleProject", "allBuilds": rows[first:end]})

    api.routes[f"{root}/api/json"] = list_builds
    failed = next((row for row in rows if row["result"] == "FAILURE"), rows[0])
    api.routes[f"{root}/lastFailedBuild/api/json"] = lambda _: say(failed)
    for row in rows:
        path = f"{root}/{row['number']}"
        text = f"Started by timer\nbuild {row['number']}\nFinished: {row['result']}\n".encode()
        api.routes[f"{path}/api/json"] = lambda _, row=row: say(row)
        api.routes[f"{path}/consoleText"] = lambda _, text=text: (200, {"Content-Type": "text/plain"}, text)
