"""How good the extractor and a model's answers are, against logs on which people marked the failure.

A label is met when all the lines that count are kept, at its own place or at one of its alternatives. The
numbers are those that `extract` is judged by: tokens are UTF-8 bytes / 4 of the text that is kept of a log.

What an answer must mention, and must not claim, is looked for in title, root cause, explanation and
suggestion together, as a substring: case folded, each run of white space one space. A paraphrase does not
count, and a negated claim ("no network failure") does: read the numbers as bounds, and compare them between
runs.
"""

import statistics
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bifrost_flow.evaluation_events import EventScores
from bifrost_flow.records import Chunk, FileEvidence, Finding, Group

ALL, CORE = "ALL", "CORE"  # headlines: every log; those labelled by people or tests, and not cut beforehand

# An answer that is this sure of itself and wrong misleads a reader; below it he is warned.
CONFIDENT = 0.7


@dataclass(frozen=True, slots=True)
class Place:
    """Where a label stands, as a person looks for it."""

    line_start: int
    line_end: int
    text: str  # its first line, or a signal's words; redacted


@dataclass(frozen=True, slots=True)
class Label:
    """What must be kept of a log: lines, or for a signal also its words."""

    shown: Place
    places: tuple[tuple[int, ...], ...]  # line numbers that count, at the label's place and at alternatives
    probes: tuple[str, ...] = ()  # any of these in the text stands for the lines
    partial: bool = True  # whether a part of the lines counts for that part
    cause: bool = True  # not a mere consequence, such as an exit code


@dataclass(frozen=True, slots=True)
class ExpectedAnswer:
    """What people say of a failure."""

    category: str | None = None
    must_mention: tuple[str, ...] = ()
    must_not_claim: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelledLog:
    """A log, and what people say of it."""

    path: str
    source: str  # where the log comes from; scores are given for each
    core: bool  # whether it counts for the headline CORE
    outcome: str | None  # passed, failed, or None where nobody says
    labels: tuple[Label, ...] = ()
    labelled_lines: frozenset[int] = frozenset()  # where a citation is right; optional labels included
    expected: ExpectedAnswer | None = None

    @property
    def failed(self) -> bool:
        """Whether there is a failure to explain."""
        return self.outcome != "passed" and bool(self.labels or self.expected or self.outcome)


@dataclass(frozen=True, slots=True)
class AnswerScore:
    """What one answer is worth; one that is missing or unusable has no merit, and claims nothing.

    None stands where the labels do not say what is right.
    """

    valid: bool
    title: str = ""
    category: str = ""
    confidence: float = 0.0
    cited: bool = False
    grounded: bool = False
    on_label: bool | None = None  # a citation is a labelled line
    category_right: bool | None = None
    mentioned: float | None = None  # share of what it must mention
    claimed: int | None = None  # things that it must not claim
    confident_error: bool | None = None  # at least CONFIDENT, and the category wrong or a false claim


@dataclass(frozen=True, slots=True)
class LogScore:
    """What the extractor kept of one log, and what was made of it. None: the labels say nothing of that."""

    path: str
    source: str
    core: bool
    recall: float | None  # mean over the labels of the share of lines kept
    full_hit: bool | None
    tokens: float
    rank: int | None  # of the first chunk that holds a cause; None where none does
    outcome: str | None
    outcome_found: str
    missed: tuple[Place, ...] = ()
    answer: AnswerScore | None = None  # None: not asked


@dataclass(frozen=True, slots=True)
class AnswerTotals:
    """Answers to the failing logs of a source; shares are of those asked where labels say."""

    asked: int
    valid: float
    cited: float
    grounded: float
    on_label: float | None
    category_right: float | None
    mentioned: float | None  # mean share of what must be mentioned
    claimed: int | None
    confident_errors: int | None


@dataclass(frozen=True, slots=True)
class SourceScore:
    """The scores of a source's logs, or of a headline's. Shares are 0…1; None where no label says."""

    logs: int  # with labels
    full_hit: float | None
    recall: float | None
    first: float | None  # share whose first-ranked chunk holds a cause
    reciprocal_rank: float | None  # mean; a log where no chunk holds one counts 0
    tokens_mean: float | None
    tokens_median: float | None
    tokens_max: float | None
    failed: int
    failed_right: int
    passed: int
    passed_right: int
    answers: AnswerTotals | None = None


