"""Nights that read only what is new: over a real warehouse, with logs in folders, archives and buckets."""

import asyncio
import gzip
import io
import os
import tarfile
import zipfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bifrost_flow.records import Problem, Report
from bifrost_flow.seen import list_chunks, list_unshown
from bifrost_flow.settings import load_settings
from connectors.incremental import Reading, plan_reading
from connectors.warehouse import Warehouse
from flows.asking import Asked
from flows.job import Job
from tasks.analyse import look_up
from tasks.extract import extract
from tasks.filter import filter_lines
from tasks.group import group
from tasks.ingest import Inputs, ingest
from tasks.normalise import normalise
from tasks.persist import persist
from tests.s3_fixtures import bucket, s3_server
from tests.s3_server import REGION, Bucket

__all__ = ["bucket", "s3_server"]


def make_log(failure: str | None, *, lines: int = 20) -> bytes:
    """Return a log of a job in which `failure` failed, or nothing."""
    text = [f"2026-11-25T02:00:{n:02}Z compiled unit {n * 7}" for n in range(lines)]
    if failure:
        text.append(f"2026-11-25T02:01:00Z ERROR: {failure} refused the upload after 3 attempts")
    return "\n".join([*text, f"Finished: {'FAILURE' if failure else 'SUCCESS'}", ""]).encode()


@dataclass
class Night:
    """One run, its stages carried out one by one, so that another may come between."""

    job: Job
    inputs: Inputs
    kind: str

    @property
    def read(self) -> list[str]:
        return sorted(Path(source.path).name for source in self.inputs.sources)

    def finish(self) -> Report:
        return asyncio.run(self._finish())

    async def _finish(self) -> Report:
        job = self.job
        wanted: dict[str, Any] = {"keywords": ["refused"]} if self.kind == "filtered" else {}
        evidence = extract(
            filter_lines(normalise(self.inputs.sources), **wanted),
            budget_tokens=2000,
            find_baselines=job.find_baselines,
        )
        groups = group(evidence)
        chosen, prompt = await job.choose_provider(silently=True), await job.choose_prompt()
        cached = look_up(groups, chosen, prompt, language="en", warehouse=None)
        if self.kind == "down":
            asked = Asked((), (), (Problem("analyse", groups[0].fingerprint, "no answer"),))
        else:
            asked = await job.ask(cached, chosen)
        report = job.build_report(self.inputs, evidence, groups, asked, filtered=bool(wanted))
        persist(
            job.warehouse,
            report,
            chunks=list_chunks(evidence),
            calls=asked.calls,
            metrics=job.measure(report),
            journal=job.journal,
            unshown=list_unshown(evidence),
        )
        job.close()
        return report


@dataclass
class Project:
    """A project whose nights read `targets`."""

    folder: Path
    targets: list[str]
    overrides: dict[str, object] = field(default_factory=dict)

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    def write(self, name: str, failure: str | None = None, **options: int) -> Path:
        path = self.logs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make_log(failure, **options))
        return path

    def begin(self, kind: str = "whole", *, since: str | None = "last-success", **window: str) -> Night:
        settings = load_settings(
            {
                "warehouse": str(self.folder / "warehouse"),
                "provider": "rules",
                "mlflow.enabled": False,
                **self.overrides,
                **({"fanout.max_calls": 0} if kind == "penniless" else {}),
            }
        )
        job = Job(settings, self.targets, prompt="error_analysis", tracked=False)
        reading = self.plan(job.cache, job.started_at, since=since, **window)
        return Night(job, ingest(reading, max_bytes=None), kind)

    def plan(
        self, warehouse: Warehouse | None, now: datetime, *, since: str | None = "last-success", **window: str
    ) -> Reading:
        return plan_reading(
            self.targets,
            since=since,
            date_from=window.get("first"),
            date_to=window.get("last"),
            warehouse=warehouse,
            now=now,
        )

    def run(self, kind: str = "whole", **options: Any) -> tuple[list[str], dict[str, str]]:
        """Run a night; return the names of the logs that were read, and each failure's status."""
        night = self.begin(kind, **options)
        report = night.finish()
        assert report.run.skipped == night.inputs.skipped
        return night.read, {finding.title.split()[0]: finding.status for finding in report.findings}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path, [str(tmp_path / "logs")])


