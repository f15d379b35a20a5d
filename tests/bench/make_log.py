"""Build a log of any size from the lines of real logs, byte for byte the same each time.

    python -m tests.bench.make_log --mb 500 --out /tmp/big.log [--style gha] [--needles 5] [--corpus FOLDER]

The lines of a labelled folder (`labels.jsonl`) are repeated until the size is reached, under a clock of our
own that goes on some milliseconds a line. Lines that people marked are left out, so that of the failures they
marked in build logs exactly `--needles` are in the log, evenly spread; `OUT.json` says where.

`gha`      each line of the build logs behind the timestamp of GitHub Actions
`service`  lines of the service logs, or of the others where there are none; a timestamp that they begin with
           is replaced by one in the same form, the others get an ISO 8601 one
`raw`      the lines of the build logs as they are: their times, if any, jump back and forth
"""

import argparse
import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

STYLES = ("gha", "service", "raw")
CORPUS = Path(__file__).resolve().parents[1] / "data"
START = datetime(2024, 1, 1)  # noqa: DTZ001 -- only ever printed
MAX_LINE_BYTES = 4000
MAX_NEEDLE_LINES = 60
WRITE_BYTES = 1 << 20

ACTIONS = re.compile(rb"^(?:\xef\xbb\xbf)?\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z ")
# How a log's own timestamps look, and how to print such a one; %L stands for milliseconds.
STAMPS = (
    (re.compile(rb"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.,]\d{3}Z?"), "%Y-%m-%dT%H:%M:%S.%LZ"),
    (re.compile(rb"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"), "%Y-%m-%d %H:%M:%S,%L"),
    (re.compile(rb"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?=[ ,])"), "%Y-%m-%d %H:%M:%S"),
    (re.compile(rb"^\d\d/\d\d/\d\d \d\d:\d\d:\d\d"), "%y/%m/%d %H:%M:%S"),
    (re.compile(rb"^\d{6} \d{6}"), "%y%m%d %H%M%S"),
    (re.compile(rb"^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d"), "%b %d %H:%M:%S"),
    (re.compile(rb"^\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"), "%m-%d %H:%M:%S.%L"),
)
ISO = "%Y-%m-%dT%H:%M:%S.%L0000Z "


@dataclass(frozen=True, slots=True)
class Line:
    """A line without its timestamp, and the form of the one to print; None for none."""

    text: bytes
    form: str | None


@dataclass(frozen=True, slots=True)
class Failure:
    """Lines that people marked."""

    file: str
    lines: tuple[Line, ...]


