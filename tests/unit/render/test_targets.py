"""Which formats are written, and where each of them goes."""

from pathlib import Path

import pytest

from bifrost_flow.errors import SettingsError
from bifrost_flow.language import LANGUAGES, ROOT, t
from bifrost_flow.render import FORMATS, guess_format, name_targets, pick_formats, split_formats


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.md", "markdown"),
        ("a.MARKDOWN", "markdown"),
        ("night.pr-comment.md", "pr-comment"),
        ("a.htm", "html"),
        ("a.json", "json"),
        ("a.sarif", "sarif"),
        ("a.sarif.json", "sarif"),
        ("a.jsonl", "jsonl"),
        ("a.ndjson", "jsonl"),
        ("a.parquet", "parquet"),
        ("s3://b/reports/a.csv", "csv"),
        ("a.pdf", None),
        ("markdown", None),
    ],
)
def test_a_name_tells_the_format(name: str, format: str | None) -> None:
    """The longest suffix that is known decides."""
    found = guess_format(name)
    assert (found.name if found else None) == format


def test_formats_are_documented() -> None:
    """The page on exports has a row a format, and the settings and both commands name each."""
    page = (ROOT / "docs" / "exports.md").read_text(encoding="utf-8")
    for name, known in FORMATS.items():
        assert f"| `{name}` | `{known.file_name}` |" in page
    keys = ("export.format", "run.format", "settings.output.format")
    texts = [t(key, lang=lang) for key in keys for lang in LANGUAGES]
    assert [text for text in texts if any(name not in text for name in FORMATS)] == []


def test_formats_are_picked(tmp_path: Path) -> None:
    """Named ones go before the file's name, that before the settings; a run adds HTML to the usual ones."""
    assert pick_formats(["sarif", "csv,sarif"], out="a.html", configured="json") == ("sarif", "csv")
    assert pick_formats(None, out="a.sarif", configured="json") == ("sarif",)
    assert pick_formats(None, out=None, configured="json,parquet") == ("json", "parquet", "html")
    assert pick_formats(None, out="-", configured="json,parquet") == ("json",)
    assert pick_formats(None, out=str(tmp_path), configured="html") == ("html",)
    assert pick_formats(None, out="s3://my.bucket", configured="html") == ("html",)
    assert pick_formats(None, out="/dev/null", configured="csv") == ("csv",)
    with pytest.raises(SettingsError, match=r"\.pdf.*\.sarif"):
        pick_formats(None, out="a.pdf", configured="json")
    with pytest.raises(SettingsError, match="'pdf'"):
        split_formats(["csv,pdf"])


def test_targets(tmp_path: Path) -> None:
    """A folder gets each format under its own name, a file one format, and others beside it."""

    def name(*formats: str, out: str | None, folder: str | None = None) -> list[str]:
        return list(name_targets(formats, out, folder=folder).values())

    assert name("csv", out=None) == name("csv", out="-", folder="f") == ["-"]
    assert name("csv", "sarif", out=None, folder="f") == ["f/findings.csv", "f/findings.sarif"]
    assert name("csv", out="new/folder") == ["new/folder/findings.csv"]
    assert name("csv", out="new.folder/") == ["new.folder/findings.csv"]
    assert name("csv", out="a.txt") == ["a.txt"]
    beside = name("markdown", "pr-comment", "json", "sarif", out="out/night.md")
    assert beside == [f"out/night{suffix}" for suffix in (".md", ".pr-comment.md", ".json", ".sarif")]
    assert name("csv", "json", out="night.v2.sarif.json") == ["night.v2.csv", "night.v2.json"]
    assert name("csv", "json", out="night.txt") == ["night.csv", "night.json"]
    dotted = tmp_path / "a.b"
    dotted.mkdir()
    assert name("csv", out=str(dotted)) == [f"{dotted}/findings.csv"]
    (tmp_path / "plain").touch()
    assert name("csv", out=str(tmp_path / "plain")) == [str(tmp_path / "plain")]
    assert name("csv", "json", out="s3://b.c/p") == ["s3://b.c/p/findings.csv", "s3://b.c/p/findings.json"]
    assert name("csv", out="s3://b.c") == ["s3://b.c/findings.csv"]
    assert name("csv", out="s3://b.c/p/a.csv") == ["s3://b.c/p/a.csv"]
    assert name("csv", out="/") == ["/findings.csv"]
