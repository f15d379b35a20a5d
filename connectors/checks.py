"""What `doctor` asks of the outside, one function a part: is it there, does it answer, how is it mended.

Nothing that is not configured is asked over the network, but this machine's own Ollama and Prefect server.
"""

import os
import platform
import shutil
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import botocore.exceptions
import botocore.session
import httpx
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from bifrost_flow.errors import WarehouseError
from bifrost_flow.language import LANGUAGES, t
from connectors.deadline import Background
from connectors.models.aws import BEDROCK_KEY, find_region
from connectors.models.choose import SUGGESTED_MODEL, probe_ollama
from connectors.models.http import is_loopback
from connectors.prefect_server import find_configured_url, find_kept_server, is_healthy, is_refused
from connectors.storage import LocalStorage, Storage
from connectors.tracking_store import find_sqlite_path, mask_uri
from connectors.warehouse.location import MARKER, resolve_location

TIMEOUT_S = 8.0
REQUEST_TIMEOUT_S = 3.0
MIN_FREE_BYTES = 200 * 10**6
SLACK_API = "https://slack.com/api/"

# They ask another machine or start a program; whether they are configured can be told without.
_ASKING_PROVIDERS = ("custom-process", "container-role", "iam-role")


@dataclass(frozen=True, slots=True)
class Check:
    """What was found; `status` is ok, missing (neither configured nor needed) or failed."""

    name: str
    status: str
    detail: str
    remedy: str = ""


def run_checks(checks: Mapping[str, Callable[[], Check]], *, timeout_s: float = TIMEOUT_S) -> list[Check]:
    """Run all checks at once, and return what they found in their order, within `timeout_s` seconds."""
    running = {name: Background(check, name=f"check {name}") for name, check in checks.items()}
    deadline = time.monotonic() + timeout_s
    found = []
    for name, each in running.items():
        try:
            found.append(each.wait(deadline - time.monotonic()))
        except TimeoutError:
            found.append(
                Check(name, "failed", t("doctor.timeout", seconds=f"{timeout_s:g}"), t("doctor.again"))
            )
        except Exception as error:  # noqa: BLE001 - a check that breaks must not hide the others
            found.append(Check(name, "failed", f"{type(error).__name__}: {error}", t("doctor.again")))
    return found


def check_python(distribution: str = "bifrost-flow") -> Check:
    """Is this Python one that we run on?"""
    version = platform.python_version()
    wanted = metadata.metadata(distribution)["Requires-Python"] or ""
    if SpecifierSet(wanted).contains(version, prereleases=True):
        return Check("python", "ok", version)
    detail = t("doctor.python_old", version=version, wanted=wanted)
    return Check("python", "failed", detail, t("doctor.packages_mend"))


def check_packages(distribution: str = "bifrost-flow") -> Check:
    """Are the packages installed in versions that work together? `distribution` says which it needs."""
    wrong, shown = [], []
    for text in metadata.requires(distribution) or ():
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate():
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append(t("doctor.package_absent", name=requirement.name))
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            wanted = requirement.specifier
            wrong.append(t("doctor.package_version", name=requirement.name, version=version, wanted=wanted))
        elif requirement.name in ("prefect", "mlflow-skinny", "polars", "duckdb"):
            shown.append(f"{requirement.name} {version}")
    if wrong:
        return Check("packages", "failed", "; ".join(wrong), t("doctor.packages_mend"))
    return Check("packages", "ok", ", ".join(shown))


def check_language(language: str, encoding: str) -> Check:
    """Can the output show the language? `encoding` is that of standard output."""
    sample = t("doctor.status.ok", lang=language)
    try:
        sample.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        detail = t("doctor.encoding", language=language, encoding=encoding)
        return Check("language", "failed", detail, t("doctor.encoding_mend"))
    return Check("language", "ok", t("doctor.language", language=language, known=", ".join(LANGUAGES)))


def check_warehouse(location: str) -> Check:
    """Can the warehouse be written, and is there room?"""
    mend = t("doctor.warehouse_mend")
    try:
        storage = resolve_location(location)
    except WarehouseError as error:
        return Check("warehouse", "failed", str(error), mend)
    if not isinstance(storage, LocalStorage):
        return _check_bucket(storage)
    root = storage.folder
    folder = next(path for path in (root, *root.parents) if path.exists())
    try:
        # Looking at the permissions isn't enough: the disk may be mounted read-only.
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        detail = t("doctor.warehouse_unwritable", path=root, reason=error.strerror or error)
        return Check("warehouse", "failed", detail, mend)
    size = f"{free / 1e9:.1f}"
    if free < MIN_FREE_BYTES:
        return Check("warehouse", "failed", t("doctor.warehouse_full", path=root, free=size), mend)
    key = "doctor.warehouse_ok" if folder == root else "doctor.warehouse_new"
    return Check("warehouse", "ok", t(key, path=root, free=size))


