"""The key under which an answer is kept: everything that shapes the answer, and nothing else."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Protocol


class Description(Protocol):
    """The part of a model's description that shapes its answers; its context size only shapes the prompt."""

    @property
    def provider(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def base_url(self) -> str: ...
    @property
    def parameters(self) -> str: ...


def cache_key(
    description: Description, system: str, user: str, *, schema_version: str, redaction_version: str
) -> str:
    """Return `k1:` and the SHA-256, in hex, of what is asked and of whom.

    Paths, file line numbers, run ids and times are in none of these, so the same failure has the same key in
    every run. The key is tagged with the version of this recipe, so that a later one can't meet its answers
    by chance.
    """
    parts = {
        "provider": description.provider,
        "model": description.model,
        "base_url": description.base_url,
        "parameters": description.parameters,
        "system": system,
        "user": user,
        "schema": schema_version,
        "redaction": redaction_version,
    }
    return "k1:" + _hash(parts)


def identity_key(
    description: Description,
    prompt: Sequence[str],
    *,
    language: str,
    schema_version: str,
    redaction_version: str,
) -> str:
    """Return `i1:` and the SHA-256, in hex, of who is asked what, whatever log it is asked about.

    Together with a fingerprint it is the second key of an answer: see `resighting`.

    Args:
        prompt: the templates, before a log is filled in.
    """
    parts = {
        "provider": description.provider,
        "model": description.model,
        "base_url": description.base_url,
        "parameters": description.parameters,
        "prompt": list(prompt),
        "language": language,
        "schema": schema_version,
        "redaction": redaction_version,
    }
    return "i1:" + _hash(parts)


def _hash(parts: Mapping[str, object]) -> str:
    # ASCII escapes, since the text of a log may hold lone surrogates, which UTF-8 can't.
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()
