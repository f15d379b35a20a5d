"""Finding and reading of sources: what is a log, what is a problem, and that trouble stays with its file."""

import bz2
import gzip
import hashlib
import io
import lzma
import os
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.reading import ReadFacts, Source, read_blocks
from connectors.sources import find_sources, remove_spooled


def read_all(path: Path, **options: int) -> tuple[bytes, ReadFacts]:
    facts = ReadFacts()
    text = b"".join(read_blocks(Source(str(path), path, path.stat().st_size), facts, **options))
    return text, facts


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_missing_path_is_a_problem_and_a_row(tmp_path: Path) -> None:
    """A path that is not there is told, and the others are found all the same."""
    log = write(tmp_path / "a.log", b"x\n")
    sources, files, problems = find_sources([str(tmp_path / "none.log"), str(log)])
    assert [source.path for source in sources] == [str(log)]
    assert [file.status for file in files] == ["missing"]
    assert "none.log" in problems[0].message


def test_a_glob_without_match_is_a_problem(tmp_path: Path) -> None:
    """A pattern that matches nothing is told rather than taken for no input."""
    _, files, problems = find_sources([str(tmp_path / "*.log")])
    assert files[0].status == "missing"
    assert "*.log" in problems[0].message


def test_a_folder_without_logs_is_a_problem(tmp_path: Path) -> None:
    """A folder with pictures and tables alone holds no logs."""
    write(tmp_path / "chart.png", b"\x89PNG")
    write(tmp_path / "table.parquet", b"PAR1")
    sources, _, problems = find_sources([str(tmp_path)])
    assert sources == []
    assert len(problems) == 1


def test_a_folder_is_searched_recursively_in_order(tmp_path: Path) -> None:
    """Logs in folders below are found, sorted; hidden folders and other files are left out."""
    for name in ("b/2.log", "b/1.txt", "a/out", "a/x.log.gz", "a/app.log.1", ".git/c.log", "a/data.json"):
        write(tmp_path / name, b"text\n")
    sources, _, _ = find_sources([str(tmp_path)])
    names = [str(Path(source.path).relative_to(tmp_path)) for source in sources]
    assert names == ["a/app.log.1", "a/out", "a/x.log.gz", "b/1.txt", "b/2.log"]


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    """A folder that links to itself is searched once."""
    write(tmp_path / "a.log", b"x\n")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    sources, _, _ = find_sources([str(tmp_path)])
    assert len(sources) == 1


def test_a_named_file_is_read_whatever_its_name(tmp_path: Path) -> None:
    """A file that the user names is taken even if a folder search would pass it by."""
    path = write(tmp_path / "log.json", b"{}\n")
    assert len(find_sources([str(path)])[0]) == 1


def test_two_stars_match_files_below(tmp_path: Path) -> None:
    """`**` reaches into folders, and each file is taken once."""
    for name in ("a/1.log", "a/b/2.log"):
        write(tmp_path / name, b"x\n")
    sources, _, problems = find_sources([str(tmp_path / "**" / "*.log")])
    assert len(sources) == 2
    assert problems == []


def test_a_file_over_the_limit_is_left_out(tmp_path: Path) -> None:
    """`max_bytes` leaves a larger file out and says so."""
    path = write(tmp_path / "a.log", b"x" * 100)
    sources, files, problems = find_sources([str(path)], max_bytes=99)
    assert (sources, files[0].status, len(problems)) == ([], "too_large", 1)


def test_standard_input_is_spooled_and_removed() -> None:
    """`-` is copied to a file that can be read twice, and removed when asked."""
    sources, _, _ = find_sources(["-"], stdin=io.BytesIO(b"from a pipe\n"))
    assert sources[0].path == "-"
    assert read_all(Path(str(sources[0].location)))[0] == b"from a pipe\n"
    remove_spooled(sources)
    assert not Path(str(sources[0].location)).exists()


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz", "zstd"])
def test_packed_files_are_unpacked(tmp_path: Path, name: str) -> None:
    """A packed log gives its text whatever its name, and the hash of the bytes on disk."""
    text = b"one\ntwo\n" * 500
    packed = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}.get(name)
    content = packed(text) if packed else pyarrow.compress(text, codec="zstd", asbytes=True)
    path = write(tmp_path / "a.log", content)
    got, facts = read_all(path)
    assert got == text
    assert (facts.format, facts.status) == (name, "read")
    assert facts.sha256 == hashlib.sha256(content).hexdigest()


