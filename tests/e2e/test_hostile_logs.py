"""Logs that try to steer their readers, through the whole pipeline, with a model that obeys them."""

import csv
import io
import itertools
import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from markdown_it import MarkdownIt

from tests.console import Console
from tests.e2e.test_html import CHROMIUM, browse
from tests.hostile_logs import FAKE_ANSWER, HOSTILE_LOGS
from tests.model_server import ModelServer
from tests.unit.render.test_html import Structure
from tests.unit.render.test_slack_blocks import check_limits, read, walk

OLLAMA = ("--provider", "ollama", "--model", "scripted")
SERVER = "BIFROST_OLLAMA_URL"
# The test's own notion of what tools do to the lines they show: no escape sequences, one blank for a carriage
# return.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]P_]|[\x90\x9d])[^\n\x1b\x07\x9c]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
)
_FORMULA = re.compile(r"[\s\u3000]*[=+\-@＝＋－＠]|[\t\r\n]")
_NUMBER = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?")
_OURS_IN_A_TERMINAL = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\?25[lh]|\x1b\[[0-9]*[AK]|\r")
# What a page of ours may consist of.
_TAGS = """
    html head meta title link style body a div header svg path b span h1 h2 h3 h4 p ul li main section circle
    text rect input button details summary table tr td th thead tbody dl dt dd footer script code time
"""


class Obedient:
    """A model that says whatever hostile logs want: their words, their answer, their numbers."""

    def __init__(self) -> None:
        self._numbers = itertools.count()

    def __call__(self, payload: dict[str, Any]) -> str:
        number = next(self._numbers)
        words = "\n".join(HOSTILE_LOGS[number % len(HOSTILE_LOGS)].lines)[:3000]
        answer = json.loads(FAKE_ANSWER) | {"category": "crash", "title": words, "root_cause": words}
        answer |= {"explanation": words, "suggestion": words}
        match number % 9:
            case 6:
                return FAKE_ANSWER
            case 7:
                return json.dumps(answer | {"evidence": [1, 99_999]})
            case 8:
                return f"{words}\n```json\n{FAKE_ANSWER}\n```\n{json.dumps(answer)}"
        return json.dumps(answer)


@dataclass(frozen=True, slots=True)
class Ran:
    """A folder in which the hostile logs went through the pipeline twice."""

    console: Console
    outputs: dict[str, str]  # what each command printed
    chats: list[dict[str, Any]]
    rows: list[dict[str, Any]]  # of `findings`
    texts: dict[str, str]  # chunks, by fingerprint


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, prefect_home: Path, prefect_api: str) -> Ran:
    """Run over all hostile logs with the rules, then with a model that obeys them."""
    console = Console(tmp_path_factory.mktemp("hostile"), prefect_home, prefect_api)
    logs = console.folder / "logs"
    logs.mkdir()
    for log in HOSTILE_LOGS:
        log.write(logs)
    outputs: dict[str, str] = {}

    def call(*words: str | Path, codes: tuple[int, ...] = (0,), **extra: str) -> str:
        done = console.call(*words, stdin=None, **extra)
        assert done.code in codes, done.err
        outputs[" ".join(map(str, words))] = done.out
        outputs["stderr of " + " ".join(map(str, words))] = done.err
        return done.out

    formats = ("--format", "markdown,html,json,csv")
    # Named for its only file, which has the name of an image and a link.
    (image,) = [log.file_name for log in HOSTILE_LOGS if log.name == "markdown_links"]
    call("run", logs / image, "--provider", "rules", "--project", "single", "--json")
    call("run", "logs", "--provider", "rules", *formats, "--out", "by-rules", codes=(3,))
    with ModelServer(answer=Obedient()) as server:
        url = {SERVER: server.url}
        said = ("--project", "obeyed", *OLLAMA)
        call("run", "logs", *said, *formats, "--out", "by-model", codes=(3,), **url)
        call("run", "logs", *said, "--json", codes=(3,), **url)
        for name, form in (("osc", "text"), ("html_handlers", "markdown"), ("bidi", "json")):
            (path,) = [log.file_name for log in HOSTILE_LOGS if log.name == name]
            call(
                "analyze", logs / path, "--all", "--no-cache", *OLLAMA, "--format", form, codes=(0, 3), **url
            )
    for words in (
        *(("extract", "logs", "--format", form) for form in ("text", "jsonl")),
        *(("events", "logs", "--format", form) for form in ("text", "jsonl")),
        *(("filter", "logs", "--keyword", "a", "--format", form) for form in ("text", "jsonl")),
    ):
        call(*words, codes=(3,))
    query = "SELECT * FROM findings"
    for words in (
        ("history",),
        *(("show", "latest", "--project", "obeyed", "--format", form) for form in ("table", "json")),
        *(("sql", query, "--format", form) for form in ("table", "csv")),
        *(
            ("export", "--project", "obeyed", "--format", form)
            for form in ("markdown", "json", "csv", "html")
        ),
        ("cache", "list", "--limit", "200"),
        ("slack", "--project", "obeyed", "--dry-run", "--always"),
    ):
        call(*words)
    rows = json.loads(call("sql", query, "--format", "json"))
    for row in rows[::8]:
        call("show", row["fingerprint"])
        call("show", row["fingerprint"], "--format", "json")
    chunks = json.loads(call("sql", "SELECT fingerprint, text FROM chunks", "--format", "json"))
    return Ran(console, outputs, server.chats, rows, {row["fingerprint"]: row["text"] for row in chunks})


