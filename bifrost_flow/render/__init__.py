"""Turn a report into a file: one entry of `FORMATS` a format, nothing imported before it is asked for."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from bifrost_flow.errors import SettingsError
from bifrost_flow.language import t
from bifrost_flow.records import Report

_ADDRESS = re.compile(r"^[a-z][a-z0-9+.-]*://[^/]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Format:
    """A format that reports can be exported in."""

    name: str
    file_name: str  # what an export is called in a folder
    media_type: str
    renderer: str  # `module:function`, below this package, taking a Report and returning str, or bytes
    binary: bool = False
    aliases: tuple[str, ...] = ()  # other suffixes that name the format

    @property
    def suffix(self) -> str:
        """All that comes after the name proper: `.pr-comment.md` is no `.md`."""
        return self.file_name[self.file_name.index(".") :]

    def render(self, report: Report) -> str | bytes:
        """Return `report` in this format: bytes where it is `binary`, else text."""
        module, function = self.renderer.split(":")
        renderer: Callable[[Report], str | bytes] = getattr(import_module(f"{__name__}.{module}"), function)
        return renderer(report)


FORMATS = {
    known.name: known
    for known in (
        Format("markdown", "report.md", "text/markdown", "markdown:render_markdown", aliases=(".markdown",)),
        Format("html", "report.html", "text/html", "html:render_html", aliases=(".htm",)),
        Format("json", "findings.json", "application/json", "table:render_json"),
        Format("jsonl", "findings.jsonl", "application/jsonl", "table:render_jsonl", aliases=(".ndjson",)),
        Format("csv", "findings.csv", "text/csv", "table:render_csv"),
        Format(
            "parquet",
            "findings.parquet",
            "application/vnd.apache.parquet",
            "parquet:render_parquet",
            binary=True,
        ),
        Format(
            "sarif",
            "findings.sarif",
            "application/sarif+json",
            "sarif:render_sarif",
            aliases=(".sarif.json",),
        ),
        Format("pr-comment", "report.pr-comment.md", "text/markdown", "pr_comment:render_pr_comment"),
    )
}


def find_format(name: str) -> Format:
    """Return the format called `name`.

    Raises:
        SettingsError: there is none.
    """
    if name not in FORMATS:
        raise SettingsError(t("render.unknown_format", name=name, known=", ".join(FORMATS)))
    return FORMATS[name]


def split_formats(words: Sequence[str]) -> tuple[str, ...]:
    """Return the formats that `words` name, each once; a word may hold several, with commas between.

    Raises:
        SettingsError: there is no such format.
    """
    names = (name.strip() for word in words for name in word.split(","))
    return tuple(dict.fromkeys(find_format(name).name for name in names if name))


def guess_format(out: str) -> Format | None:
    """Return the format that the file name `out` ends like, or None; the longest suffix wins."""
    ending = _find_ending(out)
    return next((known for known in FORMATS.values() if ending in (known.suffix, *known.aliases)), None)


def _find_ending(out: str) -> str | None:
    endings = (ending for known in FORMATS.values() for ending in (known.suffix, *known.aliases))
    return max((each for each in endings if out.lower().endswith(each)), key=len, default=None)


def pick_formats(named: Sequence[str] | None, *, out: str | None, configured: str) -> tuple[str, ...]:
    """Return the formats to export: those `named`, else what the file `out` is named for, else the usual.

    The usual are the `configured` ones and HTML.

    Raises:
        SettingsError: there is no such format.
    """
    if named:
        return split_formats(named)
    usual = split_formats((configured,)) or ("markdown",)
    if out == "-":
        return usual[:1]
    if out and is_file_name(out):
        guessed = guess_format(out)
        if guessed is None and not Path(out).suffix:
            return usual[:1]
        if guessed is None:
            suffixes = ", ".join(known.suffix for known in FORMATS.values())
            raise SettingsError(t("run.bad_out", out=out, suffix=Path(out).suffix, known=suffixes))
        return (guessed.name,)
    return tuple(dict.fromkeys((*usual, "html")))


def is_file_name(out: str) -> bool:
    """Return whether `out` names a file rather than a folder: it has a suffix, or is there and no folder.

    A bucket's or host's name in an address has no suffix.
    """
    inner = _ADDRESS.sub("", out)
    if inner != out:
        return bool(inner) and not inner.endswith("/") and bool(Path(inner).suffix)
    path = Path(out)
    return not out.endswith("/") and not path.is_dir() and (bool(path.suffix) or path.exists())


def name_targets(formats: Sequence[str], out: str | None, *, folder: str | None) -> dict[str, str]:
    """Return where each of `formats` goes; `-` is standard output.

    `out` is a folder, or a file (it has a suffix): then other formats go beside it, under its name. Without
    it they go to `folder`, and without that to standard output.
    """
    if out == "-" or (out is None and folder is None):
        return dict.fromkeys(formats, "-")
    place = out or folder or "."
    if out and is_file_name(out):
        if len(formats) == 1:
            return dict.fromkeys(formats, out)
        stem = out[: -len(_find_ending(out) or Path(out).suffix) or None]
        return {name: f"{stem}{find_format(name).suffix}" for name in formats}
    place = place if place.endswith("/") else f"{place}/"
    return {name: f"{place}{find_format(name).file_name}" for name in formats}


# A run's report is wanted several times: as a file, as an artifact of Prefect's and as one of MLflow's.
_last: tuple[Report, dict[str, str | bytes]] | None = None


def render_file(report: Report, format: str) -> bytes:
    """Return what a file of `report` in `format`, one of `FORMATS`, holds.

    Raises:
        SettingsError: there is no such format.
    """
    content = _render(report, find_format(format))
    return content if isinstance(content, bytes) else content.encode()


def render_report(report: Report, format: str) -> str:
    """Return `report` as text in `format`, one of `FORMATS` that is text.

    Raises:
        SettingsError: there is no such format.
    """
    content = _render(report, find_format(format))
    if isinstance(content, bytes):
        raise TypeError(f"{format} is no text.")
    return content


def _render(report: Report, known: Format) -> str | bytes:
    """Return `report` in a format; what was made of the last report is remembered."""
    global _last
    kept = _last  # looked at once: another thread may render another report
    if kept is None or kept[0] is not report:
        _last = kept = (report, {})
    contents = kept[1]
    if known.name not in contents:
        contents[known.name] = known.render(report)
    return contents[known.name]
