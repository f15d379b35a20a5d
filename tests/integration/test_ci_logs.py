"""Logs of CI systems are fetched through their APIs, served from loopback, with the real client."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bifrost_flow.errors import SettingsError
from bifrost_flow.evidence.formats import read_job
from bifrost_flow.settings import CiSettings, GitHubSettings, GitLabSettings, JenkinsSettings, Settings
from connectors.baselines import peek_job
from connectors.ci.access import CiAccess, parse_ci_target
from connectors.ci.check import check_ci
from connectors.ci.fetch import check_ci_target
from connectors.reading import ReadFacts, Source, read_blocks
from connectors.sources import find_sources, remove_spooled
from flows.opening import list_ci_access
from tests.ci_server import (
    RUN_MEMBERS,
    Recorder,
    add_github,
    add_gitlab,
    add_jenkins,
    pack_run,
    say,
    serve_recorder,
)
from tests.console import Console

TOKEN = "ghp_made-up-token"
RUNS = [30433642, 30433641]


@pytest.fixture(autouse=True)
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield the folder of temporary files; nothing may be left in it."""
    folder = tmp_path / "spool"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def api() -> Iterator[Recorder]:
    with serve_recorder() as recorder:
        yield recorder


@pytest.fixture
def blobs() -> Iterator[Recorder]:
    with serve_recorder() as recorder:
        yield recorder


@pytest.fixture
def access(api: Recorder) -> CiAccess:
    return CiAccess(
        github_api_url=api.url,
        github_token=TOKEN,
        gitlab_url=api.url,
        gitlab_token=TOKEN,
        jenkins_url=f"{api.url}/ci",
        jenkins_user="ada",
        jenkins_token=TOKEN,
        timeout_s=5,
        max_wait_s=3,
    )


def fetch(
    target: str, access: CiAccess, *, max_bytes: int | None = None
) -> tuple[dict[str, str], list[tuple[str, str, str]]]:
    """Return the text of each log by path, and what went wrong: path, status and message."""
    sources, files, _ = find_sources([target], ci=access, max_bytes=max_bytes)
    try:
        texts = {source.path: read_text(source) for source in sources}
    finally:
        remove_spooled(sources)
    return texts, [(file.path, file.status, file.error or "") for file in files]


def read_text(source: Source) -> str:
    facts = ReadFacts()
    text = b"".join(read_blocks(source, facts)).decode()
    assert facts.status == "read", facts.error
    return text


def test_runs_of_github_come_as_steps(api: Recorder, blobs: Recorder, access: CiAccess) -> None:
    """Each run's steps are read where they lie in its archive, and a whole job's log only where there are
    none."""
    add_github(api, blobs, RUNS)
    texts, problems = fetch("gha://octo-org/shop?branch=main&status=failure&since=2026-02-28&limit=5", access)
    names = [name for name in RUN_MEMBERS if name != "0_build (3.12).txt"]
    assert list(texts) == [f"gha://octo-org/shop/{run}/{name}" for run in RUNS for name in names]
    assert texts["gha://octo-org/shop/30433641/build (3.12)/2_Run make test.txt"].count("error:") == 1
    assert problems == []
    _, query, headers = api.requests[0]
    assert query == {
        "branch": "main",
        "status": "failure",
        "created": ">=2026-02-28T00:00:00Z",
        "per_page": "5",
        "page": "1",
    }
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert headers["x-github-api-version"] == "2022-11-28"


def test_the_token_stays_with_the_api(api: Recorder, blobs: Recorder, access: CiAccess) -> None:
    """Where the API redirects to another host, neither token nor cookie goes along."""
    add_github(api, blobs, RUNS[:1])
    fetch("gha://octo-org/shop?run=30433642", access)
    assert blobs.paths() == ["/actions-results/30433642.zip"]
    assert TOKEN not in str(blobs.requests)


