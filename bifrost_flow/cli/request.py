"""`request`: have the served ad-hoc deployment explain a log, and print its answer."""

import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from bifrost_flow.cli.analyze import AnswerFormat, show_answer
from bifrost_flow.cli.answers import Notes
from bifrost_flow.cli.failures import exit_on_errors
from bifrost_flow.cli.output import Quiet
from bifrost_flow.errors import BifrostError, SettingsError
from bifrost_flow.language import t
from bifrost_flow.summary import EXIT_CODES, EXIT_FINE, EXIT_PARTIAL


class RequestFormat(StrEnum):
    md = "md"
    markdown = "markdown"
    json = "json"
    text = "text"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("request", help=t("request.help"))(request)


def request(
    target: Annotated[str, typer.Argument(metavar="FILE|-", help=t("request.target"))],
    deployment: Annotated[str, typer.Option(help=t("request.deployment"))] = "analyze/adhoc",
    timeout: Annotated[float, typer.Option(min=1, metavar="SECONDS", help=t("request.timeout_s"))] = 600.0,
    output: Annotated[RequestFormat | None, typer.Option("--format", "-f", help=t("analyze.format"))] = None,
    lang: Annotated[str | None, typer.Option(help=t("app.lang"))] = None,
    explain_all: Annotated[bool, typer.Option("--all", "-a", help=t("analyze.all"))] = False,
    quiet: Quiet = False,
) -> None:
    with exit_on_errors(at_once=True):
        shown_as = _pick_format(output)
        try:
            done = _request(target, deployment, timeout, lang, explain_all=explain_all, quiet=quiet)
        except BifrostError as error:
            if shown_as is AnswerFormat.json:
                from bifrost_flow.cli.grid import write_json

                write_json({"status": "failed", "error": str(error)})
            raise
        show_answer(done, shown_as, quiet=quiet)
        raise typer.Exit(EXIT_CODES[done["status"]] or (EXIT_PARTIAL if done["errors"] else EXIT_FINE))


def _pick_format(output: RequestFormat | None) -> AnswerFormat:
    if output is None:
        return AnswerFormat.markdown if sys.stdout.isatty() else AnswerFormat.text
    return AnswerFormat.markdown if output is RequestFormat.md else AnswerFormat(output.value)


def _request(
    target: str, deployment: str, timeout_s: float, lang: str | None, *, explain_all: bool, quiet: bool
) -> dict[str, Any]:
    from bifrost_flow.cli.session import use_server
    from bifrost_flow.settings import load_settings

    settings = load_settings({"lang": lang})
    text = read_text(target, max_kb=settings.serve.max_text_kb)
    notes = Notes()
    notes.quiet = quiet
    use_server()
    from bifrost_flow.evidence.redact import redact_text
    from flows.requesting import cancel_request, follow_request, submit_request

    # The server keeps what a run was asked: secrets are taken out before it sees them.
    name = None if target == "-" else redact_text(target)[0]
    parameters = {
        "text": text,
        "name": name,
        "lang": settings.lang,
        "explain_all": explain_all,
    }
    run_id = submit_request(deployment, parameters)
    notes.tell(t("request.submitted", name=deployment, run_id=run_id))
    try:
        return follow_request(run_id, timeout_s=timeout_s, tell=notes.tell)
    except KeyboardInterrupt:
        # Whoever asked is gone: an answer that nobody waits for must not cost anything more.
        cancel_request(run_id)
        notes.tell(t("request.cancelled", run_id=run_id))
        raise


def read_text(target: str, *, max_kb: float) -> str:
    """Return the log to send, without its secrets.

    Raises:
        SettingsError: it can't be read, or is larger than the serving side takes.
    """
    from bifrost_flow.evidence.redact import redact_text

    limit = int(max_kb * 1000)
    data = sys.stdin.buffer.read(limit + 1) if target == "-" else _read_file(target, limit=limit)
    if len(data) > limit:
        raise SettingsError(t("request.too_large", limit=f"{max_kb:g}"))
    # The serving side measures what is sent: other encodings and what stands for secrets may be longer.
    text = redact_text(data.decode("utf-8", "replace"))[0]
    if len(text.encode("utf-8", "replace")) > limit:
        raise SettingsError(t("request.too_large", limit=f"{max_kb:g}"))
    return text


def _read_file(target: str, *, limit: int) -> bytes:
    """Return what `analyze` would read of the log at `target`, unpacked; little more than `limit` bytes."""
    from connectors.reading import ReadFacts
    from connectors.sources import find_sources, read_blocks, remove_spooled

    sources, _, problems = find_sources([target])
    try:
        if problems:
            raise SettingsError(problems[0].message)
        if len(sources) != 1:
            raise SettingsError(t("analyze.several", path=target, count=len(sources)))
        facts, data = ReadFacts(), bytearray()
        for block in read_blocks(sources[0], facts):
            data += block
            if len(data) > limit:
                return bytes(data)
        if facts.error:
            raise SettingsError(facts.error)  # half a log must not be answered as if it were whole
        return bytes(data)
    finally:
        remove_spooled(sources)
