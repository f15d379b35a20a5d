"""Inputs of the bench: made once in a folder outside the repository, and used again when they are there.

The name of an input holds all that shapes it. Each is made under another name first, by a process of its own
(`python -m tests.bench.inputs KIND …`), since whoever measures must stay small.
"""

import hashlib
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.bench.make_log import write_log
from tests.bench.measure import Options, run_module

VERSION = "3"  # of what is made here; a new one makes all inputs anew
NEEDLES = 5
SMALL_BYTES = 20_000
PIECE_LINES = 20_000
JOB_LINES = 600
SYLLABLES = ("ba", "co", "du", "fe", "gi", "ko", "lu", "me", "no", "pi", "ra", "so", "ta", "ve", "wi", "zu")


def find_input(folder: Path, kind: str, *words: object) -> Path:
    """Return the input `kind` of these parameters, made if it is not there."""
    names = (word.name if isinstance(word, Path) else str(word) for word in words)
    # What stands in other folders is named by these folders' contents beside it.
    path = folder / "-".join((kind, *(name for name in names if "/" not in name), f"v{VERSION}"))
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        print(f"making {path} …", file=sys.stderr, flush=True)
        run_module("inputs", kind, *map(str, words), path)
    return path


def find_log(options: Options, mb: int, style: str = "gha") -> Path:
    """Return a log of `mb` million bytes; `about_log` says what is in it."""
    labels = hashlib.sha256((options.corpus / "labels.jsonl").read_bytes()).hexdigest()[:8]
    return find_input(options.folder, "log", style, mb, labels, str(options.corpus))


