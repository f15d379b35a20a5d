"""`extract`, `events` and `filter`: the evidence stage alone, without Prefect or a model."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bifrost_flow.cli.filters import Keywords, Regex, Severity, Since, Until, read_filter
from bifrost_flow.cli.output import Quiet, reach_buckets
from bifrost_flow.cli.remote import open_ci_access, require_ci_access
from bifrost_flow.errors import SettingsError
from bifrost_flow.language import set_language, t
from bifrost_flow.records import Chunk, Problem
from bifrost_flow.render.defuse import escape_unprintable, make_visible, put_on_one_line

if TYPE_CHECKING:
    import polars as pl

    from bifrost_flow.evidence.baseline import Baseline
    from bifrost_flow.evidence.events import EventBlock
    from bifrost_flow.evidence.filtering import EventFilter
    from connectors.sources import ReadFacts, Source

Paths = Annotated[list[str], typer.Argument(metavar="PATH…", help=t("evidence.paths"), show_default=False)]
Lang = Annotated[str | None, typer.Option("--lang", help=t("app.lang"))]


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command("extract", help=t("evidence.extract.help"))(extract)
    app.command("events", help=t("evidence.events.help"))(events)
    app.command("filter", help=t("evidence.filter.help"))(filter_events)


def report_problems(problems: list[Problem]) -> None:
    """Write a line for each problem to standard error."""
    for problem in problems:
        sys.stderr.write(put_on_one_line(problem.message) + "\n")


def begin(output: str, choices: Sequence[str], lang: str | None) -> None:
    """Refuse an unknown format or language, and speak the language that was asked for."""
    if output not in choices:
        message = t("evidence.bad_format", value=output, choices=", ".join(choices))
        raise typer.BadParameter(message, param_hint="--format")
    if lang is not None:
        try:
            set_language(lang)
        except SettingsError as error:
            raise typer.BadParameter(str(error), param_hint="--lang") from error


def _reach(paths: Iterable[str]) -> None:
    """Reach the buckets that `paths` name as the settings say."""
    try:
        reach_buckets(paths)
    except SettingsError as error:
        raise typer.BadParameter(str(error)) from error


def choose(**options: Any) -> "EventFilter | None":
    """Return the filter that the options ask for, or refuse one that can't be understood."""
    try:
        return read_filter(options)
    except SettingsError as error:
        raise typer.BadParameter(str(error)) from error


def end(problems: list[Problem], notes: list[str], *, quiet: bool) -> None:
    """Tell what went wrong, and unless `quiet` what was only mended; the exit code is that of the former."""
    for note in () if quiet else notes:
        sys.stderr.write(put_on_one_line(note) + "\n")
    report_problems(problems)
    if problems:
        raise typer.Exit(3)


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
    severity: Severity = None,
    keyword: Keywords = None,
    regex: Regex = False,
    since: Since = None,
    until: Until = None,
    lang: Lang = None,
    quiet: Quiet = False,
) -> None:
    """Print the lines of each log that tell why it failed."""
    begin(output, ("jsonl", "text"), lang)
    wanted = choose(severity=severity, keywords=keyword, regex=regex, since=since, until=until)
    from bifrost_flow.cli.progress import Reading
    from connectors.extraction import extract_evidence
    from connectors.sources import find_sources, remove_spooled

    _reach([*paths, *(baseline or ())])
    good = _read_baseline(baseline) if baseline else None
    sources, _, problems = find_sources(paths, ci=require_ci_access(paths))
    baselines = dict.fromkeys((source.path for source in sources), good) if good else {}
    notes: list[str] = []
    try:
        with Reading(sum(source.size for source in sources), quiet=quiet) as reading:
            found = extract_evidence(
                sources,
                budget_tokens=budget_tokens,
                baselines=baselines,
                wanted=wanted,
                hashed=False,
                bytes_done=reading.advance,
            )
            for evidence in found:
                if evidence.file.error and evidence.file.status == "read":
                    notes.append(evidence.file.error)
                elif evidence.file.error:
                    problems.append(Problem("ingest", evidence.file.path, evidence.file.error))
                if evidence.chunks:
                    reading.make_way()
                for chunk in evidence.chunks:
                    if output == "jsonl":
                        print(escape_unprintable(render_chunk(chunk)))
                    else:
                        print_chunk(chunk)
    finally:
        remove_spooled(sources)
    end(problems, notes, quiet=quiet)


