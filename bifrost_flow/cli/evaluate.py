"""`evaluate`: score the extractor, and a model's answers, on logs on which people marked the failure."""

import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from bifrost_flow.cli.failures import exit_on_errors
from bifrost_flow.cli.output import Quiet, Verbose, apply_output_settings
from bifrost_flow.errors import SettingsError
from bifrost_flow.language import t
from bifrost_flow.render.defuse import put_on_one_line
from bifrost_flow.summary import EXIT_CODES

MAX_SHOWN = 120  # characters of a missed label


class Output(StrEnum):
    table = "table"
    json = "json"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("evaluate", help=t("evaluate.help"))(evaluate)


def evaluate(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help=t("evaluate.folder"))],
    budget: Annotated[list[str] | None, typer.Option("--budget", "-b", help=t("evaluate.budget"))] = None,
    events: Annotated[bool, typer.Option("--events", help=t("evaluate.events"))] = False,
    provider: Annotated[str | None, typer.Option(help=t("evaluate.provider"))] = None,
    models: Annotated[list[str] | None, typer.Option("--model", help=t("evaluate.model"))] = None,
    prompts: Annotated[list[str] | None, typer.Option("--prompt", help=t("evaluate.prompt"))] = None,
    misses: Annotated[bool, typer.Option("--misses", help=t("evaluate.misses"))] = False,
    output: Annotated[Output, typer.Option("--format", "-f", help=t("tables.detail"))] = Output.table,
    warehouse: Annotated[str | None, typer.Option("--warehouse", "-w", help=t("evaluate.warehouse"))] = None,
    project: Annotated[str | None, typer.Option("--project", "-p", help=t("tables.project"))] = None,
    lang: Annotated[str | None, typer.Option(help=t("app.lang"))] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help=t("run.concurrency"))] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help=t("run.no_cache"))] = False,
    quiet: Quiet = False,
    _verbose: Verbose = False,
) -> None:
    with exit_on_errors(at_once=True):
        parameters = {
            "folder": folder,
            "budgets": parse_budgets(budget or ()) or None,
            "events": events,
            "warehouse": warehouse,
            "project": project,
            "provider": provider,
            "models": models or None,
            "prompts": prompts or None,
            "lang": lang,
            "concurrency": concurrency,
            "use_cache": not no_cache,
        }
        done = _run_evaluation(parameters, quiet=quiet)
        if output is Output.json:
            from bifrost_flow.cli.grid import write_json

            write_json(done)
        else:
            _show(done, misses=misses)
        raise typer.Exit(EXIT_CODES[done["status"]])


def parse_budgets(words: Sequence[str]) -> list[int]:
    """Return the numbers of tokens in `words`, each of which may hold several with commas between.

    Raises:
        SettingsError: one is no number.
    """
    numbers = [number for word in words for number in word.split(",") if number.strip()]
    try:
        return [int(number) for number in numbers]
    except ValueError as error:
        raise SettingsError(t("evaluate.bad_budget", value=repr(",".join(words)))) from error