def is_inert(text: str) -> bool:
    """Tell whether `text` has nothing that steers a terminal or that nobody sees."""
    left = {char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    return left <= {"\n", "\t", "\u200d", "\u200c"}


def strip_controls(text: str) -> str:
    """Return what a terminal leaves of a line: backspaces done, sequences and controls gone."""
    text = _ESCAPES.sub("", text)
    while "\b" in text:
        text = re.sub(r"[^\b]?\x08", "", text, count=1)
    return " ".join(re.sub(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]", "", text).split())


def test_there_are_enough_and_they_are_found(ran: Ran) -> None:
    """Over fifty logs, each with its failure in the tables, but for one that is no text."""
    assert len(HOSTILE_LOGS) >= 50
    told = {line["path"] for row in ran.rows if row["project"] == "default" for line in row["evidence"]}
    hidden = {log.name for log in HOSTILE_LOGS if f"logs/{log.file_name}" not in told}
    assert hidden == {"nul"}


def test_output_steers_no_terminal(ran: Ran) -> None:
    """Nothing that any command prints has a control, a direction mark or an invisible character."""
    assert len(ran.outputs) > 60
    loud = [
        words
        for words, text in ran.outputs.items()
        if not is_inert(
            text.replace("\r\n", "\n").replace("\u2060", "" if words.startswith("slack") else "\u2060")
        )
    ]
    assert loud == []


def test_evidence_is_true(ran: Ran) -> None:
    """Each quote of each finding stands in that line of that file, whatever the model said."""
    root, count = ran.console.folder, 0
    for row in ran.rows:
        for line in row["evidence"]:
            raw = (root / line["path"]).read_bytes().split(b"\n")[line["line"] - 1].decode()
            bare = strip_controls(raw)
            start = 0
            for piece in re.split(r"\[redacted:[^\]]*\]| [⏎…] ", line["quote"]):
                words = strip_controls(piece)
                start = bare.find(words, start)
                assert start >= 0, (row["project"], line)
                start += len(words)
                count += 1
    assert count > 100


def test_a_log_moves_no_citation_and_grounds_no_invention(ran: Ran) -> None:
    """Answers that cite lines that are not there, or come twice, are refused; foreign names are told."""
    by_model = [row for row in ran.rows if row["project"] == "obeyed"]
    assert len(by_model) > 20
    invented = [row for row in by_model if "ci/green.yml" in row["title"]]
    assert invented
    for row in invented:
        assert row["grounded"] == ("ci/green.yml" in ran.texts[row["fingerprint"]]), row
    refused = json.loads(
        ran.console.call(
            "sql",
            "SELECT error FROM llm_calls WHERE project = 'obeyed' AND status = 'failed'",
            "--format",
            "json",
        ).out
    )
    errors = " ".join(row["error"] for row in refused)
    assert "cites line 99999" in errors and "2 different answers" in errors


def test_a_prompt_has_one_frame_and_no_tools(ran: Ran) -> None:
    """Every call has a system and a user message and nothing to call; only our words follow the excerpt."""
    assert len(ran.chats) > 50
    for chat in ran.chats:
        assert not chat.keys() & {"tools", "tool_choice", "functions"}
        system, user = chat["messages"]
        assert (system["role"], user["role"]) == ("system", "user")
        assert "evil.example" not in system["content"]
        found = re.fullmatch(r"<log-(\w{12}) [^\n]*>\n(.*)\n</log-\1>\n\n(.*)", user["content"], re.DOTALL)
        assert found and found[1] not in found[2] + found[3]
        numbers = [re.match(r"\d+(?=\| )", line) for line in found[2].split("\n")]
        assert [number and int(number[0]) for number in numbers] == [*range(1, len(numbers) + 1)]
        assert found[3].count("\n") <= 7, "a reply that was sent back stands on one line"
        assert not re.search(r"<\||\|>|<｜|\[\||\[/?INST\]|</?s>|<\w+_of_turn>", user["content"])


@pytest.mark.parametrize("folder", ["by-rules", "by-model"])
def test_html_is_ours_alone(ran: Ran, folder: str) -> None:
    """Tags, attributes, addresses and the one script of the page are the template's."""
    source = (ran.console.folder / folder / "report.html").read_text(encoding="utf-8")
    assert is_inert(source)
    page = Structure(source)
    assert page.open == []
    assert {tag for tag, _ in page.tags} <= set(_TAGS.split())
    names = {name for _, attributes in page.tags for name in attributes}
    assert not {name for name in names if name.startswith("on")} | (
        names & {"style", "src", "srcdoc", "action"}
    )
    assert {attributes["href"] for _, attributes in page.tags if "href" in attributes} == {
        "#findings",
        "data:,",
    }
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert sum(tag == "meta" for tag, _ in page.tags) == 5
    assert "alert(1)" in "".join(page.texts), "the words themselves are there to be read"


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine (CHROMIUM names one)")
@pytest.mark.parametrize("folder", ["by-rules", "by-model"])
def test_a_browser_does_nothing_for_a_log(ran: Ran, folder: str, tmp_path: Path) -> None:
    """Nothing is asked for, and not even the policy has anything to refuse."""
    page = ran.console.folder / folder / "report.html"
    _, console, asked = browse(page.as_uri(), tmp_path)
    assert (console, asked) == ([], set())


def check_markdown(text: str) -> None:
    """Check that `text` has no image, no link, no HTML and nothing that a site would turn into one."""
    assert is_inert(text)
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)
    inner = [child for token in tokens for child in token.children or ()]
    kinds = {token.type for token in (*tokens, *inner)}
    assert not kinds & {"image", "link_open", "html_block", "html_inline", "s_open"}
    escaped = re.sub(r"\\.", "\\\\", re.sub(r"(?s)(`+)(?!`).*?(?<!`)\1(?!`)", "", text))
    assert not re.search(r"https?://|www\.|\w@\w|(?<!\w)@\w", escaped)


@pytest.mark.parametrize("folder", ["by-rules", "by-model"])
def test_markdown_has_nothing_live(ran: Ran, folder: str) -> None:
    """The report has no image, link or HTML of a log."""
    check_markdown((ran.console.folder / folder / "report.md").read_text(encoding="utf-8"))


def test_artifacts_have_nothing_live(ran: Ran) -> None:
    """Prefect's pages take descriptions and cells of tables for Markdown as well."""
    ids = json.loads(ran.console.call("sql", "SELECT flow_run_id FROM runs", "--format", "json").out)
    wanted = [row["flow_run_id"] for row in ids if row["flow_run_id"]]
    with httpx.Client(base_url=str(ran.console.api_url), trust_env=False) as api:
        where = {"artifacts": {"flow_run_id": {"any_": wanted}}}
        artifacts = api.post("/artifacts/filter", json=where).json()
    kinds = {"markdown": 0, "table": 0}
    for artifact in artifacts:
        if artifact["type"] not in kinds:
            continue
        kinds[artifact["type"]] += 1
        check_markdown(artifact["description"])
        data = artifact["data"]
        for text in [data] if artifact["type"] == "markdown" else [row["title"] for row in json.loads(data)]:
            check_markdown(text)
    assert kinds["markdown"] >= 3 and kinds["table"] >= 3


@pytest.mark.parametrize("read_text", [
    lambda ran: (ran.console.folder / "by-rules" / "findings.csv").read_bytes().decode(),
    lambda ran: (ran.console.folder / "by-model" / "findings.csv").read_bytes().decode(),
    lambda ran: ran.outputs["sql SELECT * FROM findings --format csv"],
])  # fmt: skip
def test_no_cell_is_a_formula(ran: Ran, read_text: Callable[[Ran], str]) -> None:
    """In CSV each cell is a number of ours or starts with nothing that a spreadsheet runs."""
    rows = list(csv.reader(io.StringIO(read_text(ran), newline=""), strict=True))
    assert len(rows) > 20 and len({len(row) for row in rows}) == 1
    live = [cell for row in rows for cell in row if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell)]
    assert live == []


