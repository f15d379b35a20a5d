"""Baselines: what passing runs say loses weight, what only this run says is shown, no failure is hidden."""

from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bifrost_flow.evidence import baseline as module
from bifrost_flow.evidence.baseline import (
    MAX_NEW,
    VERSION,
    Baseline,
    Learner,
    build_baseline,
    hash_lines,
    hash_texts,
)
from bifrost_flow.evidence.facts import Facts
from bifrost_flow.evidence.scan import scan_file, scan_small_files
from bifrost_flow.records import Chunk

FILLER = [f"[2026-05-01T02:00:{n % 60:02}.123Z] compiling unit {n} of 300" for n in range(300)]
NOISE = "[2026-05-01T02:01:00.123Z] ERROR: cache server 10.0.0.7 gave no answer, building without it"
CAUSE = "[2026-05-01T02:05:00.123Z] deploy: cannot open release.tar"
QUIET = "[2026-05-01T02:04:00.123Z] using the toolchain of tuesday"

GOOD = ["Started by timer", *FILLER[:150], NOISE, *FILLER[150:], "Finished: SUCCESS"]
BAD = [
    "Started by timer",
    *FILLER[:100],
    QUIET,
    *FILLER[100:150],
    NOISE,
    *FILLER[150:],
    CAUSE,
    "Finished: FAILURE",
]


def whole(*logs: Sequence[str]) -> Baseline:
    return build_baseline([hash_lines(pl.Series(log, dtype=pl.String)) for log in logs], whole=True)


def encode(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def scan(
    lines: Sequence[str], baseline: Baseline | None = None, *, budget: int = 500, learn: bool = False
) -> tuple[Facts, list[Chunk]]:
    return scan_file(
        iter([encode(lines)]),
        "a.log",
        budget_tokens=budget,
        max_line_bytes=1 << 16,
        baseline=baseline,
        learn=learn,
    )


def shown(chunks: Sequence[Chunk]) -> str:
    return "\n".join(chunk.text for chunk in chunks)


def test_hashes_are_the_same_everywhere_and_forever() -> None:
    """The warehouse compares them with those of other machines and versions: they may only change with
    `VERSION`."""
    texts = pl.Series(
        [
            "ERROR: 3 of 17 tests failed in /tmp/tmpab12xy/run",
            "E   assert 0x7ffe12ab == None",
            "",
            "테스트 12 실패",
            "Wed Jun 28 07:55:19 UTC 2017 job 550e8400-e29b-41d4-a716-446655440000 done",
        ]
    )
    assert VERSION == "b1"
    assert module.mask_lines(texts).to_list() == [
        "ERROR: # of # tests failed in /tmp/#/run",
        "E assert # == None",
        "",
        "테스트 # 실패",
        "# # # # UTC # job # done",
    ]
    assert hash_texts(texts).to_list() == [
        12667927651424427053,
        8227073806990261867,
        16476032584258269876,
        1199273751539287874,
        439942223848022517,
    ]


def test_a_nought_tells_success_from_failure() -> None:
    """`0 failed` in a good log doesn't excuse `3 failed`; other numbers are all alike."""
    none, some, many, half = hash_texts(
        pl.Series(["9 passed, 0 failed", "7 passed, 3 failed", "1 passed, 20 failed", "0.5 s, 0 failed"])
    )
    assert none != some
    assert some == many
    assert half == hash_texts(pl.Series(["12.25 s, 0 failed"]))[0]


@settings(deadline=None)
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=40), max_size=8
    )
)
def test_a_line_hashes_alike_alone_and_among_others(lines: list[str]) -> None:
    """Neither order nor the lines beside it have an influence, nor how a file was cut into blocks."""
    together = hash_lines(pl.Series(lines, dtype=pl.String)).to_list()
    assert together == [hash_lines(pl.Series([line], dtype=pl.String))[0] for line in lines]
    assert None not in together


def test_what_passing_runs_say_no_longer_ranks_first() -> None:
    """Without a baseline the loud noise leads; with one the quieter cause does, and the noise is there."""
    _, before = scan(BAD, budget=2000)
    _, after = scan(BAD, whole(GOOD), budget=2000)
    assert "cache server" in before[0].text
    assert "cannot open release.tar" in after[0].text
    assert "cache server" not in after[0].text
    assert "cache server" in shown(after)


def test_a_line_that_is_new_is_shown_whatever_its_words() -> None:
    """No word of failure is in it, but no passing run says it; only a baseline of whole logs can tell."""
    known = whole(GOOD)
    assert "toolchain of tuesday" not in shown(scan(BAD)[1])
    assert "toolchain of tuesday" in shown(scan(BAD, known)[1])
    assert "toolchain of tuesday" not in shown(scan(BAD, Baseline(known.templates, whole=False))[1])


def test_a_baseline_that_knows_everything_changes_nothing() -> None:
    """When a passing run says all that the failing one says, it can't tell what failed."""
    assert scan(BAD, whole(BAD)) == scan(BAD)


def test_a_failure_that_a_passing_run_had_too_does_not_vanish() -> None:
    """A flaky job says its failure in runs that pass: it ranks low, but it is there, and the job failed."""
    facts, chunks = scan(BAD, whole([*GOOD, CAUSE]), budget=2000)
    assert "cannot open release.tar" in shown(chunks)
    assert facts.outcome == "failed"


