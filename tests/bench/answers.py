"""How a model answers about real failures, asked to cite numbers of lines, as the product does, or to quote.

    python -m tests.bench.answers --url http://127.0.0.1:8080/v1 [--provider openai] [--logs 12] [FOLDER]

Prints a line a question, and then shares for each way of asking:

* valid: an answer by the schema came at the first try, whole
* cited: it cites at least one line or quotes at least one
* true: of those, all that is cited or quoted stands in the excerpt (numbers do by construction)
* grounded: cited and true, and title and root cause name nothing that the excerpt lacks

It asks a model for minutes or hours, so `make bench` leaves it out.
"""

import argparse
import asyncio
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from bifrost_flow.answer import Answer, parse_answer
from bifrost_flow.errors import ModelError
from bifrost_flow.evidence import group_chunks
from bifrost_flow.grounding import find_foreign_names
from bifrost_flow.prompts import Prompt, load_prompt
from connectors.extraction import extract_evidence
from connectors.models.choose import ModelSettings, choose_provider
from connectors.models.protocol import ModelRequest, Provider
from connectors.models.questions import Question, plan
from connectors.sources import find_sources

LOGS = Path(__file__).parents[1] / "data" / "logs"
NUMBERS, QUOTES = "numbers", "quotes"
_ASKS_FOR_NUMBERS = (
    "numbers of the lines that prove the cause, the most telling first, at most five. "
    "Only numbers that are shown."
)
_ASKS_FOR_QUOTES = (
    "the lines that prove the cause, quoted word for word, the most telling first, at most five."
)


def build_requests(question: Question, max_output_tokens: int) -> dict[str, ModelRequest]:
    """Return the same question in both ways."""
    own = replace(question.request, max_output_tokens=max_output_tokens)
    if _ASKS_FOR_NUMBERS not in own.system:
        raise SystemExit("the packaged prompt no longer asks for numbers in these words")
    properties = {**own.schema["properties"]}
    properties["evidence"] = {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": 5}
    quoting = replace(
        own,
        system=own.system.replace(_ASKS_FOR_NUMBERS, _ASKS_FOR_QUOTES),
        schema={**own.schema, "properties": properties},
    )
    return {NUMBERS: own, QUOTES: quoting}


def judge(way: str, text: str, question: Question) -> Counter[str]:
    """Return which of the marks an answer earns.

    Raises:
        ModelRefused: it is no answer.
    """
    quotes: list[str] = []
    if way == QUOTES:
        value: Any = json.loads(text)
        quotes = [str(quote) for quote in value["evidence"]]
        text = json.dumps({**value, "evidence": []})
    answer: Answer = parse_answer(text, question.n_lines)
    cited = bool(quotes or answer.evidence)
    # The number that stands before a line, and white space, may be told or not.
    told = [" ".join(re.sub(r"^\s*\d+\| ?", "", quote).split()) for quote in quotes]
    shown = " ".join(question.chunk.text.split())
    true = cited and all(quote and quote in shown for quote in told)
    named = find_foreign_names(f"{answer.title}\n{answer.root_cause}", question.chunk.text)
    return Counter(valid=1, cited=cited, true=true, grounded=true and not named)


async def ask(
    provider: Provider, request: ModelRequest, way: str, question: Question
) -> tuple[Counter[str], str]:
    """Return the marks of one answer, and why it got none."""
    try:
        reply = await provider.complete(request)
        return judge(way, reply.text, question), ""
    except (ModelError, ValueError, KeyError, TypeError) as error:
        return Counter(), " ".join(str(error).split())[:100]


async def measure(provider: Provider, questions: list[Question], max_output_tokens: int) -> None:
    """Ask all questions in both ways, and print what came of it."""
    totals: dict[str, Counter[str]] = {NUMBERS: Counter(), QUOTES: Counter()}
    for question in questions:
        for way, request in build_requests(question, max_output_tokens).items():
            marks, trouble = await ask(provider, request, way, question)
            totals[way] += Counter(asked=1) + marks
            earned = " ".join(mark for mark, count in marks.items() if count)
            print(f"{Path(question.chunk.path).name:45} {way:8} {earned or trouble}", flush=True)
    await provider.aclose()
    print(f"\n{'':10}{'asked':>7}{'valid':>7}{'cited':>7}{'true':>7}{'grounded':>10}")
    for way, total in totals.items():
        shares = [
            f"{total[mark] / max(1, total['asked']):.2f}" for mark in ("valid", "cited", "true", "grounded")
        ]
        print(f"{way:10}{total['asked']:>7}{shares[0]:>7}{shares[1]:>7}{shares[2]:>7}{shares[3]:>10}")


def main() -> None:
    """Read the logs, and ask about their failures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", default=str(LOGS))
    parser.add_argument("--provider", choices=["openai", "ollama"], default="openai")
    parser.add_argument("--url", required=True, help="of the model's server")
    parser.add_argument("--model")
    parser.add_argument("--logs", type=int, default=12, help="failures to ask about")
    parser.add_argument("--budget-tokens", type=int, default=600, help="of evidence a log")
    parser.add_argument("--max-output-tokens", type=int, default=400)
    options = parser.parse_args()
    settings = ModelSettings(
        ollama_url=options.url,
        ollama_model=options.model,
        openai_base_url=options.url,
        openai_model=options.model,
        timeout_s=600,
    )
    provider, note = choose_provider(options.provider, settings)
    print(note)
    sources, _, _ = find_sources([options.folder], max_bytes=None)
    groups = group_chunks(list(extract_evidence(tuple(sources), budget_tokens=options.budget_tokens)))
    prompt: Prompt = load_prompt()
    questions = plan(groups[: options.logs], provider, prompt, "en")
    asyncio.run(measure(provider, questions, options.max_output_tokens))


if __name__ == "__main__":
    main()
