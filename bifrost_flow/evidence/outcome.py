"""Tell whether the job that a log is of passed or failed.

A system's own last word decides; else the steps that it says failed; else the last summary of a tool; else what the
heaviest line looks like. A log that ends without any of these is `unknown`.
"""

# ruff: noqa: E501 -- a pattern is read as a whole

import re
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from bifrost_flow.evidence.anchors import to_polars

# A system's last word, by system: what it writes when a job failed, and when it passed.
LAST_WORDS = {
    "travis": (
        r"^(?:Done\. )?Your build exited with [1-9]|^Your build has been (?:stopped|terminated)|^The job exceeded the maximum |^No output has been received in the last |exceeded the maximum time limit for jobs",
        r"^(?:Done\. )?Your build exited with 0",
    ),
    "jenkins": (r"^Finished: (?:FAILURE|ABORTED|UNSTABLE)", r"^Finished: SUCCESS"),
    "gitlab": (r"^(?:ERROR|WARNING): (?:Job failed|Failed to process runner|Preparation failed)", r"^Job succeeded"),
    "zuul": (
        r"\bresult: (?:FAILURE|FAILED|ABORTED|TIMED_OUT|POST_FAILURE|RETRY_LIMIT|RETRY|NODE_FAILURE|DISK_FULL|MERGER_FAILURE|ERROR)\b",
        r"\bresult: SUCCESS",
    ),
    "buildkite": (
        r"^(?:🚨 )?Error: The command (?:exited with status -?[1-9]|was interrupted)|^# Received cancellation signal|^🚨 Error: ",
        r"^(?:🚨 )?(?:The )?[Cc]ommand exited with status 0",
    ),
    "circleci": (
        r"^Exited with code (?:exit status )?[1-9]|^Too long with no output |^context deadline exceeded|^Build was canceled|^Step was canceled",
        r"^CircleCI received exit code 0",
    ),
    "appveyor": (r"^Command exited with code [1-9]|^Build failed\s*$|^Build execution time has reached", r"^Build success\s*$"),
    "codebuild": (r"Phase complete: \w+ State: (?:FAILED|TIMED_OUT|FAULT|STOPPED)", r"Phase complete: POST_BUILD State: SUCCEEDED"),
    "cloud-build": (r"^ERROR: (?:build step \d+|failed|context)|^ERROR\s*$|^TIMEOUT\s*$|^CANCELLED\s*$", r"^DONE\s*$"),
    "taskcluster": (r"Unsuccessful task run|exit code:? -?[1-9]|\bresult: (?:failed|exception)|Task timeout after|^# TBPL (?:FAILURE|EXCEPTION)", r"Successful task run|exit code:? 0\b|^# TBPL SUCCESS"),
    "teamcity": (r"^(?:Build )?[Ff]inished with status (?:FAILURE|ERROR)|Build failed on server|^Process exited with code [1-9]|^Step .{1,80} failed", r"^(?:Build )?[Ff]inished with status SUCCESS"),
    "koji": (r"Child return code was: [1-9]|RPM build errors|^ERROR: (?:Exception|Command failed)|^\S*BuildError", r"Child return code was: 0$|^(?:INFO: )?Done\(\S+\) Config"),
    "obs": (r"^\S+ failed \"build ", r"^\S+ finished \"build "),
}  # fmt: skip
LAST_WORDS["copr"] = LAST_WORDS["koji"]
_WORDS = {
    name: re.compile(f"(?P<failed>{failed})|(?P<passed>{passed})", re.MULTILINE)
    for name, (failed, passed) in LAST_WORDS.items()
}
# In logs of a system that isn't known: what is said in one way only.
_ANY_WORDS = re.compile(
    "|".join(
        f"(?P<failed_{name}>{LAST_WORDS[name][0]})|(?P<passed_{name}>{LAST_WORDS[name][1]})"
        for name in ("travis", "jenkins", "gitlab", "zuul", "koji", "obs")
    ),
    re.MULTILINE,
)

