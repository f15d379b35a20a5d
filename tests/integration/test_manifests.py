"""The Kubernetes manifests: built and held against the cluster's own schemas offline, and read for what a
schema doesn't know."""

import json
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from bifrost_flow.language import ROOT
from bifrost_flow.settings import FOREIGN_NAMES, load_settings, name_variable, setting_fields
from tests.tools import call_tool

MANIFESTS = ROOT / "deployments" / "k8s"
PLACES = {"base": "base", "example": "overlays/example"}
# What `prefect`, boto3 and the XDG rules read, beside settings of ours.
OTHERS = ("PREFECT_", "AWS_", "XDG_CONFIG_HOME")

Manifest = dict[str, Any]


def build(folder: Path, place: str) -> list[Manifest]:
    """Return the manifests as `kubectl apply -k` would send them, with the secrets of the example."""
    copy = folder / "k8s"
    shutil.copytree(MANIFESTS, copy)
    example = copy / "overlays" / "example"
    shutil.copy(example / "secrets.env.example", example / "secrets.env")
    done = call_tool("kubectl", "kustomize", copy / PLACES[place])
    assert (done.returncode, done.stderr) == (0, "")
    return list(yaml.safe_load_all(done.stdout))


@pytest.fixture(params=list(PLACES))
def manifests(request: pytest.FixtureRequest, tmp_path: Path) -> list[Manifest]:
    return build(tmp_path, request.param)


@pytest.fixture
def example(tmp_path: Path) -> list[Manifest]:
    return build(tmp_path, "example")


def pick(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    return {each["metadata"]["name"]: each for each in manifests if each["kind"] == kind}


def list_pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Return the pod of each deployment."""
    return {name: each["spec"]["template"] for name, each in pick(manifests, "Deployment").items()}


def test_manifests_hold_against_the_schemas(manifests: list[Manifest]) -> None:
    """Nothing is misspelt or misplaced; the one kind that no cluster has by itself is looked at below."""
    text = yaml.safe_dump_all(each for each in manifests if each["kind"] != "ServiceMonitor")
    done = call_tool("kubernetes-validate", "--strict", "-", stdin=text)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARN" not in done.stdout + done.stderr


def test_every_map_secret_and_volume_is_used(example: list[Manifest]) -> None:
    """Nothing lies in the cluster that no pod reads, and nothing is read that isn't there."""
    used: dict[str, set[str]] = {"ConfigMap": set(), "Secret": set(), "PersistentVolumeClaim": set()}
    for pod in list_pods(example).values():
        (container,) = pod["spec"]["containers"]
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["spec"]["volumes"]}
        for source in container["envFrom"]:
            for kind, name in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
                used[kind] |= {source[name]["name"]} if name in source else set()
        for volume in pod["spec"]["volumes"]:
            if "configMap" in volume:
                used["ConfigMap"].add(volume["configMap"]["name"])
            if "persistentVolumeClaim" in volume:
                used["PersistentVolumeClaim"].add(volume["persistentVolumeClaim"]["claimName"])
    assert used == {kind: set(pick(example, kind)) for kind in used}
    assert all(used.values())


