"""A whole run, and one analysis, over logs that lie in a CI system."""

import json

from tests.ci_server import add_github, add_jenkins, serve_recorder
from tests.console import Console

TOKEN = "ghp_made-up-token"


def test_a_gate_over_the_runs_of_a_workflow(console: Console) -> None:
    """`run gha://… --fail-on new` ends with 1 for a failure in a step, names it by run, job and step, keeps
    it in the tables, and the token nowhere."""
    with serve_recorder() as api, serve_recorder() as blobs:
        add_github(api, blobs, [30433642])
        target = "gha://octo-org/shop?branch=main&status=failure"
        words = ("run", target, "--provider", "rules", "--fail-on", "new", "--quiet", "--json")
        done = console.call(*words, BIFROST_GITHUB_API_URL=api.url, BIFROST_GITHUB_TOKEN=TOKEN)
    assert done.code == 1, done.err
    assert (done.json["status"], done.json["files"]) == ("completed", 4)
    path = "gha://octo-org/shop/30433642/build (3.12)/2_Run make test.txt"
    query = "SELECT path, outcome, job FROM files WHERE outcome = 'failed'"
    rows = console.call("sql", query, "--format", "json").json
    assert rows == [{"path": path, "outcome": "failed", "job": "build (3.12)"}]
    kept = b"".join(file.read_bytes() for file in console.folder.rglob("*") if file.is_file())
    assert TOKEN.encode() not in kept
    assert api.requests[0][2]["authorization"] == f"Bearer {TOKEN}"


def test_the_console_of_one_build_is_explained(console: Console) -> None:
    """`analyze jenkins://…` takes the one log that there is."""
    with serve_recorder() as api:
        add_jenkins(api, ["SUCCESS", "FAILURE"])
        text = b"Started by timer\nmain.c:3:1: error: unknown type name 'x'\nFinished: FAILURE\n"
        api.routes["/ci/job/team/job/nightly/1/consoleText"] = lambda _: (200, {}, text)
        target = f"jenkins://{api.host}/job/team/job/nightly?build=lastFailedBuild"
        words = ("analyze", target, "--provider", "rules", "--format", "json")
        done = console.call(*words, BIFROST_JENKINS_URL=f"{api.url}/ci")
    assert done.code == 0, done.err
    (finding,) = json.loads(done.out)["findings"]
    assert finding["evidence"][0]["path"] == f"jenkins://{api.host}/job/team/job/nightly/1/consoleText"
    assert "unknown type name" in finding["title"]