def test_a_baseline_of_another_job_is_not_taken_for_news() -> None:
    """When nearly all lines are new, the baseline is of another job, and none of them is shown for that."""
    many = [f"{chr(97 + n % 26)}{chr(97 + n // 26)}zz quiet words" for n in range(MAX_NEW + 1)]
    other = whole(["something else"])
    log = [*many, *FILLER, CAUSE]
    assert shown(scan(log, other)[1]) == shown(scan(log)[1])


def test_the_outcome_does_not_depend_on_the_baseline() -> None:
    """Otherwise a failure once taken for good would make its job pass, and be learnt as good again."""
    log = [*FILLER, "E   AssertionError: totals differ", *FILLER[:20]]
    assert scan(log)[0].outcome == "failed"
    assert scan(log, whole(["E   AssertionError: totals differ"]))[0].outcome == "failed"


@settings(deadline=None, max_examples=25)
@given(st.lists(st.sampled_from([*GOOD, CAUSE, QUIET]), max_size=40), st.booleans())
def test_fingerprints_do_not_depend_on_the_baseline(good: list[str], all_lines: bool) -> None:
    """What is around a line that speaks of a failure has one fingerprint, whatever earlier runs said."""
    speaking = {number for number, line in enumerate(BAD, start=1) if line in (NOISE, CAUSE)}
    known = Baseline(whole(good).templates, whole=all_lines)
    plain, after = (
        {chunk.anchor: chunk.fingerprint for chunk in chunks if chunk.anchor in speaking}
        for _, chunks in (scan(BAD, budget=4000), scan(BAD, known, budget=4000))
    )
    assert len(plain) == 2
    assert after.items() <= plain.items()
    assert after


@pytest.mark.parametrize("known", [None, whole(GOOD), Baseline(whole(GOOD).templates, whole=False)])
def test_small_files_read_together_get_the_same(known: Baseline | None) -> None:
    """Sharing a frame changes neither what is shown nor what is learnt."""
    files = [("a.log", encode(BAD)), ("b.log", encode(GOOD)), ("c.log", encode(BAD))]
    got = scan_small_files(
        files, budget_tokens=500, max_line_bytes=1 << 16, baselines=[known, None, None], learn=True
    )
    assert got[0][1] == scan(BAD, known)[1]
    assert [chunk.text for chunk in got[2][1]] == [chunk.text for chunk in scan(BAD)[1]]
    learnt = scan(GOOD, learn=True)[0].learnt
    assert [facts.learnt is None for facts, _ in got] == [True, False, True]
    assert got[1][0].learnt is not None
    assert learnt is not None
    assert learnt.whole
    assert set(got[1][0].learnt.templates) == set(learnt.templates) == set(whole(GOOD).templates)


def test_of_a_long_log_the_candidates_and_the_ends_are_learnt() -> None:
    """All lines of a log of many blocks would cost as much as scanning it; those of a failed job are none."""
    filler = [f"{chr(97 + n % 26)}{chr(97 + n // 26)}zz quiet words" for n in range(600)]
    blocks = [encode([*filler[:400], NOISE]), encode([*filler[400:], "Finished: SUCCESS"])]
    facts, _ = scan_file(iter(blocks), "a.log", budget_tokens=500, max_line_bytes=1 << 16, learn=True)
    assert facts.learnt is not None
    assert not facts.learnt.whole
    first, middle, noise, last = facts.learnt.knows(
        hash_lines(pl.Series([filler[0], filler[350], NOISE, filler[-1]]))
    )
    assert (first, middle, noise, last) == (True, False, True, True)


def test_learning_and_merging_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log of endless distinct errors fills neither memory nor the warehouse, and is no longer whole."""
    monkeypatch.setattr(module, "MAX_TEMPLATES", 50)
    letters = [f"error {chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(300)]
    learner = Learner()
    for start in range(0, 300, 30):
        texts = pl.Series(letters[start : start + 30])
        learner.add(texts, pl.DataFrame({"template": texts.hash(), "row": range(len(texts))}))
    assert len(learner.finish([]).templates) == 50
    merged = whole(letters)
    assert (len(merged.templates), merged.whole) == (50, False)


def test_a_new_line_far_from_failures_is_shown_however_many_there_are() -> None:
    """Of a log with thousands of failures that passing runs say too, the one line that is new is kept."""

    def spell(number: int) -> str:
        return "".join(chr(ord("a") + int(digit)) for digit in str(number))

    noise = [f"ERROR: unit {spell(number)} is broken and not built" for number in range(3000)]
    silent = [f"{spell(number)} of the units is looked at" for number in range(1000)]
    blocks = [encode([*silent[:500], QUIET, *silent[500:]])]
    blocks += [encode(noise[first : first + 300]) for first in range(0, 3000, 300)]
    _, chunks = scan_file(
        iter(blocks), "a.log", budget_tokens=500, max_line_bytes=1 << 16, baseline=whole(noise, silent)
    )
    assert "the toolchain of tuesday" in shown(chunks)