def test_mounted_settings_are_read_and_right(
    manifests: list[Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file stands where the pod's own environment has bifrost-flow look, and each key in it is a
    setting."""
    maps = pick(manifests, "ConfigMap")
    (settings,) = [each["data"] for name, each in maps.items() if name.startswith("bifrost-settings")]
    (variables,) = [each["data"] for name, each in maps.items() if name.startswith("bifrost-environment")]
    for pod in list_pods(manifests).values():
        mounts = {mount["name"]: mount for mount in pod["spec"]["containers"][0]["volumeMounts"]}
        assert mounts["settings"]["mountPath"] == f"{variables['XDG_CONFIG_HOME']}/bifrost-flow"
        found = load(settings, tmp_path, monkeypatch)
        assert found.warehouse.startswith(f"{mounts['warehouse']['mountPath']}/")
        # Without paths nothing is served, and what listens on loopback is not scraped from another pod.
        assert found.serve.paths and found.serve.metrics_host == "0.0.0.0"
        ports = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
        assert ports.get("metrics", found.serve.metrics_port) == found.serve.metrics_port


def load(files: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the settings as a pod finds them."""
    place = folder / "config" / "bifrost-flow"
    place.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (place / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(place.parent)
    for key in setting_fields():
        monkeypatch.delenv(name_variable(key), raising=False)
    for name in FOREIGN_NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    return load_settings()


def test_variables_are_settings(example: list[Manifest]) -> None:
    """Each variable is a setting or one that somebody else reads: other BIFROST_ names stop the pod."""
    known = {name_variable(key) for key in setting_fields()} | set(FOREIGN_NAMES)
    (secret,) = pick(example, "Secret").values()
    names = set(secret["data"])
    for name, each in pick(example, "ConfigMap").items():
        names |= set(each["data"]) if name.startswith("bifrost-environment") else set()
    for pod in list_pods(example).values():
        names |= {variable["name"] for variable in pod["spec"]["containers"][0]["env"]}
    assert len(names) > 8
    assert {name for name in names - known if not name.startswith(OTHERS)} == set()


def test_no_variable_of_the_clusters_own_reaches_a_pod(manifests: list[Manifest]) -> None:
    """Kubernetes sets BIFROST_SERVE_PORT and such for a service of that name, which settings refuse."""
    assert all(name.startswith("bifrost-") for name in pick(manifests, "Service"))
    for pod in list_pods(manifests).values():
        assert pod["spec"]["enableServiceLinks"] is False


def test_pods_have_few_rights(manifests: list[Manifest]) -> None:
    """As the restricted pod security standard asks, and with a read-only root on top."""
    for name, pod in list_pods(manifests).items():
        (container,) = pod["spec"]["containers"]
        shared, own = pod["spec"]["securityContext"], container["securityContext"]
        assert shared["runAsNonRoot"] and shared["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert shared["runAsUser"] == 10001
        assert own["readOnlyRootFilesystem"] and not own["allowPrivilegeEscalation"]
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert pod["spec"]["automountServiceAccountToken"] is False
        written = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
        assert written == {"/tmp", "/var/lib/bifrost/shared"}


def test_pods_are_bounded_and_watched(manifests: list[Manifest]) -> None:
    """Requests, limits, and probes of ports and commands that there are."""
    for pod in list_pods(manifests).values():
        (container,) = pod["spec"]["containers"]
        for kind in ("requests", "limits"):
            assert {"cpu", "memory", "ephemeral-storage"} == set(container["resources"][kind])
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        variables = {each["name"]: each["value"] for each in container["env"]}
        assert str(ports["health"]) in variables.values()
        for probe in ("startupProbe", "livenessProbe"):
            assert container[probe]["httpGet"] == {"path": "/health", "port": "health"}
        command = container["readinessProbe"]["exec"]["command"]
        assert command == ["bifrost-flow", "doctor", "--check", "prefect", "--check", "warehouse"]


def test_what_selects_finds(example: list[Manifest]) -> None:
    """Service, autoscaler, budget and monitor mean pods that there are, by name, label and port."""
    pods = list_pods(example)

    def find(labels: dict[str, str], among: dict[str, dict[str, str]]) -> set[str]:
        return {name for name, found in among.items() if labels.items() <= found.items()}

    labels = {name: pod["metadata"]["labels"] for name, pod in pods.items()}
    (service,) = pick(example, "Service").values()
    assert find(service["spec"]["selector"], labels) == {"bifrost-serve"}
    (port,) = service["spec"]["ports"]
    (serve,) = pods["bifrost-serve"]["spec"]["containers"]
    assert port["targetPort"] in {each["name"] for each in serve["ports"]}
    (budget,) = pick(example, "PodDisruptionBudget").values()
    assert find(budget["spec"]["selector"]["matchLabels"], labels) == {"bifrost-worker"}
    (scaler,) = pick(example, "HorizontalPodAutoscaler").values()
    assert scaler["spec"]["scaleTargetRef"]["name"] in pods
    (monitor,) = pick(example, "ServiceMonitor").values()
    services = {name: each["metadata"]["labels"] for name, each in pick(example, "Service").items()}
    assert find(monitor["spec"]["selector"]["matchLabels"], services) == {"bifrost-serve"}
    assert [each["port"] for each in monitor["spec"]["endpoints"]] == [port["name"]]
    (policy,) = pick(example, "NetworkPolicy").values()
    assert [each["port"] for each in policy["spec"]["ingress"][0]["ports"]] == [port["targetPort"]]


def is_selected(selector: Manifest, labels: dict[str, str]) -> bool:
    """Return whether a label selector means a pod with `labels`."""
    expressions = selector.get("matchExpressions", [])
    assert all(each["operator"] == "In" for each in expressions)
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(each["key"]) in each["values"] for each in expressions
    )


def test_the_policy_holds_for_ours_alone_and_lets_through_what_they_need(example: list[Manifest]) -> None:
    """As built, when kustomize has added its labels: our pods, the pool's jobs among them, are bounded and
    reach the cluster's DNS; a Prefect server in the same namespace goes on being reached."""
    (policy,) = pick(example, "NetworkPolicy").values()
    job = json.loads((ROOT / "deployments" / "pools" / "kubernetes.json").read_text(encoding="utf-8"))
    jobs = job["job_configuration"]["job_manifest"]["spec"]["template"]
    for pod in (jobs, *list_pods(example).values()):
        assert is_selected(policy["spec"]["podSelector"], pod["metadata"]["labels"])
    assert not is_selected(policy["spec"]["podSelector"], {"app.kubernetes.io/name": "prefect-server"})
    dns, inside, outside = policy["spec"]["egress"]
    # The labels that CoreDNS has in a cluster, whoever installed that.
    assert is_selected(dns["to"][0]["podSelector"], {"k8s-app": "kube-dns", "pod-template-hash": "1"})
    assert {(port["protocol"], port["port"]) for port in dns["ports"]} == {("UDP", 53), ("TCP", 53)}
    (settings,) = (
        yaml.safe_load(each["data"]["bifrost.yaml"])
        for name, each in pick(example, "ConfigMap").items()
        if name.startswith("bifrost-settings")
    )
    (variables,) = (
        each["data"]
        for name, each in pick(example, "ConfigMap").items()
        if name.startswith("bifrost-environment")
    )
    addresses = (settings["mlflow"]["tracking_uri"], variables["PREFECT_API_URL"])
    assert {urlsplit(each).port for each in addresses} <= {port["port"] for port in inside["ports"]}
    assert outside["ports"] == [{"protocol": "TCP", "port": 443}]


def test_replicas(manifests: list[Manifest]) -> None:
    """Several workers, and one that serves: two would be told of each scheduled run."""
    deployments = pick(manifests, "Deployment")
    assert deployments["bifrost-worker"]["spec"]["replicas"] == 3
    serve = deployments["bifrost-serve"]["spec"]
    assert (serve["replicas"], serve["strategy"]) == (1, {"type": "Recreate"})


def test_secrets_are_not_committed() -> None:
    """The base has none, and the example only names them."""
    assert "Secret" not in {each.get("kind") for path in MANIFESTS.rglob("*.yaml") for each in read_all(path)}
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"secrets.env", ".env"} <= set(ignored)


def read_all(path: Path) -> list[Manifest]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
