"""Extraction on real logs: what a person would mark is kept, within the budget, the cause first."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bifrost_flow.evidence import group_chunks
from bifrost_flow.evidence.fingerprint import VERSION
from bifrost_flow.evidence.scan import scan_file
from bifrost_flow.records import CATEGORIES, SEVERITIES, FileEvidence
from connectors.extraction import extract_evidence
from connectors.sources import find_sources

LOGS = Path(__file__).parents[2] / "data" / "logs"
MAX_LINE = 1 << 16

# What people, or the tests of the tools that the logs come from, marked as the failure.
MARKED = {
    "travis/alacritty-rust-564527447.log": (439, 455),
    "travis/shiny-r-575511001.log": (267, 270),
    "travis/shiny-r-575521370.log": (270, 273),
    "travis/codeigniter-php-507107253.log": (235, 239),
    "travis/rxjava-java-563267830.log.gz": (562, 566),
    "jenkins/node-osx1010-19307.log": (100, 105),
    "copr/89460881-builder-live.log": (67, 67),
    "zuul/console-pep8.fail.log": (48, 50),
    "buildkite/vllm-nixl-import.log": (73, 73),
}


def extract(*paths: Path, budget: int = 2000) -> list[FileEvidence]:
    sources, _, problems = find_sources([str(path) for path in paths])
    assert problems == []
    return list(extract_evidence(sources, budget_tokens=budget))


def text_of(path: Path) -> list[str]:
    import gzip

    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return raw.decode("utf-8", "replace").split("\n")


@pytest.mark.parametrize("name", MARKED)
def test_marked_lines_are_kept(name: str) -> None:
    """Every line with text that was marked as the failure is in some chunk."""
    first, last = MARKED[name]
    lines = text_of(LOGS / name)
    (evidence,) = extract(LOGS / name)
    kept = {number for chunk in evidence.chunks for number in chunk.line_numbers()}
    assert {number for number in range(first, last + 1) if lines[number - 1].strip()} <= kept


@pytest.mark.parametrize("name", ["travis/alacritty-rust-564527447.log", "jenkins/node-osx1010-19307.log"])
def test_the_cause_comes_first(name: str) -> None:
    """The first chunk is the failure, not the echo of an exit code."""
    first, last = MARKED[name]
    (evidence,) = extract(LOGS / name)
    assert set(evidence.chunks[0].line_numbers()) & set(range(first, last + 1))


@pytest.mark.parametrize("budget", [50, 200, 500, 1000, 4000])
def test_no_log_is_over_its_budget(budget: int) -> None:
    """The chunks of a file together cost no more than asked, whatever the budget."""
    for evidence in extract(LOGS, budget=budget):
        text = "\n".join(chunk.text for chunk in evidence.chunks)
        assert len(text.encode()) / 4 <= budget
        assert sum(chunk.tokens for chunk in evidence.chunks) <= budget + len(evidence.chunks)


def test_chunks_hold_exactly_the_lines_they_name() -> None:
    """Each line of a text is one of the file's, under the number that the chunk gives it, and shown once."""
    for evidence in extract(LOGS):
        lines = text_of(Path(evidence.file.path))
        seen: set[int] = set()
        for rank, chunk in enumerate(evidence.chunks, start=1):
            numbers, texts = chunk.line_numbers(), chunk.text.split("\n")
            assert len(numbers) == len(texts)
            assert chunk.rank == rank
            assert not seen & set(numbers)
            seen.update(numbers)
            for number, text in zip(numbers, texts, strict=True):
                word = max(text.split(" … ")[0].split() or [""], key=len)
                assert (
                    "[redacted:" in text
                    or word in lines[number - 1].replace("\x1b", " ")
                    or "\x1b" in lines[number - 1]
                )


def test_values_come_from_the_fixed_lists() -> None:
    """Categories and severities are those of the records, fingerprints are tagged, escapes are gone."""
    for evidence in extract(LOGS):
        for chunk in evidence.chunks:
            assert chunk.category in CATEGORIES
            assert chunk.severity in SEVERITIES
            assert chunk.fingerprint.startswith(f"{VERSION}:")
            assert "\x1b" not in chunk.text


def test_outcomes_and_systems_are_told() -> None:
    """Passing jobs are not called failed, failing ones are, and the system is recognised."""
    told = {
        str(Path(e.file.path).relative_to(LOGS)): (e.file.outcome, e.file.ci_system) for e in extract(LOGS)
    }
    assert told.pop("github-actions/jest-javascript-2499439457.log") == ("passed", "github-actions")
    assert told.pop("zuul/console-pep8.good.log") == ("passed", "zuul")
    assert {outcome for outcome, _ in told.values()} == {"failed"}
    assert told["travis/alacritty-rust-564527447.log"][1] == "travis"
    assert told["jenkins/node-osx1010-19307.log"][1] == "jenkins"


