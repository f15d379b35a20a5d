"""What one audit holds from its start to its end: settings, connectors, and the making of its report."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

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
    FINDING_STATUSES,
    RUN_KINDS,
    Call,
    Chunk,
    FileEvidence,
    Group,
    Problem,
    Report,
    Run,
    new_run_id,
)
from bifrost_flow.reportlink import link_report
from bifrost_flow.settings import (
    Settings,
    check_no_blocks,
    masked_settings,
)
from bifrost_flow.status import PastFinding, assign_statuses, name_rules
from bifrost_flow.summary import Summary, summarise
from bifrost_flow.tracked import MODEL_KEYS
from connectors.baselines import look_up_baselines, read_baseline
from connectors.ci.access import is_ci_target
from connectors.deadline import Background
from connectors.journal import Journal, fold_orphans
from connectors.metrics import metrics, name_stage
from connectors.metrics_publish import PublishResult
from connectors.models.fanout import Circuit, RetryPolicy
from connectors.models.limits import Budget, Caps, Rates
from connectors.models.protocol import ModelDescription, Provider
from connectors.models.questions import GroupAnswer, build_finding, sum_estimates
from connectors.prompts import choose_prompt, read_snapshot
from connectors.s3.access import S3Access, is_s3, use_access
from connectors.similar import find_similar
from connectors.slack import SlackResult
from connectors.sources import Source
from connectors.tracking import TrackingResult
from connectors.tracking import open_tracker as open_plain_tracker
from connectors.tracking_process import RunTracker, open_tracker
from connectors.warehouse import Warehouse
from connectors.webhook import WebhookResult
from flows.opening import list_ci_access, open_warehouse, pick_section, start_choosing
from tasks.analyse import CachePlan, Limits, Listener, analyse, count_batches
from tasks.export import Exported
from tasks.ingest import Inputs
from tasks.notify import Notified
from tasks.stage import find_flow_run_id

T = TypeVar("T")

_COUNTS = (
    *("files", "bytes", "lines", "chunks", "groups", "llm_calls", "cache_hits"),
    *("tokens_in", "tokens_out", "tokens_saved", "errors"),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of asking: answers from the cache and from calls, and what went wrong."""

    answers: tuple[GroupAnswer, ...]
    calls: tuple[Call, ...]
    problems: tuple[Problem, ...]


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
        self._budget_exhausted = False
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

    def compare_with(self, targets: Sequence[str] | None, *, use: bool) -> None:
        """Compare the logs with those that `targets` name; without any with earlier runs, if `use`.

        Raises:
            SettingsError: one of `targets` can't be read.
        """
        self._use_baselines = use
        self._baseline = read_baseline(targets, ci=list_ci_access(self.settings)) if targets and use else None

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
        """Ask what the cache does not answer, in batches side by side, largest groups first."""
        limits = self._set_limits(provider)
        count = count_batches(len(cached.misses), concurrency=limits.concurrency)
        waiting = iter(cached.misses)
        progress().start_stage("analyse", len(cached.misses))
        batches = [
            analyse(
                waiting,
                provider,
                workers=-(-limits.concurrency // count),
                limits=limits,
                journal=self.journal,
                project=self.settings.project,
                listener=listener,
            )
            for _ in range(count)
        ]
        done = await asyncio.gather(*batches)
        answers = (*cached.answered, *(answer for batch in done for answer in batch.answers))
        calls = tuple(call for batch in done for call in batch.calls)
        left_out = [question for batch in done for question in batch.left_out]
        note = t("run.left_out", limit=limits.budget.exhausted, calls=len(calls))
        self._budget_exhausted = bool(left_out)
        self._calls += calls
        problems = (
            *(problem for batch in done for problem in batch.problems),
            *(Problem("analyse", question.fingerprint, note) for question in left_out),
        )
        summary = t("run.analysed", calls=len(calls), hits=len(cached.answered), failed=len(problems))
        progress().end_stage("analyse", summary)
        left = len(cached.misses) + len(cached.answered) - len(answers) - len(problems)
        if left:
            progress().tell(t("run.interrupted", left=left))
        return Asked(answers, calls, problems)

    def _set_limits(self, provider: Provider) -> Limits:
        """Return what all batches share."""
        fanout, model = self.settings.fanout, provider.describe().model

        def price(tokens_in: int, tokens_out: int) -> float:
            return cost_of(self.settings.prices, model, tokens_in=tokens_in, tokens_out=tokens_out)

        # What several models or prompts are asked counts as one run.
        caps = Caps(fanout.max_calls, fanout.max_tokens, fanout.max_cost_usd).after(self._calls)
        return Limits(
            concurrency=fanout.concurrency,
            semaphore=asyncio.Semaphore(fanout.concurrency),
            circuit=Circuit(),
            retry=RetryPolicy(max_retries=pick_section(self.settings).max_retries),
            budget=Budget(caps, price=price),
            rates=Rates.per_minute(requests=fanout.requests_per_minute, tokens=fanout.tokens_per_minute),
        )

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
        files = (*inputs.unread, *(each.file for each in evidence))
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
        if self._budget_exhausted:
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
        )
        location = self._warehouse.location if self._warehouse else self.settings.warehouse
        self._templates = {group.fingerprint: group.exemplar.template for group in groups}
        link = link_report(self.settings.output.base_url, run_id=self.run_id, project=self.settings.project)
        return Report(
            run, findings, files, problems, location, self.settings.lang, formerly=formerly, link=link
        )

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
        run = report.run
        duration_s = (run.finished_at or run.started_at).timestamp() - run.started_at.timestamp()
        counts = Counter(finding.status for finding in report.findings)
        stages = Counter(name_stage(problem.stage) for problem in report.problems)
        return [
            ("duration", duration_s, "s"),
            ("files", run.files, "1"),
            ("files_with_baseline", self._compared, "1"),
            ("lines", run.lines, "1"),
            ("bytes", run.bytes, "B"),
            ("chunks", run.chunks, "1"),
            ("groups", run.groups, "1"),
            ("llm_calls", run.llm_calls, "1"),
            ("cache_hits", run.cache_hits, "1"),
            ("tokens_in", run.tokens_in, "token"),
            ("tokens_out", run.tokens_out, "token"),
            ("tokens_saved", run.tokens_saved, "token"),
            ("cost", run.cost_usd, "USD"),
            ("errors", run.errors, "1"),
            *((f"errors_{stage}", stages[stage], "1") for stage in ("read", "analyse")),
            *((f"findings_{status}", counts[status], "1") for status in FINDING_STATUSES),
        ]

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


