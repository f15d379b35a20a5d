"""A month of nights: real logs are written, read, grouped, explained, compared and kept as a run does it, and
each night's statuses are what a model of the project says that knows nothing of paths, hashes and tables."""

import asyncio
import gzip
import os
import random
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest

from bifrost_flow import progress
from bifrost_flow.errors import WarehouseError
from bifrost_flow.evidence import fingerprint
from bifrost_flow.records import Report
from bifrost_flow.seen import list_chunks, list_unshown
from bifrost_flow.settings import load_settings
from connectors.comparison import find_pair, load_difference
from connectors.warehouse import Warehouse
from flows.analysis import analyze_log
from flows.asking import Asked
from flows.job import Job
from tasks.analyse import look_up
from tasks.extract import extract
from tasks.filter import filter_lines
from tasks.group import group
from tasks.ingest import ingest
from tasks.normalise import normalise
from tasks.persist import persist

FIRST = datetime(2026, 10, 20, 2, tzinfo=UTC)
JOBS = ("lint", "unit shard-1", "unit shard-2", "build", "deploy", "docs")
FAILURES = ("gateway", "ledger", "mailer", "indexer", "scheduler")
KEYWORD = "ledger"
SEED = int(os.environ.get("NIGHTS_SEED", "1"))  # another month than the usual one


@dataclass(frozen=True, slots=True)
class Night:
    """What happens in one run: the jobs that ran, each with what failed in it, if anything did."""

    jobs: Mapping[str, str | None]
    cut: Collection[str] = ()  # jobs whose logs end early
    kind: str = "whole"  # or filtered (to KEYWORD), interrupted, penniless, dry, by_hand


@dataclass(slots=True)
class Model:
    """What a person would keep on a sheet of paper."""

    told: set[str] = field(default_factory=set)
    open: set[str] = field(default_factory=set)
    places: dict[str, set[str]] = field(default_factory=dict)

    def tell(self, night: Night) -> dict[str, str]:
        """Return the status of each failure that the night's run should tell of."""
        if night.kind == "dry":
            return {}
        there: dict[str, set[str]] = {}
        for job, failure in night.jobs.items():
            hidden = job in night.cut or (night.kind == "filtered" and failure != KEYWORD)
            if failure and not hidden:
                there.setdefault(failure, set()).add(job)
        statuses = {}
        for failure in there if night.kind in ("whole", "filtered") else ():
            known = "recurring" if failure in self.open else "regressed"
            statuses[failure] = known if failure in self.told else "new"
        for failure, jobs in there.items():
            self.places.setdefault(failure, set()).update(jobs)
        if night.kind in ("whole", "penniless"):
            for failure, places in self.places.items():
                places -= {job for job in night.jobs if job not in night.cut} - there.get(failure, set())
            gone = {failure for failure in self.open if not self.places[failure] and failure not in there}
            statuses |= dict.fromkeys(gone, "resolved")
        for failure, status in statuses.items():
            self.told.add(failure)
            (self.open.discard if status == "resolved" else self.open.add)(failure)
        return statuses