def test_only_what_is_new_or_changed(project: Project) -> None:
    """A new, a changed and a touched log are read; those left out keep their failures open, and what is
    read clean is resolved."""
    unit, lint = project.write("unit.log", "ledger"), project.write("lint.log", "mailer")
    everything = ["lint.log", "unit.log"]
    assert project.run(since=None) == (everything, {"ledger": "new", "mailer": "new"})
    assert project.run() == ([], {})

    project.write("build.log", "indexer")
    assert project.run() == (["build.log"], {"indexer": "new"})
    project.write("lint.log", lines=21)
    assert project.run() == (["lint.log"], {"mailer": "resolved"})
    os.utime(unit, ns=(0, unit.stat().st_mtime_ns + 1))
    assert project.run() == (["unit.log"], {"ledger": "recurring"})
    size, was = lint.stat().st_size, lint.stat().st_mtime_ns
    lint.write_bytes(make_log(None, lines=21).replace(b"unit 7\n", b"unit 8\n"))
    assert lint.stat().st_size == size
    os.utime(lint, ns=(0, was + 1))
    assert project.run() == (["lint.log"], {})
    assert project.run() == ([], {})
    assert project.run(since=None)[0] == ["build.log", "lint.log", "unit.log"]


@pytest.mark.parametrize(
    ("failing", "other"),
    [
        ("2026/11/02/lint.log", "2026/11/01/lint.log"),
        ("web-7d9f8b6c5d-x2x9k.log", "web-7d9f8b6c5d-bcdfg.log"),
    ],
)
def test_what_is_left_out_stands_for_its_place(project: Project, failing: str, other: str) -> None:
    """A log that comes late, and another pod's, resolve nothing of the failing one that is left out, neither
    this night nor the next; the failing log itself does."""
    project.write(failing, "ledger")
    name = Path(failing).name
    assert project.run() == ([name], {"ledger": "new"})
    project.write(other)
    assert project.run() == ([Path(other).name], {})
    assert project.run() == ([], {})
    assert project.run(since=None)[1] == {"ledger": "recurring"}
    project.write(failing, lines=21)
    assert project.run() == ([name], {"ledger": "resolved"})


def test_a_backfill_of_older_days_resolves_nothing(tmp_path: Path) -> None:
    """What fails since is not gone because it did not fail before."""
    project = Project(tmp_path, [str(tmp_path / "logs" / "{date}")])
    project.write("2026-11-05/lint.log", "ledger")
    project.write("2026-11-01/lint.log")
    assert project.run(first="2026-11-05", last="2026-11-05")[1] == {"ledger": "new"}
    assert project.run(since=None, first="2026-11-01", last="2026-11-01") == (["lint.log"], {})
    project.write("2026-11-06/lint.log")
    assert project.run(first="2026-11-06", last="2026-11-06")[1] == {"ledger": "resolved"}


@pytest.mark.parametrize("kind", ["down", "penniless", "filtered"])
def test_a_night_that_was_not_done_is_read_again(project: Project, kind: str) -> None:
    """What nobody explained, or was looked at in part, is read the next night; then it is done."""
    project.write("unit.log", "ledger")
    project.write("lint.log")
    read = ["lint.log", "unit.log"]
    assert project.run(kind)[0] == read
    assert project.run()[0] == read
    assert project.run()[0] == []


def test_what_could_not_be_read_is_tried_again(project: Project) -> None:
    """A log that was cut off keeps the others from nothing, and is read until it is whole."""
    project.write("lint.log")
    packed = gzip.compress(make_log("ledger"))
    cut = project.logs / "unit.log.gz"
    cut.write_bytes(packed[:-9])
    assert project.run()[0] == ["lint.log", "unit.log.gz"]
    assert project.run()[0] == ["unit.log.gz"]
    cut.write_bytes(packed)
    assert project.run() == (["unit.log.gz"], {"ledger": "recurring"})
    assert project.run()[0] == []


