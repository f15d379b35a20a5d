"""`extract`, `events` and `filter`: the evidence stage alone, without Prefect or a model."""

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from bifrost_flow.errors import SettingsError
from bifrost_flow.language import t
from bifrost_flow.records import Chunk, Problem
from bifrost_flow.render.defuse import make_visible, put_on_one_line

if TYPE_CHECKING:
    from bifrost_flow.evidence.baseline import Baseline
    from bifrost_flow.evidence.events import Event

Paths = Annotated[list[str], typer.Argument(metavar="PATH…", help=t("evidence.paths"), show_default=False)]


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command("extract", help=t("evidence.extract.help"))(extract)
    app.command("events", help=t("evidence.events.help"))(events)
    app.command("filter", help=t("evidence.filter.help"))(filter_events)


def report_problems(problems: list[Problem]) -> None:
    """Write a line for each problem to standard error."""
    for problem in problems:
        sys.stderr.write(put_on_one_line(problem.message) + "\n")


def render_chunk(chunk: Chunk) -> str:
    """Return the JSON line of a chunk, in the shape that other programs rely on."""
    shape = {
        "path": chunk.path,
        "rank": chunk.rank,
        "lines": [list(span) for span in chunk.spans],
        "line_start": chunk.line_start,
        "line_end": chunk.line_end,
        "severity": chunk.severity,
        "category": chunk.category,
        "score": chunk.score,
        "fingerprint": chunk.fingerprint,
        "tokens": chunk.tokens,
        "text": chunk.text,
    }
    return json.dumps(shape, ensure_ascii=False)


def print_chunk(chunk: Chunk) -> None:
    """Print a chunk for a person, with the number of each line; nothing in a log or its name steers the
    terminal."""
    place = f"{put_on_one_line(chunk.path)}:{chunk.line_start}-{chunk.line_end}"
    print(f"== {place}  {chunk.category}  {chunk.score}")
    for number, line in zip(chunk.line_numbers(), chunk.text.split("\n"), strict=False):
        print(f"{number:>7}  {make_visible(line)}")


def extract(
    paths: Paths,
    budget_tokens: Annotated[int, typer.Option("--budget-tokens", min=50, help=t("evidence.budget"))] = 2000,
    output: Annotated[str, typer.Option("--format", help=t("evidence.format"))] = "text",
    baseline: Annotated[list[str] | None, typer.Option("--baseline", help=t("evidence.baseline"))] = None,
) -> None:
    """Print the lines of each log that tell why it failed."""
    if output not in ("jsonl", "text"):
        raise typer.BadParameter(
            t("evidence.bad_format", value=output, choices="jsonl, text"), param_hint="--format"
        )
    from connectors.extraction import extract_evidence
    from connectors.sources import find_sources, remove_spooled

    good = _read_baseline(baseline) if baseline else None
    sources, _, problems = find_sources(paths)
    baselines = dict.fromkeys((source.path for source in sources), good) if good else {}
    try:
        for evidence in extract_evidence(sources, budget_tokens=budget_tokens, baselines=baselines):
            if evidence.file.error:
                problems.append(Problem("ingest", evidence.file.path, evidence.file.error))
            for chunk in evidence.chunks:
                if output == "jsonl":
                    print(render_chunk(chunk))
                else:
                    print_chunk(chunk)
    finally:
        remove_spooled(sources)
    report_problems(problems)
    if problems:
        raise typer.Exit(3)


def _read_baseline(targets: list[str]) -> "Baseline":
    from connectors.baselines import read_baseline

    try:
        return read_baseline(targets)
    except SettingsError as error:
        raise typer.BadParameter(str(error), param_hint="--baseline") from error


def render_event(path: str, event: "Event") -> str:
    """Return the JSON line of an event, in the shape that other programs rely on."""
    when = event.timestamp
    shape = {
        "path": path,
        "line_start": event.line_start,
        "line_end": event.line_end,
        "timestamp": when.isoformat().replace("+00:00", "Z") if when else None,
        "severity": event.severity,
        "message": event.message,
        "template": event.template,
        "fingerprint": event.fingerprint,
    }
    return json.dumps(shape, ensure_ascii=False)