def test_addresses_in_answers_are_not_followed(api: Recorder, blobs: Recorder, access: CiAccess) -> None:
    """What an answer names as the logs' address is not asked; that is made from numbers alone."""
    add_github(api, blobs, RUNS[:1])
    api.routes["/repos/octo-org/shop/actions/runs"] = lambda _: say(
        {"workflow_runs": [{"id": "../../secrets"}]}
    )
    texts, ((_, status, message),) = fetch("gha://octo-org/shop", access)
    assert (texts, status) == ({}, "unreadable") and "not what this API says" in message
    assert api.paths() == ["/repos/octo-org/shop/actions/runs"]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("gha://octo-org/shop?run=30433642&job=lint", ["30433642/1_lint.txt"]),
        ("gha://octo-org/shop?job=289782451", ["30433642/0_build (3.12).txt"]),
        (
            "gha://octo-org/shop?workflow=ci.yml&limit=1&job=build (3.12)",
            [f"30433642/{name}" for name in RUN_MEMBERS if name.startswith("build")],
        ),
    ],
)
def test_one_job_of_github(
    api: Recorder, blobs: Recorder, access: CiAccess, target: str, expected: list[str]
) -> None:
    """A job is named as people see it, or by the number in its address."""
    add_github(api, blobs, RUNS)
    texts, problems = fetch(target, access)
    assert list(texts) == [f"gha://octo-org/shop/{path}" for path in expected]
    assert problems == []


def test_lists_go_on_over_pages(api: Recorder, blobs: Recorder, access: CiAccess) -> None:
    """More runs than a page holds are listed page by page, up to the limit and no further."""
    runs = [9000 - index for index in range(230)]
    add_github(api, blobs, runs)
    texts, problems = fetch("gha://octo-org/shop?limit=201&job=lint", access)
    assert len(texts) == 201 and problems == []
    listed = [query["page"] for path, query, _ in api.requests if path.endswith("/actions/runs")]
    assert listed == ["1", "2", "3"]


def test_traces_of_gitlab(api: Recorder, access: CiAccess) -> None:
    """The traces of the jobs that failed, of each pipeline; a job's name is one part of the path."""
    add_gitlab(api, pipelines=3)
    target = f"gitlab://{api.host}/acme/web/shop?status=failed&branch=main&limit=2"
    texts, problems = fetch(target, access)
    root = f"gitlab://{api.host}/acme/web/shop"
    assert list(texts) == [f"{root}/47/rspec 3_3.log", f"{root}/48/rspec 3_3.log"]
    assert texts[f"{root}/47/rspec 3_3.log"] == "job 47002\nERROR: Job failed: exit code 1\n"
    assert problems == []
    _, query, headers = api.requests[0]
    assert query == {"ref": "main", "status": "failed", "per_page": "2", "page": "1"}
    assert headers["private-token"] == TOKEN


def test_a_large_pipeline_of_gitlab(api: Recorder, access: CiAccess) -> None:
    """All jobs of a pipeline are found, over several pages; one can be named."""
    add_gitlab(api, jobs=250)
    target = f"gitlab://{api.host}/acme/web/shop?pipeline=47"
    assert len(fetch(target, access)[0]) == 250
    assert list(fetch(f"{target}&job=rspec 7/250", access)[0].values()) == [
        "job 47006\nERROR: Job failed: exit code 1\n"
    ]
    assert len(fetch(f"gitlab://{api.host}/acme/web/shop?job=47006", access)[0]) == 1


def test_consoles_of_jenkins(api: Recorder, access: CiAccess) -> None:
    """Builds that failed, newest first, over pages of the list; a folder is part of the path."""
    add_jenkins(api, ["SUCCESS"] * 120 + ["FAILURE", "ABORTED", "FAILURE", "FAILURE"])
    texts, problems = fetch(f"jenkins://{api.host}/job/team/job/nightly?status=failed&limit=2", access)
    root = f"jenkins://{api.host}/job/team/job/nightly"
    assert list(texts) == [f"{root}/4/consoleText", f"{root}/2/consoleText"]
    assert texts[f"{root}/4/consoleText"].endswith("Finished: FAILURE\n")
    assert problems == []
    assert api.requests[0][2]["authorization"].startswith("Basic ")


