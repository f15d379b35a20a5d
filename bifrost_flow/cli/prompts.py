"""`prompts`: what models are asked, as versions in MLflow's registry, over the packaged ones."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bifrost_flow.cli.failures import exit_on_errors
from bifrost_flow.cli.tables import Detail, LangOption
from bifrost_flow.errors import SettingsError
from bifrost_flow.language import t

if TYPE_CHECKING:
    from bifrost_flow.cli.promptshelf import Shelf
    from bifrost_flow.prompts.formats import PromptFile
    from connectors.prompts import SavedPrompt


class FileFormat(StrEnum):
    yaml = "yaml"
    json = "json"
    text = "text"


NameArgument = Annotated[str, typer.Argument(metavar="NAME", help=t("prompts.name"))]
ReferenceArgument = Annotated[
    str, typer.Argument(metavar="NAME[@ALIAS|:VERSION]", help=t("prompts.reference"))
]
WarehouseOption = Annotated[str | None, typer.Option("--warehouse", "-w", help=t("prompts.warehouse"))]
FileOption = Annotated[str | None, typer.Option("--file", metavar="FILE|-", help=t("prompts.file"))]
MessageOption = Annotated[str, typer.Option("--message", "-m", help=t("prompts.message"))]
TagOption = Annotated[list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help=t("prompts.tag"))]
AliasOption = Annotated[str, typer.Option("--alias", help=t("prompts.alias"))]
DraftOption = Annotated[bool, typer.Option("--draft", help=t("prompts.draft"))]
ShowFormat = Annotated[Detail, typer.Option("--format", "-f", help=t("tables.detail"))]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    prompts = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=t("prompts.help"))
    commands = {
        "list": list_all,
        "show": show,
        "create": create,
        "edit": edit,
        "delete": delete,
        "history": show_history,
        "rollback": roll_back,
        "render": render,
        "import": import_file,
        "export": export,
    }
    for name, command in commands.items():
        prompts.command(name, help=t(f"prompts.{name}.help"))(command)
    app.add_typer(prompts, name="prompts")


def list_all(
    warehouse: WarehouseOption = None, output: ShowFormat = Detail.table, lang: LangOption = None
) -> None:
    with _opened(warehouse, lang) as shelf:
        from bifrost_flow.cli.grid import format_cell, print_table, write_json

        rows = [_describe_in_list(shelf, name) for name in shelf.list_names()]
        if output is Detail.json:
            write_json(rows)
            return
        columns = ("name", "version", "origin", "latest", "description")
        print_table(
            [t(f"prompts.column.{column}") for column in columns],
            [[format_cell(row[column] or "–") for column in columns] for row in rows],
            dispensable=[4, 3],
        )


def show(
    prompt: ReferenceArgument,
    warehouse: WarehouseOption = None,
    output: ShowFormat = Detail.table,
    lang: LangOption = None,
) -> None:
    with _opened(warehouse, lang) as shelf:
        from bifrost_flow.cli.grid import write_json
        from bifrost_flow.render.defuse import make_visible, put_on_one_line

        found = shelf.get(prompt)
        if output is Detail.json:
            write_json(_describe(found))
            return
        each = found.prompt
        aliases = f" @{', @'.join(found.aliases)}" if found.aliases else ""
        print(put_on_one_line(f"{each.name} {each.version}{aliases}  {each.description}"))
        for key, value in found.tags.items():
            print(put_on_one_line(f"{key}={value}"))
        for part in (each.system, each.user):
            print()
            print(make_visible(part.strip()))


def create(
    name: NameArgument,
    file: FileOption = None,
    message: MessageOption = "",
    tag: TagOption = None,
    alias: AliasOption = "production",
    draft: DraftOption = False,
    warehouse: WarehouseOption = None,
    lang: LangOption = None,
) -> None:
    with _opened(warehouse, lang, create=True) as shelf, shelf.alone():
        from bifrost_flow.cli.promptshelf import edit_prompt, read_file
        from bifrost_flow.prompts import list_prompts, load_prompt

        if name in list_prompts() or shelf.list_versions(name):
            raise SettingsError(t("prompts.exists", name=repr(name)))
        blank = replace(load_prompt(), name=name, description="")
        written = read_file(file, None) if file else edit_prompt(blank)
        _write(shelf, name, written, message=message, tag=tag, alias=None if draft else alias)


def edit(
    name: NameArgument,
    file: FileOption = None,
    message: MessageOption = "",
    tag: TagOption = None,
    alias: AliasOption = "production",
    draft: DraftOption = False,
    warehouse: WarehouseOption = None,
    lang: LangOption = None,
) -> None:
    with _opened(warehouse, lang, create=True) as shelf:
        from bifrost_flow.cli.promptshelf import edit_prompt, keep_text, read_file
        from bifrost_flow.prompts import check_prompt

        base = shelf.get(name)
        before = [each.prompt.version for each in shelf.list_versions(name)]
        written = read_file(file, None) if file else edit_prompt(base.prompt)
        if not written.prompt.description:
            described = replace(written.prompt, description=base.prompt.description)
            written = replace(written, prompt=described)
        with shelf.alone():
            now = [each.prompt.version for each in shelf.list_versions(name)]
            if file is None and now[:1] != before[:1]:
                raise SettingsError(t("prompts.meanwhile", name=repr(name), path=keep_text(written)))
            check_prompt(replace(written.prompt, name=name))
            if not now:
                # So that there is something to roll back to.
                shelf.registry.save(base.prompt, message=t("prompts.packaged"), tags={})
            _write(shelf, name, written, message=message, tag=tag, alias=None if draft else alias)


def delete(
    name: NameArgument,
    version: Annotated[int | None, typer.Option(min=1, help=t("prompts.delete.version"))] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help=t("prompts.delete.yes"))] = False,
    warehouse: WarehouseOption = None,
    lang: LangOption = None,
) -> None:
    with _opened(warehouse, lang) as shelf, shelf.alone():
        versions = shelf.list_versions(name)
        named = [each for each in versions if version is None or int(each.prompt.version) == version]
        if not named:
            raise SettingsError(t("prompts.nothing_to_delete", name=repr(name)))
        if version is not None and named[0].aliases:
            aliases = ", ".join(named[0].aliases)
            raise SettingsError(t("prompts.in_use", name=f"{name}:{version}", aliases=aliases))
        if not yes:
            raise SettingsError(t("prompts.confirm", name=repr(name), count=len(named)))
        shelf.registry.delete(name, version)
        shelf.refresh()
        print(t("prompts.deleted", name=name, count=len(named)))


def show_history(
    name: NameArgument,
    warehouse: WarehouseOption = None,
    output: ShowFormat = Detail.table,
    lang: LangOption = None,
) -> None:
    with _opened(warehouse, lang) as shelf:
        from bifrost_flow.cli.grid import format_cell, print_table, write_json
        from bifrost_flow.render.facts import format_time

        versions = shelf.list_versions(name) or [shelf.get(name)]
        if output is Detail.json:
            write_json([_describe(each) for each in versions])
            return
        rows = [
            [
                each.prompt.version,
                ", ".join(each.aliases),
                format_time(each.created_at),
                format_cell(each.message),
                format_cell(", ".join(f"{key}={value}" for key, value in each.tags.items())),
            ]
            for each in versions
        ]
        columns = ("version", "aliases", "created", "message", "tags")
        print_table([t(f"prompts.column.{column}") for column in columns], rows, dispensable=[4])


def roll_back(
    name: NameArgument,
    to: Annotated[int | None, typer.Option("--to", min=1, help=t("prompts.rollback.to"))] = None,
    alias: AliasOption = "production",
    warehouse: WarehouseOption = None,
    lang: LangOption = None,
) -> None:
    with _opened(warehouse, lang) as shelf, shelf.alone():
        numbers = sorted(int(each.prompt.version) for each in shelf.list_versions(name))
        current = next(
            (int(each.prompt.version) for each in shelf.list_versions(name) if alias in each.aliases), None
        )
        before = [number for number in numbers if current is None or number < current]
        target = to if to is not None else (before[-1] if before else None)
        if target is None or target not in numbers:
            known = ", ".join(map(str, numbers)) or "–"
            raise SettingsError(t("prompts.no_version", name=repr(name), known=known))
        shelf.registry.point(name, alias, target)
        shelf.refresh()
        print(t("prompts.rolled_back", name=name, alias=alias, version=target))


def render(
    prompt: ReferenceArgument,
    file: Annotated[str, typer.Option("--file", metavar="LOG|-", help=t("prompts.render.file"))],
    budget_tokens: Annotated[int | None, typer.Option(min=1, help=t("run.budget_tokens"))] = None,
    warehouse: WarehouseOption = None,
    output: ShowFormat = Detail.table,
    lang: LangOption = None,
) -> None:
    with _opened(warehouse, lang) as shelf:
        from bifrost_flow.cli.promptshelf import extract_first
        from bifrost_flow.excerpt import count_tokens
        from bifrost_flow.language import current_language
        from bifrost_flow.prompts import render_prompt
        from bifrost_flow.render.defuse import make_visible

        found = shelf.get(prompt).prompt
        budget = budget_tokens or shelf.settings.evidence.budget_tokens
        system, user = render_prompt(found, extract_first(file, budget), current_language())
        tokens = count_tokens(system) + count_tokens(user)
        if output is Detail.json:
            from bifrost_flow.cli.grid import write_json

            write_json(
                {
                    "prompt": found.name,
                    "version": found.version,
                    "tokens": tokens,
                    "system": system,
                    "user": user,
                }
            )
            return
        print(f"{make_visible(system)}\n\n{make_visible(user)}")
        print(
            t("prompts.tokens", name=found.name, version=found.version, tokens=f"{tokens:,}"), file=sys.stderr
        )


def import_file(
    path: Annotated[str, typer.Argument(metavar="FILE|-", help=t("prompts.import.path"))],
    name: Annotated[str | None, typer.Option(help=t("prompts.import.name"))] = None,
    format: Annotated[FileFormat | None, typer.Option("--format", "-f", help=t("prompts.format"))] = None,
    message: MessageOption = "",
    tag: TagOption = None,
    alias: AliasOption = "production",
    draft: DraftOption = False,
    warehouse: WarehouseOption = None,
    lang: LangOption = None,
) -> None:
    with _opened(warehouse, lang, create=True) as shelf, shelf.alone():
        from bifrost_flow.cli.promptshelf import read_file

        written = read_file(path, format)
        target = name or written.prompt.name or ("" if path == "-" else Path(path).stem)
        if not target:
            raise SettingsError(t("prompts.nameless"))
        _write(shelf, target, written, message=message, tag=tag, alias=None if draft else alias)


def export(
    prompt: ReferenceArgument,
    format: Annotated[FileFormat | None, typer.Option("--format", "-f", help=t("prompts.format"))] = None,
    out: Annotated[str, typer.Option("--out", "-o", metavar="FILE|-", help=t("prompts.export.out"))] = "-",
    warehouse: WarehouseOption = None,
    lang: LangOption = None,
) -> None:
    with _opened(warehouse, lang) as shelf:
        from bifrost_flow.cli.promptshelf import guess_format
        from bifrost_flow.prompts.formats import dump_prompt
        from connectors.files import write_text_file

        found = shelf.get(prompt)
        text = dump_prompt(found.prompt, found.tags, format or guess_format(out))
        if out == "-":
            sys.stdout.write(text)
        else:
            write_text_file(Path(out), text)


def _describe_in_list(shelf: "Shelf", name: str) -> dict[str, Any]:
    """Return which version of a prompt runs use, and the newest, which may be a draft."""
    from bifrost_flow.prompts import PromptReference

    latest = shelf.list_versions(name)[:1]
    try:
        used = shelf.find(PromptReference(name))
    except SettingsError:  # somebody else's, which a model can't be asked
        used = None
    in_registry = bool(used and used.aliases)
    return {
        "name": name,
        "version": used.prompt.version if used else None,
        "origin": "MLflow" if in_registry or not used else t("prompts.packaged"),
        "latest": latest[0].prompt.version if latest else None,
        "tags": dict(latest[0].tags) if latest else {},
        "description": (used or latest[0]).prompt.description if used or latest else "",
    }


def _write(
    shelf: "Shelf",
    name: str,
    written: "PromptFile",
    *,
    message: str,
    tag: list[str] | None,
    alias: str | None,
) -> None:
    """Save a version and say which one it became."""
    from bifrost_flow.cli.promptshelf import read_tags

    saved = shelf.save(name, written, message=message, tags=read_tags(tag or ()), alias=alias)
    version = saved.prompt.version
    if alias:
        print(t("prompts.saved", name=name, version=version, alias=alias))
    else:
        print(t("prompts.saved_draft", name=name, version=version))


@contextmanager
def _opened(location: str | None, lang: str | None, *, create: bool = False) -> Generator["Shelf"]:
    from bifrost_flow.cli.promptshelf import Shelf

    with exit_on_errors():
        yield Shelf(location, lang, create=create)


def _describe(found: "SavedPrompt") -> dict[str, Any]:
    each = found.prompt
    return {
        "name": each.name,
        "version": each.version,
        "aliases": list(found.aliases),
        "message": found.message,
        "created_at": found.created_at,
        "tags": dict(found.tags),
        "description": each.description,
        "system": each.system,
        "user": each.user,
    }