def _check_bucket(storage: Storage) -> Check:
    """Can objects be listed, written and removed below the prefix? It is tried."""
    probe = f".{uuid.uuid4().hex}.probe"
    try:
        found = storage.find(MARKER)
        storage.write(probe, b"")
        storage.delete(probe)
    except OSError as error:
        detail = t("doctor.warehouse_unwritable", path=storage.location, reason=error.strerror or error)
        return Check("warehouse", "failed", detail, t("doctor.bucket_mend"))
    key = "doctor.bucket_ok" if found else "doctor.bucket_new"
    return Check("warehouse", "ok", t(key, path=storage.location))


def check_ollama(url: str, model: str | None, *, wanted: bool) -> Check:
    """Does Ollama answer, with the model that is set? `wanted`: the settings name it in some way."""
    absent = "failed" if wanted else "missing"
    state = probe_ollama(url)
    shown = mask_uri(url)
    if not state.answers:
        return Check("ollama", absent, t("doctor.ollama_down", url=shown), t("doctor.ollama_mend"))
    listed = ", ".join(state.models) or "-"
    if model and not {model, f"{model}:latest"} & {*state.models}:
        detail = t("doctor.ollama_no_model", url=shown, model=model, models=listed)
        return Check("ollama", "failed", detail, t("doctor.ollama_pull", model=model))
    if not state.models:
        detail = t("doctor.ollama_empty", url=shown)
        return Check("ollama", absent, detail, t("doctor.ollama_pull", model=SUGGESTED_MODEL))
    return Check("ollama", "ok", t("doctor.ollama_ok", url=shown, models=listed))


def check_openai(base_url: str | None, api_key: str | None, model: str | None, *, wanted: bool) -> Check:
    """Does the OpenAI-compatible server answer and take the key?"""
    if not base_url:
        status = "failed" if wanted else "missing"
        return Check("openai", status, t("doctor.not_configured"), t("doctor.openai_mend"))
    shown = mask_uri(base_url)
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    reason = _get(f"{base_url}/models", headers=headers)
    if reason:
        detail = t("doctor.no_answer", url=shown, reason=reason)
        return Check("openai", "failed", detail, t("doctor.openai_mend"))
    if not model:
        return Check("openai", "failed", t("doctor.no_model", url=shown), t("doctor.openai_mend"))
    return Check("openai", "ok", t("doctor.answers", url=shown))


def check_mlflow(tracking_uri: str, disabled: str | None) -> Check:
    """Can the MLflow store be reached and, if a file, written? `disabled` says why it is not used."""
    if disabled is not None:
        return Check("mlflow", "missing", disabled, t("doctor.mlflow_mend"))
    shown = mask_uri(tracking_uri)
    if tracking_uri.startswith(("http://", "https://")):
        reason = _get(f"{tracking_uri.rstrip('/')}/health")
        ok = t("doctor.answers", url=shown)
    elif path := find_sqlite_path(tracking_uri):
        reason = _find_sqlite_fault(path)
        ok = t("doctor.mlflow_ok" if path.exists() else "doctor.mlflow_new", uri=shown)
    else:
        return Check("mlflow", "ok", t("doctor.mlflow_unchecked", uri=shown))
    if reason:
        detail = t("doctor.no_answer", url=shown, reason=reason)
        return Check("mlflow", "failed", detail, t("doctor.mlflow_mend"))
    return Check("mlflow", "ok", ok)


def check_slack(
    webhook: str | None, token: str | None, channel: str | None, *, api_url: str = SLACK_API
) -> Check:
    """Is Slack configured whole, and the token good? Nothing is posted, so a webhook goes untried."""
    mend = t("doctor.slack_mend")
    if not token:
        if not webhook:
            return Check("slack", "missing", t("doctor.not_configured"), mend)
        if not webhook.startswith(("https://", "http://")):
            return Check("slack", "failed", t("doctor.slack_webhook_wrong"), mend)
        return Check("slack", "ok", t("doctor.slack_webhook"))
    if not channel:
        return Check("slack", "failed", t("doctor.slack_no_channel"), mend)
    from slack_sdk import WebClient
    from slack_sdk.errors import SlackApiError

    try:
        answer = WebClient(token, base_url=api_url, timeout=int(REQUEST_TIMEOUT_S)).auth_test()
    except SlackApiError as error:
        reason = str(error.response.get("error", "error"))
        return Check("slack", "failed", t("doctor.slack_refused", reason=reason), mend)
    except OSError as error:
        return Check("slack", "failed", t("doctor.no_answer", url=api_url, reason=error), mend)
    return Check("slack", "ok", t("doctor.slack_ok", team=answer.get("team"), channel=channel))


