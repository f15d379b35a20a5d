"""An answer without a model: what the extractor found, put into words by category."""

# ruff: noqa: E501 - a pattern broken in two is harder to read than a long one

import re

from bifrost_flow.answer import Answer
from bifrost_flow.excerpt import find_anchor
from bifrost_flow.language import t
from bifrost_flow.records import Chunk
from bifrost_flow.rules.headline import MAX_LINE_CHARS, MAX_TITLE_CHARS, Headline, find_headline

# The "model" of these answers, and so a part of their cache keys: raise it with every change to patterns or
# texts.
RULES_VERSION = "rules-3"

# Well-known messages with a remedy of their own: pattern, key of the remedy, and the category that it speaks
# for where the extractor found none.
_REMEDIES = tuple(
    (re.compile(pattern), name, category)
    for pattern, name, category in (
        (r"No space left on device|ENOSPC|[Dd]isk quota exceeded", "disk_full", "out_of_resources"),
        (r"OOMKilled|[Oo]ut of memory|heap out of memory|Cannot allocate memory|OutOfMemoryError|MemoryError|exit code 137",
         "out_of_memory", "out_of_resources"),
        (r"EMFILE|[Tt]oo many open files", "too_many_files", "out_of_resources"),
        (r"toomanyrequests|Too Many Requests|rate limit (?:exceeded|reached)|(?:HTTP|status|error|code)\b[^\w]{0,3}429\b", "rate_limit", "network_or_flaky"),
        (r"Could not resolve host|ENOTFOUND|EAI_AGAIN|[Nn]ame or service not known|no such host|Temporary failure in name",
         "name_lookup", "network_or_flaky"),
        (r"[Cc]onnection refused|ECONNREFUSED", "connection_refused", "network_or_flaky"),
        (r"certificate|CERT_|x509|SSL(?:Error|_ERROR)|TLS handshake", "certificate", "network_or_flaky"),
        (r"Permission denied \(publickey|Host key verification failed|could not read Username", "git_access",
         "permission_or_secret"),
        (r"Bad credentials|\b401 Unauthorized|\b403 Forbidden|(?:HTTP|status|error|code)\b[^\w]{0,3}40[13]\b|[Aa]uthentication (?:failed|required)|denied: |AccessDenied",
         "credentials", "permission_or_secret"),
        (r"[Pp]ermission denied|EACCES|EPERM", "file_permission", "permission_or_secret"),
        (r"ERESOLVE|ResolutionImpossible|conflicting dependenc|version solving failed|incompatible versions",
         "version_conflict", "dependency_error"),
        (r"No matching distribution|Could not find a version|E404|404 Not Found|No package .* available|Unable to locate package"
         r"|Could not (?:find|resolve) (?:artifact|dependenc)|manifest (?:unknown|for .* not found)", "package_missing",
         "dependency_error"),
        (r"ModuleNotFoundError|No module named|Cannot find module|Module not found|cannot find package|ClassNotFoundException",
         "module_missing", "dependency_error"),
        (r"command not found|: not found$|is not recognized as an internal|executable file not found", "command_missing",
         "configuration_error"),
        (r"undefined reference|undefined symbol|unresolved external|cannot find -l", "linker", "compile_error"),
        (r"[Ss]napshots? (?:failed|obsolete|do(?:es)? not match)|toMatchSnapshot", "snapshot", "test_assertion"),
        (r"Segmentation fault|segmentation fault|SIGSEGV|core dumped|AddressSanitizer", "segfault", "crash"),
    )
)  # fmt: skip


def answer_by_rules(chunk: Chunk, language: str) -> Answer:
    """Return what the patterns make of `chunk`, in words of `language`; its confidence is never above one half."""
    lines = chunk.text.split("\n")
    anchor = find_anchor(chunk)
    # The extractor gives `unknown` to what it took for its place: the last lines of a step that failed.
    headline = find_headline(lines, anchor, anchor_speaks=chunk.category != "unknown")
    remedy, remedy_category = _find_remedy(lines[headline.position], lines[anchor])
    category = chunk.category if chunk.category != "unknown" else remedy_category or "unknown"
    name = t(f"rules.{category}.name", lang=language)
    title = _write_title(headline, category) or name
    root_cause = t(f"rules.{category}.root_cause", lang=language, line=title)
    if headline.place and headline.place not in title:
        root_cause += " " + t("rules.place", lang=language, place=headline.place)
    positions = dict.fromkeys((headline.position, headline.place_position, anchor))
    return Answer(
        evidence=[position + 1 for position in positions if position is not None and lines[position].strip()],
        root_cause=root_cause,
        title=title,
        category=category,
        severity=chunk.severity,
        explanation=t(f"rules.{category}.explanation", lang=language),
        suggestion=t(f"rules.remedy.{remedy}" if remedy else f"rules.{category}.suggestion", lang=language),
        confidence=_judge_confidence(headline, category),
    )


def _find_remedy(*candidates: str) -> tuple[str, str]:
    for line in candidates:
        for pattern, name, category in _REMEDIES:
            if pattern.search(line[:MAX_LINE_CHARS]):
                return name, category
    return "", ""


def _write_title(headline: Headline, category: str) -> str:
    """Return the headline, led by the name of the failing test where it does not hold it."""
    if category != "test_assertion" or not headline.test or headline.test in headline.title:
        return headline.title
    title = f"{headline.test}: {headline.title}"
    return title if len(title) <= MAX_TITLE_CHARS else title[: MAX_TITLE_CHARS - 1].rstrip() + "…"


def _judge_confidence(headline: Headline, category: str) -> float:
    if category == "unknown":
        return 0.1
    if not headline.names_cause:
        return 0.2
    return 0.5 if headline.place or headline.test else 0.4
