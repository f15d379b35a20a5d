"""Which system wrote a log, which job it is of, and when: a realistic beginning of each."""

# ruff: noqa: E501 -- logs are as wide as they are

import pytest

from bifrost_flow.evidence.facts import Facts
from bifrost_flow.evidence.formats import are_dated, parse_time
from bifrost_flow.evidence.scan import scan_file

T = "2024-01-05T10:00:00"
# System, job, first time, text.
SAMPLES: list[tuple[str | None, str | None, str | None, str]] = [
    ("github-actions", "test (3.12, ubuntu-latest)", f"{T}.123456+00:00", f"\ufeff{T}.1234567Z Current runner version: '2.317.0'\n{T}.2234567Z Complete job name: test (3.12, ubuntu-latest)\n{T}.3234567Z ##[group]Run actions/checkout@v4\n"),
    ("github-actions", "build (18)", f"{T}.123456+00:00", f"build (18)\tRun npm test\t{T}.1234567Z > travis-ci@1.0.0 test\nbuild (18)\tRun npm test\t{T}.2234567Z ok\n"),
    ("github-actions", None, None, "##[group]Run make\nmake -C azure buildkite circleci\n##[endgroup]\n"),
    ("azure", "Build", f"{T}.123456+00:00", f"{T}.1234567Z ##[section]Starting: Build\n{T}.2234567Z Task         : Command line\n{T}.3234567Z ##[command]\"C:\\cmd.exe\"\n{T}.4234567Z ##[section]Finishing: Build\n"),
    ("gitlab", None, "2024-01-05T10:00:00+00:00", "\x1b[0KRunning with gitlab-runner 16.5.0 (853330f9)\x1b[0;m\nsection_start:1704448800:prepare_executor\r\x1b[0K\x1b[36;1mPreparing the \"docker\" executor\x1b[0;m\n"),
    ("gitlab", None, f"{T}.123456+00:00", f"{T}.123456Z 00O Running with gitlab-runner 17.0.0\n{T}.223456Z 00O+  on runner\n"),
    ("buildkite", None, "2024-01-05T10:00:00+00:00", "\x1b_bk;t=1704448800000\x07~~~ Preparing working directory\n\x1b_bk;t=1704448801000\x07$ cd /var/lib/buildkite-agent/builds\n"),
    ("teamcity", "Shop / Tests", None, "Build 'Shop / Tests' #12, branch 'main'\n[10:00:00]W:\t [Step 1/3] npm WARN deprecated\n[10:00:01] :\t [Step 1/3] ok\n"),
    ("teamcity", None, None, "##teamcity[testSuiteStarted name='a']\n##teamcity[testStarted name='b']\n"),
    ("jenkins", "shop_PR-12", f"{T}.123000+00:00", f"[{T}.123Z] Started by user admin\n[{T}.223Z] Running on agent-1 in /home/jenkins/workspace/shop_PR-12@2\n[{T}.323Z] [Pipeline] sh\n"),
    ("jenkins", "shop", None, "10:00:00  Started by an SCM change\n10:00:00  Building remotely on agent-1 (linux) in workspace /var/lib/jenkins/workspace/shop\n"),
    ("travis", None, "2024-01-05T10:00:01+00:00", "travis_fold:start:worker_info\r\x1b[0K\x1b[33;1mWorker information\x1b[0m\nhostname: x\ntravis_time:end:0a:start=1704448800000000000,finish=1704448801000000000,duration=1000000000\r\n"),
    ("circleci", None, None, "#!/bin/bash -eo pipefail\n/home/circleci/project/run.sh\nExited with code exit status 1\n"),
    ("drone", None, None, "[build:1] + go build ./...\n[build:2] /drone/src/a.go:3:1: syntax error\n"),
    ("woodpecker", None, None, "[unit tests:L0:0s] + make\n[unit tests:L1:0s] error: no rule\n"),
    ("bitbucket", None, None, "+ umask 000\n+ GIT_LFS_SKIP_SMUDGE=1 git clone https://bitbucket.example/a.git $BITBUCKET_CLONE_DIR\n"),
    ("appveyor", None, None, "Build started\ngit clone -q https://example.com/a.git C:\\projects\\a\n"),
    ("codebuild", None, f"{T}+00:00", "[Container] 2024/01/05 10:00:00.000000 Waiting for agent ping\n"),
    ("cloud-build", None, None, 'starting build "1b2c3d4e-0000-4444-8888-123456789abc"\n\nFETCHSOURCE\n'),
    ("taskcluster", None, f"{T}.123000+00:00", f"[taskcluster {T.replace('T', ' ')}.123Z] Task ID: abc\n[task {T}.223Z] 10:00:00     INFO - x\n"),
    ("zuul", "tox-py311", f"{T}.123456+00:00", f"{T.replace('T', ' ')}.123456 | Job console starting\n{T.replace('T', ' ')}.223456 | Job: tox-py311\n{T.replace('T', ' ')}.323456 | [Zuul] Log stream did not terminate\n"),
    ("koji", None, None, "Mock Version: 5.0\nENTER ['do_with_status'](['bash', '--login', '-c', 'rpmbuild -bs /builddir/build/SPECS/a.spec'])\n"),
    ("copr", None, f"{T}+00:00", f"You can reproduce this build on your computer by running:\n\n  copr-rpmbuild --verbose --task-url https://example.com/1\n\nVersion: 1.3\nRunning ({T}Z)\n"),
    ("obs", None, None, "[    0s] Using BUILD_ROOT=/var/cache/build\n[   12s] error: x\n"),
    (None, None, "2024-01-05T10:00:00.123000+00:00", '{"PRIORITY":"3","MESSAGE":"x","__REALTIME_TIMESTAMP":"1704448800123000"}\n'),
    (None, None, f"{T}.123456+00:00", f'{{"log":"x\\n","stream":"stderr","time":"{T}.123456789Z"}}\n'),
    (None, None, f"{T}+00:00", "05/Jan/2024:10:00:00 +0000 GET /\n"),
    (None, None, None, "gcc -c a.c\nfile size 1704448800\n"),
]  # fmt: skip