# Summaries of tools. One that begins anew takes back what was said before.
_N = r"[1-9][0-9]*"
_TOOL_FAILED = (
    r"^(?:\[\w+\] )?\W*BUILD FAIL(?:ED|URE)|^\*\* (?:BUILD|TEST|ARCHIVE) FAILED \*\*|^FAILURE: Build failed|^Build FAILED|^Test Run Failed|^Failed! "
    rf"|^=+ .*\b{_N} (?:failed|errors?)\b.*=+$|^{_N} (?:failed|errors?)\b.* in [\d.]+s|^FAILED \((?:failures|errors)=|^test result: FAILED|^FAIL(?:\t|$)|^FAIL: "
    rf"|^Tests: +(?:\d+ \w+, )*{_N} failed|^Test Suites: +{_N} failed|^\s*{_N} failing\b|^\d+ examples?, {_N} (?:failure|error)|^FAILURES!|^ERRORS!"
    rf"|^\d+ (?:tests?|runs|scenarios)\b.*?\b{_N} (?:failures?|errors?|failed)|^\d+% tests passed, {_N} tests? failed|^(?:ERROR|FAILED): Build did NOT complete"
    rf"|^\[error\] Total time|^Result: FAIL|^Status: {_N} ERROR|^Status: (?:attempted|failed|given-back)|^✖ {_N} problems? \({_N} error|^Found {_N} errors?\b"
    r"|^(?:g?make|mingw32-make): \*\*\*|^ninja: (?:build stopped|error)|^(?:\S+: )?error: (?:could not compile|aborting due to|test failed)|^error Command failed|^npm (?:ERR!|error) (?:code|Test failed|errno)"
    r"|^ERROR: (?:failed to solve|Service .+ failed to build|InvocationError)|returned a non-zero code: [1-9]|^\s*[\w.:-]+: commands? failed|commands failed$|\b[Tt]ests? FAILED\b|^ELIFECYCLE| ELIFECYCLE "
    rf"|^[0-9:]+ \+\d+(?: ~\d+)? -{_N}: Some tests failed|^\s*Executed \d+ tests?, with (?:\d+ tests? skipped and )?{_N} failures?"
)
# What ends that way is a program, which need not be the job.
_ENDED = (
    r"^RPM build errors|Child return code was: [1-9]|^Error: Process completed with exit code [1-9]|^(?:.* )?(?:exited|failed|finished) with (?:exit )?(?:code|status):? [1-9]|^The command \".*\" exited with [1-9]|^.{0,30}\b[Ee]xit code:? [1-9][0-9]*\.?$"
    r"|^(?:.*: line \d+: +\d+ )?(?:Killed|Terminated|Segmentation fault|Aborted|Bus error|Illegal instruction)\b(?: +\(core dumped\))?.{0,60}$|^\S+ *: ok=\d+ .*(?:failed|unreachable)=[1-9]"
)
_TOOL_PASSED = (
    r"^(?:\[\w+\] )?\W*BUILD SUCCESS(?:FUL)?\b|^\*\* (?:BUILD|TEST|ARCHIVE) SUCCEEDED \*\*|^Build succeeded|^Test Run Successful|^Passed! "
    r"|^=+ (?:\d+ \w+, )*\d+ passed\b.*=+$|^(?:\d+ \w+, )*\d+ passed\b.* in [\d.]+s|^OK(?: \(.*\)|!)?$|^test result: ok"
    r"|^Tests: +(?:\d+ \w+, )*\d+ passed|^\s*\d+ passing\b|^\d+ examples?, 0 failures|^\d+ (?:tests?|runs|scenarios)\b.*\b(?:0 failures|passed)"
    r"|^100% tests passed|^INFO: Build completed successfully|^\[success\] Total time|^Result: PASS|^Status: (?:OK|successful)\b|^Success: no issues found|^All checks passed"
    r"|^(?:All tests|Tests) passed|\b[Tt]ests? SUCCESS\b|commands succeeded$|congratulations :\)|Child return code was: 0$|^The command \".*\" exited with 0|^Apply complete!|^Successfully (?:built|tagged|deployed) "
    r"|^\S+ *: ok=\d+ .*unreachable=0 .*failed=0"
    r"|^[0-9:]+ \+\d+(?: ~\d+)?: All tests passed|^\s*Executed \d+ tests?, with (?:\d+ tests? skipped and )?0 failures"
)
# Said of one part of many: one that failed outweighs these.
_PART_PASSED = r"^ok +\t?\S+\t[\d.(c]|^test result: ok|^PASS(?:\t| |$)|^\S+ *: ok=\d+ "
_BEGINS = (
    r"^=+ test session starts =+|^\[INFO\] Scanning for projects|^running \d+ tests?$|^> Task :[\w:]*test\b"
)
SUMMARY = re.compile(
    f"(?P<failed>{_TOOL_FAILED}|(?P<ended>{_ENDED}))|(?P<passed>{_TOOL_PASSED})|(?P<begins>{_BEGINS})",
    re.MULTILINE,
)
_PARTS = re.compile(_PART_PASSED, re.MULTILINE)
# A number that means success, whoever says it: believed where nothing speaks against it.
_ZERO = re.compile(
    r"(?:^|\W)(?:exit(?:ed with)?(?: code| status)?|return code|rc)[:= ]{1,2}0\W?$",
    re.IGNORECASE | re.MULTILINE,
)

