"""What is asked about a group, under which key its answer is kept, and what becomes of the answer."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from bifrost_flow.answer import SCHEMA_VERSION, Answer, answer_schema, parse_answer
from bifrost_flow.cachekey import cache_key, identity_key
from bifrost_flow.errors import ModelRefused
from bifrost_flow.excerpt import count_tokens, cut_chunk, estimate_tokens
from bifrost_flow.grounding import is_grounded, look_up_evidence
from bifrost_flow.language import t
from bifrost_flow.prompts import Prompt, render_prompt
from bifrost_flow.records import CachedAnswer, Chunk, Finding, Group
from bifrost_flow.resighting import carry_over
from connectors.models.protocol import ModelDescription, ModelRequest, Provider

MAX_OUTPUT_TOKENS = 1536
# Kept free of the model's window for the chat template and the second part of a repair.
_SPARE_TOKENS = 512
MAX_LINES = 1_000_000  # of any excerpt, for reading an answer about another one


@dataclass(frozen=True, slots=True)
class Question:
    """What will be asked about one group; its text is made when needed, as there may be 100,000 of these."""

    group: Group
    chunk: Chunk  # the exemplar, cut to fit the model's window
    lines_cut: int  # lines of the exemplar that were left out or shortened for that
    prompt: Prompt
    language: str
    cache_key: str
    identity: str  # with the fingerprint the second key of an answer; empty where there is to be none
    tokens_estimate: int  # of the prompt, UTF-8 bytes / 4
    context_tokens: int

    @property
    def fingerprint(self) -> str:
        return self.group.fingerprint

    @property
    def n_lines(self) -> int:
        return self.chunk.text.count("\n") + 1

    @property
    def request(self) -> ModelRequest:
        system, user = render_prompt(self.prompt, self.chunk, self.language)
        schema = answer_schema(self.n_lines)
        return ModelRequest(system, user, schema, self.chunk, self.language, MAX_OUTPUT_TOKENS)


@dataclass(frozen=True, slots=True)
class GroupAnswer:
    """An answer to a question, from a model or from the cache."""

    question: Question
    answer: Answer
    provider: str
    model: str
    prompt_version: str
    cached: bool
    carried_over: bool  # from another sighting of the same failure
    tokens_in: int  # what it cost when it was paid for
    tokens_out: int


def plan(
    groups: Iterable[Group],
    provider: Provider,
    prompt: Prompt,
    language: str,
    *,
    redaction_version: str | None = None,
) -> list[Question]:
    """Return a question for each of `groups`, those with the most chunks first; calls nobody.

    Args:
        redaction_version: of the rules that took secrets out of the chunks; None for those in force.
    """
    if redaction_version is None:
        # Late: the evidence stage brings Polars along.
        from bifrost_flow.evidence import redact

        redaction_version = redact.VERSION
    description = provider.describe()
    identity = ""
    if description.carries_over:
        identity = identity_key(
            description,
            (prompt.system, prompt.user),
            language=language,
            schema_version=SCHEMA_VERSION,
            redaction_version=redaction_version,
        )
    frame = _measure_frame(prompt, language)
    ordered = sorted(groups, key=lambda group: (-len(group.chunks), group.fingerprint))
    return [
        _ask(group, description, prompt, language, frame, redaction_version, identity) for group in ordered
    ]


def _measure_frame(prompt: Prompt, language: str) -> int:
    """Return the tokens that a prompt takes without the log's lines."""
    nothing = Chunk("", "", 1, ((1, 1),), "critical", "unknown", 0.0, "", "", 0, "", 0, 1)
    return sum(estimate_tokens(text) for text in render_prompt(prompt, nothing, language))


def _ask(
    group: Group,
    description: ModelDescription,
    prompt: Prompt,
    language: str,
    frame: int,
    redaction_version: str,
    identity: str,
) -> Question:
    room = description.context_tokens - frame - min(MAX_OUTPUT_TOKENS, description.context_tokens // 3)
    chunk, lines_cut = cut_chunk(group.exemplar, max(1, room - min(_SPARE_TOKENS, room // 4)))
    system, user = render_prompt(prompt, chunk, language)
    key = cache_key(
        description, system, user, schema_version=SCHEMA_VERSION, redaction_version=redaction_version
    )
    tokens = count_tokens(system) + count_tokens(user)
    return Question(
        group, chunk, lines_cut, prompt, language, key, identity, tokens, description.context_tokens
    )


def read_cached(question: Question, cached: CachedAnswer) -> GroupAnswer:
    """Return the answer to `question` that was paid for earlier, for this text or another sighting.

    Raises:
        ModelRefused: what is kept is no answer to this question: ask again.
    """
    carried_over = cached.cache_key != question.cache_key
    if carried_over:
        given = parse_answer(cached.response, MAX_LINES)
        answer = carry_over(given, cached.sighting, question.chunk)
        if answer is None:
            raise ModelRefused(t("model.not_carried_over"))
    else:
        answer = parse_answer(cached.response, question.n_lines)
    return join_answer(question, answer, cached, cached=True, carried_over=carried_over)


def join_answer(
    question: Question, answer: Answer, kept: CachedAnswer, *, cached: bool, carried_over: bool = False
) -> GroupAnswer:
    """Return `answer` with the question that it belongs to, and with what it cost."""
    return GroupAnswer(
        question=question,
        answer=answer,
        provider=kept.provider,
        model=kept.model,
        prompt_version=kept.prompt_version,
        cached=cached,
        carried_over=carried_over,
        tokens_in=kept.tokens_in,
        tokens_out=kept.tokens_out,
    )


def read_first(question: Question, candidates: Sequence[CachedAnswer]) -> GroupAnswer | None:
    """Return the first of `candidates` that is an answer to `question`, or None: ask."""
    for cached in candidates:
        try:
            return read_cached(question, cached)
        except ModelRefused:
            # Of another sighting that differs too much, or no answer at all (a hand in the file, say).
            continue
    return None


def build_finding(
    answered: GroupAnswer, *, first_seen: datetime, last_seen: datetime, status: str = "new"
) -> Finding:
    """Return the finding that `answered` makes, its citations looked up and its names checked."""
    question, answer = answered.question, answered.answer
    explanation = answer.explanation
    if question.lines_cut:
        note = t(
            "model.lines_cut",
            lang=question.language,
            lines=question.lines_cut,
            tokens=question.context_tokens,
        )
        explanation = f"{explanation} {note}"
    if answered.carried_over:
        explanation = f"{explanation} {t('model.carried_over', lang=question.language)}"
    return Finding(
        fingerprint=question.fingerprint,
        status=status,
        title=answer.title,
        category=answer.category,
        severity=answer.severity,
        root_cause=answer.root_cause,
        explanation=explanation,
        suggestion=answer.suggestion,
        confidence=answer.confidence,
        evidence=look_up_evidence(question.chunk, answer.evidence, source=question.group.exemplar),
        grounded=is_grounded(answer, question.chunk),
        occurrences=len(question.group.chunks),
        files=len(question.group.paths),
        first_seen=first_seen,
        last_seen=last_seen,
        provider=answered.provider,
        model=answered.model,
        prompt=question.prompt.name,
        # Of this run: the same text may have had another version when the answer was paid for.
        prompt_version=question.prompt.version,
        cached=answered.cached,
        language=question.language,
    )


def sum_estimates(questions: Sequence[Question]) -> int:
    """Return the tokens that asking `questions` would take, for a dry run."""
    return sum(question.tokens_estimate for question in questions)
