"""What one audit holds from its start to its end: settings, connectors, and the making of its report."""

import asyncio
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TypeVar

from bifrost_flow import __version__
from bifrost_flow.answer import SCHEMA_VERSION
from bifrost_flow.cost import PAID_PROVIDERS, cost_of
from bifrost_flow.errors import DeliveryError, SettingsError, WarehouseError
from bifrost_flow.evidence import baseline, fingerprint, group_chunks, redact
from bifrost_flow.evidence.baseline import Baseline
from bifrost_flow.evidence.succession import find_predecessors, list_unknown
from bifrost_flow.language import t
from bifrost_flow.progress import progress, stop_requested
from bifrost_flow.prompts import Prompt, PromptReference, list_prompts, parse_reference
from bifrost_flow.records import (
    RUN_KINDS,
    Call,
    Chunk,
    FileEvidence,
    Group,
    LogFile,
    Report,
    Run,
    new_run_id,
)
from bifrost_flow.reportlink import link_report
from bifrost_flow.seen import list_mentioned, list_seen, list_unread
from bifrost_flow.settings import (
    Settings,
    check_no_blocks,
    masked_settings,
)
from bifrost_flow.status import PastFinding, assign_statuses, list_covered, name_rules, set_aside
from bifrost_flow.summary import Summary, summarise
from bifrost_flow.tracked import MODEL_KEYS
from connectors.baselines import look_up_baselines, read_baseline
from connectors.deadline import Background
from connectors.journal import Journal, fold_orphans
from connectors.metrics import metrics
from connectors.models.protocol import ModelDescription, Provider
from connectors.models.questions import build_finding, sum_estimates
from connectors.permitted import Permitted
from connectors.prompts import choose_prompt, read_snapshot
from connectors.s3.access import S3Access, use_access
from connectors.similar import find_similar
from connectors.sources import Source
from connectors.tracking import TrackingResult
from connectors.tracking import open_tracker as open_plain_tracker
from connectors.tracking_process import RunTracker, open_tracker
from connectors.warehouse import Warehouse
from flows.asking import Asked, ask, set_limits
from flows.described import describe_delivery, measure, name_source
from flows.opening import list_ci_access, open_warehouse, start_choosing
from tasks.analyse import CachePlan, Listener
from tasks.export import Exported
from tasks.ingest import Inputs
from tasks.notify import Notified
from tasks.stage import find_flow_run_id

T = TypeVar("T")


