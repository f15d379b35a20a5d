"""What is written to MLflow of a run of ours, in its terms and within its limits."""

import json
import logging
import math
import re
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bifrost_flow.tracked import PROMPT_FILE, TrackedDataset, TrackedRun, render_prompt_text

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

logger = logging.getLogger(__name__)

# MLflow's limits for one request. Source: mlflow/utils/validation.py.
MAX_PARAMETERS, MAX_METRICS, MAX_TAGS = 100, 1000, 100
MAX_PARAMETER_CHARACTERS, MAX_TAG_CHARACTERS = 6000, 8000
MAX_PAGE = 1000

PARENT = "mlflow.parentRunId"

_FORBIDDEN_IN_NAMES = re.compile(r"[^\w\-. :/]")

# What MLflow calls the ends that a run of ours can come to; others are FINISHED. The tag `status` has ours.
_RUN_STATUSES = {"failed": "FAILED", "interrupted": "KILLED"}


def find_run(client: "MlflowClient", experiment_id: str, run_id: str) -> str | None:
    """Return MLflow's id of our run `run_id` if it is there whole; half of one is deleted."""
    found = [
        each
        for each in client.search_runs([experiment_id], f"tags.run_id = '{run_id}'", max_results=MAX_PAGE)
        if PARENT not in each.data.tags
    ]
    whole = [each.info.run_id for each in found if each.info.status != "RUNNING"]
    for each in found:
        if each.info.status == "RUNNING":
            client.delete_run(each.info.run_id)
    return whole[0] if whole else None


def write_run(
    client: "MlflowClient", experiment_id: str, run: TrackedRun, parent_id: str | None = None
) -> str:
    """Write one run and those nested in it, and return MLflow's id of it."""
    # The source is a column of MLflow's list of runs.
    tags = {"mlflow.source.name": "bifrost-flow", **run.tags}
    if parent_id is not None:
        tags[PARENT] = parent_id
    labels = {_clean_name(key): value[:MAX_TAG_CHARACTERS] for key, value in tags.items()}
    started_ms = int(run.started_at.timestamp() * 1000)
    # With its tags from the start, so that half a run can be known for what it is.
    created = client.create_run(experiment_id, started_ms, dict(list(labels.items())[:MAX_TAGS]), run.name)
    mlflow_id = created.info.run_id
    finished_ms = int(run.finished_at.timestamp() * 1000) if run.finished_at else int(time.time() * 1000)
    _log_values(client, mlflow_id, finished_ms, run.parameters, run.metrics)
    if run.dataset is not None:
        _log_dataset(client, mlflow_id, run.dataset)
    artifacts = {**run.artifacts, **_link_prompt(client, mlflow_id, run)}
    for file_name, text in artifacts.items():
        client.log_text(mlflow_id, text, file_name)
    for nested in run.nested:
        write_run(client, experiment_id, nested, mlflow_id)
    client.set_terminated(mlflow_id, _RUN_STATUSES.get(run.status, "FINISHED"), finished_ms)
    return mlflow_id


def list_all_runs(
    client: "MlflowClient", experiment_id: str, filter_string: str = "", *, most: int | None = None
) -> "Sequence[Run]":
    """Return the experiment's runs, newest first, nested ones included; all unless `most` says how many."""
    found, token = [], None
    while most is None or len(found) < most:
        size = MAX_PAGE if most is None else min(MAX_PAGE, most - len(found))
        page = client.search_runs(
            [experiment_id],
            filter_string,
            max_results=size,
            order_by=["attributes.start_time DESC"],
            page_token=token,
        )
        found += page
        if not (token := page.token):
            break
    return found


def _log_values(
    client: "MlflowClient",
    mlflow_id: str,
    time_ms: int,
    parameters: Mapping[str, object],
    metrics: Mapping[str, float],
) -> None:
    from mlflow.entities import Metric, Param

    params = [Param(_clean_name(k), str(v)[:MAX_PARAMETER_CHARACTERS]) for k, v in parameters.items()]
    values = [Metric(_clean_name(k), float(v), time_ms, 0) for k, v in metrics.items() if math.isfinite(v)]
    client.log_batch(mlflow_id, values[:MAX_METRICS], params[:MAX_PARAMETERS])


def _log_dataset(client: "MlflowClient", mlflow_id: str, dataset: TrackedDataset) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"source": dataset.name}, ensure_ascii=False)
    profile = json.dumps({"num_files": dataset.files, "num_bytes": dataset.bytes, "num_lines": dataset.lines})
    entity = Dataset(dataset.name, dataset.digest, "bifrost-flow", source, profile=profile)
    context = InputTag("mlflow.data.context", dataset.context)
    client.log_inputs(mlflow_id, [DatasetInput(entity, [context])])


def _link_prompt(client: "MlflowClient", mlflow_id: str, run: TrackedRun) -> dict[str, str]:
    """Link the run to the version in the registry that was asked, and return its text unless it is known."""
    from mlflow.exceptions import MlflowException

    from bifrost_flow.errors import BifrostError
    from bifrost_flow.prompts import PromptReference
    from connectors.prompts import PromptRegistry

    if run.prompt is None or not run.prompt.is_registered:
        return {}
    name, version = run.prompt.name, int(run.prompt.version)
    try:
        found = PromptRegistry(client).find(PromptReference(name, version=version))
        if found is None:
            return {}
        # MLflow's own method, link_prompt_version_to_run, writes to the process' default store instead of the
        # client's (3.17). Source of the tag's form: mlflow/tracing/utils/prompt.py.
        linked = json.dumps([{"name": name, "version": str(version)}])
        client.set_tag(mlflow_id, "mlflow.linkedPrompts", linked)
        if PROMPT_FILE in run.artifacts:
            return {}
    except (MlflowException, BifrostError):
        # It has been deleted since, or the server keeps no prompts: the run's parameters name it anyway.
        logger.debug("The prompt %s:%d could not be linked", name, version, exc_info=True)
        return {}
    return {PROMPT_FILE: render_prompt_text(found.prompt.system, found.prompt.user)}


def _clean_name(name: str) -> str:
    return _FORBIDDEN_IN_NAMES.sub("_", name)[:250]
