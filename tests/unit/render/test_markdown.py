"""The Markdown report says everything, in both languages, and logs can't write Markdown into it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from bifrost_flow.records import Report
from bifrost_flow.render import render_report
from bifrost_flow.render.defuse import make_visible, put_on_one_line
from bifrost_flow.render.facts import order_findings
from bifrost_flow.render.markdown import code, cut_markdown, escape_inline, escape_paragraphs, fence

PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def read_text(token: Token) -> str:
    """Return what a reader sees of an inline token."""
    return "".join(
        "\n" if child.type in ("softbreak", "hardbreak") else child.content for child in token.children or ()
    )


def count_types(tokens: list[Token]) -> Counter[str]:
    return Counter(token.type for token in tokens) + Counter(
        child.type for token in tokens for child in token.children or ()
    )


def test_says_everything(report: Report) -> None:
    """Headline, counts, findings with path and line, unread inputs, problems and facts of the run."""
    text = render_report(report, "markdown")
    assert text.startswith(
        "# Log report: storefront\n\n"
        "**3 failures to look at** · 2 new, 1 regressed, 2 recurring, 1 resolved\n"
    )
    for expected in (
        "ci/build-1184/test.log:20743: thread 'constant_pool::unused_values' panicked at",
        "Set left-pad to ^1.3.0 in package.json and commit the lock file.",
        "12 times in 12 files",
        "- First seen: 2026-10-02 03:10 UTC",
        "| `ci/build-1184/empty.log` | empty | The file holds no bytes. |",
        "`f1:deadbeef00000000`: Ollama did not answer within 120 s",
        "- Read: 8 files, 35,151 lines, 10.7 MB",
        "- Tokens: 5,120 in, 1,410 out, 4,211 saved",
        "- Cost: 0.0123 USD",
        "- Duration: 1 min 42 s",
        "ollama qwen2.5-coder:7b, rules",
    ):
        assert expected in text
    assert text.count("core.4411") == 1, "an input that is a file row and a problem is told once"


def test_new_comes_first(report: Report) -> None:
    """Findings are ordered by status, then severity."""
    titles = [line for line in render_report(report, "markdown").splitlines() if line.startswith("### ")]
    assert [title.split()[2] for title in titles] == [
        "npm",
        "\\`ConstantPoolTest.unused_values\\`",
        "Deployment",
        "링커가",
        "Connection",
        "flake8:",
    ]


def test_speaks_korean(report: Report) -> None:
    """The report's language decides, whatever language the process speaks."""
    text = render_report(replace(report, language="ko"), "markdown")
    assert "**확인할 문제 3건**" in text
    assert "| 신규 | 치명적 | 의존성 오류 |" in text
    assert "Root cause" not in text


def test_nothing_found(clean: Report) -> None:
    """A run without findings says so, and a run that read nothing does not claim that all is well."""
    text = render_report(clean, "markdown")
    assert "**Nothing failed**" in text and "No failures were found." in text
    blind = replace(clean, run=replace(clean.run, lines=0))
    assert "**No log could be read**" in render_report(blind, "markdown")
    quiet_night = replace(clean, run=replace(clean.run, files=0, lines=0, skipped=3), files=())
    assert "**No new logs**" in render_report(quiet_night, "markdown")


@pytest.mark.parametrize(
    ("status", "headline"),
    [
        ("interrupted", "Stopped before the end"),
        ("failed", "Stopped before the end"),
        ("budget_exhausted", "Stopped before the end"),
        ("partial", "No failure in what could be read"),
    ],
)
def test_an_unfinished_run_is_no_all_clear(clean: Report, status: str, headline: str) -> None:
    """A run that found nothing until it ended early, or in what it could read, claims no more than that."""
    text = render_report(replace(clean, run=replace(clean.run, status=status)), "markdown")
    assert f"**{headline}**" in text
    assert "Nothing failed" not in text and "No failures were found." not in text


def test_failures_without_answers_are_no_all_clear(unanswered: Report, half_answered: Report) -> None:
    """Failures that no model explained are counted, alone and beside those that were explained."""
    text = render_report(unanswered, "markdown")
    assert "**5 failures could not be explained**" in text and "no model answered" in text
    assert "Nothing failed" not in text and "No failures were found." not in text
    stopped = replace(unanswered, run=replace(unanswered.run, status="interrupted", groups=1))
    text = render_report(stopped, "markdown")
    assert "**One failure could not be explained**" in text and "The run was stopped before" in text
    half = render_report(half_answered, "markdown")
    assert "**3 failures to look at**" in half and "2 more could not be explained" in half
    korean = render_report(replace(unanswered, language="ko"), "markdown")
    assert "**설명하지 못한 실패 5건**" in korean and "실패 없음" not in korean


def test_known_failures_do_not_hide_unexplained_ones(report: Report) -> None:
    """Recurring findings beside failures without an answer are not told as nothing new."""
    known = replace(report, findings=report.findings[3:])
    assert "**3 failures could not be explained**" in render_report(known, "markdown")
    all_known = replace(known, run=replace(report.run, groups=2))
    assert "**Nothing new**" in render_report(all_known, "markdown")


def test_single_things_are_in_the_singular(report: Report) -> None:
    """One file, one call and one group are told as one."""
    run = replace(report.run, files=1, llm_calls=1, chunks=1, groups=1)
    text = render_report(replace(report, run=run), "markdown")
    assert "- Read: one file, " in text
    assert "- Model calls: one call, " in text
    assert "- Evidence: one excerpt in one group" in text


