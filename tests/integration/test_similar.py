"""Earlier findings that are like a new one, on a real warehouse."""

import json
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bifrost_flow.records import Finding, Report, new_run_id
from connectors.similar import MAX_SIMILAR, add_similar, find_similar, find_similar_to
from connectors.warehouse import Warehouse
from tests.integration.test_warehouse import NOW, build_chunk, build_finding, build_run

# Twelve findings of four sorts, as models and rules word them: sort, title, root cause, masked text.
SORTS = (
    ("module", "Python module yaml is not installed", "The import of yaml in main.py fails.",
     "ModuleNotFoundError: No module named 'yaml'"),
    ("module", "ModuleNotFoundError: No module named 'requests'",
     "A package or module could not be found, installed or resolved.",
     "ModuleNotFoundError: No module named 'requests'"),
    ("module", "Missing Python module numpy breaks the collection of tests",
     "pytest cannot import numpy in conftest.py because the module is not installed.",
     "ModuleNotFoundError: No module named 'numpy'"),
    ("disk", "The runner's disk is full", "Writing the layer fails since no space is left on the device.",
     "write /var/lib/docker/tmp: no space left on device"),
    ("disk", "No space left on device while tar unpacks the cache", "tar cannot write: the disk is full.",
     "tar: vendor.so: Cannot write: No space left on device"),
    ("disk", "gcc cannot write its output, the device has no space left",
     "The disk of the runner is full when the linker writes.",
     "fatal error: error writing to <path>: No space left on device"),
    ("borrow", "Rust borrow checker rejects parser.rs", "buffer is borrowed as mutable twice in parser.rs.",
     "error[E0499]: cannot borrow `buffer` as mutable more than once at a time"),
    ("borrow", "error[E0502]: cannot borrow `items` as mutable",
     "items is also borrowed as immutable, so that the borrow checker rejects it.",
     "error[E0502]: cannot borrow `items` as mutable because it is also borrowed as immutable"),
    ("borrow", "Mutable borrow of state while it is borrowed",
     "The borrow checker rejects a second mutable borrow.",
     "error[E0499]: cannot borrow `state` as mutable more than once at a time"),
    ("probe", "Deployment web exceeds its progress deadline", "The readiness probe of web gets HTTP 503.",
     "Warning Unhealthy kubelet Readiness probe failed: HTTP probe failed with statuscode: <n>"),
    ("probe", "Readiness probe of api fails, the rollout times out",
     "The probe's HTTP request gets status 500.",
     "Warning Unhealthy kubelet Readiness probe failed: HTTP probe failed with statuscode: <n>"),
    ("probe", "Rollout of worker stops at its readiness probe",
     "The readiness probe fails: connection refused.",
     "Readiness probe failed: dial tcp <host>: connect: connection refused"),
)  # fmt: skip


def make_finding(number: int, title: str, cause: str, *, status: str = "new") -> Finding:
    finding = build_finding(f"f1:{number:08x}")
    return replace(
        finding,
        provider="ollama",
        title=title,
        root_cause=cause,
        suggestion=f"advice {number}",
        category="unknown",
        status=status,
    )


def write_run(
    warehouse: Warehouse,
    findings: Sequence[Finding],
    templates: Sequence[str],
    *,
    day: int,
    status: str = "completed",
) -> str:
    run_id = new_run_id()
    chunks = [
        replace(build_chunk(finding.fingerprint), template=template)
        for finding, template in zip(findings, templates, strict=True)
    ]
    warehouse.write_findings(run_id, findings)
    warehouse.write_chunks(run_id, chunks)
    at = NOW + timedelta(days=day)
    warehouse.write_run(build_run(run_id, project=warehouse.project, started_at=at, status=status))
    return run_id


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """Return an empty warehouse."""
    return Warehouse.open(str(tmp_path / "warehouse"))


def ask(warehouse: Warehouse, finding: Finding, template: str = "", *, day: int = 99) -> list[str]:
    found = find_similar(
        warehouse,
        [finding],
        {finding.fingerprint: template},
        project=warehouse.project,
        before=NOW + timedelta(days=day),
    )
    return [each.fingerprint for each in found.get(finding.fingerprint, ())]


def test_neighbours_are_of_the_same_sort(warehouse: Warehouse) -> None:
    """Of twelve findings of four sorts each finds some of its own sort, most of them, and nothing else."""
    findings = [make_finding(number, title, cause) for number, (_, title, cause, _) in enumerate(SORTS)]
    write_run(warehouse, findings, [template for *_, template in SORTS], day=0)
    sorts = {finding.fingerprint: SORTS[number][0] for number, finding in enumerate(findings)}
    found = {
        finding.fingerprint: ask(warehouse, finding, SORTS[number][3])
        for number, finding in enumerate(findings)
    }
    alien = {of: like for of, like in found.items() if any(sorts[each] != sorts[of] for each in like)}
    assert alien == {}
    assert all(found.values())
    assert sum(map(len, found.values())) >= 20, "of 24"