def test_a_cut_off_gz_keeps_what_could_be_read(tmp_path: Path) -> None:
    """A truncated gz is marked so, and the lines before the cut are kept."""
    lines = b"".join(b"line %d %s\n" % (n, os.urandom(20).hex().encode()) for n in range(5000))
    packed = gzip.compress(lines)
    path = write(tmp_path / "a.log.gz", packed[: len(packed) // 2])
    got, facts = read_all(path)
    assert facts.status == "truncated"
    assert facts.error
    assert lines.startswith(got)
    assert len(got) > 1000


def test_a_bomb_is_cut(tmp_path: Path) -> None:
    """What unpacks to a thousand times its size is not read to its end."""
    path = write(tmp_path / "a.log.gz", gzip.compress(gzip.compress(b"\n" * 400_000_000)))
    path = write(tmp_path / "b.log.gz", gzip.decompress(path.read_bytes()))
    got, facts = read_all(path, block_bytes=1 << 20)
    assert facts.status == "truncated"
    assert len(got) < 400_000_000


def test_binary_and_empty_files_are_told_apart(tmp_path: Path) -> None:
    """Neither gives lines, and each says why."""
    binary = write(tmp_path / "a.log", bytes(range(256)) * 40)
    empty = write(tmp_path / "b.log", b"")
    assert (read_all(binary)[0], read_all(binary)[1].status) == (b"", "binary")
    assert (read_all(empty)[0], read_all(empty)[1].status) == (b"", "empty")


@pytest.mark.parametrize(
    ("encoding", "mark", "told"),
    [
        ("utf-16-le", b"\xff\xfe", "utf-16-le"),
        ("utf-16-be", b"\xfe\xff", "utf-16-be"),
        ("utf-8", b"\xef\xbb\xbf", "utf-8"),
        ("utf-16-le", b"", "utf-16-le"),
    ],
)
def test_encodings_become_utf8(tmp_path: Path, encoding: str, mark: bytes, told: str) -> None:
    """UTF-16 is read with or without its mark, and the mark is no part of the text."""
    text = "error: something is wrong here\n" * 20
    got, facts = read_all(write(tmp_path / "a.log", mark + text.encode(encoding)))
    assert got.decode() == text
    assert facts.encoding == told


def test_a_line_without_end_is_cut(tmp_path: Path) -> None:
    """Of a line longer than a block only the start is kept, and the lines after it keep their numbers."""
    path = write(tmp_path / "a.log", b"first\n" + b"x" * 3_000_000 + b"\nlast\n")
    got, _ = read_all(path, block_bytes=1 << 16, max_line_bytes=1000)
    lines = got.split(b"\n")
    assert lines[0] == b"first"
    assert len(lines[1]) < 200_000
    assert lines[2] == b"last"


@given(
    st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line), min_size=1, max_size=60),
    st.integers(min_value=64, max_value=512),
)
def test_blocks_are_whole_lines_and_lose_nothing(tmp_path_factory, lines: list[bytes], block: int) -> None:
    """Joined, the blocks are the file; each but the last ends with a line."""
    text = b"text first\n" + b"\n".join(line.replace(b"\x00", b"").replace(b"\x01", b"") for line in lines)
    path = write(tmp_path_factory.mktemp("blocks") / "a.log", text)
    facts = ReadFacts()
    blocks = list(read_blocks(Source("a", path, len(text)), facts, block_bytes=block, max_line_bytes=1 << 20))
    if facts.status == "read" and facts.encoding == "utf-8":
        assert b"".join(blocks) == text
        assert all(part.endswith(b"\n") for part in blocks[:-1])