def test_small_blocks_give_the_same_first_chunk() -> None:
    """A file read in many blocks shows the same failure as one read at once."""
    for name in ("travis/alacritty-rust-564527447.log", "jenkins/node-osx1010-19307.log"):
        data = (LOGS / name).read_bytes()
        cuts = [data.find(b"\n", at) + 1 for at in range(4000, len(data), 4000)] + [len(data)]
        blocks = [data[a:b] for a, b in zip([0, *cuts], cuts, strict=False) if b > a]
        whole = scan_file([data], "x", budget_tokens=2000, max_line_bytes=MAX_LINE)
        parts = scan_file(blocks, "x", budget_tokens=2000, max_line_bytes=MAX_LINE)
        assert parts[0].lines == whole[0].lines
        assert parts[1][0].anchor == whole[1][0].anchor
        assert parts[1][0].fingerprint == whole[1][0].fingerprint


def test_a_needle_in_repeated_noise_is_found() -> None:
    """A failure said once is kept although other errors are said in every block."""
    noise = b"".join(
        b"2024-01-01T00:00:%02d.0000000Z ERROR: worker %d lost its peer\n" % (n % 60, n) for n in range(400)
    )
    needle = b"2024-01-01T00:00:00.0000000Z src/main.c:12:5: error: unknown type name 'fd_set'\n"
    blocks = (
        [noise] * 6 + [noise[: len(noise) // 2].rsplit(b"\n", 1)[0] + b"\n" + needle + noise] + [noise] * 6
    )
    _, chunks = scan_file(blocks, "x", budget_tokens=500, max_line_bytes=MAX_LINE)
    assert "unknown type name" in chunks[0].text


def test_groups_do_not_depend_on_the_order_of_files() -> None:
    """Two builds with one failure make one group, whichever is read first."""
    evidence = extract(LOGS)
    one, other = group_chunks(evidence), group_chunks(evidence[::-1])
    assert one == other
    assert len(one[0].chunks) == 2
    assert {Path(path).name for path in one[0].paths} == {"shiny-r-575511001.log", "shiny-r-575521370.log"}


def test_passed_jobs_make_no_findings() -> None:
    """Chunks of a job that passed are context, not failures."""
    evidence = extract(
        LOGS / "zuul/console-pep8.good.log", LOGS / "github-actions/jest-javascript-2499439457.log"
    )
    assert group_chunks(evidence) == []


def test_bad_input_gives_a_row_and_no_chunks(tmp_path: Path) -> None:
    """An empty and a binary file yield evidence with their status, and the next file is read all the same."""
    (tmp_path / "a.log").write_bytes(b"")
    (tmp_path / "b.log").write_bytes(b"\x00\x01\x02" * 5000)
    (tmp_path / "c.log").write_bytes(b"caf\xe9\nfatal: no such remote\n")
    found = extract(tmp_path / "a.log", tmp_path / "b.log", tmp_path / "c.log")
    assert [evidence.file.status for evidence in found] == ["empty", "binary", "read"]
    assert found[0].chunks == found[1].chunks == ()
    assert "no such remote" in found[2].chunks[0].text
    assert "invalid" in found[2].file.encoding


def test_secrets_do_not_reach_a_chunk(tmp_path: Path) -> None:
    """A password on the failing line is taken out before anybody sees the chunk."""
    secret = "hunter2" + "Xk9qLm"
    (tmp_path / "a.log").write_text(f"start\nfatal: cannot reach https://bot:{secret}@git.example.com/x\n")
    (evidence,) = extract(tmp_path / "a.log")
    assert secret not in evidence.chunks[0].text
    assert evidence.chunks[0].redactions == 1


line = st.one_of(
    st.text(st.characters(exclude_characters="\n", exclude_categories=("Cs",)), max_size=80),
    st.sampled_from(
        [
            "",
            "error: x",
            "Traceback (most recent call last):",
            '  File "a.py", line 1, in f',
            "ValueError: y",
            "make: *** [all] Error 1",
            "##[error]Process completed with exit code 1.",
            "##[group]Run make",
            "____ test_a ____",
            "1) x",
            "=" * 20,
            "\x1b[31mFAIL\x1b[0m a::b",
        ]
    ),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(line, min_size=1, max_size=80), st.integers(min_value=50, max_value=600))
def test_any_text_is_survived_within_budget(lines: list[str], budget: int) -> None:
    """Whatever a log holds, chunks stay within the budget, name lines that exist, and number them right."""
    data = "\n".join(lines).encode() + b"\n"
    facts, chunks = scan_file([data], "x", budget_tokens=budget, max_line_bytes=MAX_LINE)
    assert facts.lines == len(lines)
    assert len("\n".join(chunk.text for chunk in chunks).encode()) <= budget * 4
    for chunk in chunks:
        assert 1 <= chunk.line_start <= chunk.line_end <= len(lines)
        assert len(chunk.line_numbers()) == len(chunk.text.split("\n"))


def test_a_count_of_zero_is_not_judged_with_other_counts() -> None:
    """Lines that differ in digits alone are judged once, but not those that count no failures."""
    lines = [
        *(f"step {n} of 90 is done" for n in range(60)),
        "the suite had 0 errors",
        "the suite had 3 errors",
    ]
    for log in (lines, [*lines[:-2], lines[-1], lines[-2]]):
        text = "\n".join([*log, "step 60 of 90 is done"]).encode()
        facts, chunks = scan_file([text], "a.log", budget_tokens=200, max_line_bytes=MAX_LINE)
        assert facts.lines == 63
        failure = log.index("the suite had 3 errors") + 1
        assert failure in {chunk.anchor for chunk in chunks if failure in chunk.line_numbers()}


def test_the_end_of_a_log_without_steps_outranks_what_it_survived() -> None:
    """Where no step tells of its end, an error that the log goes on after ranks behind one it ends with."""
    lines = [
        "Traceback (most recent call last):",
        "KeyError: 'planned'",
        *(f"compiling part {n} of the wheel" for n in range(200)),
        "error: cannot lift the wheel",
        "done",
    ]
    _, chunks = scan_file(
        ["\n".join(lines).encode() + b"\n"], "a.log", budget_tokens=500, max_line_bytes=1 << 16
    )
    assert len(lines) - 1 in chunks[0].line_numbers()


def test_of_two_failures_alike_at_the_end_the_first_comes_first() -> None:
    """Of two lines of a sort at the end of a log without steps the first opens the first chunk."""
    lines = [
        "rank 2 starts",
        "stepd: error: Detected 1 oom-kill event(s) in step 61.0",
        *("0.01user 0.01system 0:06.34elapsed" for _ in range(8)),
        "stepd: error: Detected 2 oom-kill event(s) in step 61.batch",
    ]
    _, chunks = scan_file(
        ["\n".join(lines).encode() + b"\n"], "a.log", budget_tokens=500, max_line_bytes=1 << 16
    )
    assert 2 in chunks[0].line_numbers()


@pytest.mark.parametrize("ending", ["", "Error: Process completed with exit code 1."])
def test_tests_that_raise_alike_fail_apart(ending: str) -> None:
    """What is raised in a test is its failure's evidence; whose failure it is, the test's name says."""
    names = []
    for name in ("alpha", "beta"):
        lines = [
            *(f"step {n}" for n in range(6)),
            f"________________ test_{name} ________________",
            f">       assert read_{name}() == 'fine'",
            f"E       AssertionError: assert '<{name} 1>' == 'fine'",
            f"tests/test_{name}.py:12: AssertionError",
            ending,
        ]
        _, chunks = scan_file(
            ["\n".join(lines).encode() + b"\n"], "a.log", budget_tokens=500, max_line_bytes=1 << 16
        )
        assert {7, 9} <= set(chunks[0].line_numbers())
        names.append(chunks[0].fingerprint)
    assert names[0] != names[1]


HOSTILE = """
from bifrost_flow.evidence.scan import scan_file

rows = ["." * 60_000, "...(" * 15_000, "x.py:1: error: " + "x." * 30_000] * 10
lines = ["lint.....Failed", *rows, "a.py:1:2: error: bad", "mypy...(no files)Skipped", "exit 1"]
_, chunks = scan_file(["\\n".join(lines).encode()], "a.log", budget_tokens=4000, max_line_bytes=1 << 16)
print(*[chunk.anchor for chunk in chunks])
"""


def test_a_hostile_line_costs_no_more_than_another() -> None:
    """Rows of dots within a failed check, and names without end, are looked at in one pass: each once took
    minutes."""
    done = subprocess.run(
        [sys.executable, "-c", HOSTILE], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "32" in done.stdout.split()
