"""A run as MLflow is told of it, made from what the tables hold: a run that is sent later is the same one."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bifrost_flow.errors import SettingsError
from bifrost_flow.prompts import Prompt, load_prompt
from bifrost_flow.records import LogFile, Report, Run
from bifrost_flow.render import render_report

# What `versions` of a run says besides versions: who answered.
MODEL_KEYS = ("provider", "model", "model_parameters")

PROMPT_FILE = "prompt.txt"


@dataclass(frozen=True, slots=True)
class TrackedDataset:
    """The logs that a run read, as MLflow's dataset; `digest` is the same for the same bytes."""

    name: str
    digest: str  # 36 characters at most
    files: int
    bytes: int
    lines: int
    context: str  # what they were used for


@dataclass(frozen=True, slots=True)
class TrackedPrompt:
    """What was asked; a version that is a number is in MLflow's registry."""

    name: str
    version: str

    @property
    def is_registered(self) -> bool:
        return self.version.isdecimal()


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """A run as MLflow is told of it; `artifacts` are texts by file name.

    A run whose tag `run_id` is in MLflow already is not written again.
    """

    name: str
    started_at: datetime
    finished_at: datetime | None
    status: str  # one of records.RUN_STATUSES
    parameters: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)
    dataset: TrackedDataset | None = None
    prompt: TrackedPrompt | None = None
    nested: tuple["TrackedRun", ...] = ()  # runs below this one


def describe_run(report: Report, metrics: Mapping[str, float], prompt: Prompt | None = None) -> TrackedRun:
    """Return the run that `report` is about; `prompt` is what was asked, None where it must be looked up."""
    run = report.run
    asked = read_prompt(run)
    prompt = prompt or find_packaged(asked)
    artifacts = {
        "report.md": render_report(report, "markdown"),
        "findings.json": render_report(report, "json"),
    }
    if prompt is not None:
        artifacts[PROMPT_FILE] = render_prompt_text(prompt.system, prompt.user)
    return TrackedRun(
        name=f"{run.project} {run.started_at:%Y-%m-%d %H:%M:%S}",
        started_at=run.started_at,
        finished_at=run.finished_at,
        status=run.status,
        parameters=list_parameters(run),
        metrics=metrics,
        tags={
            "kind": "audit",
            "run_id": run.run_id,
            "project": run.project,
            "status": run.status,
            "source": run.source,
            **({"flow_run_id": run.flow_run_id} if run.flow_run_id else {}),
        },
        artifacts=artifacts,
        dataset=describe_dataset(run.source, report.files, context="audit"),
        prompt=asked,
    )


def list_parameters(run: Run) -> dict[str, object]:
    """Return what shaped a run's results, from its settings and versions; what old rows lack is left out."""
    settings, versions = read_json(run.settings), read_json(run.versions)
    sections = {name: value for name, value in settings.items() if isinstance(value, dict)}
    chosen = {
        "source": run.source,
        "provider": versions.get("provider") or settings.get("provider"),
        "model": versions.get("model") or settings.get("model"),
        "model_parameters": versions.get("model_parameters"),
        "budget_tokens": sections.get("evidence", {}).get("budget_tokens"),
        "concurrency": sections.get("fanout", {}).get("concurrency"),
        "language": settings.get("lang"),
    }
    chosen |= {f"version_{name}": value for name, value in versions.items() if name not in MODEL_KEYS}
    return {name: value for name, value in chosen.items() if value is not None}


def read_json(text: str) -> dict[str, Any]:
    """Return the object that a column holds; nothing where it holds none."""
    try:
        value = json.loads(text)
    except (TypeError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def read_prompt(run: Run) -> TrackedPrompt | None:
    """Return which prompt a run's `versions` name."""
    name, _, version = str(read_json(run.versions).get("prompt", "")).partition(" ")
    return TrackedPrompt(name, version) if name and version else None


def find_packaged(asked: TrackedPrompt | None) -> Prompt | None:
    """Return the packaged prompt if it is the very version that was asked."""
    if asked is None:
        return None
    try:
        prompt = load_prompt(asked.name)
    except SettingsError:
        return None
    return prompt if prompt.version == asked.version else None


def render_prompt_text(system: str, user: str) -> str:
    """Return a prompt as the artifact of a run."""
    return f"{system}\n\n{user}\n"


def describe_dataset(name: str, files: Sequence[LogFile], *, context: str) -> TrackedDataset:
    """Return what describes the logs as a whole."""
    return TrackedDataset(
        name=name[:500],
        digest=digest_files(files),
        files=len(files),
        bytes=sum(file.bytes for file in files),
        lines=sum(file.lines for file in files),
        context=context,
    )


def digest_files(files: Iterable[LogFile]) -> str:
    """Return a hash of what the files hold, whatever their order and where they are."""
    known = sorted(f"{file.sha256 or file.path} {file.bytes}" for file in files)
    return "s1-" + hashlib.sha256("\n".join(known).encode("utf-8", "surrogatepass")).hexdigest()[:32]