def test_what_is_unlike_is_not_shown(warehouse: Warehouse) -> None:
    """What findings share of the vocabulary of all failures does not make them like each other."""
    texts = [
        ("The test of the parser failed", "The job failed because a test failed."),
        ("The linker failed with an error", "The job failed because of an undefined symbol."),
        ("The upload failed", "The job failed because the server closed the connection."),
    ]
    findings = [make_finding(number, *text) for number, text in enumerate(texts)]
    write_run(warehouse, findings[:2], ["assert parse", "undefined reference"], day=0)
    assert ask(warehouse, findings[2], "curl: (52) Empty reply from server") == []
    assert ask(warehouse, make_finding(9, "리눅스 커널 패닉", "커널이 멈췄습니다."), "") == []


def test_only_earlier_ones_of_the_project(warehouse: Warehouse) -> None:
    """Later runs, dry runs, other projects and the finding itself do not count; the last telling does."""
    title, cause = "No module named yaml", "The module yaml is not installed."
    first = make_finding(1, title, cause)
    assert ask(warehouse, first) == []
    write_run(warehouse, [first], [title], day=0)
    write_run(warehouse, [replace(first, status="resolved", suggestion="it was pinned")], [title], day=1)
    write_run(warehouse, [make_finding(2, title, cause)], [title], day=5)
    write_run(warehouse, [make_finding(3, title, cause)], [title], day=1, status="dry_run")
    other = Warehouse.open(warehouse.location, project="other")
    write_run(other, [make_finding(4, title, cause)], [title], day=0)
    new = make_finding(5, title, cause)
    assert ask(warehouse, first) == ["f1:00000002"], "never itself"
    assert ask(warehouse, new, day=5) == ["f1:00000001"]
    found = find_similar(warehouse, [new], {}, project="default", before=NOW + timedelta(days=5))
    (like,) = found[new.fingerprint]
    assert (like.status, like.suggestion, like.title) == ("resolved", "it was pinned", title)
    assert 0.9 < like.likeness <= 1
    assert find_similar(warehouse, [], {}, project="default", before=NOW) == {}


def test_reports_and_findings_of_the_past_know_theirs(warehouse: Warehouse) -> None:
    """A past run shows what its new findings were like then; one that is not new shows nothing."""
    title, cause = "No module named yaml", "The module yaml is not installed."
    for number in range(5):
        write_run(warehouse, [make_finding(number, title, cause)], [title], day=number)
    known = make_finding(0, title, cause, status="recurring")
    run_id = write_run(warehouse, [make_finding(7, title, cause), known], [title, title], day=6)
    write_run(warehouse, [make_finding(8, title, cause)], [title], day=7)
    report: Report = add_similar(warehouse, warehouse.read_report(run_id, language="en"))
    assert report.similar.keys() == {"f1:00000007"}
    names = [each.fingerprint for each in report.similar["f1:00000007"]]
    assert len(names) == MAX_SIMILAR
    assert [each.fingerprint for each in find_similar_to(warehouse, "f1:00000007", None)] == names
    assert find_similar_to(warehouse, "f1:00000000", "default") == ()
    assert find_similar_to(warehouse, "f1:none", None) == ()


_MEASURE = """
import json, resource, sys
from datetime import timedelta
from connectors.similar import find_similar
from connectors.warehouse import Warehouse
from tests.integration.test_similar import make_finding, NOW
texts = [f"cannot load plugin plugin_{n * 97}" for n in range(100)]
new = [make_finding(10**6 + n, text, "The loader fails.") for n, text in enumerate(texts)]
warehouse, end = Warehouse.open(sys.argv[1]), NOW + timedelta(days=99)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = find_similar(warehouse, new, {}, project="default", before=end)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
titles = {of: [each.title for each in like] for of, like in found.items()}
print(json.dumps([titles, (after - before) / 1000]))
"""


def test_many_earlier_findings_are_searched_in_little_memory(warehouse: Warehouse) -> None:
    """Among 20,000 the right one comes first for each of a hundred, though all of them share most words."""
    made = random.Random(5)
    names = [f"{made.choice(('blue', 'red', 'grey'))}_{made.randrange(10**6)}" for _ in range(20_000)]
    titles = [f"cannot load plugin plugin_{n}" if n % 2 else f"{name} failed" for n, name in enumerate(names)]
    for part in range(4):
        numbers = range(part * 5000, part * 5000 + 5000)
        findings = [make_finding(n, titles[n], f"The loader of {names[n]} fails.") for n in numbers]
        write_run(warehouse, findings, [titles[n] for n in numbers], day=part)
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, warehouse.location],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    found, used_mb = json.loads(done.stdout)
    for number in range(1, 100, 2):
        assert found[f"f1:{10**6 + number:08x}"][0] == f"cannot load plugin plugin_{number * 97}"
    assert max(map(len, found.values())) <= MAX_SIMILAR
    assert used_mb < 600