def write_logs(folder: Path, night: Night, number: float) -> None:
    """Write the night's logs; all that may vary in them does."""
    folder.mkdir(parents=True)
    for job, failure in night.jobs.items():
        chance = random.Random(f"{job} {number}")
        when = FIRST + timedelta(days=number, seconds=chance.randrange(3000))
        lines = [
            f"{when + timedelta(seconds=n):%Y-%m-%dT%H:%M:%S}Z compiled unit {chance.randrange(999)}"
            for n in range(30)
        ]
        if failure:
            reason = f"ERROR: {failure} refused the upload after {chance.randrange(2, 99)} attempts"
            lines.insert(20, f"{when + timedelta(seconds=20):%Y-%m-%dT%H:%M:%S}Z {reason}")
        lines.append("Finished: FAILURE" if failure else "Finished: SUCCESS")
        content = gzip.compress("\n".join(lines).encode() + b"\n")
        if job in night.cut:
            # What is left of it ends before the failure.
            content = content[: len(content) // 3]
        (folder / f"{job}.log.gz").write_bytes(content)


@dataclass
class Project:
    """A project whose nights are run in this process, as the flow `audit` runs them without deliveries."""

    folder: Path
    name: str
    clock: list[datetime]
    model: Model = field(default_factory=Model)
    budget_tokens: int = 2000

    def open(self, *, dry_run: bool = False, **overrides: object) -> Job:
        settings = load_settings(
            {
                "warehouse": str(self.folder / "warehouse"),
                "project": self.name,
                "provider": "rules",
                "mlflow.enabled": False,
                **overrides,
            }
        )
        return Job(settings, ["logs"], prompt="error_analysis", dry_run=dry_run, tracked=False)

    def write(self, night: Night, number: float) -> Path:
        """Set the clock to a night, write its logs, and return their folder."""
        self.clock[0] = FIRST + timedelta(days=number)
        logs = self.folder / self.name / f"{self.clock[0]:%Y-%m-%dT%H-%M}"
        write_logs(logs, night, number)
        return logs

    def run(self, night: Night, number: float) -> dict[str, str]:
        """Run a night, and return the status of each failure that it told of."""
        logs = self.write(night, number)
        if night.kind == "by_hand":
            for log in sorted(logs.iterdir()):
                self.look(log)
            return {}
        penniless = {"fanout.max_calls": 0} if night.kind == "penniless" else {}
        report = self.read(self.open(dry_run=night.kind == "dry", **penniless), logs, night.kind)
        return read_statuses(report)

    def read(self, job: Job, logs: Path, kind: str = "whole") -> Report:
        return asyncio.run(self._read(job, logs, kind))

    async def _read(self, job: Job, logs: Path, kind: str) -> Report:
        inputs = ingest([str(logs)], max_bytes=None)
        wanted: dict[str, Any] = {"keywords": [KEYWORD]} if kind == "filtered" else {}
        lines = filter_lines(normalise(inputs.sources), **wanted)
        evidence = extract(lines, budget_tokens=self.budget_tokens, find_baselines=job.find_baselines)
        groups = group(evidence)
        chosen, prompt = await job.choose_provider(silently=True), await job.choose_prompt()
        cached = look_up(groups, chosen, prompt, language="en", warehouse=None)
        if kind == "dry":
            return job.build_report(inputs, evidence, groups, Asked())
        if kind == "interrupted":
            progress.request_stop()
        asked = await job.ask(cached, chosen)
        self.clock[0] += timedelta(minutes=5)
        report = job.build_report(inputs, evidence, groups, asked, filtered=bool(wanted))
        progress.watch(progress.Silent())
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

    def look(self, log: Path) -> dict[str, str]:
        """Look at one log by hand."""
        overrides = {"warehouse": str(self.folder / "warehouse"), "project": self.name, "provider": "rules"}
        return read_statuses(asyncio.run(analyze_log(str(log), overrides=overrides)).report)

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse.open(str(self.folder / "warehouse"), project=self.name)


def read_statuses(report: Report) -> dict[str, str]:
    return {finding.title.split()[0]: finding.status for finding in report.findings}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """The time of the runs, to be set."""
    moment = [FIRST]

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Clock":
            return cls.fromtimestamp(moment[0].timestamp(), tz)

    monkeypatch.setattr("flows.job.datetime", Clock)
    return moment


@pytest.fixture
def rules() -> Iterator[pytest.MonkeyPatch]:
    """A way to change the rules of fingerprints, undone in the end."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch
    fingerprint._mask.cache_clear()


def change_rules(patch: pytest.MonkeyPatch) -> None:
    """Let fingerprints be made by other rules: numbers are kept, and long words masked."""
    masks = [each for each in fingerprint._MASKS if each[1] != "<n>"]
    word = fingerprint.re.compile(r"\battempts\b")
    digits = fingerprint.re.compile(r"\d+")
    patch.setattr(fingerprint, "_MASKS", (*masks, (word, "<w>", ("attempts",)), (digits, "<d>", ("0",))))
    patch.setattr(fingerprint, "VERSION", "f9")
    fingerprint._mask.cache_clear()


def plan_month(seed: int) -> list[Night]:
    """Return thirty nights: jobs that fail for a while, flaky ones, gaps, cut logs and runs of all kinds."""
    chance = random.Random(seed)
    failing: dict[str, str | None] = dict.fromkeys(JOBS)
    kinds = dict.fromkeys((5, 9, 23), "filtered") | {7: "interrupted", 13: "by_hand", 15: "dry"}
    kinds |= dict.fromkeys((11, 27), "penniless")
    nights = []
    for number in range(30):
        for job in JOBS:
            if chance.random() < 0.3:
                failing[job] = chance.choice([*FAILURES, None, None])
        ran = {job: failing[job] for job in JOBS if chance.random() < 0.8}
        cut = {job for job in ran if chance.random() < 0.1}
        nights.append(Night(ran, cut, kinds.get(number, "whole")))
    return nights


def test_a_month_of_nights(tmp_path: Path, clock: list[datetime], rules: pytest.MonkeyPatch) -> None:
    """Each night tells what the model says, with new rules of fingerprints from the twentieth night on, and
    with another project beside it in the same warehouse."""
    web, app = Project(tmp_path, "web", clock), Project(tmp_path, "app", clock)
    told: list[dict[str, str]] = []
    for number, night in enumerate(plan_month(SEED)):
        if number == 19:
            change_rules(rules)
        told.append(web.run(night, number))
        expected = {} if night.kind == "by_hand" else web.model.tell(night)
        assert told[-1] == expected, f"night {number}: {night}"
        if number % 7 == 3:
            other = plan_month(SEED + 100)[number]
            assert app.run(Night(other.jobs, other.cut), number) == app.model.tell(
                Night(other.jobs, other.cut)
            )
    assert {status for night in told for status in night.values()} == {
        "new",
        "recurring",
        "regressed",
        "resolved",
    }


def test_overlapping_runs_tell_a_new_failure_once(tmp_path: Path, clock: list[datetime]) -> None:
    """What a run that began later has told of already is not new to one that ends after it."""
    web = Project(tmp_path, "web", clock)
    logs = web.write(Night({"lint": "ledger"}), 0)
    early = web.open()
    assert web.run(Night({"unit": "ledger"}), 0.02) == {"ledger": "new"}
    clock[0] = FIRST + timedelta(days=0.04)
    assert read_statuses(web.read(early, logs)) == {"ledger": "recurring"}


def test_run_that_began_earlier_resolves_nothing_that_a_later_one_saw(
    tmp_path: Path, clock: list[datetime]
) -> None:
    """A long run over older logs knows less than a short one that began after it and ended before it."""
    web = Project(tmp_path, "web", clock)
    assert web.run(Night({"lint": "ledger", "unit": "mailer"}), 0) == {"ledger": "new", "mailer": "new"}
    logs = web.write(Night({"lint": None, "unit": None}), 1)
    early = web.open()
    assert web.run(Night({"lint": "ledger", "unit": None}), 1.02) == {
        "ledger": "recurring",
        "mailer": "resolved",
    }
    clock[0] = FIRST + timedelta(days=1.04)
    assert read_statuses(web.read(early, logs)) == {}
    assert web.run(Night({"lint": None}), 2) == {"ledger": "resolved"}


def test_failure_that_an_overlapping_run_read_clean_is_resolved_by_the_next(
    tmp_path: Path, clock: list[datetime]
) -> None:
    """The run that read the place clean could not know of the failure; the next one tells, once."""
    web = Project(tmp_path, "web", clock)
    logs = web.write(Night({"lint": "mailer"}), 0)
    early = web.open()
    assert web.run(Night({"lint": None}), 0.02) == {}
    clock[0] = FIRST + timedelta(days=0.04)
    assert read_statuses(web.read(early, logs)) == {"mailer": "new"}
    assert web.run(Night({"docs": None}), 1) == {"mailer": "resolved"}
    assert web.run(Night({"lint": None, "docs": None}), 2) == {}


def test_failure_that_did_not_fit_is_not_gone(tmp_path: Path, clock: list[datetime]) -> None:
    """Where so much fails that the token budget has no room for all of it, what is not shown is not resolved,
    that night or the next."""
    web = Project(tmp_path, "web", clock, budget_tokens=250)
    words = [
        f"{one}{other}" for one in ("amber", "birch", "cedar", "dune") for other in ("gate", "lock", "mill")
    ]

    def run(number: int, failures: list[str]) -> Report:
        logs = web.write(Night({}), number)
        lines = ["Started"]
        for word in failures:
            lines += [f"ERROR: {word} refused the upload after {number} attempts", *["compiled a unit"] * 30]
        (logs / "all.log").write_text(
            "\n".join([*lines, "Finished: FAILURE" if failures else "Finished: SUCCESS"])
        )
        (logs / "other.log").write_text("Finished: SUCCESS\n")
        return web.read(web.open(), logs)

    told = set(read_statuses(run(0, words[:1])))
    assert told == set(words[:1])
    report = run(1, words)
    shown = {
        row[0]
        for row in web.warehouse.query(
            "SELECT text FROM chunks WHERE run_id = $r", {"r": report.run.run_id}
        ).rows
    }
    assert any(not any(word in text for text in shown) for word in told), "some of them did not fit"
    assert "resolved" not in read_statuses(report).values()
    still = {name for name, status in read_statuses(run(2, words)).items() if status == "resolved"}
    assert still == set()
    gone = read_statuses(run(3, []))
    assert told <= {name for name, status in gone.items() if status == "resolved"}


def test_difference_of_nights(tmp_path: Path, clock: list[datetime], rules: pytest.MonkeyPatch) -> None:
    """Read back from the tables, two nights differ as their statuses said, also when nights lie between them
    and the rules of fingerprints changed; a look at one log by hand is no night."""
    web = Project(tmp_path, "web", clock)
    nights = [
        Night({"lint": "ledger", "unit": "mailer", "docs": "gateway"}),
        Night({"lint": None, "unit": "mailer", "build": "indexer"}),
        Night({"lint": "ledger", "unit": "mailer", "build": None}),
    ]
    for number, night in enumerate(nights):
        if number == 2:
            change_rules(rules)
        web.run(night, number)
    web.run(Night({"deploy": "scheduler"}, kind="by_hand"), 2.5)

    def compare(first: str, second: str | None = None) -> dict[str, tuple[str, int | None, int | None]]:
        found = load_difference(web.warehouse, find_pair(web.warehouse, first, second), language="en")
        return {
            each.finding.title.split()[0]: (each.change, each.before, each.after) for each in found.changes
        }

    ids = [row[0] for row in web.warehouse.query("SELECT run_id FROM runs ORDER BY started_at").rows]
    last = {
        "ledger": ("regressed", 0, 1),
        "mailer": ("recurring", 1, 1),
        "indexer": ("resolved", 1, 0),
    }
    assert compare("latest") == compare("previous", "latest") == compare(ids[1], ids[2]) == last
    assert compare(ids[0], "latest") == {
        "ledger": ("recurring", 1, 1),
        "mailer": ("recurring", 1, 1),
        "gateway": ("not_seen", 1, None),
    }
    assert compare("previous") == {
        "mailer": ("recurring", 1, 1),
        "indexer": ("new", None, 1),
        "ledger": ("resolved", 1, 0),
        "gateway": ("not_seen", 1, None),
    }
    with pytest.raises(WarehouseError, match="came before"):
        find_pair(web.warehouse, ids[0], None)
    with pytest.raises(WarehouseError, match="Both names"):
        find_pair(web.warehouse, "latest", ids[2])
    with pytest.raises(WarehouseError, match="starts with 'zz'"):
        find_pair(web.warehouse, "zz", None)
