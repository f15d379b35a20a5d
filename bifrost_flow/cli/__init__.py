"""The command line. It parses, calls and shows; heavy imports happen inside the commands."""

import typer

from bifrost_flow.language import t

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback()
def main() -> None:
    """Find what failed in piles of logs, and explain each distinct failure once."""


from bifrost_flow.cli import tables  # noqa: E402 - a command needs `app`

tables.register(app)
