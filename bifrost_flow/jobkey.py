"""Name the job that a log is of, so that tonight's log finds last night's.

The key of a job is what its log's name keeps from run to run, after the job's own name where the log tells
one:

    nightly-2026-05-01/build-linux.log          build-linux
    logs/run_8812345/4_test (ubuntu, 3.12).txt  test (ubuntu)
    builds/1234/console.log                     builds
    12345.log, "Complete job name: lint"        lint

Numbers go unless they are part of a word (`linux64`), so jobs that differ in them alone (`shard-1`, `shard-2`)
share a key. So may jobs of different folders. That is for comparing with passing runs, where a job too many costs little: a line that another job says
loses weight. `status.name_location`, which decides that a failure is gone, is stricter.
"""

# ruff: noqa: E501 -- a pattern is read as a whole

import re

_SUFFIXES = re.compile(
    r"(?:\.(?:log|txt|out|err|trace|raw|console|stdout|stderr|gz|bz2|xz|zst|zstd|lzma|[0-9]+))+$"
)
_VARYING = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|(?<![0-9a-z])(?=[a-f]*[0-9])[0-9a-f]{7,}(?![0-9a-z])"
    r"|[0-9]{4}-?[0-9]{2}-?[0-9]{2}(?:t[0-9]{2}[:.-]?[0-9]{2}(?:[:.-]?[0-9]{2})?z?)?"
    r"|(?<![0-9a-z.])[0-9]+(?:[.:][0-9]+)*|[0-9]{4,}"
)
_EDGES = " -_.,:;#"
# Names that say what a file is, not which job wrote it.
_GENERIC = frozenset(
    {
        "log",
        "logs",
        "raw",
        "output",
        "out",
        "console",
        "consoletext",
        "job",
        "run",
        "stdin",
        "stdout",
        "stderr",
    }
)
MAX_KEY = 200


def name_job(path: str, job: str | None) -> str | None:
    """Return the key of the job that the log at `path` is of, `job` being its name as the log tells it; None
    where neither says anything."""
    parts = [part for part in (_strip_varying(job or ""), _name_file(path)) if part]
    # A name that isn't UTF-8 must read here as it does when it comes back from the warehouse.
    key = "|".join(dict.fromkeys(parts))[:MAX_KEY].encode("utf-8", "backslashreplace").decode("utf-8")
    return key or None


def _name_file(path: str) -> str:
    """Return what the last part of `path` that names something keeps from run to run."""
    parts = [part for part in re.split(r"[/\\]+|!", path.lower()) if part not in ("", ".", "..", "-")]
    if parts:
        parts[-1] = _SUFFIXES.sub("", parts[-1])
    for part in reversed(parts):
        name = _strip_varying(part)
        if name and name not in _GENERIC:
            return name
    return ""


def _strip_varying(name: str) -> str:
    """Return `name` in lower case without dates, identifiers and numbers; empty without two letters."""
    kept = re.sub(r"[ \-_.,:;#]*\x00[ \-_.,:;#\x00]*", "-", _VARYING.sub("\x00", name.lower())).strip(_EDGES)
    kept = re.sub(r"[-_, ]+(?=[)\]])|\(\)|\[\]", "", kept).strip(_EDGES)
    return kept if len(re.findall(r"[^\W\d_]", kept)) > 1 else ""