def events(
    paths: Paths,
    output: Annotated[str, typer.Option("--format", help=t("evidence.format"))] = "text",
) -> None:
    """Print the events of each log: lines with their time, level and what goes on with them."""
    if output not in ("jsonl", "text"):
        raise typer.BadParameter(
            t("evidence.bad_format", value=output, choices="jsonl, text"), param_hint="--format"
        )
    from bifrost_flow.evidence.events import split_events
    from connectors.extraction import read_lines
    from connectors.sources import ReadFacts, find_sources, remove_spooled

    sources, _, problems = find_sources(paths)
    try:
        for source in sources:
            facts = ReadFacts()
            for event in split_events(read_lines(source, facts)):
                print(render_event(source.path, event) if output == "jsonl" else make_visible(event.text))
            if facts.error:
                problems.append(Problem("ingest", source.path, facts.error))
    finally:
        remove_spooled(sources)
    report_problems(problems)
    if problems:
        raise typer.Exit(3)


def filter_events(
    paths: Paths,
    severity: Annotated[str | None, typer.Option("--severity", help=t("evidence.filter.severity"))] = None,
    keyword: Annotated[list[str] | None, typer.Option("--keyword", help=t("evidence.filter.keyword"))] = None,
    regex: Annotated[bool, typer.Option("--regex", help=t("evidence.filter.regex"))] = False,
    since: Annotated[str | None, typer.Option("--since", help=t("evidence.filter.since"))] = None,
    until: Annotated[str | None, typer.Option("--until", help=t("evidence.filter.until"))] = None,
    stats: Annotated[bool, typer.Option("--stats", help=t("evidence.filter.stats"))] = False,
    output: Annotated[str, typer.Option("--format", help=t("evidence.format"))] = "text",
) -> None:
    """Print the events that have a level, words or a time; events of several lines are kept or dropped
    whole."""
    if output not in ("jsonl", "json", "text"):
        message = t("evidence.bad_format", value=output, choices="jsonl, json, text")
        raise typer.BadParameter(message, param_hint="--format")
    from bifrost_flow.evidence.events import split_events
    from bifrost_flow.evidence.filtering import EventStats, build_filter
    from connectors.extraction import read_lines
    from connectors.sources import ReadFacts, find_sources, remove_spooled

    try:
        wanted = build_filter(
            severity=severity, keywords=keyword or [], regex=regex, since=since, until=until
        )
    except SettingsError as error:
        raise typer.BadParameter(str(error)) from error
    sources, _, problems = find_sources(paths)
    counts = EventStats()
    try:
        for source in sources:
            facts = ReadFacts()
            for event in split_events(read_lines(source, facts)):
                if not wanted.keeps(event):
                    continue
                counts.add(event)
                if not stats:
                    text = output == "text"
                    print(make_visible(event.text) if text else render_event(source.path, event))
            if facts.error:
                problems.append(Problem("ingest", source.path, facts.error))
    finally:
        remove_spooled(sources)
    if stats:
        print_stats(counts.summarise(), as_json=output != "text")
    report_problems(problems)
    if problems:
        raise typer.Exit(3)


def print_stats(summary: dict[str, object], *, as_json: bool) -> None:
    """Print counts as one JSON object or as a table with bars."""
    if as_json:
        print(json.dumps(summary, ensure_ascii=False))
        return
    for name, value in summary.items():
        if not isinstance(value, dict):
            print(f"{t(f'evidence.stats.{name}')}: {value}")
            continue
        print(f"\n{t(f'evidence.stats.{name}')}")
        most = max(value.values(), default=1)
        for key, count in value.items():
            print(f"{count:>9}  {'█' * max(1, round(24 * count / most)):<24}  {put_on_one_line(key, 100)}")