def _run_evaluation(parameters: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """Run the flow here and return its result."""
    from bifrost_flow.cli.progress import show_progress
    from bifrost_flow.cli.run import call_flow, check_prompt
    from bifrost_flow.cli.session import PrefectSession
    from bifrost_flow.progress import watch
    from bifrost_flow.settings import load_settings
    from connectors.labels import check_labelled_folder
    from connectors.tracking_process import preload

    named = {"warehouse", "project", "provider", "lang"}
    settings = load_settings({name: parameters[name] for name in named})
    apply_output_settings(settings)
    check_labelled_folder(parameters["folder"])
    for name in parameters["prompts"] or ():
        check_prompt(name, settings)
    listener, shown = show_progress(quiet=quiet)
    with PrefectSession() as session:
        if settings.mlflow.enabled:
            preload()
        from flows.evaluate import evaluate as flow

        session.wait()
        with shown:
            watch(listener)
            return call_flow(flow, parameters)


def _show(done: dict[str, Any], *, misses: bool) -> None:
    from bifrost_flow.cli.grid import print_table

    # What the extractor keeps is the same whoever is asked about it.
    budgets = list({result["budget_tokens"]: result for result in done["budgets"]}.values())
    _print_scores(print_table, _pair_sources(budgets))
    if done["provider"]:
        print()
        print(t("evaluate.asked", **{name: put_on_one_line(str(value)) for name, value in done.items()}))
        _print_answers(print_table, done["budgets"])
    if done["events"]:
        print()
        _print_events(print_table, done["events"])
    if misses:
        for result in budgets:
            _print_misses(result)
        if done["events"]:
            _print_wrong_events(done["events"])
    print()
    print(t("run.mlflow", detail=done["mlflow"]))
    if done["problems"]:
        print(t("run.problems"), file=sys.stderr)
        for problem in done["problems"]:
            print(f"  {put_on_one_line(problem)}", file=sys.stderr)


def _pair_sources(results: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Return source, result and scores, the budgets of a source one below the other: its curve."""
    sources = list(dict.fromkeys(name for result in results for name in result["sources"]))
    return [
        (name, result, result["sources"][name])
        for name in sources
        for result in results
        if name in result["sources"]
    ]


def _print_scores(
    print_table: Callable[..., None], rows: list[tuple[str, dict[str, Any], dict[str, Any]]]
) -> None:
    names = ("source", "budget", "logs", "full_hit", "recall", "first", "reciprocal_rank")
    names = (*names, "tokens_mean", "tokens_max", "failed", "passed")
    print_table(
        [t(f"evaluate.column.{name}") for name in names],
        [
            [
                put_on_one_line(source),
                f"{result['budget_tokens']:,}",
                f"{score['logs']:,}",
                *(_show_share(score[name]) for name in ("full_hit", "recall", "first", "reciprocal_rank")),
                *(_show_count(score[name]) for name in ("tokens_mean", "tokens_max")),
                *(_show_right(score, name) for name in ("failed", "passed")),
            ]
            for source, result, score in rows
        ],
        dispensable=(6, 8, 10),
    )


def _print_answers(print_table: Callable[..., None], results: list[dict[str, Any]]) -> None:
    # Who answered is told in each line only where there are several.
    points = [name for name in ("model", "prompt") if len({result[name] for result in results}) > 1]
    shares = ("valid", "cited", "grounded", "on_label", "category_right", "mentioned")
    counts = ("claimed", "confident_errors")
    print_table(
        [t(f"evaluate.column.{name}") for name in ("source", "budget", *points, "asked", *shares, *counts)],
        [
            [
                put_on_one_line(source),
                f"{result['budget_tokens']:,}",
                *(put_on_one_line(result[name]) for name in points),
                f"{answers['asked']:,}",
                *(_show_share(answers[name]) for name in shares),
                *(_show_count(answers[name]) for name in counts),
            ]
            for source, result, score in _pair_sources(results)
            if (answers := score["answers"])
        ],
    )


def _print_events(print_table: Callable[..., None], events: dict[str, Any]) -> None:
    signatures = events["signatures"]
    rows = [
        ("boundaries", events["logs"], events["boundaries_f1"]),
        ("times", events["times"], events["times_right"]),
        ("levels", events["levels"], events["levels_right"]),
        ("grouping", len(events["grouping"]), events["grouping_accuracy"]),
        ("grouping_f1", len(events["grouping"]), events["grouping_f1"]),
        *([("signatures", signatures["crashes"], signatures["f1"])] if signatures else []),
    ]
    print_table(
        [t(f"evaluate.column.{name}") for name in ("events", "judged", "score")],
        [
            [t(f"evaluate.event.{name}"), f"{judged:,}", _show_share(score)]
            for name, judged, score in rows
            if judged
        ],
    )


def _print_wrong_events(events: dict[str, Any]) -> None:
    print()
    print(t("evaluate.wrong_events", count=len(events["missed"])))
    for each in events["missed"]:
        print(f"  {put_on_one_line(each, MAX_SHOWN)}")
    for log in events["grouping"]:
        name = put_on_one_line(log["name"])
        print(f"  {_show_share(log['accuracy'])}  {name}  {log['groups_found']:,} / {log['groups']:,}")


def _print_misses(result: dict[str, Any]) -> None:
    missed = [log for log in result["logs"] if log["full_hit"] is False]
    print()
    print(t("evaluate.missed", count=len(missed), budget=f"{result['budget_tokens']:,}"))
    for log in missed:
        print(f"  {_show_share(log['recall'])}  {put_on_one_line(log['path'])}")
        for label in log["missed"]:
            lines = f"{label['line_start']}-{label['line_end']}" if label["line_start"] else "–"
            print(f"         {lines:>13}  {put_on_one_line(label['text'], MAX_SHOWN)}")


def _show_share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _show_count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _show_right(score: dict[str, Any], outcome: str) -> str:
    return f"{score[f'{outcome}_right']}/{score[outcome]}" if score[outcome] else "–"
