"""Tell whether the job that a log is of passed or failed."""

# ruff: noqa: E501 -- a pattern is read as a whole

import re
from collections.abc import Sequence

# A system's or a tool's own last word. The last one in the log counts.
FAILED = (
    r"Your build exited with [1-9]|^Finished: (?:FAILURE|ABORTED|UNSTABLE)|^ERROR: Job failed|Your build has been stopped"
    r"|##\[error\]|marked build as failure|exited with (?:code |status )?[1-9]|RPM build errors|^\W*BUILD FAIL(?:ED|URE)"
    r"|\bresult: (?:FAILURE|FAILED|ABORTED|TIMED_OUT|POST_FAILURE)|exit code:? [1-9]|commands failed$|\b[Tt]ests? FAILED"
)
PASSED = (
    r"Your build exited with 0|^Finished: SUCCESS|^Job succeeded|\bresult: SUCCESS|^\W*BUILD SUCCESS(?:FUL)?\b"
    r"|(?:exit code|exited with(?: code| status)?):? 0\b|\b[Tt]ests? SUCCESS\b|^All tests passed|commands succeeded$"
    r"|^Result: PASS|Child return code was: 0$|failed=0 "
)
VERDICT = re.compile(f"(?P<failed>{FAILED})|(?P<passed>{PASSED})", re.MULTILINE)
# What GitHub Actions writes first and last: a whole log without an error in between is that of a job that passed.
ACTIONS_START = re.compile(
    r"^Current runner version|^##\[group\](?:Operating System|Runner Image|Virtual Environment)"
)
ACTIONS_END = re.compile(r"^Cleaning up orphan processes|^Post job cleanup|^Terminate orphan process")

# Shapes that only failures have, and how strongly they must be placed to tell of one by themselves.
TELLING = (
    "sanitizer",
    "diagnostic",
    "test_fail",
    "raise",
    "native_crash",
    "fatal",
    "cause_phrase",
    "header",
    "count",
)
TELLING_SCORE = 60.0


def judge_outcome(
    head: Sequence[str],
    tail: Sequence[str],
    *,
    failed_steps: int,
    worst: tuple[str, float] | None,
    ci_system: str | None,
) -> str:
    """Return `passed`, `failed` or `unknown`.

    `head` and `tail` are the first and last lines, `worst` the kind and score of the heaviest anchor.
    """
    verdicts = list(VERDICT.finditer("\n".join(tail)))
    if verdicts:
        return "failed" if verdicts[-1]["failed"] else "passed"
    if failed_steps:
        return "failed"
    if ci_system == "github-actions" and _is_whole(head, tail):
        return "passed"
    if worst is not None and worst[0] in TELLING and worst[1] >= TELLING_SCORE:
        return "failed"
    begun = ci_system == "github-actions" and any(ACTIONS_START.search(line) for line in head)
    return "passed" if begun else "unknown"


def _is_whole(head: Sequence[str], tail: Sequence[str]) -> bool:
    return any(ACTIONS_START.search(line) for line in head) and any(ACTIONS_END.search(line) for line in tail)
