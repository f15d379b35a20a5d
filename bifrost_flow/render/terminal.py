"""The findings of a run in a terminal, as a table that fits it; as plain lines in a pipe."""

from collections.abc import Sequence

from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from bifrost_flow.language import t
from bifrost_flow.records import Finding, Problem, Report
from bifrost_flow.render.defuse import put_on_one_line
from bifrost_flow.render.facts import (
    describe_counts,
    format_count,
    judge_run,
    label,
    locate,
    order_findings,
    pick_headline,
    split_troubles,
)
from bifrost_flow.summary import describe_problem

_STATUS_STYLES = {"new": "bold magenta", "regressed": "bold yellow", "recurring": "blue", "resolved": "green"}
_SEVERITY_STYLES = {"critical": "bold red", "error": "red", "warning": "yellow"}
_COLUMNS = ("status", "severity", "category", "title", "occurrences", "where")
_MIN_TITLE_CELLS = 24
MAX_TITLE_CHARS = 300


def render_terminal(report: Report, console: Console) -> None:
    """Print counts, the table of findings and the inputs that gave trouble.

    In a terminal the table is as wide as the terminal at most, and columns that there is no room for are left
    out: category first, then severity, then where. Elsewhere each finding is one line, complete, without
    colours.
    """
    lang, findings = report.language, order_findings(report.findings)
    headline, note = pick_headline(report)
    _print(console, Text.assemble((headline, "bold"), " · ", describe_counts(report)))
    if judge_run(report) in ("unexplained", "stopped", "partial"):
        _print(console, Text(note))
    if findings:
        rows = [_list_cells(finding, lang) for finding in findings]
        head = [t(f"render.column.{name}", lang=lang) for name in _COLUMNS]
        if console.is_terminal:
            console.print(_build_table(head, rows, findings, console.width))
        else:
            _print_lines(head, rows, console)
    _print_troubles(report, console)


def _list_cells(finding: Finding, lang: str) -> list[str]:
    return [
        label("status", finding.status, lang),
        label("severity", finding.severity, lang),
        label("category", finding.category, lang),
        put_on_one_line(finding.title, MAX_TITLE_CHARS),
        format_count(finding.occurrences),
        put_on_one_line(locate(finding)) or "–",
    ]


def _build_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], findings: Sequence[Finding], width: int
) -> Table:
    shown, where_cells = _choose_columns(head, rows, width)
    columns = {
        "title": Column(overflow="fold", ratio=1),
        "occurrences": Column(justify="right", no_wrap=True),
    }
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold"
    )
    for index in shown:
        column = columns.get(_COLUMNS[index], Column(no_wrap=True))
        table.add_column(
            head[index],
            overflow=column.overflow,
            ratio=column.ratio,
            justify=column.justify,
            no_wrap=column.no_wrap,
        )
    for cells, finding in zip(rows, findings, strict=True):
        styled = [
            Text(cells[0], _STATUS_STYLES.get(finding.status, "")),
            Text(cells[1], _SEVERITY_STYLES.get(finding.severity, "")),
            Text(cells[2]),
            Text(cells[3], "dim" if finding.status == "resolved" else ""),
            Text(cells[4]),
            Text(_shorten_path(cells[5], where_cells), "cyan"),
        ]
        table.add_row(*(styled[index] for index in shown))
    return table


def _choose_columns(head: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> tuple[list[int], int]:
    """Return the columns to show, as positions, and how many cells the place may take."""
    widest = [max(cell_len(row[index]) for row in (head, *rows)) for index in range(len(head))]
    title, where = _COLUMNS.index("title"), _COLUMNS.index("where")
    widest[where] = min(widest[where], max(width * 3 // 10, cell_len(head[where])))
    shown = list(range(len(head)))
    for dispensable in ("category", "severity", "where"):
        taken = sum(widest[index] + 2 for index in shown if index != title)
        if width - taken >= min(_MIN_TITLE_CELLS, widest[title]):
            break
        shown.remove(_COLUMNS.index(dispensable))
    return shown, widest[where]


def _shorten_path(place: str, cells: int) -> str:
    """Return the end of `place`, which says most, in as many terminal cells."""
    if cell_len(place) <= cells:
        return place
    while cell_len(place) > cells - 1:
        place = place[1:]
    return f"…{place}"


def _print_lines(head: Sequence[str], rows: Sequence[Sequence[str]], console: Console) -> None:
    lines = [head, *rows]
    widest = [max(cell_len(line[index]) for line in lines) for index in range(len(head))]
    for line in lines:
        cells = [set_cell_size(cell, width) for cell, width in zip(line, widest, strict=True)]
        _print(console, Text("  ".join(cells).rstrip()))


def _print_troubles(report: Report, console: Console) -> None:
    lang = report.language
    unread, problems = split_troubles(report)
    if unread:
        _print(console, Text(t("render.unread", lang=lang), "bold yellow"))
    for file in unread:
        why = file.reason or label("file_status", file.status, lang)
        line = describe_problem(Problem("ingest", file.path, why))
        _print(console, Text(f"  {put_on_one_line(line)}"))
    if problems:
        _print(console, Text(t("render.problems", lang=lang), "bold yellow"))
    for problem in problems:
        _print(console, Text(f"  {put_on_one_line(describe_problem(problem))}"))


def _print(console: Console, text: Text) -> None:
    """Print `text`, unbroken where there is no terminal, and without colouring numbers or paths in it."""
    console.print(text, soft_wrap=not console.is_terminal, highlight=False)
