"""Recognise which system wrote a log, which job it is of, and when its lines were written."""

# ruff: noqa: E501 -- a pattern is read as a whole

import re
from datetime import UTC, datetime

SYSTEMS = tuple(
    (name, re.compile(pattern, re.MULTILINE))
    for name, pattern in (
        ("zuul", r"\[Zuul\] "),
        ("travis", r"travis_(?:fold|time):|travis-ci|/home/travis/|Build system information"),
        ("github-actions", r"^\ufeff?\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z |##\[(?:group|error|debug|warning)\]|Current runner version|actions/checkout|GITHUB_TOKEN"),
        ("gitlab", r"section_(?:start|end):\d+|Running with gitlab-runner"),
        ("buildkite", r"_bk;t=\d+|buildkite"),
        ("azure", r"##\[section\]Starting: |Agent name: '"),
        ("teamcity", r"##teamcity\["),
        ("jenkins", r"^Started by |\[Pipeline\]|Building (?:remotely )?on |Build step '|^Finished: (?:SUCCESS|FAILURE|UNSTABLE)"),
        ("circleci", r"CIRCLE_|circleci"),
        ("taskcluster", r"\[taskcluster|\[taskcluster:"),
        ("copr", r"copr-rpmbuild|copr_"),
        ("koji", r"\bkojipkgs\b|\bmock\b.*INFO"),
    )
)  # fmt: skip
JOB = re.compile(
    r"(?m)^Complete job name: (?P<gha>.+)$|^Job: (?P<job>\S.*)$|^Build step '(?P<jenkins>.+?)'|Running job (?P<gitlab>\S+)"
)
ISO = re.compile(
    r"\b(20\d\d)-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?\s?(Z|UTC|[+-]\d\d:?\d\d)?"
)


def detect_system(text: str) -> str | None:
    """Return the name of the CI system whose marks stand in `text`, the first and last lines of a log."""
    return next((name for name, pattern in SYSTEMS if pattern.search(text)), None)


def detect_job(text: str) -> str | None:
    """Return the name of the job, where `text`, the first lines of a log, tells it."""
    found = JOB.search(text)
    return next(value for value in found.groups() if value)[:200] if found else None


def parse_time(line: str) -> datetime | None:
    """Return the first ISO 8601 time in `line`; one without a zone is taken for UTC."""
    found = ISO.search(line, 0, 400)
    if not found:
        return None
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    zone = (zone or "Z").replace("UTC", "Z")
    text = f"{year}-{month}-{day}T{hour}:{minute}:{second}.{(fraction or '0')[:6]:0<6}{zone}"
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return None