def name_source(paths: Sequence[str]) -> str:
    """Return a short name for what a run reads."""
    if not paths:
        return "?"
    more = f" +{len(paths) - 1}" if len(paths) > 1 else ""
    if is_s3(paths[0]):
        name = paths[0]
    else:
        name = paths[0].partition("?")[0] if is_ci_target(paths[0]) else Path(paths[0]).name
    return f"{name or paths[0]}{more}"


def describe_failed_run(run_id: str, project: str, source: str, started_at: datetime) -> Run:
    """Return what there is to say of a run that failed before it had results."""
    nothing: dict[str, Any] = dict.fromkeys(_COUNTS, 0)
    return Run(
        run_id=run_id,
        flow_run_id=run_id,
        project=project,
        source=source,
        started_at=started_at,
        finished_at=datetime.now(UTC),
        status="failed",
        settings="{}",
        versions="{}",
        **nothing,
        cost_usd=0.0,
    )


def list_unread(evidence: Sequence[FileEvidence]) -> list[Problem]:
    """Return a problem for each file that was found but gave no lines, or not all of them."""
    files = [each.file for each in evidence if each.file.status != "read"]
    return [Problem("extract", file.path, file.error or file.status) for file in files]


def list_seen(groups: Sequence[Group], evidence: Sequence[FileEvidence]) -> dict[str, list[str]]:
    """Return the paths that each failure of a run occurred in, shown or not."""
    seen = {group.fingerprint: list(group.paths) for group in groups}
    for path, names in list_unshown(evidence).items():
        for name in names:
            seen.setdefault(name, []).append(path)
    return seen


def list_mentioned(evidence: Sequence[FileEvidence]) -> set[str]:
    """Return the fingerprints that the logs of jobs that did not pass show, failures or not."""
    failing = (each for each in evidence if each.file.outcome != "passed")
    return {chunk.fingerprint for each in failing for chunk in each.chunks}


def list_unshown(evidence: Sequence[FileEvidence]) -> dict[str, tuple[str, ...]]:
    """Return, by path, the failures of jobs that the token budget left no room for; a job that passed has
    none."""
    return {
        each.file.path: each.unshown for each in evidence if each.unshown and each.file.outcome != "passed"
    }


def list_chunks(evidence: Sequence[FileEvidence]) -> list[Chunk]:
    """Return all pieces of evidence of a run."""
    return [chunk for each in evidence for chunk in each.chunks]


def describe_delivery(result: TrackingResult | SlackResult | WebhookResult | PublishResult | None) -> str:
    """Return what became of a delivery as `status: detail`."""
    if result is None:
        return t("run.delivery.not_done")
    status = t(f"run.delivery.{result.status.replace(' ', '_')}")
    return f"{status}: {result.detail}" if result.detail else status
