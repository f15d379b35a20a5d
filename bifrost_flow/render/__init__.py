"""Turn a report into a file: one entry of `FORMATS` a format, nothing imported before it is asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from bifrost_flow.errors import SettingsError
from bifrost_flow.language import t
from bifrost_flow.records import Report


@dataclass(frozen=True, slots=True)
class Format:
    """A format that reports can be exported in."""

    name: str
    file_name: str  # what an export is called in a folder
    media_type: str
    renderer: str  # `module:function`, below this package, taking a Report and returning str

    @property
    def suffix(self) -> str:
        return self.file_name[self.file_name.rindex(".") :]

    def render(self, report: Report) -> str:
        """Return `report` in this format."""
        module, function = self.renderer.split(":")
        renderer: Callable[[Report], str] = getattr(import_module(f"{__name__}.{module}"), function)
        return renderer(report)


FORMATS = {
    known.name: known
    for known in (
        Format("markdown", "report.md", "text/markdown", "markdown:render_markdown"),
        Format("html", "report.html", "text/html", "html:render_html"),
        Format("json", "findings.json", "application/json", "table:render_json"),
        Format("csv", "findings.csv", "text/csv", "table:render_csv"),
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


def pick_formats(named: Sequence[str] | None, *, out: str | None, configured: str) -> tuple[str, ...]:
    """Return the formats to export: those `named`, else what the file `out` is named for, else the usual.

    The usual are the `configured` one and HTML.

    Raises:
        SettingsError: there is no such format.
    """
    if named:
        return tuple(find_format(name).name for name in named)
    suffix = Path(out or "").suffix
    if suffix and out and not Path(out).is_dir():
        matching = tuple(known.name for known in FORMATS.values() if known.suffix == suffix)
        if not matching:
            suffixes = ", ".join(known.suffix for known in FORMATS.values())
            raise SettingsError(t("run.bad_out", out=out, suffix=suffix, known=suffixes))
        return matching
    return (configured,) if out == "-" else tuple(dict.fromkeys((configured, "html")))


# A run's report is wanted several times: as a file, as an artifact of Prefect's and as one of MLflow's.
_last: tuple[Report, dict[str, str]] | None = None


def render_report(report: Report, format: str) -> str:
    """Return `report` as text in `format`, one of `FORMATS`; what was made of the last report is remembered.

    Raises:
        SettingsError: there is no such format.
    """
    global _last
    known = find_format(format)
    kept = _last  # looked at once: another thread may render another report
    if kept is None or kept[0] is not report:
        _last = kept = (report, {})
    texts = kept[1]
    if known.name not in texts:
        texts[known.name] = known.render(report)
    return texts[known.name]