def about_log(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def make_log(path: Path, style: str, mb: str, labels: str, corpus: str) -> None:
    """A log with failures in it, in one of the styles of `make_log`."""
    write_log(path, size=int(mb) * 1_000_000, style=style, needles=NEEDLES, corpus=Path(corpus))


def make_small(path: Path, log: str, count: str, size: str = str(SMALL_BYTES)) -> None:
    """A folder of `count` files of some 20 KB, or `size` bytes, cut at line ends from the start of a log."""
    path.mkdir()
    with Path(log).open("rb") as stream:
        for number in range(int(count)):
            text = stream.read(int(size)) + stream.readline()
            (path / f"{number:06}.log").write_bytes(text)


def make_joined(path: Path, small: str) -> None:
    """One file with the text of all those in a folder."""
    with path.open("wb") as stream:
        for each in sorted(Path(small).iterdir()):
            stream.write(each.read_bytes())


def make_line(path: Path, mb: str) -> None:
    """One line, without end."""
    piece = (b"the same words again and an error in between " * 25_000)[:1_000_000]
    with path.open("wb") as stream:
        for _ in range(int(mb)):
            stream.write(piece)


def make_errors(path: Path, count: str) -> None:
    """Lines that all tell of a failure, each in words of its own."""
    write_lines(path, int(count), "2024-01-01T00:00:00.0000000Z error: {} failed to {} the {}\n")


def make_distinct(path: Path, count: str) -> None:
    """Lines of words of their own that tell of nothing."""
    write_lines(path, int(count), "2024-01-01T00:00:00.0000000Z now {} will {} the {} as planned\n")


def write_lines(path: Path, count: int, form: str) -> None:
    words = make_words(3 * count)
    with path.open("w", encoding="utf-8") as stream:
        for first in range(0, count, PIECE_LINES):
            lines = range(first, min(count, first + PIECE_LINES))
            stream.write("".join(form.format(next(words), next(words), next(words)) for _ in lines))


def make_words(count: int) -> Iterator[str]:
    """Yield made-up words of letters alone, each its own: numbers would be masked as what varies."""
    mixed = random.Random(1)
    for number in range(count):
        word = ""
        while number:
            number, digit = divmod(number, len(SYLLABLES))
            word += SYLLABLES[digit]
        yield mixed.choice(SYLLABLES) + "x" + word


def make_failures(path: Path, count: str) -> None:
    """A folder of logs of some 40 KB, each of a job that failed in a way of its own."""
    path.mkdir()
    words = make_words(3 * int(count) * (JOB_LINES + 1))
    stamp = "2024-01-01T00:00:00.0000000Z"
    for number in range(int(count)):
        lines = [f"{stamp} now {next(words)} will {next(words)} the {next(words)}" for _ in range(JOB_LINES)]
        lines.append(f"{stamp} error: {next(words)} could not {next(words)} the {next(words)}")
        lines.append(f"{stamp} ##[error]Process completed with exit code 1.")
        (path / f"{number:05}.log").write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_answers(path: Path, count: str) -> None:
    """A warehouse with cached answers, as ten runs left them."""
    from bifrost_flow.records import CachedAnswer
    from connectors.warehouse import Warehouse

    response = '{"title": "t", "root_cause": "%s", "evidence": [1]}' % ("why it failed " * 40)
    answer = CachedAnswer("", response, "ollama", "m", "p1", 800, 200, datetime(2024, 1, 1, tzinfo=UTC))
    warehouse = Warehouse.open(str(path))
    size = max(1, int(count) // 10)
    for first in range(0, int(count), size):
        warehouse.write_answers(
            [
                replace(answer, cache_key=name_key(number), identity="i1:other", fingerprint=f"f1:{number}")
                for number in range(first, first + size)
            ]
        )


def make_runs(path: Path, count: str) -> None:
    """A warehouse with a run every six hours, each with a row or ten in every table."""
    from dataclasses import replace

    import polars as pl

    from bifrost_flow.evidence.baseline import KnownGood
    from bifrost_flow.records import CachedAnswer
    from connectors.warehouse import Warehouse
    from tests.warehouse_rows import CALL, CHUNK, FILE, FINDING, NIGHT, RUN, make_run_id

    warehouse, mixed = Warehouse.open(str(path)), random.Random(1)
    known = pl.Series([mixed.getrandbits(64) for _ in range(200)], dtype=pl.UInt64)
    text = "why it failed, in the words of a log " * 12
    for number in range(int(count)):
        at = NIGHT + timedelta(hours=6 * number)
        run_id = make_run_id(at)
        names = [f"f1:{mixed.randrange(500)}" for _ in range(10)]
        files = [replace(FILE, path=f"logs/{at:%Y-%m-%d}/{job}.log", job=f"job {job}") for job in range(20)]
        warehouse.write_calls(run_id, [replace(CALL, fingerprint=name, started_at=at) for name in names])
        warehouse.write_files(run_id, files)
        chunks = [
            replace(CHUNK, fingerprint=name, path=files[place].path, text=f"{number} {name} {text}")
            for place, name in enumerate(names)
        ]
        warehouse.write_chunks(run_id, chunks)
        findings = [replace(FINDING, fingerprint=name, last_seen=at) for name in dict.fromkeys(names)]
        warehouse.write_findings(run_id, findings)
        warehouse.write_metrics(run_id, [(f"number {each}", 1.0, "s") for each in range(8)])
        good = KnownGood("job 1", None, "b1", known, whole=True, files=1, lines=200, created_at=at)
        warehouse.write_known_good(run_id, [good])
        answers = [
            CachedAnswer(name_key(number * 3 + each), text, "ollama", "m", "p1", 800, 200, at)
            for each in range(3)
        ]
        warehouse.write_answers(answers)
        warehouse.write_run(replace(RUN, run_id=run_id, started_at=at))


def make_inventory(path: Path, count: str) -> None:
    """A month's inventory of a store, as S3 writes it: 400 projects of very different size, by day and job;
    objects are 100 MB in the mean, and most of them a tenth of that."""
    import polars as pl

    path.mkdir()
    number = pl.int_range(int(count), eager=False, dtype=pl.UInt64)
    mixed = number * 2654435761 % 4294967296 / 4294967296  # even, and the same each time
    project = (mixed * mixed * 400).cast(pl.Int64)
    day = number * 30 // int(count) + 1
    job = number * 40503 % 10
    key = pl.format(
        "ci-logs/project-{}/2026-11-{}/job-{}/{}.log.gz",
        project.cast(pl.String).str.zfill(3),
        day.cast(pl.String).str.zfill(2),
        job,
        number,
    )
    other = number * 40503 % 65536 / 65536
    size = (22_000_000 / (other + 0.012)).cast(pl.Int64)
    rows = pl.select(pl.lit("logs").alias("bucket"), key.alias("key"), size.alias("size")).lazy()
    rows.sink_csv(path / "inventory.csv", include_header=False, quote_style="non_numeric")


def name_key(number: int) -> str:
    """Return a key as long, and as scattered, as real ones."""
    return f"k1:{random.Random(number).getrandbits(256):064x}"


MAKERS: dict[str, Callable[..., None]] = {
    "log": make_log,
    "small": make_small,
    "joined": make_joined,
    "line": make_line,
    "errors": make_errors,
    "distinct": make_distinct,
    "failures": make_failures,
    "answers": make_answers,
    "runs": make_runs,
    "inventory": make_inventory,
}


def main() -> None:
    kind, *words, place = sys.argv[1:]
    path = Path(place)
    unfinished = path.with_name(f"{path.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    MAKERS[kind](unfinished, *words)
    if (about := about_log(unfinished)).exists():
        about.rename(about_log(path))
    unfinished.rename(path)


if __name__ == "__main__":
    main()