def test_pipes_in_a_folder_are_passed_by(tmp_path: Path) -> None:
    """A named pipe that nobody writes to must not hold up the reading of the folder that it is in."""
    (tmp_path / "a.log").write_text("error: x\n")
    os.mkfifo(tmp_path / "b.log")
    os.mkfifo(tmp_path / "c")
    sources, _, problems = find_sources([str(tmp_path)])
    assert [source.location.name for source in sources] == ["a.log"]
    assert problems == []


def test_a_name_that_is_no_utf8_is_spelled_out(tmp_path: Path) -> None:
    """Any bytes make a file name; the path that is shown and stored is text all the same."""
    (tmp_path / os.fsdecode(b"caf\xe9.log")).write_text("error: x\n")
    sources, _, _ = find_sources([str(tmp_path)])
    assert sources[0].path.endswith("caf\\xe9.log")
    assert sources[0].path.encode()
    assert Path(str(sources[0].location)).read_text() == "error: x\n"


def test_a_glob_passes_pipes_by_and_a_device_is_told(tmp_path: Path) -> None:
    """What a pattern matches and is no file isn't waited for; named on its own, a device is a problem."""
    (tmp_path / "a.log").write_text("error: x\n")
    os.mkfifo(tmp_path / "b.log")
    (tmp_path / "c.log").symlink_to("/dev/zero")
    sources, _, problems = find_sources([str(tmp_path / "*.log")])
    assert [source.location.name for source in sources] == ["a.log"]
    assert problems == []
    sources, files, _ = find_sources(["/dev/zero"])
    assert (sources, [file.status for file in files]) == ([], ["unreadable"])


def test_zeros_of_a_lost_machine_make_no_binary(tmp_path: Path) -> None:
    """A log with a stray NUL, or filled up with NULs, is text; zeros alone, and real binaries, are not."""
    text = b"err\x00or: x\n" + b"ok\n" * 9
    for content in (text, text + b"\x00" * 6000 + b"\n"):
        assert read_all(write(tmp_path / "a.log", content))[0] == content
    for content in (b"\x00" * 6000, b"\x7fELF\x02\x01\x01" + b"\x00" * 90 + b"\x03\x00\x3e\x00\x01\x00" * 9):
        assert read_all(write(tmp_path / "a.log", content))[1].status == "binary"


def test_a_log_that_grows_ends(tmp_path: Path) -> None:
    """What is added to a log while it is read is left for the next time, and not in its hash."""
    first = b"line\n" * 100
    path = write(tmp_path / "a.log", first)
    facts = ReadFacts()
    got = b""
    with path.open("ab") as writer:
        for block in read_blocks(Source("a", path, len(first)), facts, block_bytes=64):
            got += block
            writer.write(b"more\n" * 50)
            writer.flush()
    assert got == first
    assert facts.sha256 == hashlib.sha256(first).hexdigest()


def test_logs_of_objects_are_told_from_data(tmp_path: Path) -> None:
    """Of files of JSON in a folder those are logs whose lines say what a program said, and when."""
    write(tmp_path / "app.jsonl", b'{"ts":1704448800.5,"level":"error","msg":"x"}\n' * 3)
    write(tmp_path / "journal.json", b'{"MESSAGE":"x","__REALTIME_TIMESTAMP":"1704448800000000"}\n')
    write(
        tmp_path / "container.ndjson", b'{"log":"x\\n","stream":"stderr","time":"2024-01-05T10:00:00Z"}\n' * 2
    )
    write(tmp_path / "rows.jsonl", b'{"id":1,"text":"x","label":"error"}\n' * 3)
    write(tmp_path / "package.json", b'{\n  "name": "a",\n  "message": "x"\n}\n')
    write(tmp_path / "one.json", b'{"name": "a", "version": "1"}')
    sources, _, _ = find_sources([str(tmp_path)])
    assert [Path(source.path).name for source in sources] == ["app.jsonl", "container.ndjson", "journal.json"]