# One by one: all in one, they are too many for the engine's fast form.
_TELLING_PATTERNS = tuple(
    to_polars(pattern)
    for pattern in (
        "|".join(words for pair in LAST_WORDS.values() for words in pair),
        *(_TOOL_FAILED, _ENDED, _TOOL_PASSED, _BEGINS, _PART_PASSED),
        f"(?i:{_ZERO.pattern})",
    )
)

# What a system writes first and last: a whole log without a failed step in between is that of a job that passed.
ACTIONS_START = re.compile(
    r"^Current runner version|^##\[group\](?:Operating System|Runner Image|Virtual Environment)"
)
WHOLE = {
    "github-actions": (
        ACTIONS_START,
        re.compile(r"^Cleaning up orphan processes|^Post job cleanup|^Terminate orphan process"),
    ),
    "azure": (re.compile(r"^##\[section\]Starting: "), re.compile(r"^##\[section\]Finishing: ")),
    "buildkite": (
        re.compile(r"^~~~ .*(?:[Pp]reparing|environment hook)"),
        re.compile(r"^~~~ .*(?:pre-exit hook|Uploading artifacts|[Cc]leaning up)"),
    ),
    "teamcity": (re.compile(r"Starting:|^Build '.+' #\d|^Step "), re.compile(r"^Build finished")),
}
_ACTIONS_STEP = re.compile(r"^##\[group\]Run (.*)")
_ACTIONS_ERROR = re.compile(r"^##\[error\]")
# Steps that run after a failure, too.
_AFTERWARDS = re.compile(
    r"(?i)upload|download|artifact|report|codecov|coveralls|coverage|slack|notif|discord|comment|annotat|junit|result|summar|cache|\bcat |echo|printf|\btail |\bhead |dump"
    r"|\blogs?\b|\bkill|clean|teardown|\bstop\b|\bdown\b|docker (?:ps|logs|stop|rm|images)|\bls |\bdf |\bdu |\bfree |tmate|status|\brm |^if |^set |^exit|github-script|debug|\bfind "
    r"|ch(?:own|mod)|mkdir|\btar |zip|gather|collect|diagnos|journalctl|dmesg|kubectl|^[{#(\[]|always|failure|finali[sz]e|publish.*(?:test|report)|hook|wrapper"
)

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
# Shapes of what a job is there to find out: a step that may fail hardly has them.
_DECISIVE = ("sanitizer", "diagnostic", "test_fail", "native_crash", "header", "count")
CRASHES = ("sanitizer", "kernel_panic", "native_crash")
CRASH_SCORE = 40.0
_LAST_GASP = re.compile(r"^panic: |(?:^|[\s\[(|=\"])(?:FATAL|PANIC|fatal|panic)(?:[\s\]:)\"]|$)|core dumped")
CRASH_LINES = 60  # a service whose log goes on for longer after an error has survived it


@dataclass(frozen=True, slots=True)
class Signs:
    """What a log says of its outcome, beside its first and last lines."""

    failed_steps: int = 0
    resumed: bool = False  # a step began after the last one that failed
    worst: tuple[str, float] | None = None  # kind and score of the heaviest anchor
    since_worst: int = 0  # lines after it
    survived: bool = False  # a step began after it
    ci_system: str | None = None
    dated: bool = False  # most lines are a service's: see `formats.are_dated`

    @property
    def serving(self) -> bool:
        """Tell whether the log most likely is one of a service."""
        return self.ci_system is None and self.dated


def find_telling(lines: pl.Series) -> pl.Series:
    """Return which of `lines`, cleaned, may say how a job ended; the others need not be read for that."""
    found = [pl.lit(lines).str.contains(pattern) for pattern in _TELLING_PATTERNS]
    return pl.select(pl.any_horizontal(found)).to_series()


