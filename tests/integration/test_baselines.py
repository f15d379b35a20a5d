"""Baselines from run to run: what passed is remembered, and brought to the next log of the same job."""

import gzip
import os
import threading
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bifrost_flow.errors import SettingsError
from bifrost_flow.evidence.baseline import MAX_TEMPLATES, VERSION
from bifrost_flow.records import FileEvidence, Run, new_run_id
from connectors.baselines import LAST_RUNS, list_known_good, look_up_baselines, read_baseline
from connectors.extraction import extract_evidence
from connectors.sources import Source, find_sources
from connectors.warehouse import Warehouse
from flows.described import describe_failed_run

START = datetime(2026, 11, 1, 2, tzinfo=UTC)
NOISE = "ERROR: cache server 10.0.0.7 gave no answer, building without it\n"
STEPS = "".join(f"compiling unit {n} of 300\n" for n in range(300))
CAUSE = "deploy: cannot open release.tar\n"


def log_good(night: int) -> str:
    return f"Started by timer {night}\n{STEPS}{NOISE}{STEPS}Finished: SUCCESS\n"


def log_bad(night: int) -> str:
    return f"Started by timer {night}\n{STEPS}{NOISE}{STEPS}{CAUSE}Finished: FAILURE\n"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def find(*paths: Path) -> list[Source]:
    sources, _, problems = find_sources([str(path) for path in paths])
    assert problems == []
    return sources


def build_run(warehouse: Warehouse, run_id: str, started_at: datetime) -> Run:
    return describe_failed_run(run_id, warehouse.project, "logs", started_at)


def do_run(warehouse: Warehouse, *paths: Path, night: int = 0, complete: bool = True) -> list[FileEvidence]:
    """Do of a run what concerns baselines: look up, extract, remember."""
    sources = find(*paths)
    baselines = look_up_baselines(warehouse, sources)
    evidence = list(extract_evidence(sources, budget_tokens=500, baselines=baselines, learn=True))
    run_id = new_run_id()
    warehouse.write_known_good(run_id, list_known_good(evidence))
    if complete:
        warehouse.write_run(build_run(warehouse, run_id, START + timedelta(days=night)))
    return evidence


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse.open(str(tmp_path / "warehouse"))


def test_noise_of_a_passing_run_no_longer_leads_in_the_next_one(warehouse: Warehouse, tmp_path: Path) -> None:
    """The first chunk is the cause, without history it is the noise; other jobs and projects have none."""
    first = write(tmp_path / "n1" / "deploy-2026-11-01.log", log_good(1))
    second = write(tmp_path / "n2" / "deploy-2026-11-02.log", log_bad(2))
    other = write(tmp_path / "n2" / "lint-2026-11-02.log", log_bad(2))
    do_run(warehouse, first)
    known, unknown = do_run(warehouse, second, other)
    assert (known.compared, unknown.compared) == (True, False)
    assert "cannot open release.tar" in known.chunks[0].text
    assert "cache server" in unknown.chunks[0].text
    stranger = Warehouse.open(warehouse.location, project="other")
    (fresh,) = do_run(stranger, second)
    assert not fresh.compared


def test_only_passing_jobs_of_complete_runs_are_remembered(warehouse: Warehouse, tmp_path: Path) -> None:
    """What a failed job says is no excuse; a run that was killed is none either."""
    good = write(tmp_path / "n1" / "deploy-1.log", log_good(1))
    bad = write(tmp_path / "n2" / "deploy-2.log", log_bad(2))
    do_run(warehouse, bad)
    assert not warehouse.has_known_good()
    do_run(warehouse, good, complete=False)
    assert not do_run(warehouse, bad)[0].compared
    do_run(warehouse, good)
    assert do_run(warehouse, bad)[0].compared
    rows = warehouse.query("SELECT job_key, rules, whole, files, lines FROM known_good").rows
    assert rows == [("deploy", VERSION, True, 1, log_good(1).count("\n"))]


def test_the_last_passing_runs_are_merged(warehouse: Warehouse, tmp_path: Path) -> None:
    """What was last said longer ago is forgotten; hashes made by other rules don't count."""
    for night in range(LAST_RUNS + 1):
        word = f"{'abcdefgh'[night] * 4} was here\n"
        do_run(warehouse, write(tmp_path / "n" / f"deploy-{night}.log", word + log_good(night)), night=night)
    ((key, templates, whole),) = warehouse.read_known_good(
        ["deploy", "lint"], rules=VERSION, runs=LAST_RUNS, most=MAX_TEMPLATES
    )
    assert (key, whole) == ("deploy", True)
    probe = write(tmp_path / "n" / "deploy-99.log", "".join(f"{c * 4} was here\n" for c in "abcdefgh"))
    sources = find(probe)
    baseline = look_up_baselines(warehouse, sources)[sources[0].path]
    known = baseline.knows_texts([f"{c * 4} was here" for c in "abcdefgh"])
    assert known == [night in range(1, LAST_RUNS + 1) for night in range(8)]
    assert len(set(templates)) == len(templates)
    assert warehouse.read_known_good(["deploy"], rules="b0", runs=LAST_RUNS, most=9) == []
    ((_, few, whole),) = warehouse.read_known_good(["deploy"], rules=VERSION, runs=1, most=3)
    assert (len(few), whole) == (3, False)


def test_files_of_one_job_are_one_row(warehouse: Warehouse, tmp_path: Path) -> None:
    """Shards share a key, and together they make one baseline."""
    shards = [
        write(tmp_path / "n" / f"shard-{n}.log", f"{c * 4} was here\n{log_good(1)}")
        for n, c in enumerate("ab")
    ]
    do_run(warehouse, *shards)
    ((key, files),) = warehouse.query("SELECT job_key, files FROM known_good").rows
    assert (key, files) == ("shard", 2)


def test_a_job_named_in_the_log_is_found_again(warehouse: Warehouse, tmp_path: Path) -> None:
    """Where a file's name says nothing, the log's own word for its job does, before the log is read."""
    name = "Building in workspace /var/jenkins/workspace/deploy-prod\n"
    do_run(warehouse, write(tmp_path / "2026" / "101.log", name + log_good(1)))
    bad = tmp_path / "2026" / "102.log.gz"
    bad.write_bytes(gzip.compress((name + log_bad(2)).encode()))
    assert do_run(warehouse, bad)[0].compared


def test_pipes_and_members_of_archives_are_not_read_twice_in_vain(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    """A named pipe can be read once, so its name alone is looked at; what is in a zip is found by its own."""
    do_run(warehouse, write(tmp_path / "deploy-1.log", log_good(1)))
    archive = tmp_path / "night.zip"
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("deploy-2.log", log_bad(2))
    assert do_run(warehouse, archive)[0].compared
    pipe = tmp_path / "deploy-3.log"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(log_bad(3),))
    writer.start()
    (evidence,) = do_run(warehouse, pipe)
    writer.join()
    assert evidence.compared
    assert evidence.file.lines == log_bad(3).count("\n")


def test_a_baseline_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """Whoever names a good log wants it used: a wrong name is an error, not a run without."""
    with pytest.raises(SettingsError, match="nowhere"):
        read_baseline([str(tmp_path / "nowhere.log")])
    torn = tmp_path / "torn.log.gz"
    torn.write_bytes(gzip.compress(os.urandom(4000))[:2000])
    with pytest.raises(SettingsError, match="torn"):
        read_baseline([str(torn)])