class Clock:
    """Prints timestamps; a line takes up to 4 ms."""

    def __init__(self) -> None:
        self._passed_us = 0
        self._state = 12_345
        self._second = -1
        self._heads: dict[str, tuple[bytes, bytes]] = {}

    def tick(self) -> None:
        # A linear congruential generator: the same numbers on any Python.
        self._state = (self._state * 1_103_515_245 + 12_345) & 0x7FFFFFFF
        self._passed_us += 1 + self._state % 4000

    def show(self, form: str) -> bytes:
        second, rest_us = divmod(self._passed_us, 1_000_000)
        if second != self._second:
            self._second, self._heads = second, {}
        if form not in self._heads:
            head, _, tail = (START + timedelta(seconds=second)).strftime(form).partition("%L")
            self._heads[form] = (head.encode(), tail.encode())
        head, tail = self._heads[form]
        return head + b"%03d" % (rest_us // 1000) + tail if "%L" in form else head


def read_corpus(folder: Path, style: str) -> tuple[list[Line], list[Failure]]:
    """Return the lines to repeat and the failures to insert."""
    rows = [json.loads(line) for line in (folder / "labels.jsonl").read_text(encoding="utf-8").splitlines()]
    rows.sort(key=lambda row: row["file"])
    of_builds = [row for row in rows if row.get("kind") != "service"]
    # Reports of crashes are failures through and through: nothing could be hidden among them.
    of_services = [row for row in rows if row.get("kind") == "service" and not is_crash(row)]
    repeated = (of_services or of_builds) if style == "service" else of_builds
    body = [line for row in repeated for line in read_unmarked(folder, row, style)]
    return body, [failure for row in of_builds for failure in read_failures(folder, row, style)]


def is_crash(row: dict[str, Any]) -> bool:
    """Tell whether a row is that of a crash report."""
    return bool(row["labels"] or row.get("meta", {}).get("signature"))


def read_unmarked(folder: Path, row: dict[str, Any], style: str) -> Iterator[Line]:
    """Yield the lines of a log that are in no label, at its own place or another."""
    marked = list_marked(row)
    for number, text in enumerate(read_texts(folder / row["file"]), start=1):
        if number not in marked:
            yield strip_stamp(text, style)


def list_marked(row: dict[str, Any]) -> set[int]:
    """Return the numbers of the lines that are in a label, at its own place or another."""
    spans = [
        span
        for label in row["labels"]
        for span in ((label["line_start"], label["line_end"]), *label.get("alt", ()))
    ]
    return {number for first, last in spans for number in range(first, last + 1)}


def read_failures(folder: Path, row: dict[str, Any], style: str) -> Iterator[Failure]:
    """Yield the labelled lines of a log, label by label; long ones and optional ones are left out."""
    texts = read_texts(folder / row["file"])
    for label in row["labels"]:
        first, last = label["line_start"], label["line_end"]
        if last - first < MAX_NEEDLE_LINES and not label.get("optional"):
            yield Failure(row["file"], tuple(strip_stamp(text, style) for text in texts[first - 1 : last]))


def read_texts(path: Path) -> list[bytes]:
    """Return the lines of a log, gzipped or not."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return data.removesuffix(b"\n").split(b"\n")


def strip_stamp(text: bytes, style: str) -> Line:
    """Return a line without the timestamp that is going to be replaced."""
    if style == "raw":
        return Line(text[:MAX_LINE_BYTES], None)
    if style == "gha":
        return Line(ACTIONS.sub(b"", text)[:MAX_LINE_BYTES], ISO)
    for pattern, form in STAMPS:
        if found := pattern.match(text):
            return Line(text[found.end() :][:MAX_LINE_BYTES], form)
    return Line(text[:MAX_LINE_BYTES], ISO)


def write_log(path: Path, *, size: int, style: str, needles: int, corpus: Path = CORPUS) -> None:
    """Write a log of `size` bytes, whole lines, to `path`, and what is in it to `path`.json."""
    body, failures = read_corpus(corpus, style)
    marks = [size * number // (needles + 1) for number in range(1, needles + 1)] if failures else []
    found: list[dict[str, Any]] = []
    written = count = 0
    clock = Clock()

    def render(lines: tuple[Line, ...] | list[Line]) -> Iterator[bytes]:
        for line in lines:
            clock.tick()
            yield (clock.show(line.form) if line.form else b"") + line.text + b"\n"

    with path.open("wb") as stream:
        held: list[bytes] = []
        place = 0
        while written < size:
            if len(found) < len(marks) and written >= marks[len(found)]:
                # A step that shares no factor with most counts: needles come from all over the corpus.
                failure = failures[(7 * len(found) + 3) % len(failures)]
                last = count + len(failure.lines)
                found.append({"line_start": count + 1, "line_end": last, "file": failure.file})
                piece = b"".join(render(failure.lines))
                count = last
            else:
                piece = next(render([body[place]]))
                place = (place + 1) % len(body)
                count += 1
            held.append(piece)
            written += len(piece)
            if len(held) >= 8192:
                stream.write(b"".join(held))
                held.clear()
        stream.write(b"".join(held))
    about = {"bytes": written, "lines": count, "style": style, "needles": found}
    path.with_name(f"{path.name}.json").write_text(json.dumps(about, indent=1), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mb", type=float, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--style", choices=STYLES, default="gha")
    parser.add_argument("--needles", type=int, default=5)
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="folder with labels.jsonl")
    chosen = parser.parse_args()
    size = int(chosen.mb * 1e6)
    write_log(chosen.out, size=size, style=chosen.style, needles=chosen.needles, corpus=chosen.corpus)


if __name__ == "__main__":
    main()
