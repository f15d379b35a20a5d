"""What the `prompts` commands work on: the registry over the packaged prompts, files, and an editor."""

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bifrost_flow.cli.output import apply_output_settings
from bifrost_flow.cli.remote import open_ci_access
from bifrost_flow.errors import DeliveryError, SettingsError
from bifrost_flow.language import t
from bifrost_flow.prompts import (
    Prompt,
    PromptReference,
    check_prompt,
    hash_prompt,
    list_prompts,
    load_prompt,
    parse_reference,
)
from bifrost_flow.prompts.formats import SUFFIXES, PromptFile, dump_prompt, parse_prompt
from bifrost_flow.settings import load_settings
from connectors.prompts import PromptRegistry, SavedPrompt, write_snapshot
from connectors.storage import open_storage
from connectors.tracking import open_tracker

if TYPE_CHECKING:
    from bifrost_flow.records import Chunk

LOCK = "mlflow-prompts.lock"


class Shelf:
    """The prompts of one warehouse's registry; without a registry, the packaged ones.

    With `create` a registry is made where there is none.
    """

    def __init__(self, location: str | None, lang: str | None, *, create: bool) -> None:
        self.settings = load_settings({"warehouse": location, "lang": lang})
        apply_output_settings(self.settings)
        mlflow = self.settings.mlflow
        self._tracker = open_tracker(
            self.settings.warehouse,
            tracking_uri=mlflow.tracking_uri,
            experiment=mlflow.experiment,
            enabled=mlflow.enabled,
            timeout_s=mlflow.timeout,
        )
        self._exists = create or (self._tracker.may_hold_prompts() and self._tracker.disabled is None)

    @cached_property
    def registry(self) -> PromptRegistry:
        """The registry; opening it imports MLflow."""
        return PromptRegistry(self._tracker.open_client())

    def list_names(self) -> list[str]:
        """Return the packaged prompts, then those that only the registry has."""
        found = self.registry.list_names() if self._is_up() else []
        return list(dict.fromkeys((*list_prompts(), *found)))

    def list_versions(self, name: str) -> list[SavedPrompt]:
        """Return the versions in the registry, newest first."""
        return self.registry.list_versions(name) if self._is_up() else []

    def get(self, text: str) -> SavedPrompt:
        """Return the prompt that a user named.

        Raises:
            SettingsError: there is none.
        """
        reference = parse_reference(text)
        found = self.registry.find(reference) if self._is_up() else None
        if found is not None:
            return found
        if reference.is_exact:
            known = ", ".join(each.prompt.version for each in self.list_versions(reference.name)) or "–"
            raise SettingsError(t("prompts.no_version", name=repr(text), known=known))
        if reference.name not in list_prompts() and (versions := self.list_versions(reference.name)):
            return versions[0]
        packaged = load_prompt(reference.name)
        return SavedPrompt(packaged, t("prompts.packaged"), datetime.fromtimestamp(0, UTC), {}, ())

    def find(self, reference: PromptReference) -> SavedPrompt | None:
        """Return what runs would use, None for a prompt that only has drafts."""
        found = self.registry.find(reference) if self._is_up() else None
        return found or (self.get(reference.name) if reference.name in list_prompts() else None)

    def save(
        self,
        name: str,
        written: PromptFile,
        *,
        message: str,
        tags: Mapping[str, str],
        alias: str | None,
    ) -> SavedPrompt:
        """Save a version, and keep the snapshot that runs look into."""
        if self._tracker.disabled is not None:
            raise DeliveryError(self._tracker.disabled)
        prompt = replace(written.prompt, name=parse_reference(name).name)
        saved = self.registry.save(prompt, message=message, tags={**written.tags, **tags}, alias=alias)
        self.refresh()
        return saved

    def refresh(self) -> None:
        """Keep what is in production now where runs that can't wait for MLflow find it."""
        write_snapshot(self.registry, self.settings.warehouse, self._tracker.tracking_uri)

    @contextmanager
    def alone(self) -> Generator[None]:
        """Wait until no other command changes a prompt of this warehouse."""
        with ExitStack() as stack:
            try:
                stack.enter_context(open_storage(self.settings.warehouse).hold_alone(LOCK))
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                raise SettingsError(
                    t("warehouse.unusable", location=self.settings.warehouse, reason=reason)
                ) from error
            yield

    def _is_up(self) -> bool:
        """Tell whether there is a registry; one that can't be opened is told of once."""
        if self._exists and self._tracker.disabled is None:
            try:
                _ = self.registry
            except DeliveryError as error:
                self._exists = False
                print(t("prompts.down", reason=str(error)), file=sys.stderr)
        return self._exists and self._tracker.disabled is None