def _read_baseline(targets: list[str]) -> "Baseline":
    from connectors.baselines import read_baseline

    try:
        return read_baseline(targets, ci=open_ci_access(*targets))
    except SettingsError as error:
        raise typer.BadParameter(str(error), param_hint="--baseline") from error


def render_events(path: str, events: "pl.DataFrame") -> str:
    """Return events (`events.EVENT_SCHEMA`) as JSON lines, in the shape that other programs rely on."""
    import polars as pl

    shape = pl.struct(
        pl.lit(path).alias("path"),
        "line_start",
        "line_end",
        pl.col("timestamp").dt.to_string("%Y-%m-%dT%H:%M:%S%.fZ"),
        "severity",
        "message",
        "template",
        "fingerprint",
    )
    lines = events.select(shape.struct.json_encode()).to_series()
    return "".join(f"{line}\n" for line in lines)


def _read_blocks(
    paths: Sequence[str], problems: list[Problem], notes: list[str], *, quiet: bool, silent: bool = False
) -> Iterator[tuple[str, "EventBlock"]]:
    """Yield the events of all logs that `paths` name, with the path of each, and collect what went wrong.

    `silent` if nothing is printed of the events before they are all read.
    """
    from bifrost_flow.cli.progress import Reading
    from bifrost_flow.evidence.events import split_events
    from connectors.extraction import read_line_blocks
    from connectors.sources import ReadFacts, fetch_ahead, find_sources, remove_spooled

    _reach(paths)
    sources, _, unread = find_sources(paths, ci=require_ci_access(paths))
    problems.extend(unread)
    try:
        with Reading(sum(source.size for source in sources), quiet=quiet) as reading:
            for source in fetch_ahead(sources):
                facts = ReadFacts()
                lines = read_line_blocks(source, facts, bytes_done=reading.advance)
                for block in split_events(lines):
                    if not silent:
                        reading.make_way()
                    yield source.path, block
                _judge(source, facts, problems, notes)
    finally:
        remove_spooled(sources)


def _judge(source: "Source", facts: "ReadFacts", problems: list[Problem], notes: list[str]) -> None:
    if facts.error and facts.status == "read":
        notes.append(facts.error)
    elif facts.error:
        problems.append(Problem("ingest", source.path, facts.error))


def _print_block(path: str, block: "EventBlock", kept: "pl.Series | None", *, as_text: bool) -> None:
    from bifrost_flow.evidence.filtering import mark_kept_lines

    if not as_text:
        text = render_events(path, block.events if kept is None else block.events.filter(kept))
        sys.stdout.write(escape_unprintable(text))
        return
    lines = block.lines if kept is None else block.lines.filter(mark_kept_lines(block, kept))
    sys.stdout.write("".join(f"{make_visible(line)}\n" for line in lines))


def events(
    paths: Paths,
    output: Annotated[str, typer.Option("--format", help=t("evidence.format"))] = "text",
    lang: Lang = None,
    quiet: Quiet = False,
) -> None:
    """Print the events of each log: lines with their time, level and what goes on with them."""
    begin(output, ("jsonl", "text"), lang)
    problems: list[Problem] = []
    notes: list[str] = []
    for path, block in _read_blocks(paths, problems, notes, quiet=quiet):
        _print_block(path, block, None, as_text=output == "text")
    end(problems, notes, quiet=quiet)


def filter_events(
    paths: Paths,
    severity: Severity = None,
    keyword: Keywords = None,
    regex: Regex = False,
    since: Since = None,
    until: Until = None,
    stats: Annotated[bool, typer.Option("--stats", help=t("evidence.filter.stats"))] = False,
    output: Annotated[str, typer.Option("--format", help=t("evidence.filter.format"))] = "text",
    lang: Lang = None,
    quiet: Quiet = False,
) -> None:
    """Print the events that have a level, words or a time; events of several lines are kept or dropped
    whole."""
    begin(output, ("jsonl", "json", "text"), lang)
    wanted = choose(severity=severity, keywords=keyword, regex=regex, since=since, until=until)
    from bifrost_flow.evidence.filtering import EventStats

    problems: list[Problem] = []
    notes: list[str] = []
    counts = EventStats()
    for path, block in _read_blocks(paths, problems, notes, quiet=quiet, silent=stats):
        kept = wanted.keeps(block) if wanted else None
        if stats:
            counts.add(block.events if kept is None else block.events.filter(kept))
        else:
            _print_block(path, block, kept, as_text=output == "text")
    if stats:
        from bifrost_flow.cli.statistics import print_stats

        print_stats(counts.summarise(), as_json=output != "text")
    end(problems, notes, quiet=quiet)