def test_overlapping_nights_lose_nothing(project: Project) -> None:
    """Two nights that begin before either ends both read; what comes or changes meanwhile is read next."""
    lint = project.write("lint.log", "mailer")
    one, two = project.begin(), project.begin()
    assert one.read == two.read == ["lint.log"]
    project.write("unit.log", "ledger")
    with lint.open("ab") as stream:
        stream.write(b"2026-11-25T03:00:00Z ERROR: indexer refused the upload after 3 attempts\n")
    told = [{finding.status for finding in night.finish().findings} for night in (two, one)]
    assert told == [{"new"}, {"recurring"}]  # once, though each began before the other had ended
    read, statuses = project.run()
    assert read == ["lint.log", "unit.log"]
    assert statuses["ledger"] == "new"
    assert project.run() == ([], {})


def test_archives_are_known_as_a_whole(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members of archives are left out until the archive changes, and no temporary copy stays."""
    project.logs.mkdir()
    spool = project.folder / "spool"
    spool.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(spool))

    def pack(failure: str | None) -> None:
        with zipfile.ZipFile(project.logs / "ci.zip", "w") as archive:
            archive.writestr("a.log", make_log(failure))
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            for name in ("b.log", "c.log"):
                entry, content = tarfile.TarInfo(name), make_log(failure)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        (project.logs / "ci.tgz").write_bytes(packed.getvalue())

    pack("ledger")
    assert project.run()[0] == ["a.log", "b.log", "c.log"]
    assert project.run()[0] == []
    pack(None)
    assert project.run() == (["a.log", "b.log", "c.log"], {"ledger": "resolved"})
    assert not list(spool.glob("bifrost-*"))


def test_other_projects_and_older_warehouses(project: Project) -> None:
    """What another project read is new here; a run by an older version, which kept no versions, too."""
    project.write("unit.log", "ledger")
    project.run()
    warehouse = Warehouse.open(str(project.folder / "warehouse"), project="other")
    other = project.plan(warehouse, datetime.now(UTC))
    assert len(ingest(other, max_bytes=None).sources) == 1
    assert len(ingest(project.plan(None, datetime.now(UTC)), max_bytes=None).sources) == 1


def test_objects_by_their_etags(tmp_path: Path, bucket: Bucket) -> None:
    """Of a prefix only new and changed objects are asked for; the others' bytes are never fetched."""
    reached: dict[str, object] = {"s3.endpoint": bucket.endpoint, "s3.region": REGION}
    project = Project(tmp_path, [f"s3://{bucket.name}/ci/"], reached)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        entry, content = tarfile.TarInfo("member.log"), make_log("mailer")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    bucket.fill({"ci/a.log": make_log("ledger"), "ci/b.log": make_log(None), "ci/c.tgz": packed.getvalue()})
    assert project.run()[0] == ["a.log", "b.log", "member.log"]
    bucket.requests.clear()
    assert project.run() == ([], {})
    assert not [each for each in bucket.requests if each.path.endswith(("/a.log", "/b.log"))]
    bucket.fill({"ci/b.log": make_log("indexer"), "ci/d.log": make_log(None)})
    bucket.fill({"ci/a.log": make_log("ledger")})  # the same bytes again
    assert project.run() == (["b.log", "d.log"], {"indexer": "new"})

    bucket.fill({"nightly/2026-11-02/x.log": make_log(None)})
    project.targets = [f"s3://{bucket.name}/nightly/{{date}}/"]
    inputs = project.begin(since=None, first="2026-11-01", last="2026-11-03").inputs
    assert [source.path.rpartition("/")[2] for source in inputs.sources] == ["x.log"]
    assert (inputs.unread, inputs.problems) == ((), ())


def test_overlapping_windows_over_a_bucket(tmp_path: Path, bucket: Bucket) -> None:
    """Of a backfill by days and two nights whose windows overlap, each begun before the other had ended,
    every object is read, and each failure is new once; what is replaced meanwhile is read as it is now."""
    reached: dict[str, object] = {"s3.endpoint": bucket.endpoint, "s3.region": REGION}
    project = Project(tmp_path, [f"s3://{bucket.name}/ci/{{date:%Y/%m/%d}}/"], reached)
    bucket.fill(
        {f"ci/2026/11/0{day}/{day}.log": make_log("ledger" if day == 1 else None) for day in (1, 2, 4)}
    )
    assert project.run(since=None, first="2026-11-01", last="2026-11-03") == (
        ["1.log", "2.log"],
        {"ledger": "new"},
    )
    bucket.fill({"ci/2026/11/02/late.log": make_log("mailer"), "ci/2026/11/03/3.log": make_log("indexer")})
    one = project.begin(first="2026-11-01", last="2026-11-02")
    two = project.begin(first="2026-11-02", last="2026-11-04")
    assert (one.read, two.read) == (["late.log"], ["3.log", "4.log", "late.log"])
    bucket.fill({"ci/2026/11/04/4.log": make_log("packer")})
    told = [
        {finding.title.split()[0]: finding.status for finding in night.finish().findings}
        for night in (two, one)
    ]
    assert told == [dict.fromkeys(("mailer", "indexer", "packer"), "new"), {"mailer": "recurring"}]
    assert project.run(first="2026-11-01", last="2026-11-04") == ([], {})
    warehouse = Warehouse.open(str(tmp_path / "warehouse"))
    news = warehouse.query("SELECT title FROM findings WHERE status = 'new' ORDER BY title").rows
    assert [title.split()[0] for (title,) in news] == ["indexer", "ledger", "mailer", "packer"]


def test_days_of_a_window(tmp_path: Path) -> None:
    """A backfill reads its days, those without logs are told of; a night begins a day before the last one
    that was done with all, and neither a backfill nor a night without a model, or with a log out of reach,
    moves that."""
    project = Project(tmp_path, [str(tmp_path / "logs" / "{date:%Y/%m/%d}")])
    for day in ("01", "02", "05"):
        project.write(f"2026/11/{day}/{day}.log", "ledger")
    night = project.begin(since=None, first="2026-11-01", last="2026-11-04")
    assert (night.read, night.inputs.unread, night.inputs.problems) == (["01.log", "02.log"], (), ())
    night.finish()
    assert project.begin(first="2026-11-01", last="2026-11-05").read == ["05.log"]

    project.targets.append(str(tmp_path / "typo" / "{date}"))
    for last in ("2026-11-01", "2026-11-02"):
        half = project.begin(since=None, first="2026-11-01", last=last)
        assert half.read[0] == "01.log"
        assert [str(tmp_path / "typo" / last) in problem.message for problem in half.inputs.problems] == [
            True
        ]
    project.targets.pop()

    nothing = project.begin(first="2026-10-01", last="2026-10-31").inputs
    (problem,) = nothing.problems
    assert "2026-10-01" in problem.message
    assert "2026-10-31" in problem.message

    warehouse = Warehouse.open(str(tmp_path / "warehouse"))
    today = datetime(2026, 12, 31, tzinfo=UTC)
    first = [str(tmp_path / "logs" / f"2026/12/{day}") for day in (30, 31)]
    assert list(project.plan(warehouse, today).targets) == first
    for day in (datetime.now(UTC), datetime.now(UTC) + timedelta(days=1)):  # even at midnight
        project.write(f"{day:%Y/%m/%d}/now.log", "ledger")
    project.run("down")
    assert list(project.plan(warehouse, today).targets) == first
    out_of_reach = project.logs / f"{datetime.now(UTC):%Y/%m/%d}" / "gone.log"
    out_of_reach.symlink_to(tmp_path / "nowhere.log")
    project.run()
    assert list(project.plan(warehouse, today).targets) == first
    out_of_reach.unlink()
    project.run()
    ((began,),) = warehouse.query("SELECT max(started_at) FROM runs").rows
    night_day = began.astimezone(UTC)
    days = list(project.plan(warehouse, night_day + timedelta(days=9)).targets)
    assert len(days) == 11
    assert days[1] == str(tmp_path / "logs" / f"{night_day:%Y/%m/%d}")