def read_tags(words: Sequence[str]) -> dict[str, str]:
    """Return `KEY=VALUE` words as a table.

    Raises:
        SettingsError: one has no `=`.
    """
    for word in words:
        if "=" not in word or word.startswith("="):
            raise SettingsError(t("prompts.bad_tag", value=repr(word)))
    return dict(word.split("=", 1) for word in words)


def read_file(path: str, format: str | None) -> PromptFile:
    """Return the prompt in a file or, for `-`, on standard input.

    Raises:
        SettingsError: it can't be read, or is no prompt.
    """
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(t("prompts.no_file", path=path, reason=str(error))) from error
    return parse_prompt(text, format or guess_format(path))


def guess_format(path: str) -> str:
    """Return the format that a file's name stands for; YAML for standard input and output."""
    return SUFFIXES.get(Path(path).suffix.lower(), "yaml")


def edit_prompt(prompt: Prompt) -> PromptFile:
    """Let the user change `prompt` in their editor; what can't be used is kept, and told where.

    Raises:
        SettingsError: no editor, nothing was changed, or it can't be used.
    """
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not command:
        raise SettingsError(t("prompts.no_editor"))
    before = dump_prompt(replace(prompt, version=""), {}, "yaml")
    handle, name = tempfile.mkstemp(prefix=f"bifrost-{prompt.name}-", suffix=".yaml")
    path = Path(name)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(before)
    try:
        ended = subprocess.run([*shlex.split(command), name], check=False).returncode
    except (OSError, ValueError) as error:
        raise SettingsError(t("prompts.editor_failed", command=command, reason=str(error))) from error
    if ended:
        raise SettingsError(t("prompts.editor_failed", command=command, reason=str(ended)))
    after = path.read_text(encoding="utf-8")
    if after == before:
        path.unlink()
        raise SettingsError(t("prompts.unchanged"))
    try:
        written = parse_prompt(after, "yaml")
        check_prompt(replace(written.prompt, name=prompt.name))
    except SettingsError as error:
        raise SettingsError(t("prompts.kept", reason=str(error), path=name)) from error
    path.unlink()
    return written


def keep_text(written: PromptFile) -> str:
    """Write down what could not be saved, and return where."""
    prompt = replace(written.prompt, version=hash_prompt(written.prompt))
    with tempfile.NamedTemporaryFile(
        "w", prefix="bifrost-prompt-", suffix=".yaml", delete=False, encoding="utf-8"
    ) as file:
        file.write(dump_prompt(prompt, written.tags, "yaml"))
    return file.name


def extract_first(path: str, budget_tokens: int) -> "Chunk":
    """Return the evidence in one log that a run would ask about first.

    Raises:
        SettingsError: it can't be read, or nothing in it can be asked about.
    """
    from connectors.extraction import extract_evidence
    from connectors.sources import find_sources, remove_spooled

    sources, _, problems = find_sources([path], ci=open_ci_access(path))
    try:
        if problems or len(sources) != 1:
            count = len(sources)
            message = problems[0].message if problems else t("analyze.several", path=path, count=count)
            raise SettingsError(message)
        (evidence,) = extract_evidence(sources, budget_tokens=budget_tokens)
    finally:
        remove_spooled(sources)
    if not evidence.chunks:
        raise SettingsError(evidence.file.error or t("analyze.nothing_failed"))
    return evidence.chunks[0]
