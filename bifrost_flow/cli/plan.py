"""`plan`: how a store of many logs is divided among runs, before anything of it is read."""

import math
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from bifrost_flow.cli.failures import exit_on_errors
from bifrost_flow.language import check_language, current_language, set_language, t

if TYPE_CHECKING:
    from bifrost_flow.sharding import Shard

# As measured on two cores; docs/decisions/0010-speed.md.
BYTES_PER_S = 200_000_000
SECONDS_PER_FILE = 0.004
MAX_SHOWN = 3  # prefixes of a shard in the table


class PlanFormat(StrEnum):
    table = "table"
    json = "json"
    csv = "csv"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("plan", help=t("plan.help"))(plan)


def plan(
    listing: Annotated[str, typer.Argument(metavar="LISTING|FOLDER", help=t("plan.listing"))],
    shard_gb: Annotated[float, typer.Option(min=0.001, help=t("plan.shard_gb"))] = 250.0,
    max_objects: Annotated[int, typer.Option(min=1, help=t("plan.max_objects"))] = 100_000,
    root: Annotated[str, typer.Option(help=t("plan.root"))] = "",
    output: Annotated[PlanFormat, typer.Option("--format", "-f", help=t("config.format"))] = PlanFormat.table,
    lang: Annotated[str | None, typer.Option(help=t("app.lang"))] = None,
) -> None:
    with exit_on_errors():
        set_language(check_language(lang) if lang else current_language())
        from bifrost_flow.sharding import plan_shards
        from connectors.inventory import read_folders

        folders = read_folders(listing)
        shards = plan_shards(folders, target_bytes=int(shard_gb * 1e9), max_objects=max_objects)
        if output is PlanFormat.json:
            _print_json(shards, root)
        else:
            _print_table(shards, root, output)
            _print_sums(shards, folders.height, shard_gb)


def estimate_hours(objects: int, size: int) -> float:
    """Return the hours that one process on two cores reads for."""
    return (size / BYTES_PER_S + objects * SECONDS_PER_FILE) / 3600


def _print_json(shards: "list[Shard]", root: str) -> None:
    from bifrost_flow.cli.grid import write_json

    write_json(
        [
            {
                "paths": [f"{root}{piece.pattern}" for piece in shard.pieces],
                "objects": shard.objects,
                "bytes": shard.bytes,
                "hours": round(estimate_hours(shard.objects, shard.bytes), 3),
                "oversized": shard.oversized,
            }
            for shard in shards
        ]
    )


def _print_table(shards: "list[Shard]", root: str, output: PlanFormat) -> None:
    from bifrost_flow.cli.grid import write_rows

    columns = ("shard", "objects", "gb", "hours", "oversized", "paths")
    rows = []
    for number, shard in enumerate(shards, 1):
        paths = [f"{root}{piece.pattern}" for piece in shard.pieces]
        if output is PlanFormat.table and len(paths) > MAX_SHOWN:
            paths = [*paths[:MAX_SHOWN], f"+{len(paths) - MAX_SHOWN}"]
        hours = round(estimate_hours(shard.objects, shard.bytes), 2)
        row = (number, shard.objects, round(shard.bytes / 1e9, 3), hours, shard.oversized, " ".join(paths))
        rows.append(row)
    write_rows(columns, rows, output)


def _print_sums(shards: "list[Shard]", folders: int, shard_gb: float) -> None:
    objects, size = sum(shard.objects for shard in shards), sum(shard.bytes for shard in shards)
    oversized = sum(shard.oversized for shard in shards)
    typer.echo(
        t(
            "plan.sums",
            objects=f"{objects:,}",
            folders=f"{folders:,}",
            tb=f"{size / 1e12:,.3f}",
            shards=f"{len(shards):,}",
            hours=f"{estimate_hours(objects, size):,.1f}",
            least=f"{math.ceil(size / (shard_gb * 1e9)):,}",
        ),
        err=True,
    )
    if oversized:
        typer.echo(t("plan.oversized", count=f"{oversized:,}"), err=True)
