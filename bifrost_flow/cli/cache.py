"""`cache`: the answers that were paid for, shared by all runs, projects and processes of a warehouse."""

import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from bifrost_flow.age import parse_age
from bifrost_flow.cli.tables import Detail, LangOption, Output, WarehouseOption, opened
from bifrost_flow.errors import SettingsError
from bifrost_flow.language import t

ProviderOption = Annotated[str | None, typer.Option(help=t("cache.provider"))]
ModelOption = Annotated[str | None, typer.Option(help=t("cache.model"))]

_SHORT_KEY = 15  # `k1:` and 12 hex digits


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    cache = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=t("cache.help"))
    cache.command("stats", help=t("cache.stats.help"))(show_stats)
    cache.command("list", help=t("cache.list.help"))(list_answers)
    cache.command("prune", help=t("cache.prune.help"))(prune)
    app.add_typer(cache, name="cache")


def show_stats(
    warehouse: WarehouseOption = None,
    output: Annotated[Detail, typer.Option("--format", "-f", help=t("tables.detail"))] = Detail.table,
    lang: LangOption = None,
) -> None:
    with opened(warehouse, lang) as store:
        models = store.query_named("cache", "summarise_cache").as_dicts()
        (savings,) = store.query_named("cache", "sum_savings").as_dicts()
        stats = {
            "answers": sum(model["answers"] for model in models),
            "bytes": store.measure("cache"),
            **savings,
            "tokens_in": sum(model["tokens_in"] or 0 for model in models),
            "tokens_out": sum(model["tokens_out"] or 0 for model in models),
            "oldest": min((model["oldest"] for model in models), default=None),
            "newest": max((model["newest"] for model in models), default=None),
            "warehouse": store.location,
        }
        if output is Detail.json:
            from bifrost_flow.cli.grid import write_json

            write_json(stats | {"models": models})
        else:
            _print_stats(stats, models)


def list_answers(
    warehouse: WarehouseOption = None,
    provider: ProviderOption = None,
    model: ModelOption = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help=t("cache.limit"))] = 20,
    output: Annotated[Output, typer.Option("--format", "-f", help=t("tables.format"))] = Output.table,
    lang: LangOption = None,
) -> None:
    with opened(warehouse, lang) as store:
        from bifrost_flow.cli.grid import format_cell, print_table, write_rows
        from bifrost_flow.render.facts import format_count, format_time

        found = store.query_named(
            "cache", "list_answers", {"provider": provider, "model": model, "limit": limit}
        )
        if output is not Output.table:
            write_rows(found.columns, found.rows, output)
            return
        if not found.rows:
            print(t("cache.empty", warehouse=store.location), file=sys.stderr)
            return
        names = ("key", "created", "model", "prompt_version", "tokens_in", "tokens_out", "title")
        rows = [
            [
                answer["cache_key"][:_SHORT_KEY],
                format_time(answer["created_at"]),
                format_cell(f"{answer['provider']} {answer['model']}"),
                format_cell(answer["prompt_version"]),
                format_count(answer["tokens_in"] or 0),
                format_count(answer["tokens_out"] or 0),
                format_cell(answer["title"]),
            ]
            for answer in found.as_dicts()
        ]
        print_table([t(f"cache.column.{name}") for name in names], rows, dispensable=[3, 4, 5, 0])


def prune(
    older_than: Annotated[str | None, typer.Option(metavar="AGE", help=t("cache.older_than"))] = None,
    provider: ProviderOption = None,
    model: ModelOption = None,
    everything: Annotated[bool, typer.Option("--all", help=t("cache.all"))] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help=t("cache.dry_run"))] = False,
    warehouse: WarehouseOption = None,
    lang: LangOption = None,
) -> None:
    with opened(warehouse, lang) as store:
        from bifrost_flow.render.facts import format_count, format_size
        from connectors.warehouse.pruning import Pruning, prune_answers

        narrowed = any(word is not None for word in (older_than, provider, model))
        if narrowed == everything:
            raise SettingsError(t("cache.both" if everything else "cache.which"))
        before = datetime.now(UTC) - parse_age(older_than) if older_than is not None else None
        pruned = prune_answers(store.location, Pruning(before, provider, model), dry_run=dry_run)
        counts = {"count": format_count(len(pruned.keys)), "size": format_size(max(0, pruned.bytes))}
        print(t("cache.would_prune" if dry_run else "cache.pruned", **counts))


def _print_stats(stats: dict[str, Any], models: list[dict[str, Any]]) -> None:
    from bifrost_flow.cli.grid import format_cell, print_table
    from bifrost_flow.render.facts import format_count, format_size, format_time

    if not models:
        print(t("cache.empty", warehouse=stats["warehouse"]), file=sys.stderr)
        return
    print(t("cache.totals", answers=format_count(stats["answers"]), size=format_size(stats["bytes"])))
    print(
        t(
            "cache.savings",
            hits=format_count(stats["hits"]),
            tokens_saved=format_count(stats["tokens_saved"]),
        )
    )
    print()
    names = ("provider", "model", "answers", "hits", "tokens_in", "tokens_out", "oldest", "newest")
    rows = [
        [
            format_cell(model["provider"]),
            format_cell(model["model"]),
            *(format_count(model[name] or 0) for name in ("answers", "hits", "tokens_in", "tokens_out")),
            format_time(model["oldest"]),
            format_time(model["newest"]),
        ]
        for model in models
    ]
    print_table([t(f"cache.column.{name}") for name in names], rows, dispensable=[4, 5, 6, 7])