class Job:
    """One audit's settings and connectors; a run that is `tracked` is left in MLflow.

    Raises:
        SettingsError: the prompt or the provider is not known.
        WarehouseError: the warehouse can't be opened.
    """

    def __init__(
        self,
        settings: Settings,
        paths: Sequence[str],
        *,
        prompt: str,
        dry_run: bool = False,
        tracked: bool = True,
        kind: str = "audit",
    ) -> None:
        check_no_blocks(settings)
        self.settings = settings
        use_access(S3Access(**settings.s3.model_dump()))
        self.source = name_source(paths)
        self._reference = parse_reference(prompt)
        self._chosen_prompt: Prompt | None = None
        self._model: ModelDescription | None = None
        if not settings.log.remove_timestamps:
            raise SettingsError(t("run.keep_timestamps"))
        self.run_id = new_run_id()
        self.started_at = datetime.now(UTC)
        self._clock = time.perf_counter()
        self._dry_run = dry_run
        self._kind = kind
        self._calls: list[Call] = []
        self._use_baselines = True
        self._baseline: Baseline | None = None
        self._compared = 0
        self._templates: dict[str, str] = {}
        self._warehouse = open_warehouse(settings, create=not dry_run)
        self._choosing = start_choosing(settings)
        self._journal: Journal | None = None
        self._tracker: RunTracker | None = None
        self._may_hold_prompts = False
        if not dry_run:
            fold_orphans(self.warehouse)
            self._journal = Journal(self.warehouse.location, self.run_id, project=settings.project)
            if tracked:
                self._tracker = self._open_tracker(open_tracker)
                # Its start makes the store.
                self._may_hold_prompts = self._tracker.may_hold_prompts()
                self._tracker.start()

    def _open_tracker(self, opening: Callable[..., T]) -> T:
        mlflow = self.settings.mlflow
        return opening(
            self.warehouse.location if self._warehouse else self.settings.warehouse,
            tracking_uri=mlflow.tracking_uri,
            experiment=mlflow.experiment,
            enabled=mlflow.enabled,
            timeout_s=mlflow.timeout,
        )

    @property
    def prompt(self) -> Prompt:
        """What is asked; `choose_prompt` comes first."""
        if self._chosen_prompt is None:
            raise SettingsError(f"{self._reference}: no prompt has been chosen.")
        return self._chosen_prompt

    async def choose_prompt(self, name: str | None = None) -> Prompt:
        """Find the prompt in MLflow's registry, else take the packaged one, and say why if that failed.

        `name` is another than the job's own.
        Where runs are tracked, the process that imports MLflow anyway is asked. Elsewhere nobody waits for
        that import: the production versions are those that were last seen, unless a version is named.
        """
        reference = self._reference if name is None else parse_reference(name)
        self._chosen_prompt, note = await asyncio.to_thread(choose_prompt, reference, self._ask_registry)
        if note:
            progress().tell(note)
        return self._chosen_prompt

    def _ask_registry(self, reference: PromptReference) -> Prompt | None:
        if self._tracker is not None:
            if not self._may_hold_prompts:
                return None
            return Background(self._tracker.find_prompt, reference, name="prompt").wait(
                self.settings.mlflow.timeout + 1
            )
        tracker = self._open_tracker(open_plain_tracker)
        if not tracker.may_hold_prompts():
            return None
        if tracker.disabled is not None:
            raise DeliveryError(tracker.disabled)
        if not reference.is_exact and reference.name in list_prompts():
            return read_snapshot(self.settings.warehouse, tracker.tracking_uri).get(reference.name)
        return Background(tracker.find_prompt, reference, name="prompt").wait(tracker.timeout_s)

    def compare_with(
        self, targets: Sequence[str] | None, *, use: bool, permitted: Permitted | None = None
    ) -> None:
        """Compare the logs with those that `targets` name, read as far as `permitted`; without any with
        earlier runs, if `use`.

        Raises:
            SettingsError: one of `targets` can't be read.
        """
        self._use_baselines = use
        self._baseline = None
        if targets and use:
            access = list_ci_access(self.settings)
            self._baseline = read_baseline(targets, ci=access, permitted=permitted)

    def find_baselines(self, sources: Sequence[Source]) -> Mapping[str, Baseline]:
        """Return, by path, what passing runs say of the jobs that `sources` are logs of."""
        if self._baseline is not None:
            return dict.fromkeys((source.path for source in sources), self._baseline)
        if not self._use_baselines or self._warehouse is None:
            return {}
        return look_up_baselines(self._warehouse, sources)

    def close(self) -> None:
        """Let go of the journal; unless it was folded, the next run takes what it holds."""
        if self._journal is not None:
            self._journal.close()

    @property
    def max_bytes(self) -> int | None:
        """Files above this size, in bytes on disk, are left out."""
        size_mb = self.settings.log.max_size_mb
        return None if size_mb is None else int(size_mb * 1_000_000)

    @property
    def warehouse(self) -> Warehouse:
        if self._warehouse is None:
            raise WarehouseError(f"{self.settings.warehouse}: a dry run has made no warehouse.")
        return self._warehouse

    @cached_property
    def history(self) -> dict[str, PastFinding]:
        """What other runs of the project found, by fingerprint.

        An audit leaves out what was looked at by hand meanwhile: what is new is to be told where it is
        waited for.
        """
        if self._warehouse is None:
            return {}
        kinds = ("audit",) if self._kind == "audit" else RUN_KINDS
        return self._warehouse.read_history(before=self.started_at, kinds=kinds)

    def find_predecessors(self, groups: Sequence[Group]) -> dict[str, tuple[str, ...]]:
        """Return, by fingerprint of `groups`, those that other rules had made of the same failures."""
        unknown = list_unknown((group.exemplar for group in groups), self.history)
        return find_predecessors(unknown, self._outdated) if unknown else {}

    @cached_property
    def _outdated(self) -> list[Chunk]:
        """The last evidence of failures that history has under other rules."""
        names = [name for name in self.history if name_rules(name) != fingerprint.VERSION]
        return self._warehouse.read_last_evidence(names) if self._warehouse else []

    @property
    def tracker(self) -> RunTracker:
        if self._tracker is None:
            raise DeliveryError(f"{self.source}: this run is not tracked.")
        return self._tracker

    @property
    def journal(self) -> Journal:
        if self._journal is None:
            raise WarehouseError(f"{self.settings.warehouse}: a dry run keeps no journal.")
        return self._journal

    @property
    def cache(self) -> Warehouse | None:
        """Where answers may be cached; a dry run before the first run has none."""
        return self._warehouse

    async def choose_provider(self, model: str | None = None, *, silently: bool = False) -> Provider:
        """Return who will answer, and say so; `model` is another than the settings'.

        Raises:
            SettingsError: the run may cost so much only, and nobody knows what this model costs.
        """
        choosing = self._choosing
        if model is not None and model != self.settings.model:
            choosing = start_choosing(self.settings.model_copy(update={"model": model}))
        provider, note = await asyncio.wrap_future(choosing)
        if not silently:
            progress().tell(note)
        self._model = chosen = provider.describe()
        if chosen.provider in PAID_PROVIDERS and chosen.model not in self.settings.prices:
            if self.settings.fanout.max_cost_usd is not None:
                raise SettingsError(t("run.no_price", model=chosen.model))
            if not silently:
                progress().tell(t("run.counted_as_free", model=chosen.model))
        return provider

    async def ask(self, cached: CachePlan, provider: Provider, *, listener: Listener | None = None) -> Asked:
        """Ask what the cache does not answer; what several models or prompts are asked counts as one run."""
        asked = await ask(
            cached,
            provider,
            limits=set_limits(self.settings, provider, spent=self._calls),
            journal=self.journal,
            project=self.settings.project,
            listener=listener,
        )
        self._calls += asked.calls
        return asked

    def build_report(
        self,
        inputs: Inputs,
        evidence: Sequence[FileEvidence],
        groups: Sequence[Group],
        asked: Asked,
        *,
        filtered: bool = False,
    ) -> Report:
        """Return what the run found, compared with what other runs of the project knew.

        With `filtered`, only some events of the logs were looked at.
        """
        now = datetime.now(UTC)
        self._compared = sum(each.compared for each in evidence)
        files = self._set_aside((*inputs.unread, *(each.file for each in evidence)), inputs.left_out)
        found = [build_finding(answer, first_seen=now, last_seen=now) for answer in asked.answers]
        # A failure that is not the first of its log any more is still there, not resolved.
        present = (*group_chunks(evidence, every=True), *groups)
        formerly = self.find_predecessors(present)
        whole = self._kind == "audit" and not (self._dry_run or filtered or stop_requested())
        findings = assign_statuses(
            found,
            seen=list_seen(present, evidence),
            files=files,
            history=self.history,
            mentioned=list_mentioned(evidence),
            formerly=formerly,
            resolving=whole,
        )
        problems = (*inputs.problems, *list_unread(evidence), *asked.problems)
        status = "partial" if problems else "completed"
        if asked.budget_exhausted:
            status = "budget_exhausted"
        if stop_requested():
            status = "interrupted"
        run = Run(
            run_id=self.run_id,
            flow_run_id=find_flow_run_id(),
            project=self.settings.project,
            source=self.source,
            started_at=self.started_at,
            finished_at=now,
            status="dry_run" if self._dry_run else status,
            settings=json.dumps(masked_settings(self.settings), ensure_ascii=False),
            versions=json.dumps({**self.describe_versions(), **self._describe_model()}),
            files=len(files),
            bytes=sum(file.bytes for file in files),
            lines=sum(file.lines for file in files),
            chunks=sum(len(each.chunks) for each in evidence),
            groups=len(groups),
            llm_calls=len(asked.calls),
            cache_hits=sum(answer.cached for answer in asked.answers),
            tokens_in=sum(call.tokens_in for call in asked.calls),
            tokens_out=sum(call.tokens_out for call in asked.calls),
            tokens_saved=sum(a.tokens_in + a.tokens_out for a in asked.answers if a.cached),
            cost_usd=sum(call.cost_usd for call in asked.calls),
            errors=len(problems),
            kind=self._kind,
            filtered=filtered,
            skipped=inputs.skipped,
            nightly=inputs.nightly,
        )
        location = self._warehouse.location if self._warehouse else self.settings.warehouse
        self._templates = {group.fingerprint: group.exemplar.template for group in groups}
        link = link_report(self.settings.output.base_url, run_id=self.run_id, project=self.settings.project)
        return Report(
            run, findings, files, problems, location, self.settings.lang, formerly=formerly, link=link
        )

    def _set_aside(self, files: tuple[LogFile, ...], left_out: Collection[str]) -> tuple[LogFile, ...]:
        """Return `files`, those marked that can't tell that a failure which is open is gone."""
        if self._warehouse is None or self._dry_run or self._kind != "audit":
            return files  # it resolves nothing in any case
        known = (past.locations for past in self.history.values() if past.latest is not None)
        places = list_covered(files) & {place for locations in known for place in locations or ()}
        return tuple(set_aside(files, self._warehouse.list_failing_paths(places), left_out=left_out))

    async def add_similar(self, report: Report) -> Report:
        """Return `report` with the earlier findings that are like its new ones; without, if that fails."""
        new = [finding for finding in report.findings if finding.status == "new"]
        if not new or not self.history:
            return report
        try:
            similar = await asyncio.to_thread(
                find_similar,
                self.warehouse,
                new,
                self._templates,
                project=report.run.project,
                before=report.run.started_at,
            )
        except WarehouseError as error:
            progress().tell(t("run.no_similar", reason=str(error)))
            return report
        return replace(report, similar=similar)

    def describe_versions(self) -> dict[str, str]:
        """Return the versions of what shapes a result."""
        prompt = self._chosen_prompt
        return {
            "engine": __version__,
            "prompt": f"{prompt.name} {prompt.version}" if prompt else str(self._reference),
            "schema": SCHEMA_VERSION,
            "fingerprint": fingerprint.VERSION,
            "redaction": redact.VERSION,
            "baseline": baseline.VERSION,
        }

    def _describe_model(self) -> dict[str, str]:
        """Return who answers, by `tracked.MODEL_KEYS`."""
        if self._model is None:
            return {}
        values = (self._model.provider, self._model.model, self._model.parameters)
        return dict(zip(MODEL_KEYS, values, strict=True))

    def measure(self, report: Report) -> list[tuple[str, float, str]]:
        """Return the run's numbers as name, value and unit."""
        return measure(report, compared=self._compared)

    def end(
        self,
        report: Report,
        provider: Provider,
        *,
        planned: tuple[int, int, float] = (0, 0, 0.0),
        exported: Exported | None = None,
        tracked: TrackingResult | None = None,
        notified: Notified | None = None,
    ) -> Summary:
        """Return what the run says of itself, deliveries included."""
        exported = exported or Exported((), ())
        if exported.problems:
            status = "partial" if report.run.status == "completed" else report.run.status
            run = replace(report.run, status=status, errors=report.run.errors + len(exported.problems))
            report = replace(report, run=run, problems=(*report.problems, *exported.problems))
            # Writing a run's row again replaces it: history then says the same as we do here.
            self.warehouse.write_run(run)
        model, duration_s = provider.describe(), time.perf_counter() - self._clock
        metrics().record_run(report, duration_s=duration_s)
        return summarise(
            report,
            provider=model.provider,
            model=model.model,
            duration_s=duration_s,
            planned=planned,
            exports=exported.paths,
            mlflow=describe_delivery(tracked),
            slack=describe_delivery(notified.slack if notified else None),
            webhook=describe_delivery(notified.webhook if notified else None),
            metrics=describe_delivery(None),
        )

    def plan_cost(self, cached: CachePlan, provider: Provider) -> tuple[int, int, float]:
        """Return what asking would take: calls, tokens of the prompts, and their cost in USD."""
        tokens, model = sum_estimates(cached.misses), provider.describe().model
        return (
            len(cached.misses),
            tokens,
            cost_of(self.settings.prices, model, tokens_in=tokens, tokens_out=0),
        )
