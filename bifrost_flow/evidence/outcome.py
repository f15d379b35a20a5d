"""Tell whether the job that a log is of passed or failed."""

import re
from collections.abc import Sequence

PASSED = re.compile(
    r"Done\. Your build exited with 0|^Finished: SUCCESS|Job succeeded|BUILD SUCCESS(?:FUL)?\b|^##\[section\]Finishing|^Bash exited with code '0'"
    r"|\bexit(?:ed)?(?: with)? (?:code|status):? 0\b|Result: PASS|All tests passed|Child return code was: 0"
)
FAILED = re.compile(
    r"Your build exited with [1-9]|^Finished: (?:FAILURE|ABORTED|UNSTABLE)|^ERROR: Job failed|Your build has been stopped"
    r"|##\[error\]|marked build as failure|exited with (?:code |status )?[1-9]|RPM build errors|BUILD FAIL(?:ED|URE)"
)
DECISIVE_PASS = re.compile(r"Your build exited with 0|^Finished: SUCCESS|Job succeeded")


def judge_outcome(tail: Sequence[str], *, failed_steps: int, worst: str | None, ci_system: str | None) -> str:
    """Return `passed`, `failed` or `unknown` from the last lines, the steps that failed and the heaviest kind of anchor."""
    for line in reversed(tail):
        if DECISIVE_PASS.search(line):
            return "passed"
        if FAILED.search(line):
            return "failed"
    if failed_steps:
        return "failed"
    if any(PASSED.search(line) for line in tail):
        return "passed"
    if worst in ("sanitizer", "diagnostic", "test_fail", "raise", "native_crash", "fatal", "count"):
        return "failed"
    if ci_system is not None:
        return "passed" if worst in (None, "echo", "hint", "warning", "word") else "failed"
    return "unknown" if worst is None else "failed" if worst in ("cause_phrase", "echo") else "unknown"