@pytest.mark.parametrize(
    ("options", "expected"),
    [("build=2", [2]), ("build=lastFailedBuild", [1]), ("since=2026-02-28 23:30", [3]), ("", [3, 2, 1])],
)
def test_builds_of_jenkins_by_number_name_and_time(
    api: Recorder, access: CiAccess, options: str, expected: list[int]
) -> None:
    """A build is named by its number, by Jenkins's own name for it, or by when it began."""
    add_jenkins(api, ["SUCCESS", "SUCCESS", "FAILURE"])
    texts, problems = fetch(f"jenkins://{api.host}/ci/job/team/job/nightly?{options}", access)
    assert [int(path.split("/")[-2]) for path in texts] == expected
    assert problems == []


def test_a_build_that_still_runs(api: Recorder, access: CiAccess) -> None:
    """What a running build has said so far is read piece by piece, and its end is not waited for."""
    add_jenkins(api, [None])
    pieces = {"0": (b"first\n", "6"), "6": (b"second\n", "13"), "13": (b"", "13")}

    def tell(query: dict[str, str]) -> Any:
        body, end = pieces[query["start"]]
        return 200, {"X-Text-Size": end, "X-More-Data": "true"}, body

    api.routes["/ci/job/team/job/nightly/1/logText/progressiveText"] = tell
    texts, problems = fetch(f"jenkins://{api.host}/job/team/job/nightly?build=1", access)
    assert list(texts.values()) == ["first\nsecond\n"] and problems == []


LOGS = "/repos/octo-org/shop/actions/runs/30433642/logs"


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        (say({"message": "Bad credentials"}, 401), "unreadable", "set github.token (Bad credentials)"),
        (say({"message": "Resource not accessible by integration"}, 403), "unreadable", "Resource not acc"),
        (say({"message": "Not Found"}, 404), "missing", "may not see it"),
        (say({"message": "Server Error: logs have expired"}, 410), "missing", "logs are gone"),
        (say({"message": "no"}, 422), "unreadable", "answers 422 (no)"),
        ((302, {"Location": "file:///etc/passwd"}, b""), "unreadable", "an address that is not followed"),
        ((302, {"Location": "http://[::1"}, b""), "unreadable", "Invalid URL in location header"),
        ((302, {}, b""), "unreadable", "an address that is not followed"),
        ((302, {"Location": LOGS}, b""), "unreadable", "an address that is not followed"),
        ((200, {}, b"this is no zip"), "unreadable", "gha://octo-org/shop/30433642"),
    ],
)
def test_what_can_not_be_had_is_told(
    api: Recorder, blobs: Recorder, access: CiAccess, fault: Any, status: str, words: str
) -> None:
    """Each kind of refusal is told for the run that it is about, and the others are read."""
    add_github(api, blobs, RUNS)
    api.faults[LOGS] = [fault] * 5
    texts, ((path, told, message),) = fetch("gha://octo-org/shop", access)
    assert (path, told) == ("gha://octo-org/shop/30433642", status)
    assert words in message and TOKEN not in message and "spool" not in message
    assert {path.split("/")[4] for path in texts} == {"30433641"}
    again = fault[1].get("Location") in (LOGS, "http://[::1")
    assert api.paths().count(LOGS) == (4 if again else 1)


PASSING = [
    None,
    (200, {"Content-Length": "99999"}, b"PK\x03\x04 and no more"),
    (200, {"Content-Encoding": "gzip"}, b"this is not packed"),
    say({"message": "busy"}, 502),
    say({"message": "slow down"}, 429, Retry_After="0"),
    say({"message": "secondary rate limit"}, 403, Retry_After="0"),
    say(
        {"message": "API rate limit exceeded"},
        403,
        X_RateLimit_Remaining="0",
        X_RateLimit_Reset="1772323201",
        Date="Sun, 01 Mar 2026 00:00:00 GMT",
    ),
]


@pytest.mark.parametrize("fault", PASSING)
def test_what_may_pass_is_tried_again(api: Recorder, blobs: Recorder, access: CiAccess, fault: Any) -> None:
    """A dropped connection, an overloaded server and a limit of requests are waited out."""
    add_github(api, blobs, RUNS[:1])
    api.faults[LOGS] = [fault, fault] if fault is None else [fault]
    texts, problems = fetch("gha://octo-org/shop?run=30433642", access)
    assert len(texts) == 4 and problems == []


