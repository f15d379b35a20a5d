"""Rows in, rows out."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from bifrost_flow.errors import WarehouseError
from bifrost_flow.language import t
from bifrost_flow.records import (
    MIN_FAILURE_SCORE,
    RUN_KINDS,
    CachedAnswer,
    Call,
    Chunk,
    Finding,
    LogFile,
    Report,
    Run,
    new_run_id,
)
from bifrost_flow.status import PastFinding
from connectors.storage import Storage, open_storage
from connectors.warehouse.catalog import SCHEMA_FILE, TABLES, read_queries, refresh_catalog, table_prefix
from connectors.warehouse.location import encode_name, prepare_place, resolve_location, translating_os_errors
from connectors.warehouse.restore import restore, restore_chunk, restore_finding
from connectors.warehouse.sandbox import Rows, run_query

if TYPE_CHECKING:
    from bifrost_flow.evidence.baseline import KnownGood


@dataclass(frozen=True, slots=True)
class Metric:
    """A number of a run; a row of `metrics`."""

    name: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Warehouse:
    """Tables in one place, as one project sees them.

    Each `write_` makes one Parquet file named for the run, so that writing the same run again (a retry)
    replaces its rows instead of doubling them. Write the run's own row last: only then do the views show the
    others.
    """

    location: str
    project: str

    @classmethod
    def open(cls, location: str, *, project: str = "default", create: bool = True) -> "Warehouse":
        """Open the warehouse in the folder `location`, made here if need be.

        With `create=False` none is made, and a folder that can't be written will do.

        Raises:
            WarehouseError: there is none, the place is taken by something else, or it can't be written.
        """
        storage = resolve_location(location)
        prepare_place(storage, TABLES, create=create)
        # For a reader the catalogue is a courtesy to other clients; our own queries do without it.
        with translating_os_errors(storage) if create else suppress(OSError):
            refresh_catalog(storage, migrate=create)
        return cls(location=storage.location, project=project)

    @property
    def storage(self) -> Storage:
        """Where the tables' files are."""
        return open_storage(self.location)

    def write_run(self, run: Run) -> None:
        """Write the run's own row, after all its others: from now on the views show it."""
        if run.project != self.project:
            raise WarehouseError(t("warehouse.other_project", found=run.project, project=self.project))
        self._write("runs", run.run_id, [run])

    def write_files(
        self, run_id: str, files: Sequence[LogFile], *, unshown: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        """Write the input files of a run; `unshown` has, by path, the fingerprints of failures in them that
        no chunk shows."""
        self._write(
            "files", run_id, files, unshown=[list((unshown or {}).get(file.path, ())) for file in files]
        )

    def write_chunks(self, run_id: str, chunks: Sequence[Chunk]) -> None:
        """Write the evidence of a run."""
        self._write("chunks", run_id, chunks)

    def write_findings(
        self,
        run_id: str,
        findings: Sequence[Finding],
        *,
        formerly: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Write the findings of a run, resolved ones included; `formerly` has, by fingerprint, those of
        other rules that it takes the place of."""
        former = [list((formerly or {}).get(finding.fingerprint, ())) for finding in findings]
        self._write("findings", run_id, findings, formerly=former)

    def write_calls(self, run_id: str, calls: Sequence[Call]) -> None:
        """Write the model calls of a run."""
        self._write("llm_calls", run_id, calls)

    def write_metrics(self, run_id: str, metrics: Sequence[tuple[str, float, str]]) -> None:
        """Write numbers of a run, each as name, value and unit."""
        self._write("metrics", run_id, [Metric(*metric) for metric in metrics])

    def write_answers(self, answers: Sequence[CachedAnswer], *, name: str | None = None) -> None:
        """Add answers to the cache that all projects share; those of the same `name` replace each other."""
        if answers:
            self._write("cache", name or new_run_id(), answers)

    def write_known_good(self, run_id: str, jobs: "Sequence[KnownGood]") -> None:
        """Write what the jobs of a run say that passed."""
        if jobs:
            self._write("known_good", run_id, jobs)

    def has_known_good(self) -> bool:
        """Tell whether any job of this project ever passed."""
        with translating_os_errors(self.storage):
            return bool(self.storage.list_files(table_prefix("known_good", self.project)))

    def read_known_good(
        self, keys: Sequence[str], *, rules: str, runs: int, most: int
    ) -> list[tuple[str, list[int], bool]]:
        """Return key, hashes (at most `most`) and whether these are of whole logs, of each of `keys` that
        passed before under `rules`: what its last `runs` passing runs say. One query for all."""
        parameters = {
            "project": self.project,
            "rules": rules,
            "runs": runs,
            "keys": list(keys),
            "most": most,
        }
        rows = self.query_named("baselines", "read_known_good", parameters).rows if keys else []
        return [(key, templates, whole) for key, templates, whole in rows]

    def has_calls(self, run_id: str) -> bool:
        """Tell whether `write_calls` was done for a run of this project."""
        with translating_os_errors(self.storage):
            if self.storage.find(self._name("llm_calls", run_id)) is not None:
                return True
        # They may have been merged into a pack.
        return bool(self.query_named("retention", "find_calls", {"run_id": run_id}).rows)

    def find_candidates(
        self, identity: str, wanted: Sequence[tuple[str, str]]
    ) -> dict[tuple[str, str], list[CachedAnswer]]:
        """Return the cached answers that may serve each of `wanted`, pairs of cache key and fingerprint.

        An answer for the key itself comes alone; else those of the same `identity` for other sightings of
        the fingerprint, newest first, a few at most. One query for all.
        """
        if not wanted:
            return {}
        pairs = list(dict.fromkeys(wanted))
        parameters = {
            "identity": identity,
            "keys": [key for key, _ in pairs],
            "fingerprints": [fingerprint for _, fingerprint in pairs],
        }
        found: dict[tuple[str, str], list[CachedAnswer]] = {}
        for key, fingerprint, *columns in self.query_named("cache", "find_candidates", parameters).rows:
            found.setdefault((key, fingerprint), []).append(CachedAnswer(*columns))
        return found

    def read_history(self, *, before: datetime, kinds: Sequence[str] = RUN_KINDS) -> dict[str, PastFinding]:
        """Return what runs of this project found, by fingerprint, for `status.assign_statuses`.

        They are the runs of `kinds` that are complete. Those that began at `before` or later, overlapping
        with the run that asks, keep a failure from being new to it or resolved by it, and no more.
        """
        parameters = {"project": self.project, "before": before, "kinds": list(kinds)}
        latest = {
            row["fingerprint"]: restore_finding(row)
            for row in self.query_named("history", "read_open_findings", parameters).as_dicts()
        }
        known = self.query_named(
            "history", "read_fingerprints", {**parameters, "min_score": MIN_FAILURE_SCORE}
        )
        return {
            fingerprint: PastFinding(
                first_seen,
                last_seen,
                latest.get(fingerprint),
                None if locations is None else frozenset(locations),
                is_successor,
            )
            for fingerprint, first_seen, last_seen, locations, is_successor in known.rows
        }

    def list_failing_paths(self, locations: Collection[str]) -> list[str]:
        """Return the logs at `locations` that showed a failure when this project last read them."""
        if not locations:
            return []
        parameters = {"project": self.project, "locations": sorted(locations)}
        return [path for (path,) in self.query_named("history", "list_failing_paths", parameters).rows]

    def read_last_evidence(self, fingerprints: Sequence[str]) -> list[Chunk]:
        """Return the last piece of evidence that this project has of each of `fingerprints`."""
        if not fingerprints:
            return []
        parameters = {"project": self.project, "fingerprints": list(fingerprints)}
        rows = self.query_named("history", "read_last_evidence", parameters).as_dicts()
        return [restore_chunk(row) for row in rows]

    def read_report(self, run_id: str, *, language: str) -> Report:
        """Return a complete run of any project with its findings and files, as reports are made from.

        Problems are not stored one by one: they are in `files.error`, `llm_calls.error` and the count
        `runs.errors`.

        Raises:
            WarehouseError: there is no such run.
        """
        runs, files, findings = (
            self.query_named("runs", name, {"run_id": run_id}).as_dicts()
            for name in ("read_run", "read_files", "read_findings")
        )
        if not runs:
            raise WarehouseError(t("warehouse.no_run", run_id=run_id, location=self.location))
        return Report(
            run=restore(Run, runs[0]),
            findings=tuple(restore_finding(row) for row in findings),
            files=tuple(restore(LogFile, row) for row in files),
            problems=(),
            warehouse=self.location,
            language=language,
        )

    def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> Rows:
        """Run one reading statement over the tables and views; `parameters` fill its `$named` ones.

        Raises:
            WarehouseError: it isn't one query, or DuckDB refuses it; the message is DuckDB's.
        """
        return run_query(self.storage, sql, parameters)

    def query_named(self, topic: str, name: str, parameters: Mapping[str, object] | None = None) -> Rows:
        """Run the query `name` of `sql/queries/<topic>.sql`."""
        return self.query(read_queries(topic)[name], parameters)

    def measure(self, table: str) -> int:
        """Return the bytes that the files of a table take."""
        with translating_os_errors(self.storage):
            files = self.storage.list_files(f"{table}/")
        return sum(file.size for file in files if not file.name.endswith(SCHEMA_FILE))

    def _name(self, table: str, name: str) -> str:
        return f"{table_prefix(table, self.project)}{encode_name(name)}.parquet"

    def _write(self, table: str, name: str, rows: Sequence[object], **beside: Sequence[object]) -> None:
        # Polars isn't needed to read, and takes a while to import.
        from connectors.warehouse.frames import build_frame, write_frame

        constants = {"run_id": name, "project": self.project}
        frame = build_frame(self.storage, table, rows, constants, beside)
        write_frame(self.storage, self._name(table, name), frame)
