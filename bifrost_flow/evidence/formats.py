"""Recognise which system wrote a log, which job it is of, and when its lines were written."""

# ruff: noqa: E501 -- a pattern is read as a whole

import re
from collections.abc import Sequence
from datetime import UTC, datetime

import polars as pl

from bifrost_flow.evidence.anchors import to_polars
from bifrost_flow.evidence.times import find_stamp, read_epoch, read_time

_SEVENTH = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z "
# What only the system itself writes. Azure stands before GitHub: its runner is the elder, and the time is the same.
MARKS = (
    ("zuul", r"\[Zuul\] "),
    ("azure", r"##\[section\](?:Starting|Finishing|Async Command)|##vso\[|^(?:\S+ )?Agent (?:name|machine name): '"),
    (
        "github-actions",
        rf"^\ufeff?(?:[^\t\n]+\t[^\t\n]+\t\ufeff?)?{_SEVENTH}|##\[(?:group|endgroup|error|debug|warning|notice)\]|Current runner version: '|Complete job name: ",
    ),
    (
        "gitlab",
        r"section_(?:start|end):\d{10}:|Running with gitlab-runner |Executing \"\w+\" stage of the job script|ERROR: Job failed: |^20\S+\.\d{6}Z [0-9a-f]{2}[OE][ +]",
    ),
    ("buildkite", r"_bk;t=\d{10}|^~~~ Running (?:commands?|script|agent|global|local|plugin)|BUILDKITE_[A-Z]|🚨 Error: The command exited with status"),
    ("teamcity", r"##teamcity\[|^\[\d\d:\d\d:\d\d\][A-Za-z ]?:[ \t]+(?:\[Step \d|Step \d+/\d+)|TeamCity server version "),
    (
        "jenkins",
        r"Started by (?:user|an SCM change|timer|upstream project|GitHub|GitLab|remote host|command line|changes from|build flow)|\[Pipeline\] |Building (?:remotely )?(?:on \S+ .*)?in workspace /|Build step '.+' (?:marked|changed) build|Finished: (?:SUCCESS|FAILURE|UNSTABLE|ABORTED|NOT_BUILT)\s*$",
    ),
    ("travis", r"travis_(?:fold|time):(?:start|end)|^Done\. Your build exited with|^Worker information\s*$|^Build system information\s*$|/home/travis/build/|/Users/travis/build/"),
    ("circleci", r"^Build-agent version |\bCIRCLE_(?:JOB|SHA1|BRANCH|BUILD_NUM|WORKFLOW_\w+|PROJECT_\w+)\b|Exited with code exit status \d|/home/circleci/"),
    ("bitbucket", r"\bBITBUCKET_[A-Z]|/opt/atlassian/pipelines/|^Build teardown started"),
    ("woodpecker", r"^\[[\w -]+:L\d+:\d+s\] |/woodpecker/src/|\bCI_PIPELINE_NUMBER\b"),
    ("drone", r"/drone/src\b|\bDRONE_[A-Z]"),
    ("appveyor", r"\bAPPVEYOR_[A-Z]|^Build worker image: |C:\\projects\\|^Command exited with code \d"),
    ("codebuild", r"^\[Container\] 20\d\d/"),
    ("cloud-build", r"^starting build \"[0-9a-f-]{36}\"|^Step #\d+(?: - \"[^\"]*\")?: |^FETCHSOURCE\s*$"),
    ("taskcluster", r"\[taskcluster[ :]|^\[task 20\d\d-"),
    ("copr", r"copr-rpmbuild|copr_"),
    ("koji", r"\bkojipkgs\b|\bkoji_|/builddir/build/(?:BUILD|SPECS)|\bmock\b.*INFO"),
    ("obs", r"^\[ {1,5}\d+s\] "),
)  # fmt: skip
# What others may quote, too.
MENTIONS = (
    ("travis", r"travis-ci|/home/travis/|\bTRAVIS_[A-Z]"),
    ("github-actions", r"actions/checkout|GITHUB_(?:TOKEN|ACTIONS|WORKSPACE|SHA)|/home/runner/work/|^::(?:error|warning|group)\b"),
    ("gitlab", r"gitlab-runner|\bCI_JOB_(?:ID|TOKEN|NAME)\b|^Job succeeded\s*$"),
    ("jenkins", r"/jenkins/workspace/|\bJENKINS_(?:HOME|URL)\b"),
    ("buildkite", r"buildkite"),
    ("circleci", r"circleci|\bCIRCLE_[A-Z]"),
    ("bitbucket", r"bitbucket-pipelines"),
)  # fmt: skip
SYSTEMS = tuple((name, f"(?m){to_polars(pattern)}") for name, pattern in (*MARKS, *MENTIONS))
JOB = re.compile(
    r"(?m)^Complete job name: (?P<gha>\S.*)$|^Job: (?P<job>\S.*)$|Running job (?P<gitlab>\S+)"
    r"|^(?:Running on .+ in|.*\bin workspace) \S*/workspace/(?P<jenkins>[^\s@]+)|^Build '(?P<teamcity>[^']+)' #\d"
    r"|^##\[section\]Starting: (?P<azure>\S.*)$"
)
# GitHub's files of a job: `0_build.txt` of all its steps, `build/3_Run tests.txt` of one.
_STEP_FILE = re.compile(r"(?:^|/|!/)(?:(?P<job>[^/!]+)/)?-?\d+_(?P<step>[^/]+)\.txt$")
_RUN_PATH = re.compile(r"gha://[^/]+/[^/]+/\d+/")
_TRACE_PATH = re.compile(r"gitlab://.+/\d+/(?P<job>[^/]+?)(?: \(\d+\))?\.log$")
_TABBED_JOB = re.compile(rf"^\ufeff?([^\t\n]+)\t[^\t\n]+\t\ufeff?{_SEVENTH}")
ISO = re.compile(
    r"\b(20\d\d)-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?\s?(Z|UTC|[+-]\d\d:?\d\d)?"
)
# Seconds, milli-, micro- or nanoseconds since 1970, where a system writes those.
_EPOCH = re.compile(
    r"_bk;t=(\d{10,19})|section_(?:start|end):(\d{10}):|finish=(\d{10,19})|\"(?:__REALTIME_TIMESTAMP|time|ts|timestamp)\":\s*\"?(1\d{9,18}(?:\.\d+)?)"
)
_SERVED = re.compile(
    r"\b(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL|SEVERE)\b|\b(?:trace|debug|info|notice|warn|warning|error)\b[\]:|\" ]|[\w.)-]\[\d+\]: |^\{| [DIWEVF][ /(]"
)
_DATED = 60  # and of those in which a line's time stands
_FRONT = 24  # characters before a time of other forms: brackets, a priority, a prompt