def check_webhook(url: str | None, secret: str | None) -> Check:
    """Is a webhook configured, and signed? Nothing is sent, so it goes untried."""
    mend = t("doctor.webhook_mend")
    if not url:
        return Check("webhook", "missing", t("doctor.not_configured"), mend)
    if not url.startswith(("https://", "http://")):
        return Check("webhook", "failed", t("webhook.bad_url"), mend)
    return Check("webhook", "ok", t("doctor.webhook_signed" if secret else "doctor.webhook_unsigned"))


def check_s3(*, wanted: bool, profile: str | None = None, anonymous: bool = False) -> Check:
    """Can AWS credentials be found for S3? Nobody is asked."""
    if anonymous:
        return Check("s3", "ok", t("doctor.s3_anonymous"))
    try:
        source = _find_aws_source(botocore.session.Session(profile=profile))
    except botocore.exceptions.BotoCoreError as error:
        return Check("s3", "failed", str(error), t("doctor.aws_mend"))
    if source is None:
        return Check("s3", "failed" if wanted else "missing", t("doctor.aws_none"), t("doctor.aws_mend"))
    return Check("s3", "ok", t("doctor.aws_ok", source=source))


def check_bedrock(region: str | None, profile: str | None, model: str | None, *, wanted: bool) -> Check:
    """Can credentials, a region and a model be found for Bedrock? Nobody is asked."""
    absent = "failed" if wanted or model or profile else "missing"
    session = botocore.session.Session(profile=profile)
    try:
        source = BEDROCK_KEY if os.environ.get(BEDROCK_KEY) else _find_aws_source(session)
        found_region = find_region(session, region)
    except botocore.exceptions.BotoCoreError as error:
        return Check("bedrock", "failed", str(error), t("doctor.aws_mend"))
    if source is None:
        return Check("bedrock", absent, t("doctor.aws_none"), t("doctor.aws_mend"))
    if not found_region or not model:
        lacking = "bedrock.model" if found_region else "bedrock.region"
        detail = t("doctor.bedrock_lacks", source=source, key=lacking)
        return Check("bedrock", absent, detail, t("doctor.bedrock_mend", key=lacking))
    return Check("bedrock", "ok", t("doctor.bedrock_ok", source=source, region=found_region, model=model))


def check_prefect() -> Check:
    """Which Prefect API will runs use, and does it answer?"""
    if url := find_configured_url():
        shown = mask_uri(url)
        if is_healthy(url, timeout_s=REQUEST_TIMEOUT_S):
            if is_refused(url, timeout_s=REQUEST_TIMEOUT_S):
                mend = t("doctor.prefect_auth_mend")
                return Check("prefect", "failed", t("doctor.prefect_refused", url=shown), mend)
            return Check("prefect", "ok", t("doctor.prefect_url", url=shown))
        return Check("prefect", "failed", t("doctor.prefect_down", url=shown), t("doctor.prefect_mend"))
    if kept := find_kept_server():
        return Check("prefect", "ok", t("doctor.prefect_kept", url=kept.url))
    return Check("prefect", "ok", t("doctor.prefect_embedded"))


def _get(url: str, *, headers: Mapping[str, str] | None = None) -> str | None:
    """Ask for `url`; return what went wrong, or None."""
    try:
        # A proxy of the environment must never stand between this machine and itself.
        trust = not is_loopback(url)
        answer = httpx.get(url, headers=headers, timeout=REQUEST_TIMEOUT_S, trust_env=trust)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return str(error) or type(error).__name__
    return None if answer.is_success else f"HTTP {answer.status_code}"


def _find_sqlite_fault(path: Path) -> str | None:
    """Return why a store at `path` can't be written or made, or None. Writes nothing."""
    if not path.exists():
        folder = next(each for each in path.absolute().parents if each.exists())
        try:
            with tempfile.TemporaryFile(dir=folder):
                return None
        except OSError as error:
            return error.strerror or str(error)
    try:
        with closing(sqlite3.connect(path, timeout=REQUEST_TIMEOUT_S, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        return str(error)
    return None


def _find_aws_source(session: botocore.session.Session) -> str | None:
    """Return the name of the source that AWS credentials would come from, or None; asks no other machine.

    Raises:
        BotoCoreError: the profile does not exist, or its configuration is broken.
    """
    config = session.get_scoped_config()
    for key in ("credential_source", "credential_process"):
        if key in config:
            return f"{key} {config[key]}"
    resolver = session.get_component("credential_provider")
    for name in _ASKING_PROVIDERS:
        resolver.remove(name)
    if credentials := resolver.load_credentials():
        return str(credentials.method)
    container = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
    return next((name for name in container if os.environ.get(name)), None)
