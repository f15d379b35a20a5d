"""The comment on a pull request is short, stays within GitHub's limit, and pings nobody."""

import html
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from markdown_it import MarkdownIt

from bifrost_flow.records import Evidence, Report
from bifrost_flow.render import render_report
from bifrost_flow.render.pr_comment import MAX_BYTES, MAX_DETAILED, name_marker

# Addresses become links as on GitHub, as far as this parser goes without its plug-in for bare ones.
PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
# What GitHub makes something of in rendered text: mentions, issues, commits elsewhere, bare addresses.
LIVE = re.compile(
    r"(?<![\w`])@[a-z0-9]|#\d|\bGH-\d|(?:https?|ftp)://[a-z0-9]|\bwww\.[a-z0-9]|[\w.+-]+@[a-z0-9][\w-]*\.",
    re.IGNORECASE,
)
PINGS = [
    "@octocat broke it, see #123, GH-45, org/repo#6 and org/repo@0123456789abcdef",
    "http://evil.example/x https://github.com/o/r/issues/7 www.evil.example ftp://evil.example",
    "mail a@evil.example or mailto:b@evil.example",
    "</summary></details>@octocat <b>x</b> <!-- open",
    "``` @octocat\n\n@octocat\n```\n@octocat #1",
]


def read_prose(source: str) -> str:
    """Return the text that GitHub looks through for references: all but code."""
    rendered = PARSER.render(source)
    without_code = re.sub(r"<pre>.*?</pre>|<code>.*?</code>", " ", rendered, flags=re.DOTALL)
    without_own_link = re.sub(r'<a href="https://ci\.example[^"]*">', "", without_code)
    return html.unescape(without_own_link)


def test_tells_what_is_new_first(report: Report) -> None:
    """New and regressed findings are folded details with cause, advice and evidence; recurring are titles."""
    text = render_report(replace(report, link="https://ci.example/r/report.html"), "pr-comment")
    lines = text.splitlines()
    assert lines[0] == "<!-- bifrost-flow:pr-comment:storefront -->"
    assert lines[2] == "### ❌ storefront: 3 failures to look at"
    assert text.count("<details>") == text.count("</details>") == 4
    assert text.index("npm cannot find") < text.index("unused_values") < text.index("known failures again")
    assert "ci/build-1184/install-node-20.log:88: npm error code ETARGET" in text
    assert "2 known failures again" in text and "링커가" in text
    assert "4 inputs or calls had problems" in text
    assert "[Open the report](<https://ci.example/r/report.html>)" in text
    assert "pep8" not in text, "what was resolved is a count only"
    assert len(text) < 4000


def test_marker_is_stable_and_alone(report: Report) -> None:
    """A job finds its comment by the first line: the same in every run, another one in another project."""
    later = replace(report, findings=(), run=replace(report.run, run_id="019ab900-0000-7000-8000-0"))
    first = render_report(report, "pr-comment").splitlines()[0]
    assert render_report(later, "pr-comment").splitlines()[0] == first == name_marker("storefront")
    names = ["a--b", "a-b", "a->b", "프로젝트", "x\n-->@octocat"]
    markers = {name_marker(name) for name in names}
    assert len(markers) == len(names)
    for marker in markers:
        assert re.fullmatch(r"<!-- bifrost-flow:pr-comment:(?:(?!--)[\w%.-])+ -->", marker, re.ASCII), marker


def test_calm_clean_and_single(report: Report, clean: Report) -> None:
    """Nothing new and nothing failed say so; a single new finding is unfolded."""
    calm = replace(report, findings=report.findings[3:], run=replace(report.run, groups=2))
    assert "### ✅ storefront: Nothing new" in render_report(calm, "pr-comment")
    assert "### ✅ storefront: " in render_report(clean, "pr-comment")
    single = render_report(replace(report, findings=report.findings[:1]), "pr-comment")
    assert single.count("<details open>") == 1
    korean = render_report(replace(report, language="ko"), "pr-comment")
    assert "확인할 문제 3건" in korean and "Root cause" not in korean


def test_unexplained_failures_are_no_all_clear(unanswered: Report) -> None:
    """A run whose model was down has a warning and says how many failures nobody explained."""
    text = render_report(unanswered, "pr-comment")
    assert "### ⚠️ storefront: 5 failures could not be explained" in text


@pytest.mark.parametrize("letter", ["x", "한", "\\", "😀"])
def test_stays_within_the_limit(report: Report, letter: str) -> None:
    """However much was found, the comment fits, no detail is cut open, and the others are counted."""
    long = replace(
        report.findings[0],
        title=letter * 900,
        root_cause=letter * 9000,
        suggestion=letter * 9000,
        evidence=tuple(Evidence(letter * 900, n, letter * 9000) for n in range(1, 90)),
    )
    known = replace(long, status="recurring")
    text = render_report(replace(report, findings=(long,) * 300 + (known,) * 300), "pr-comment")
    assert len(text.encode()) <= MAX_BYTES
    shown = text.count("<details>") - 1
    assert 1 <= shown <= MAX_DETAILED
    assert text.count("</details>") == shown + 1
    assert f"… and {300 - shown} more that are new or back" in text
    assert "… and 280 more" in text


def test_nothing_pings_or_links(
    build_report: Callable[[list[str]], Report], hostile_strings: list[str]
) -> None:
    """No log makes a mention, a reference, a link, an image or an element of its own."""
    plain = PARSER.render(render_report(build_report(["word", "words", "more"]), "pr-comment"))
    shape = re.findall(r"</?([a-z0-9]+)", plain)
    for text in (*hostile_strings, *PINGS):
        for given in (text, f"x {text}"):
            # One of each: new, regressed, recurring.
            source = render_report(build_report([given, given, given]), "pr-comment")
            prose = read_prose(source)
            assert not LIVE.search(prose), (given, LIVE.search(prose))
            rendered = PARSER.render(source)
            tags = [tag for tag in re.findall(r"</?([a-z0-9]+)", rendered) if tag != "br"]
            assert tags == shape, given
            assert "<a " not in rendered and "<img" not in rendered