def test_hostile_text_stays_text(
    build_report: Callable[[list[str]], Report], hostile_strings: list[str]
) -> None:
    """No string makes HTML, links, headings, lists, emphasis, cells or fences, and each is read as it was."""
    report = build_report(hostile_strings)
    tokens = PARSER.parse(render_report(report, "markdown"))
    counts, n = count_types(tokens), len(hostile_strings)
    for injected in ("html_block", "html_inline", "link_open", "image", "hr", "s_open", "blockquote_open"):
        assert not counts[injected], injected
    assert counts["ordered_list_open"] == counts["code_block"] == 0
    assert counts["heading_open"] == 1 + 4 + n
    assert counts["em_open"] == sum(not finding.grounded for finding in report.findings)
    assert counts["strong_open"] == 1 + n * 5
    rows = Counter(tokens[i].type for i in range(len(tokens)) if tokens[i].type in ("td_open", "tr_open"))
    assert rows == {"tr_open": (n + 1) * 2, "td_open": n * (6 + 3)}

    findings = order_findings(report.findings)
    fences = [token.content for token in tokens if token.type == "fence"]
    assert fences == [
        "".join(
            f"{put_on_one_line(piece.path)}:{piece.line}: {make_visible(piece.quote)}\n"
            for piece in finding.evidence
        )
        for finding in findings
    ]
    headings = [
        tokens[i + 1] for i, token in enumerate(tokens) if token.type == "heading_open" and token.tag == "h3"
    ]
    assert [read_text(heading) for heading in headings] == [
        f"{number}. {put_on_one_line(finding.title)}" for number, finding in enumerate(findings, 1)
    ]


@given(
    st.text(st.characters(codec=None), max_size=60) | st.text("\\`*_[]()<>!|~#&-+=.1 \n:/w@$x", max_size=30)
)
def test_escaping_round_trips(text: str) -> None:
    """Any text, escaped, is read back as itself: as a block, after words, and in a cell."""
    line = put_on_one_line(text)
    expected = [line] if line else []
    assert [
        read_text(token) for token in PARSER.parse(escape_inline(text)) if token.type == "inline"
    ] == expected
    (after,) = [token for token in PARSER.parse(f"x {escape_inline(text)}") if token.type == "inline"]
    assert read_text(after) == f"x {line}".rstrip()
    cells = [
        token
        for token in PARSER.parse(f"| a | b |\n| --- | --- |\n| {escape_inline(text)} | end |")
        if token.type == "inline"
    ]
    assert [read_text(cell) for cell in cells] == ["a", "b", line, "end"]


@given(st.text("`~x\n\\ ", max_size=40))
def test_fences_and_code_spans_hold(text: str) -> None:
    """Nothing in a fence or a code span can end it."""
    (token,) = PARSER.parse(fence(text))
    assert token.content == f"{text}\n"
    if line := put_on_one_line(text):
        (inline,) = [token for token in PARSER.parse(f"x {code(text)} y") if token.type == "inline"]
        assert [(child.type, child.content) for child in inline.children or ()] == [
            ("text", "x "),
            ("code_inline", line),
            ("text", " y"),
        ]


@pytest.mark.parametrize("text", ["a\n# b\n- c\n\n    d\n=\n1. e", "a\\\nb"])
def test_paragraphs_keep_their_lines(text: str) -> None:
    """Line breaks of an explanation survive, and no line of it starts a block."""
    tokens = PARSER.parse(escape_paragraphs(text))
    assert {token.type for token in tokens} == {"paragraph_open", "inline", "paragraph_close"}
    lines = "\n".join(read_text(token) for token in tokens if token.type == "inline").split("\n")
    assert lines == [line.strip() for line in text.split("\n") if line.strip()]


@given(st.text("`![](x)|\n", max_size=40), st.integers(0, 200))
def test_a_cut_opens_nothing(text: str, limit: int) -> None:
    """A report that is cut ends with a whole line, so that no code span is cut open."""
    report = f"# x\n\n{code(text + 'y')} and {code('![](z)')}\n\n{fence(text)}\n"
    cut = cut_markdown(report, limit)
    assert report.startswith(cut)
    assert len(cut) <= max(limit, 0) and (not cut or cut.endswith("\n"))
    assert "image" not in count_types(PARSER.parse(cut))
    assert cut_markdown(report, len(report)) == report


def test_similar_earlier_failures_follow_their_finding(
    with_similar: Callable[[str], Report], hostile_strings: list[str]
) -> None:
    """A new finding shows what became of those like it, and how to open them; their texts stay text."""
    text = render_report(with_similar("Pin `left-pad`"), "markdown")
    assert text.count("Similar earlier failures") == 1
    assert "- Resolved · 2026-11-20 02:14 UTC · Pin \\`left-pad\\`\\\n  Pin" in text
    assert "`bifrost-flow show f1:past`" in text
    assert "비슷했던 이전 장애" in render_report(replace(with_similar("x"), language="ko"), "markdown")
    plain = count_types(PARSER.parse(render_report(with_similar("word"), "markdown")))
    for hostile in hostile_strings:
        shown = count_types(PARSER.parse(render_report(with_similar(f"x {hostile}"), "markdown")))
        assert {name: shown[name] for name in plain if name not in ("text", "text_special", "softbreak")} == {
            name: plain[name] for name in plain if name not in ("text", "text_special", "softbreak")
        }


def test_a_report_is_rendered_once_and_not_taken_for_another(report: Report) -> None:
    """What is wanted twice is the same text; another report gets its own."""
    first = render_report(report, "markdown")
    other = replace(report, findings=())
    assert render_report(report, "markdown") is first
    assert render_report(other, "markdown") != first
    assert render_report(report, "markdown") == first