def test_nobody_waits_longer_than_allowed(api: Recorder, blobs: Recorder, access: CiAccess) -> None:
    """A limit that ends in an hour is told at once, with how long it lasts."""
    add_github(api, blobs, RUNS[:1])
    reset = str(int(datetime.now(UTC).timestamp()) + 3600)
    limited = say({"message": "limit"}, 403, X_RateLimit_Remaining="0", X_RateLimit_Reset=reset)
    api.faults["/repos/octo-org/shop/actions/runs"] = [limited] * 5
    texts, ((_, status, message),) = fetch("gha://octo-org/shop", access)
    assert texts == {} and status == "unreadable"
    assert "asks to wait 3" in message and "github.token" in message
    assert len(api.requests) == 1


def test_downloads_have_an_end(api: Recorder, blobs: Recorder, access: CiAccess) -> None:
    """A download beyond the limit is broken off; a log that unpacks beyond its own is left out."""
    add_github(api, blobs, RUNS[:1])
    small = replace(access, max_download_bytes=100)
    texts, ((_, status, message),) = fetch("gha://octo-org/shop?run=30433642", small)
    assert (texts, status) == ({}, "too_large") and "more than 100 bytes" in message
    texts, problems = fetch("gha://octo-org/shop?run=30433642", access, max_bytes=200)
    assert len(texts) == 3
    assert [path.rpartition("/")[2] for path, *_ in problems] == ["2_Run make test.txt"]


def test_a_target_that_matches_nothing(api: Recorder, blobs: Recorder, access: CiAccess) -> None:
    """No run, or no such job in it, is told rather than taken for a quiet night."""
    add_github(api, blobs, RUNS[:1])
    assert "no log of a job deploy" in fetch("gha://octo-org/shop?job=deploy", access)[1][0][2]
    api.routes["/repos/octo-org/shop/actions/runs"] = lambda _: say({"total_count": 0, "workflow_runs": []})
    assert fetch("gha://octo-org/shop", access)[1][0][1:] == (
        "missing",
        "gha://octo-org/shop: nothing matches.",
    )


def test_hostile_names_stay_inside(api: Recorder, blobs: Recorder, access: CiAccess) -> None:
    """Names of jobs and members lead nowhere and steer no terminal."""
    add_github(api, blobs, RUNS[:1])
    evil = pack_run({"../../etc/1_x\x1b[31m.txt": "boom\n"})
    api.faults[LOGS] = [(200, {}, evil)]
    ((path, _),) = fetch("gha://octo-org/shop?run=30433642", access)[0].items()
    assert path == "gha://octo-org/shop/30433642/etc/1_x\ufffd[31m.txt"


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("gha://octo-org", "gha://OWNER/REPO"),
        ("gha://octo-org/../orgs", "gha://OWNER/REPO"),
        ("gha://octo-org/shop?runs=1", "there is no runs"),
        ("gha://octo-org/shop?run=latest", "run=latest"),
        ("gha://octo-org/shop?limit=0", "limit=0"),
        ("gha://octo-org/shop?status=broken", "no status broken"),
        ("gha://octo-org/shop?since=teatime", "teatime"),
        ("gha://token@octo-org/shop", "does not belong into the address"),
        ("gitlab://127.0.0.1/shop", "gitlab://HOST/GROUP/PROJECT"),
        ("gitlab://metadata.internal/a/b", "is not the host in gitlab.url"),
        ("jenkins://build.example/job/x", "is not the host in jenkins.url"),
    ],
)
def test_wrong_targets_are_refused_before_anybody_is_asked(
    api: Recorder, access: CiAccess, target: str, words: str
) -> None:
    """A target that is not whole, or whose host is not in the settings, is a slip of whoever typed it."""
    with pytest.raises(SettingsError, match=words.replace("?", "[?]")):
        check_ci_target(target, access)
    assert api.requests == []