def read(text: str, path: str = "x.log") -> Facts:
    return scan_file([text.encode()], path, budget_tokens=100, max_line_bytes=1 << 16)[0]


@pytest.mark.parametrize(("system", "job", "first", "text"), SAMPLES)
def test_systems_jobs_and_times_are_told(
    system: str | None, job: str | None, first: str | None, text: str
) -> None:
    """The first lines of a log tell its system, its job where that is written, and its first time."""
    facts = read(text)
    assert (facts.ci_system, facts.job) == (system, job)
    assert (facts.first_ts.isoformat() if facts.first_ts else None) == first


@pytest.mark.parametrize(
    ("path", "job"),
    [
        ("logs.zip!/0_build.txt", "build"),
        ("logs.zip!/build (3.12, ubuntu)/3_Run tests.txt", "build (3.12, ubuntu)"),
        ("logs.zip!/-1_deploy.txt", "deploy"),
        ("logs/1_build.txt", None),
        ("logs.zip!/build.txt", None),
    ],
)
def test_members_of_githubs_archive_name_their_job(path: str, job: str | None) -> None:
    """A step's file stands in a folder named for its job, the file of a whole job is named for it."""
    assert read(f"{T}.1234567Z ok\n", path).job == job


def test_last_times_are_read() -> None:
    """The last time is that of the last line that has one."""
    facts = read(f"{T}.1234567Z a\n2024-01-05T11:00:00.1234567Z b\nno time\n")
    assert facts.last_ts is not None
    assert facts.last_ts.isoformat() == "2024-01-05T11:00:00.123456+00:00"


def test_services_are_known_by_how_they_write() -> None:
    """A time and a level, a program's name, or an object make a service's line; a time alone is a CI system's."""
    assert are_dated([f"{T} INFO x", f"{T} ERROR y", "  at z"])
    assert are_dated(["Jan  5 10:00:00 node7 sshd[12]: x"])
    assert are_dated(['{"ts": 1704448800.5, "msg": "x"}'])
    assert not are_dated([f"{T}.123Z + make", f"[{T}Z] ok"])
    assert not are_dated(["gcc -c a.c", "error: x"])
    assert not are_dated([])


@pytest.mark.parametrize(
    "line", ["", "2024-13-45T99:00:00Z x", "section_start:1:x", "_bk;t=99999999999999999999"]
)
def test_broken_times_are_none(line: str) -> None:
    """What only looks like a time is none, and never an error."""
    assert parse_time(line) is None
