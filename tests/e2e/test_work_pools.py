"""`deployments/prefect.yaml`: deployed to work pools by the real `prefect`, carried out by a real worker."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest
import yaml
from prefect.cli.deploy._models import PrefectYamlModel

from bifrost_flow.language import ROOT
from bifrost_flow.settings import name_variable, setting_fields
from tests.console import LOGS, Console
from tests.tools import call_tool

PREFECT = str(Path(sys.executable).with_name("prefect"))
FILE = ROOT / "deployments" / "prefect.yaml"
POOLS = {"bifrost": "process", "bifrost-docker": "docker", "bifrost-kubernetes": "kubernetes"}
LOG = LOGS / "travis" / "alacritty-rust-564527447.log"


def read_template(kind: str) -> dict[str, Any]:
    return json.loads((ROOT / "deployments" / "pools" / f"{kind}.json").read_text())


def call_prefect(console: Console, *words: str | Path) -> str:
    """Run a command of Prefect's to its end and return what it printed."""
    done = subprocess.run(
        [PREFECT, "--no-prompt", *map(str, words)],
        cwd=console.folder,
        env=console.environment(
            BIFROST_PROVIDER="rules", BIFROST_MLFLOW_ENABLED="false", PREFECT_LOGGING_LEVEL="INFO"
        ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def create_pools(api: str) -> None:
    """Create the pools as the file's head says."""
    kinds = httpx.get(f"{api}/collections/views/aggregate-worker-metadata", timeout=60).json()
    for name, kind in POOLS.items():
        bundled = next(each[kind] for each in kinds.values() if kind in each)
        template = bundled["default_base_job_configuration"] if kind == "process" else read_template(kind)
        made = httpx.post(
            f"{api}/work_pools/", json={"name": name, "type": kind, "base_job_template": template}, timeout=60
        )
        assert made.status_code == 201, made.text


def test_everything_is_deployed_and_a_worker_carries_out_a_night(console: Console, prefect_api: str) -> None:
    """All pools take their deployments, and a process worker leaves a night's rows in the warehouse."""
    create_pools(prefect_api)
    call_prefect(console, "deploy", "--all", "--prefect-file", FILE)
    found = {}
    for name, kind in POOLS.items():
        end = "" if kind == "process" else f"-{kind}"
        for flow, deployment in (("audit", "nightly"), ("analyze", "adhoc")):
            answer = httpx.get(f"{prefect_api}/deployments/name/{flow}/{deployment}{end}", timeout=60).json()
            assert (answer["work_pool_name"], answer["pull_steps"]) == (name, [])
            assert answer["parameter_openapi_schema"]["properties"]["provider"]
            found[deployment + end] = answer
    active = [name for name, each in found.items() for plan in each["schedules"] if plan["active"]]
    assert active == ["nightly"]

    asked = httpx.post(
        f"{prefect_api}/deployments/{found['nightly']['id']}/create_flow_run",
        json={
            "parameters": {"paths": [str(LOG)], "warehouse": "w"},
            "job_variables": {"working_dir": str(console.folder)},
            "state": {"type": "SCHEDULED"},
        },
        timeout=60,
    ).json()
    said = call_prefect(console, "worker", "start", "--pool", "bifrost", "--type", "process", "--run-once")
    run = httpx.get(f"{prefect_api}/flow_runs/{asked['id']}", timeout=60).json()
    assert run["state"]["type"] == "COMPLETED", said
    with duckdb.connect(str(console.folder / "w" / "bifrost.duckdb"), read_only=True) as tables:
        (row,) = tables.sql("SELECT path, outcome FROM files").fetchall()
    assert row == (str(LOG), "failed")


def test_the_file_says_nothing_that_prefect_would_overlook() -> None:
    """Prefect ignores keys that it doesn't know, and pools ignore variables: none of ours is one of those."""
    text = yaml.safe_load(FILE.read_text())
    model = PrefectYamlModel.model_validate(text)
    assert set(text) - {"definitions"} <= set(PrefectYamlModel.model_fields)
    known = {name_variable(key) for key in setting_fields()}
    for given, read in zip(text["deployments"], model.deployments, strict=True):
        assert set(given) <= set(type(read).model_fields)
        assert read.work_pool and read.work_pool.name in POOLS
        variables = read.work_pool.job_variables
        for name in variables.get("env", {}):
            assert name in known or name.startswith("PREFECT_")
        kind = POOLS[read.work_pool.name]
        if kind != "process":
            assert set(variables) <= set(read_template(kind)["variables"]["properties"])


def test_the_docker_pool_shares_what_compose_has() -> None:
    """Its containers reach the server and write to the warehouse that the compose file's own use: a history
    in two places tells of known failures as new."""
    compose = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
    text = yaml.safe_load(FILE.read_text())
    for given in (each for each in text["deployments"] if each["name"].endswith("-docker")):
        variables = given["work_pool"]["job_variables"]
        serve = compose["services"]["serve"]
        assert variables["env"]["PREFECT_API_URL"] == serve["environment"]["PREFECT_API_URL"]
        assert f"{compose['name']}_{serve['volumes'][0]}" in variables["volumes"]
        assert f"{compose['name']}_default" in variables["networks"]
        # Compose sets no warehouse, so it is the default, in the image's folder.
        assert "BIFROST_WAREHOUSE" not in serve["environment"]
        default = setting_fields()["warehouse"].default
        assert Path(variables["env"]["BIFROST_WAREHOUSE"]) == Path("/var/lib/bifrost", default)


@pytest.mark.parametrize("kind", ["docker", "kubernetes"])
def test_templates_use_each_variable_and_no_other(kind: str) -> None:
    """What can be set of a pool has an effect, and Prefect's command is not handed to the image's own."""
    template = read_template(kind)
    job = json.dumps(template["job_configuration"])
    named = {piece.split(" }}")[0] for piece in job.split("{{ ")[1:]}
    assert named == set(template["variables"]["properties"])
    assert '["/usr/bin/env"]' in job


def test_the_job_for_kubernetes_holds_against_the_schema() -> None:
    """With the file's variables and the template's defaults, the job is one that a cluster takes."""
    template = read_template("kubernetes")
    text = yaml.safe_load(FILE.read_text())
    (given,) = [each for each in text["deployments"] if each["name"] == "nightly-kubernetes"]
    values = {name: each.get("default") for name, each in template["variables"]["properties"].items()}
    values |= given["work_pool"]["job_variables"] | {"name": "night", "labels": {"a": "b"}}
    # As the worker does: text becomes words, a map of variables becomes a list.
    values["command"] = ["prefect", "flow-run", "execute"]
    values["env"] = [{"name": name, "value": value} for name, value in values["env"].items()]

    def fill(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: fill(each) for key, each in part.items()}
        if isinstance(part, list):
            return [fill(each) for each in part]
        if isinstance(part, str) and part.startswith("{{ ") and part.endswith(" }}"):
            return values[part[3:-3]]
        return part.replace("{{ name }}", values["name"]) if isinstance(part, str) else part

    job = fill(template["job_configuration"]["job_manifest"])
    assert job["spec"]["template"]["spec"]["containers"][0]["image"] == "bifrost-flow:0.1.0"
    # The cluster makes a name from this one; the schema's checker knows no such thing.
    job["metadata"]["name"] = job["metadata"].pop("generateName") + "1"
    done = call_tool("kubernetes-validate", "--strict", "-", stdin=yaml.safe_dump(job))
    assert done.returncode == 0, done.stdout + done.stderr