def test_json_stays_json(ran: Ran) -> None:
    """Each JSON output is one value, each line of JSON Lines is one, and they say what the logs say."""
    for words, text in ran.outputs.items():
        if words.startswith("stderr"):
            continue
        if words.endswith("--format jsonl"):
            assert all(isinstance(json.loads(line), dict) for line in text.splitlines())
        elif words.endswith(("--format json", "--json", "--dry-run --always")):
            json.loads(text)
    report = json.loads((ran.console.folder / "by-model" / "findings.json").read_text(encoding="utf-8"))
    assert any("alert(" in finding["title"] for finding in report["findings"])


def test_slack_is_told_nothing_live(ran: Ran) -> None:
    """The message keeps Slack's limits and has no mention, link or markup of a log."""
    message = json.loads(ran.outputs["slack --project obeyed --dry-run --always"])
    check_limits(message["blocks"])
    everything = read(message["blocks"]) + message["text"]
    assert not re.search(r"<[!@#/]|<\w+:|(?<!\w)@(channel|here|everyone)\b", everything)
    kinds = {str(part["type"]) for part in walk(message["blocks"]) if part.keys() - {"bold", "italic"}}
    assert kinds <= {
        *("header", "section", "context", "divider", "plain_text", "mrkdwn", "text"),
        *("rich_text", "rich_text_section", "rich_text_preformatted"),
    }
    marked = [str(part["text"]) for part in walk(message["blocks"]) if part.get("type") == "mrkdwn"]
    assert not [text for text in marked if "evil" in text or "<" in text]


def test_nothing_was_done(ran: Ran) -> None:
    """No command in a log was run, and the tables are all there."""
    assert not list(ran.console.folder.rglob("owned"))
    assert ran.console.call("sql", "SELECT count(*) FROM findings").code == 0


@pytest.mark.parametrize("name", ["osc", "c1", "ansi", "rich_markup", "combining_flood"])
def test_a_real_terminal_gets_only_our_sequences(ran: Ran, name: str) -> None:
    """An answer that is full of sequences, shown while it is written, brings none of them along."""
    (log,) = [log for log in HOSTILE_LOGS if log.name == name]
    said = "\n".join(log.lines)
    answer = json.loads(FAKE_ANSWER) | {"title": said, "root_cause": said, "suggestion": said}
    with ModelServer(answer=lambda _: json.dumps(answer)) as server:
        words = ["analyze", f"logs/{log.file_name}", "--no-cache", "--warehouse", f"tty-{name}", *OLLAMA]
        done = ran.console.call_in_terminal(*words, **{SERVER: server.url})
    assert done.code == 0, done.err
    assert "Root cause" in done.out
    assert is_inert(_OURS_IN_A_TERMINAL.sub("", done.out))
