"""The HTML report is one safe file: the structure is ours alone, whatever the logs hold."""

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

from bifrost_flow.records import Report
from bifrost_flow.render import render_report
from bifrost_flow.render.defuse import make_visible

# Elements that HTML never closes, and SVG's that the template closes at once.
VOID = {"meta", "link", "input", "circle", "rect", "path"}


class Structure(HTMLParser):
    """Collects start tags with their attributes, and the text between them; checks that they nest."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def outline(self) -> list[tuple[str, tuple[str, ...], str | None]]:
        """Return tags with the names of their attributes, except code spans, which text may bring."""
        return [(tag, tuple(attrs), attrs.get("class")) for tag, attrs in self.tags if tag != "code"]


def test_structure_is_ours(build_report: Callable[[list[str]], Report], hostile_strings: list[str]) -> None:
    """A page of hostile strings has the tags and attributes of a page of plain words, and shows all."""
    texts = [text if make_visible(text).strip() else f"x{text}" for text in hostile_strings]
    source = render_report(build_report(texts), "html")
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2066-\u2069\ufeff]", source)
    page = Structure(source)
    plain = Structure(render_report(build_report([f"word{n}" for n in range(len(texts))]), "html"))
    assert page.open == []
    assert page.outline() == plain.outline()
    shown = re.sub(r"\s+", " ", "".join(page.texts))
    for text in texts:
        wanted = re.sub(r"`([^`\n]+)`", r"\1", make_visible(text))
        assert re.sub(r"\s+", " ", wanted).strip() in shown, text


def test_asks_the_network_for_nothing(report: Report) -> None:
    """No attribute holds an address, and the policy allows the one style and the one script by hash only."""
    text = render_report(report, "html")
    page = Structure(text)
    for tag, attrs in page.tags:
        assert not set(attrs) & {"src", "srcset", "action", "style", "background"}, tag
        assert not any(name.startswith("on") for name in attrs)
        assert attrs.get("href", "#") in ("#findings", "#", "data:,")
    assert "url(" not in text and "@import" not in text
    (policy,) = [attrs["content"] or "" for _, attrs in page.tags if attrs.get("http-equiv")]
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy
    for tag in ("style", "script"):
        (source,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert base64.b64encode(hashlib.sha256(source.encode()).digest()).decode() in policy


def test_shows_the_report(report: Report) -> None:
    """Counts, findings with file and line, unread inputs and run facts are in the page without a script."""
    page = Structure(render_report(report, "html"))
    text = re.sub(r"\s+", " ", " ".join(page.texts))
    for expected in (
        "3 failures to look at",
        "ci/build-1184/install-node-20.log:88",
        "20743 thread 'constant_pool::unused_values' panicked",
        "The gzip stream ends in the middle",
        "Ollama did not answer within 120 s",
        "35,151 lines",
        "Not checked: this answer names something that the evidence does not show.",
    ):
        assert expected in text, expected
    assert [attrs["data-status"] for tag, attrs in page.tags if tag == "details" and "open" in attrs] == [
        "new",
        "new",
        "regressed",
    ]


def test_long_reports_are_folded(report: Report) -> None:
    """Of many new findings the first five are unfolded, and what nothing could explain comes last."""
    new = [replace(report.findings[0], title=f"title {n}", occurrences=100 - n) for n in range(20)]
    odd = replace(new[0], title="title unknown", category="unknown", occurrences=999)
    page = Structure(render_report(replace(report, findings=(odd, *new)), "html"))
    assert sum("open" in attrs for tag, attrs in page.tags if tag == "details") == 5
    assert [text for text in page.texts if text.startswith("title ")] == [
        *(finding.title for finding in new),
        "title unknown",
    ]


def test_speaks_korean(report: Report) -> None:
    """The page and its attributes are in the report's language; findings in another one are marked."""
    page = Structure(render_report(replace(report, language="ko"), "html"))
    assert page.tags[0] == ("html", {"lang": "ko"})
    assert "확인할 문제 3건" in page.texts
    assert {attrs.get("lang") for tag, attrs in page.tags if tag == "h3" and attrs} == {"en"}
    assert "Root cause" not in " ".join(page.texts)


def test_nothing_found(clean: Report) -> None:
    """A page without findings has no charts, no filter, and says that nothing failed."""
    page = Structure(render_report(clean, "html"))
    assert "Nothing failed" in page.texts and "No failures were found." in page.texts
    assert not any(attrs.get("class") in ("charts", "controls") for _, attrs in page.tags)


def test_failures_without_answers_are_no_all_clear(unanswered: Report, half_answered: Report) -> None:
    """Where no model answered the page says so in title, headline and list, never that nothing failed."""
    page = Structure(render_report(unanswered, "html"))
    assert "5 failures could not be explained" in page.texts
    assert "There are no findings to show." in page.texts
    assert not re.search(r"Nothing failed|No failures? (were|was) found", " ".join(page.texts))
    half = " ".join(Structure(render_report(half_answered, "html")).texts)
    assert "3 failures to look at" in half and "2 more were found, but no model answered" in half


def test_long_lists_are_cut(report: Report) -> None:
    """Ten thousand files make a table of 500 rows with the number of those left out."""
    files = tuple(replace(report.files[0], path=f"log-{n}") for n in range(10_000))
    text = render_report(replace(report, files=files), "html")
    assert text.count('<td class="path">log-') == 500
    assert "… and 9500 more" in text


def test_similar_earlier_failures_are_shown(
    with_similar: Callable[[str], Report], hostile_strings: list[str]
) -> None:
    """A new finding shows earlier ones like it with a command to open them; hostile ones change no tag."""
    page = Structure(render_report(with_similar("Pin left-pad"), "html"))
    shown = " ".join(page.texts)
    assert "Similar earlier failures" in shown and "bifrost-flow show f1:past" in shown
    assert shown.count("Pin left-pad") == 2 and "Resolved · 2026-11-20 02:14 UTC" in shown
    for text in hostile_strings:
        assert Structure(render_report(with_similar(f"x{text}"), "html")).outline() == page.outline()