def judge_outcome(
    head: Sequence[str], tail: Sequence[str], signs: Signs, telling: Sequence[bool] | None = None
) -> str:
    """Return `passed`, `failed` or `unknown`.

    `head` and `tail` are the first and last lines, cleaned; `telling` what `find_telling` says of `tail`.
    """
    if telling is None:
        telling = find_telling(pl.Series(tail, dtype=pl.String)).to_list()
    said_last = [line for line, tells in zip(tail, telling, strict=True) if tells]
    if word := _hear_system("\n".join(said_last), signs.ci_system):
        return word
    if signs.failed_steps:
        return "passed" if signs.ci_system == "github-actions" and _went_on(tail, signs) else "failed"
    if _is_whole(head, tail, signs.ci_system):
        return "passed"
    if signs.ci_system not in _WORDS and (word := _hear_system("\n".join(said_last), None)):
        return word  # logs that were passed on by another system, whose times they bear
    said = _hear_tools(tail, telling, signs)
    if said is None and signs.serving:
        # A service goes on after most of its errors.
        return "failed" if _crashed(tail, signs) else "unknown"
    if said == "failed" or (said is None and _looks_failed(signs)):
        return "failed"
    if said or any(
        _ZERO.search(line) for line, tells in zip(tail[-20:], telling[-20:], strict=True) if tells
    ):
        return "passed"
    begun = signs.ci_system == "github-actions" and any(ACTIONS_START.search(line) for line in head)
    return "passed" if begun else "unknown"


def _looks_failed(signs: Signs) -> bool:
    if signs.worst is None:
        return False
    if signs.survived and signs.ci_system == "github-actions":
        return False  # a step that fails ends the job, but for steps whose failure is told
    kind, score = signs.worst
    return (kind in TELLING and score >= TELLING_SCORE) or (kind in CRASHES and score >= CRASH_SCORE)


def _crashed(tail: Sequence[str], signs: Signs) -> bool:
    """Tell whether a service's log ends with its end."""
    last = [line for line in tail if line.strip()][-3:]
    if any(_LAST_GASP.search(line) for line in last):
        return True
    if signs.since_worst <= 1 and _looks_failed(signs):
        return True
    crash = signs.worst is not None and signs.worst[0] in (*CRASHES, "raise")
    return crash and _looks_failed(signs) and signs.since_worst <= CRASH_LINES


def _hear_system(text: str, ci_system: str | None) -> str | None:
    if ci_system is None:
        words = [found.lastgroup or "" for found in _ANY_WORDS.finditer(text)]
        return words[-1].partition("_")[0] if words else None
    if ci_system not in _WORDS:
        return None
    words = [found.lastgroup or "" for found in _WORDS[ci_system].finditer(text)]
    if ci_system == "codebuild" and "failed" in words:
        return "failed"  # later phases are run all the same
    return words[-1] if words else None


def _hear_tools(tail: Sequence[str], telling: Sequence[bool], signs: Signs) -> str | None:
    """Return what the last summary of a tool says, unless something heavier comes after a good one."""
    said: str | None = None
    place = 0
    for number, line in enumerate(tail):
        if not telling[number]:
            continue
        if not (found := SUMMARY.search(line)):
            if _PARTS.search(line) and said is None:
                said, place = "passed", number
            continue
        if found["begins"] is not None:
            said = None if said == "passed" else said
        elif found["failed"] is not None:
            if not (signs.serving and found["ended"] is not None):
                said, place = "failed", number
        elif not (said == "failed" and _PARTS.search(line)):
            said, place = "passed", number
    if said != "passed" or not _looks_failed(signs):
        return said
    # Of a system's log that lacks the last word only a part is here, and a summary may be of a part of the job.
    later = signs.since_worst < len(tail) - 1 - place
    return None if later or signs.ci_system else "passed"


def _went_on(tail: Sequence[str], signs: Signs) -> bool:
    """Tell whether a failed step of GitHub Actions was one that may fail: ordinary steps were run after it."""
    if not signs.resumed or (signs.worst is not None and signs.worst[0] in _DECISIVE):
        return False
    last = max((number for number, line in enumerate(tail) if _ACTIONS_ERROR.match(line)), default=-1)
    steps = [found[1] for line in tail[last + 1 :] if (found := _ACTIONS_STEP.match(line))]
    return any(not _AFTERWARDS.search(step) for step in steps)


def _is_whole(head: Sequence[str], tail: Sequence[str], ci_system: str | None) -> bool:
    if ci_system not in WHOLE:
        return False
    start, end = WHOLE[ci_system]
    return any(map(start.search, head)) and any(map(end.search, tail))
