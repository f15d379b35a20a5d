"""The charts of a report, as figures that the template draws."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bifrost_flow.language import t
from bifrost_flow.records import CATEGORIES, SEVERITIES, Finding, Run
from bifrost_flow.render.facts import format_cost, format_count, label

MAX_BARS = 8


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of the ring: where it starts and how long it is, in percent of the way round."""

    severity: str
    count: int
    start: float
    length: float


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of the chart; `percent` of the longest."""

    name: str
    figure: str
    percent: float


def keep_known(value: str, known: Sequence[str], otherwise: str) -> str:
    """Return `value` if it is a word of ours."""
    return value if value in known else otherwise


def cut_slices(findings: Sequence[Finding]) -> list[Slice]:
    """Return the ring of severities, worst first."""
    counts = Counter(keep_known(finding.severity, SEVERITIES, "info") for finding in findings)
    slices: list[Slice] = []
    start = 0.0
    for severity in reversed(SEVERITIES):
        if counts[severity]:
            length = round(100 * counts[severity] / len(findings), 2)
            slices.append(Slice(severity, counts[severity], round(start, 2), length))
            start += length
    return slices


def draw_categories(findings: Sequence[Finding], lang: str) -> list[Bar]:
    """Return how often each category occurred, the most frequent ones first."""
    counts: Counter[str] = Counter()
    for finding in findings:
        counts[keep_known(finding.category, CATEGORIES, "unknown")] += finding.occurrences
    return _scale_bars(
        [(label("category", category, lang), count) for category, count in counts.most_common(MAX_BARS)]
    )


def draw_tokens(run: Run, lang: str) -> list[Bar]:
    """Return what was sent, received and saved, in tokens; nothing where no model has a say."""
    counts = {"sent": run.tokens_in, "received": run.tokens_out, "saved": run.tokens_saved}
    if not any(counts.values()):
        return []
    return _scale_bars([(t(f"render.chart.{name}", lang=lang), count) for name, count in counts.items()])


def describe_spending(run: Run, lang: str) -> str:
    """Return what the tokens cost, and for how many calls."""
    calls, hits = format_count(run.llm_calls), format_count(run.cache_hits)
    return t("render.chart.spent", lang=lang, cost=format_cost(run.cost_usd), calls=calls, hits=hits)


def _scale_bars(counts: Sequence[tuple[str, int]]) -> list[Bar]:
    most = max((count for _, count in counts), default=1) or 1
    return [
        Bar(name, _shorten(count), max(round(100 * count / most, 2), 2.0) if count else 0)
        for name, count in counts
    ]


def _shorten(count: int) -> str:
    """Return a number that fits beside a bar on a phone."""
    return format_count(count) if count < 1_000_000 else f"{count / 1e6:,.1f} M"
