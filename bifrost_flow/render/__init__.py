"""Turn a report into a file: one entry of `FORMATS` a format, nothing imported before it is asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

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


def render_report(report: Report, format: str) -> str:
    """Return `report` as text in `format`, one of `FORMATS`.

    Raises:
        SettingsError: there is no such format.
    """
    return find_format(format).render(report)
