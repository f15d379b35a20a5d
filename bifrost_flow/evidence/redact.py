"""Take secrets out of text: same secret, same placeholder; nothing that was redacted can be recovered from it."""

import hashlib
import re
from dataclasses import dataclass

VERSION = "r1"


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    pattern: re.Pattern[str]
    group: int = 0


_RULES = (
    Rule("private-key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----|[\s\S]*)")),
    Rule("jwt", re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*")),
    Rule("aws-key", re.compile(r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}\b")),
    Rule("github-token", re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,})")),
    Rule("url-password", re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@]*:([^\s/@]{3,})@"), 1),
    Rule("assignment", re.compile(r"(?i)\b[\w.-]*(?:password|passwd|secret|api[_-]?key|access[_-]?token|auth[_-]?token)[\"']?\s*[=:]\s*[\"']?([^\s\"',;&]{6,})"), 1),
)  # fmt: skip


def redact_text(text: str) -> tuple[str, int]:
    """Return `text` with its secrets replaced by placeholders, and how many were."""
    count = 0

    def replace(found: re.Match[str], rule: Rule) -> str:
        nonlocal count
        secret = found.group(rule.group)
        if not secret or set(secret) <= {"*", "x", "X", "."} or secret.startswith(("<", "[", "$", "%", "{")):
            return found.group()
        count += 1
        mark = f"[redacted:{rule.name}:{hashlib.sha256(secret.encode()).hexdigest()[:6]}]"
        return found.group().replace(secret, mark)

    for rule in _RULES:
        text = rule.pattern.sub(lambda found, rule=rule: replace(found, rule), text)
    return text, count