def test_a_server_without_a_setting_is_not_asked() -> None:
    """Jenkins has no default address: which one is meant must be in the settings."""
    with pytest.raises(SettingsError, match=r"jenkins\.url \(–\)"):
        check_ci_target("jenkins://build.example/job/x", CiAccess())


@pytest.mark.parametrize("token", ["ghp_a\nb", "비밀-token"])
def test_a_token_that_can_not_be_sent_is_not_quoted(token: str) -> None:
    """A token with a line break or other letters is told by its setting's name alone; the end of a file's
    line is taken off."""
    with pytest.raises(SettingsError, match=r"github\.token") as refused:
        check_ci_target("gha://octo-org/shop", CiAccess(github_token=token))
    assert token not in str(refused.value)
    settings = Settings.model_construct(
        github=GitHubSettings(token=SecretStr("ghp_x\n")),
        gitlab=GitLabSettings(),
        jenkins=JenkinsSettings(),
        ci=CiSettings(),
    )
    assert list_ci_access(settings).github_token == "ghp_x"


def test_targets_are_told_apart_by_case_and_quoting() -> None:
    """A scheme and a host may be in any case, and parts may be quoted."""
    target = parse_ci_target("JENKINS://Build.Example:8443/job/a%20b/?build=7")
    assert (target.scheme, target.host, target.parts) == ("jenkins", "build.example:8443", ("job", "a b"))


def test_fetched_jobs_find_their_earlier_runs(api: Recorder, blobs: Recorder, access: CiAccess) -> None:
    """The job's name is read from where a log came from, so that tonight's finds last night's."""
    assert read_job("x", "gha://octo-org/shop/30433642/build (3.12)/2_Run make test.txt") == "build (3.12)"
    assert read_job("x", "gha://octo-org/shop/30433642/1_lint.txt") == "lint"
    assert read_job("x", "gitlab://gitlab.com/acme/web/shop/47/rspec 3_3.log") == "rspec 3_3"
    add_github(api, blobs, RUNS[:1])
    sources, _, _ = find_sources(["gha://octo-org/shop?job=lint"], ci=access)
    try:
        assert [peek_job(source) for source in sources] == ["lint"]
    finally:
        remove_spooled(sources)


@pytest.mark.parametrize("name", ["github", "gitlab", "jenkins"])
def test_doctor_asks_only_whom_a_token_is_set_for(api: Recorder, access: CiAccess, name: str) -> None:
    """A token that is known is fine, one that isn't is told with its setting, and without one nobody is
    asked."""
    path = {"github": "/meta", "gitlab": "/api/v4/user", "jenkins": "/ci/me/api/json"}[name]
    assert check_ci(name, CiAccess(github_api_url=api.url, gitlab_url=api.url)).status == "missing"
    assert api.requests == []
    api.routes[path] = lambda _: say({"id": 1})
    assert check_ci(name, access).status == "ok"
    api.routes[path] = lambda _: say({"message": "Bad credentials"}, 401)
    refused = check_ci(name, access)
    assert refused.status == "failed" and f"{name}.token" in refused.detail and TOKEN not in refused.detail
    assert api.paths() == [path, path]
    assert check_ci("jenkins", replace(access, jenkins_user=None)).status == "failed"


def test_the_console_reads_what_a_ci_system_holds(api: Recorder, blobs: Recorder, tmp_path: Path) -> None:
    """`extract gha://…` prints evidence with the path of the run, job and step, and the token never."""
    add_github(api, blobs, RUNS[:1])
    console = Console(tmp_path, tmp_path / "prefect")
    words = ("extract", "gha://octo-org/shop?run=30433642", "--format", "jsonl")
    done = console.call(*words, GITHUB_API_URL=api.url, GITHUB_TOKEN=TOKEN)
    assert done.code == 0, done.err
    assert '"path": "gha://octo-org/shop/30433642/build (3.12)/2_Run make test.txt"' in done.out
    assert "unknown type name" in done.out and TOKEN not in done.out + done.err
    assert api.requests[0][2]["authorization"] == f"Bearer {TOKEN}"
    refused = console.call("run", "jenkins://build.example/job/x", "--provider", "rules")
    assert refused.code == 2 and "jenkins.url" in refused.err