def detect_systems(texts: pl.Series) -> list[str | None]:
    """Return for each of `texts`, the first and last lines of a log, the CI system whose marks stand in it."""
    (first, pattern), *others = SYSTEMS
    chain = pl.when(pl.col("text").str.contains(pattern)).then(pl.lit(first))
    for name, pattern in others:
        chain = chain.when(pl.col("text").str.contains(pattern)).then(pl.lit(name))
    return texts.to_frame("text").select(chain.otherwise(None)).to_series().to_list()


def detect_jobs(texts: pl.Series) -> list[str | None]:
    """Return for each of `texts`, the first lines of a log without prefixes, the name of the job it tells."""
    telling = texts.str.contains(to_polars(JOB.pattern))
    jobs: list[str | None] = [None] * len(texts)
    for row in telling.arg_true():
        if found := JOB.search(texts[row]):
            jobs[row] = next(value for value in found.groups() if value).strip()[:200]
    return jobs


def read_job(first: str, path: str) -> str | None:
    """Return the name of the job that stands before the time in the `first` line of a log as it is; or that
    the path names: of a member of GitHub's archive of logs, fetched or not, of a trace of GitLab's.
    """
    if found := _TABBED_JOB.match(first):
        return found[1][:200]
    if found := _TRACE_PATH.match(path):
        return found["job"][:200]
    archive, inside, member = path.partition("!/")
    if fetched := _RUN_PATH.match(path):
        archive, inside, member = fetched[0], "/", path[fetched.end() :]
    if inside and archive and (found := _STEP_FILE.search(member)):
        return (found["job"] or found["step"])[:200]
    return None


def parse_time(line: str) -> datetime | None:
    """Return the time of `line` in UTC: an ISO 8601 one, one that its system writes as a number, or one of another
    form at its start; a time without a zone is taken for UTC.
    """
    if found := _EPOCH.search(line, 0, 400):
        return read_epoch(float(next(value for value in found.groups() if value)))
    if found := ISO.search(line, 0, 400):
        return _read_iso(found)
    if not any(char.isdigit() for char in line[:_FRONT]):
        return None
    stamp = find_stamp(line, reach=_FRONT)
    if stamp is None or (stamp.start > 1 and ":" not in line[stamp.start : stamp.end]):
        return None  # a number that could be seconds is a time only in front
    return read_time(line, stamp)


def are_dated(lines: Sequence[str]) -> bool:
    """Tell whether most of the `lines` that hold text are such as services write: a time in front, and behind it a
    level or a program's name; a time that isn't ISO 8601 is enough, for CI systems put only such before a line.
    """
    telling = [line[:400] for line in lines if line.strip()][-40:]
    return sum(map(_is_dated, telling)) > len(telling) / 2


def _is_dated(line: str) -> bool:
    if parse_time(line[:_DATED]) is None:
        return False
    return _SERVED.search(line[:160]) is not None or not ISO.search(line[:_DATED])


def _read_iso(found: re.Match[str]) -> datetime | None:
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    zone = (zone or "Z").replace("UTC", "Z")
    text = f"{year}-{month}-{day}T{hour}:{minute}:{second}.{(fraction or '0')[:6]:0<6}{zone}"
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return None