@dataclass(frozen=True, slots=True)
class BudgetResult:
    """Scores at one budget, by headline and source, in the order to show them; of one model and prompt, where
    one was asked."""

    budget_tokens: int
    sources: Mapping[str, SourceScore]
    logs: tuple[LogScore, ...]
    provider: str | None = None
    model: str | None = None
    prompt: str | None = None
    prompt_version: str | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result of an evaluation."""

    run_id: str
    status: str  # one of records.RUN_STATUSES
    folder: str
    logs: int
    budgets: tuple[BudgetResult, ...]  # one for each budget, model and prompt
    events: EventScores | None = None  # None: not asked for
    provider: str | None = None  # None: no model was asked; several with commas between, as below
    model: str | None = None
    prompt: str | None = None
    prompt_version: str | None = None
    language: str = "en"
    llm_calls: int = 0
    cache_hits: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float = 0.0
    duration_s: float = 0.0
    mlflow: str = ""
    problems: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)


def score_log(log: LabelledLog, evidence: FileEvidence, answer: AnswerScore | None = None) -> LogScore:
    """Return what `evidence` keeps of what is marked in `log`."""
    text = "\n".join(chunk.text for chunk in evidence.chunks)
    kept = {number for chunk in evidence.chunks for number in chunk.line_numbers()}
    shares = [measure_share(label, kept, text) for label in log.labels]
    return LogScore(
        path=log.path,
        source=log.source,
        core=log.core,
        recall=sum(shares) / len(shares) if shares else None,
        full_hit=all(share == 1 for share in shares) if shares else None,
        tokens=len(text.encode()) / 4,
        rank=find_rank(log.labels, evidence.chunks),
        outcome=log.outcome,
        outcome_found=evidence.file.outcome,
        missed=tuple(label.shown for label, share in zip(log.labels, shares, strict=True) if share < 1),
        answer=answer,
    )


def measure_share(label: Label, kept: Collection[int], text: str) -> float:
    """Return how much of `label` is among the lines `kept`, whose text is `text`: 0…1, or only 0 and 1."""
    if any(probe in text for probe in label.probes):
        return 1.0
    share = _measure_lines(label, kept)
    return share if label.partial else float(share == 1)


def _measure_lines(label: Label, kept: Collection[int]) -> float:
    return max((sum(number in kept for number in place) / len(place) for place in label.places), default=0.0)


def find_rank(labels: Iterable[Label], chunks: Sequence[Chunk]) -> int | None:
    """Return the rank of the first chunk that holds a cause, None where none does.

    A label is in the chunk that has the most of its lines. Consequences count where nothing else is marked.
    """
    marked = list(labels)
    causes = [label for label in marked if label.cause] or marked
    ranks = []
    for label in causes:
        best_share, best_rank = 0.0, None
        for chunk in sorted(chunks, key=lambda chunk: chunk.rank):
            found = any(probe in chunk.text for probe in label.probes)
            share = 1.0 if found else _measure_lines(label, set(chunk.line_numbers()))
            if share > best_share:
                best_share, best_rank = share, chunk.rank
        if best_rank is not None:
            ranks.append(best_rank)
    return min(ranks, default=None)


def pick_question(evidence: FileEvidence) -> Group | None:
    """Return the first-ranked chunk of a log as a group of its own: each log is asked about once."""
    best = min(evidence.chunks, key=lambda chunk: chunk.rank, default=None)
    return Group(best.fingerprint, best, (best,)) if best else None


def score_answer(log: LabelledLog, finding: Finding | None) -> AnswerScore:
    """Return what an answer about `log` is worth; None is a call that failed, or no evidence to ask about."""
    expected = log.expected or ExpectedAnswer()
    judged = bool(expected.category or expected.must_not_claim)
    if finding is None:
        return AnswerScore(
            valid=False,
            on_label=False if log.labelled_lines else None,
            category_right=False if expected.category else None,
            mentioned=0.0 if expected.must_mention else None,
            claimed=0 if expected.must_not_claim else None,
            confident_error=False if judged else None,
        )
    said = _fold(" ".join((finding.title, finding.root_cause, finding.explanation, finding.suggestion)))
    wanted = expected.must_mention
    claimed = sum(_fold(claim) in said for claim in expected.must_not_claim)
    right = finding.category == expected.category if expected.category else None
    wrong = right is False or claimed > 0
    lines = {each.line for each in finding.evidence}
    return AnswerScore(
        valid=True,
        title=finding.title,
        category=finding.category,
        confidence=finding.confidence,
        cited=bool(finding.evidence),
        grounded=finding.grounded,
        on_label=bool(lines & log.labelled_lines) if log.labelled_lines else None,
        category_right=right,
        mentioned=sum(_fold(each) in said for each in wanted) / len(wanted) if wanted else None,
        claimed=claimed if expected.must_not_claim else None,
        confident_error=finding.confidence >= CONFIDENT and wrong if judged else None,
    )


def _fold(text: str) -> str:
    return " ".join(text.casefold().split())


def sum_up(scores: Sequence[LogScore]) -> dict[str, SourceScore]:
    """Return the scores by headline and source, headlines first; CORE is left out where no log counts."""
    groups: dict[str, list[LogScore]] = {ALL: list(scores), CORE: [score for score in scores if score.core]}
    for source in sorted({score.source for score in scores}):
        groups[source] = [score for score in scores if score.source == source]
    return {name: _sum_up_group(group) for name, group in groups.items() if group}


def _sum_up_group(scores: Sequence[LogScore]) -> SourceScore:
    labelled = [score for score in scores if score.recall is not None]
    failed = [score for score in scores if score.outcome == "failed"]
    passed = [score for score in scores if score.outcome == "passed"]
    tokens = [score.tokens for score in labelled]
    return SourceScore(
        logs=len(labelled),
        full_hit=_mean([bool(score.full_hit) for score in labelled]),
        recall=_mean([score.recall or 0.0 for score in labelled]),
        first=_mean([score.rank == 1 for score in labelled]),
        reciprocal_rank=_mean([1 / score.rank if score.rank else 0.0 for score in labelled]),
        tokens_mean=_mean(tokens),
        tokens_median=statistics.median(tokens) if tokens else None,
        tokens_max=max(tokens, default=None),
        failed=len(failed),
        failed_right=sum(score.outcome_found == "failed" for score in failed),
        passed=len(passed),
        passed_right=sum(score.outcome_found == "passed" for score in passed),
        answers=_sum_up_answers([score.answer for score in scores if score.answer]),
    )


def _sum_up_answers(answers: Sequence[AnswerScore]) -> AnswerTotals | None:
    if not answers:
        return None

    def judged(read: Callable[[AnswerScore], float | None]) -> list[float]:
        return [float(value) for answer in answers if (value := read(answer)) is not None]

    def share(read: Callable[[AnswerScore], float | None]) -> float | None:
        return _mean(judged(read))

    def count(read: Callable[[AnswerScore], float | None]) -> int | None:
        return int(sum(values)) if (values := judged(read)) else None

    return AnswerTotals(
        asked=len(answers),
        valid=share(lambda answer: answer.valid) or 0.0,
        cited=share(lambda answer: answer.cited) or 0.0,
        grounded=share(lambda answer: answer.grounded) or 0.0,
        on_label=share(lambda answer: answer.on_label),
        category_right=share(lambda answer: answer.category_right),
        mentioned=share(lambda answer: answer.mentioned),
        claimed=count(lambda answer: answer.claimed),
        confident_errors=count(lambda answer: answer.confident_error),
    )


def _mean(values: Sequence[float]) -> float | None:
    return statistics.mean(map(float, values)) if values else None


def list_metrics(result: BudgetResult) -> dict[str, float]:
    """Return the numbers of a budget by dotted name, such as `CORE.full_hit` and `ALL.answers.valid`."""
    numbers: dict[str, float] = {}
    for source, score in result.sources.items():
        values = asdict(score)
        answers = values.pop("answers") or {}
        values |= {f"answers.{name}": value for name, value in answers.items()}
        numbers |= {f"{source}.{name}": value for name, value in values.items() if value is not None}
    return numbers
