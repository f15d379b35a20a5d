"""Archives as inputs: their logs are found, read where they lie, and trouble stays with its member."""

import bz2
import gzip
import hashlib
import io
import lzma
import pickle
import random
import stat
import struct
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bifrost_flow.records import LogFile
from connectors import listing, tars
from connectors.extraction import extract_evidence
from connectors.listing import Listing
from connectors.members import Member
from connectors.reading import ReadFacts, Source, read_blocks
from connectors.sources import find_sources, remove_spooled

STEP = b"2024-05-01T10:00:00.0000000Z ##[error]Process completed with exit code 1.\n"


def write_zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def pack_tar(members: dict[str, bytes], packing: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    data = buffer.getvalue()
    if packing == "zst":
        return pyarrow.compress(data, codec="zstd", asbytes=True)
    return {"": bytes, "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[packing](data)


def read_all(sources: Sequence[Source]) -> dict[str, tuple[bytes, ReadFacts]]:
    read = {}
    for source in sources:
        facts = ReadFacts()
        read[source.path.partition("!/")[2]] = (b"".join(read_blocks(source, facts)), facts)
    return read


def texts(sources: Sequence[Source]) -> dict[str, bytes]:
    return {name: text for name, (text, _) in read_all(sources).items()}


def told(files: Sequence[LogFile]) -> list[tuple[str, str]]:
    return [(file.path.partition("!/")[2], file.status) for file in files]


def make_lines(count: int) -> bytes:
    chance = random.Random(7)
    return b"".join(b"line %d %x\n" % (number, chance.getrandbits(80)) for number in range(count))


def test_githubs_step_logs_keep_their_names(tmp_path: Path) -> None:
    """Combined and per-step logs of a zip are all read, each under archive, job and step."""
    members = {"0_build.txt": STEP * 3, "build/1_Set up job.txt": b"ok\n", "build/2_Run tests.txt": STEP}
    path = write_zip(tmp_path / "logs.zip", members)
    sources, files, problems = find_sources([str(path)])
    assert [source.path for source in sources] == [f"{path}!/{name}" for name in members]
    assert (files, problems) == ([], [])
    for name, (text, facts) in read_all(sources).items():
        assert text == members[name]
        assert facts.sha256 == hashlib.sha256(members[name]).hexdigest()
        assert (facts.format, facts.status, facts.bytes) == ("zip", "read", len(text))


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz", "a.tar.bz2", "a.tar.xz", "a.tar.zst"])
def test_tars_are_read_however_packed(tmp_path: Path, name: str) -> None:
    """The members of a tar are read, and the copies that a packed one needs are removed after reading."""
    members = {"job/1.log": make_lines(5000), "job/empty.log": b"", "job/2.log": b"x" * 512, "c.png": b"\x89"}
    packing = {"tar": "", "tgz": "gz"}.get(name.split(".")[-1], name.split(".")[-1])
    path = tmp_path / name
    path.write_bytes(pack_tar(members, packing))
    sources, _, problems = find_sources([str(path)])
    assert problems == []
    read = read_all(sources)
    assert {key: text for key, (text, _) in read.items()} == {
        key: text for key, text in members.items() if key != "c.png"
    }
    assert read["job/1.log"][1].sha256 == hashlib.sha256(members["job/1.log"]).hexdigest()
    assert {facts.format for _, facts in read.values()} == {"tar"}
    remove_spooled(sources)
    assert path.exists()
    assert all(source.location == path or not Path(str(source.location)).exists() for source in sources)


def test_archives_in_folders_are_found(tmp_path: Path) -> None:
    """A folder's archives give their logs beside its files, and one without logs is passed by in silence."""
    (tmp_path / "b.log").write_bytes(b"x\n")
    write_zip(tmp_path / "a.zip", {"in.txt": b"y\n"})
    write_zip(tmp_path / "code.zip", {"setup.py": b"z\n"})
    sources, _, problems = find_sources([str(tmp_path)])
    assert [source.path for source in sources] == [f"{tmp_path}/a.zip!/in.txt", f"{tmp_path}/b.log"]
    assert problems == []


def test_a_named_archive_without_logs_is_a_problem(tmp_path: Path) -> None:
    """An archive that the user names and that holds no logs is told once; naming it twice changes nothing."""
    empty = write_zip(tmp_path / "a.zip", {"a.png": b"\x89PNG"})
    full = write_zip(tmp_path / "b.zip", {"a.log": b"x\n"})
    sources, files, _ = find_sources(
        [str(empty), str(full), str(tmp_path / "." / "b.zip"), f"{full.parent}/*.zip"]
    )
    assert [file.status for file in files] == ["missing"]
    assert len(sources) == 1


def test_members_are_chosen_as_in_folders(tmp_path: Path) -> None:
    """Hidden members, other files and binary ones of unknown kind are left out; unknown text is a log."""
    members = {
        ".git/a.log": b"x\n",
        "__MACOSX/._a.log": b"x\n",
        "node_modules/b.log": b"x\n",
        "t.json": b"{}",
        "blob.dat": bytes(range(256)) * 9,
        "trace.dump": b"text\n",
        "app.log.1": b"old\n",
    }
    path = write_zip(tmp_path / "a.zip", members)
    other = tmp_path / "a.tar.gz"
    other.write_bytes(pack_tar(members, "gz"))
    for archive in (path, other):
        sources, _, problems = find_sources([str(archive)])
        assert texts(sources) == {"trace.dump": b"text\n", "app.log.1": b"old\n"}
        assert problems == []
        remove_spooled(sources)


def test_a_packed_log_in_an_archive_is_unpacked(tmp_path: Path) -> None:
    """A gz in a zip gives its text; the hash is of the member's bytes."""
    packed = gzip.compress(STEP)
    sources, _, _ = find_sources([str(write_zip(tmp_path / "a.zip", {"a.log.gz": packed}))])
    text, facts = read_all(sources)["a.log.gz"]
    assert (text, facts.sha256) == (STEP, hashlib.sha256(packed).hexdigest())


def test_names_never_lead_out_of_the_archive(tmp_path: Path) -> None:
    """Names with `..`, drives, roots or control characters are shown cleaned, and each stays apart."""
    names = ["../../etc/a.log", "/etc/a.log", "C:\\etc\\a.log", "e\x1b[31m\n.log", "ok/./b.log"]
    shown = ["etc/a.log", "etc/a.log (2)", "etc/a.log (3)", "e\ufffd[31m\ufffd.log", "ok/b.log"]
    path = write_zip(tmp_path / "a.zip", {name: name.encode() for name in names})
    other = tmp_path / "a.tgz"
    other.write_bytes(pack_tar({name: name.encode() for name in names}, "gz"))
    before = set(tmp_path.parent.rglob("*"))
    for archive in (path, other):
        sources, _, problems = find_sources([str(archive)])
        assert [source.path.partition("!/")[2] for source in sources] == shown
        assert [text for text, _ in read_all(sources).values()] == [name.encode() for name in names]
        assert problems == []
        remove_spooled(sources)
    assert set(tmp_path.parent.rglob("*")) == before


def test_links_and_devices_are_skipped(tmp_path: Path) -> None:
    """Only regular members are read: a link in an archive could name any file of this machine."""
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, kind in (
            ("s.log", tarfile.SYMTYPE),
            ("h.log", tarfile.LNKTYPE),
            ("d.log", tarfile.CHRTYPE),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
    link = zipfile.ZipInfo("s.log")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr("dir.log/", "")
    sources, files, _ = find_sources([str(tmp_path / "a.tar"), str(tmp_path / "a.zip")])
    assert sources == []
    assert [file.status for file in files] == ["missing", "missing"]


def test_nested_archives_are_told_and_not_opened(tmp_path: Path) -> None:
    """An archive in an archive is named as not read; the logs beside it are read."""
    inner = write_zip(tmp_path / "inner.zip", {"a.log": b"x\n"}).read_bytes()
    path = write_zip(tmp_path / "a.zip", {"in/inner.zip": inner, "b.tar.gz": b"", "b.log": b"y\n"})
    sources, files, _ = find_sources([str(path)])
    assert texts(sources) == {"b.log": b"y\n"}
    assert told(files) == [("in/inner.zip", "unreadable"), ("b.tar.gz", "unreadable")]


def test_a_member_over_the_limit_is_left_out(tmp_path: Path) -> None:
    """`max_bytes` holds for each member's unpacked size."""
    members = {"big.log": b"x" * 1000, "small.log": b"y\n"}
    tar = tmp_path / "a.tar.gz"
    tar.write_bytes(pack_tar(members, "gz"))
    for path in (write_zip(tmp_path / "a.zip", members), tar):
        sources, files, _ = find_sources([str(path)], max_bytes=999)
        assert texts(sources) == {"small.log": b"y\n"}
        assert told(files) == [("big.log", "too_large")]
        remove_spooled(sources)


def test_too_many_members_end_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes before the limit is read, and one line says that the rest was not."""
    monkeypatch.setattr(listing, "MAX_MEMBERS", 3)
    members = {f"{number}.log": b"x\n" for number in range(9)}
    tar = tmp_path / "a.tar"
    tar.write_bytes(pack_tar(members))
    for path in (write_zip(tmp_path / "a.zip", members), tar):
        sources, files, _ = find_sources([str(path)])
        assert (len(sources), [file.status for file in files]) == (3, ["too_large"])


def test_a_bomb_in_a_zip_is_cut_and_the_rest_read(tmp_path: Path) -> None:
    """A member that unpacks to a thousand times its size is cut; those after it are read."""
    path = write_zip(tmp_path / "a.zip", {"bomb.log": b"\n" * 120_000_000, "b.log": b"y\n"})
    sources, _, _ = find_sources([str(path)])
    facts = ReadFacts()
    assert sum(len(block) for block in read_blocks(sources[0], facts)) < 120_000_000
    assert (facts.status, facts.sha256) == ("truncated", None)
    assert texts(sources[1:]) == {"b.log": b"y\n"}


def test_a_bomb_in_a_tar_is_not_copied(tmp_path: Path) -> None:
    """A tar that unpacks to a thousand times its size ends there; what came before is read."""
    path = tmp_path / "a.tgz"
    path.write_bytes(pack_tar({"a.log": b"y\n", "bomb.bin": b"\n" * 120_000_000, "c.log": b"z\n"}, "gz"))
    sources, files, _ = find_sources([str(path)])
    assert texts(sources) == {"a.log": b"y\n"}
    assert [file.status for file in files] == ["too_large"]
    remove_spooled(sources)


def test_the_temporary_copy_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member that the temporary copy has no room for is told; a smaller one after it is read."""
    monkeypatch.setattr(tars, "MAX_SPOOL_BYTES", 1000)
    path = tmp_path / "a.tgz"
    path.write_bytes(pack_tar({"a.log": b"x\n" * 400, "b.log": b"y\n" * 400, "c.log": b"z\n"}, "gz"))
    sources, files, _ = find_sources([str(path)])
    assert list(texts(sources)) == ["a.log", "c.log"]
    assert told(files) == [("b.log", "too_large")]
    remove_spooled(sources)


def test_members_that_share_bytes_are_a_bomb(tmp_path: Path) -> None:
    """A zip whose directory names the same bytes many times is not read."""
    path = write_zip(tmp_path / "a.zip", {"a.log": make_lines(2000)})
    data = path.read_bytes()
    start = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    entry = data[start:end]
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 9, 9, len(entry) * 9, start, 0)
    path.write_bytes(data[:start] + entry * 9 + tail)
    sources, files, _ = find_sources([str(path)])
    assert (sources, [file.status for file in files]) == ([], ["too_large"])


def test_a_huge_header_in_a_tar_is_refused(tmp_path: Path) -> None:
    """A name of many megabytes is not read into memory; what came before it is read."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name in ("a.log", "n" * (1 << 20) + ".log"):
            entry = tarfile.TarInfo(name)
            entry.size = 2
            archive.addfile(entry, io.BytesIO(b"x\n"))
    path = tmp_path / "a.tar"
    path.write_bytes(buffer.getvalue())
    sources, files, _ = find_sources([str(path)])
    assert texts(sources) == {"a.log": b"x\n"}
    assert [file.status for file in files] == ["truncated"]


def test_encrypted_and_unknown_members_are_told(tmp_path: Path) -> None:
    """A member behind a password, or packed in a way not supported, is named; the others are read."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("secret.log", b"s\n")
        archive.writestr("l.log", b"l\n", zipfile.ZIP_LZMA)
        archive.writestr("open.log", b"o\n")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    sources, files, problems = find_sources([str(path)])
    assert texts(sources) == {"open.log": b"o\n"}
    assert told(files) == [("secret.log", "unreadable"), ("l.log", "unreadable")]
    assert "encrypted" in problems[0].message


class _Unseekable(io.BytesIO):
    """A stream such as a server writes to: sizes come after the bytes."""

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        raise OSError

    def seek(self, *_: int) -> int:
        raise OSError


@pytest.mark.parametrize("streamed", [False, True])
def test_a_cut_off_zip_gives_what_it_holds(tmp_path: Path, streamed: bool) -> None:
    """Without its directory, whole members are read whole and the cut one up to the cut."""
    lines = make_lines(20_000)
    buffer = _Unseekable() if streamed else io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.log", STEP * 50)
        archive.writestr("b.log", lines)
    data = buffer.getvalue()
    path = tmp_path / "a.zip"
    path.write_bytes(data[: len(data) * 2 // 3])
    sources, files, _ = find_sources([str(path)])
    assert [file.status for file in files] == ["truncated"]
    read = read_all(sources)
    assert (read["a.log"][0], read["a.log"][1].status) == (STEP * 50, "read")
    assert read["b.log"][1].status == "truncated"
    assert lines.startswith(read["b.log"][0])
    assert len(read["b.log"][0]) > len(lines) // 2


@pytest.mark.parametrize("packing", ["", "gz", "xz"])
def test_a_cut_off_tar_gives_what_it_holds(tmp_path: Path, packing: str) -> None:
    """The members before the cut are read whole, the cut one up to the cut, and both are told."""
    lines = make_lines(60_000)
    data = pack_tar({"a.log": STEP, "b.log": lines}, packing)
    path = tmp_path / (f"a.tar.{packing}" if packing else "a.tar")
    path.write_bytes(data[: len(data) * 2 // 3])
    sources, files, _ = find_sources([str(path)])
    assert [file.status for file in files] == ["truncated"]
    read = read_all(sources)
    assert (read["a.log"][0], read["a.log"][1].status) == (STEP, "read")
    assert read["b.log"][1].status == "truncated"
    assert lines.startswith(read["b.log"][0])
    remove_spooled(sources)


def test_a_wrong_checksum_is_told_and_the_text_kept(tmp_path: Path) -> None:
    """A flipped byte in a stored member is marked; its lines are read all the same."""
    path = write_zip(tmp_path / "a.zip", {"a.log": b"one\ntwo\n"}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"two", b"twi"))
    text, facts = read_all(find_sources([str(path)])[0])["a.log"]
    assert (text, facts.status) == (b"one\ntwi\n", "truncated")


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
@pytest.mark.parametrize("content", [b"", b"just text\n" * 100, gzip.compress(b"no tar\n")])
def test_what_is_no_archive_is_told(tmp_path: Path, name: str, content: bytes) -> None:
    """A file with an archive's name and other content is a problem, never a crash."""
    path = tmp_path / name
    path.write_bytes(content)
    sources, files, _ = find_sources([str(path)])
    assert (sources, [file.status for file in files]) == ([], ["unreadable"])


def test_sources_in_archives_travel(tmp_path: Path) -> None:
    """A member's source survives pickling, and gives evidence like a file's."""
    path = write_zip(
        tmp_path / "a.zip", {"job/1_test.txt": b"ok\n" * 40 + STEP, "big.txt": make_lines(60_000)}
    )
    sources, _, _ = find_sources([str(path)])
    sources = pickle.loads(pickle.dumps(sources))
    first, second = extract_evidence(sources, budget_tokens=500)
    assert (first.file.path, first.file.format, first.file.lines) == (f"{path}!/job/1_test.txt", "zip", 41)
    assert first.file.outcome == "failed"
    assert first.chunks
    assert second.file.lines == 60_000


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(st.sampled_from(["zip", "tar", "tgz"]), st.data())
def test_damage_never_raises(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    """Whatever bytes of an archive are changed or cut off, finding and reading end without an error."""
    members = {"a.log": STEP * 9, "b/c.txt": b"x\n", "d.unknown": b"text\n"}
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        write_zip(path, members)
    else:
        path.write_bytes(pack_tar(members, "gz" if kind == "tgz" else ""))
    content = bytearray(path.read_bytes())
    for place, byte in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=6)
    ):
        content[place] = byte
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    sources, _, problems = find_sources([str(path)])
    read_all(sources)
    remove_spooled(sources)
    assert sources or problems


class Work:
    """Counts the calls of functions, Python's and C's, in a block: time, but for what else runs here."""

    calls = 0

    def __enter__(self) -> "Work":
        sys.setprofile(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _count(self, _frame: object, event: str, _argument: object) -> None:
        self.calls += event in ("call", "c_call")


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_many_members_take_work_in_proportion(tmp_path: Path, name: str) -> None:
    """To find and read twice as many members takes twice the calls, and each is read."""
    work = []
    for count in (300, 600):
        members = {f"jobs/{number:05}.log": b"step\nerror: it broke\n" for number in range(count)}
        path = tmp_path / str(count) / name
        path.parent.mkdir()
        if name == "a.zip":
            write_zip(path, members)
        else:
            path.write_bytes(pack_tar(members, "gz" if name.endswith("gz") else ""))
        with Work() as done:
            sources, _, _ = find_sources([str(path)])
            read = texts(sources)
        assert read == members
        work.append(done.calls)
        remove_spooled(sources)
    assert work[1] < 2.1 * work[0]


class Counted(set[str]):
    """A set that counts how often it is asked."""

    asked = 0

    def __contains__(self, name: object) -> bool:
        self.asked += 1
        return super().__contains__(name)


def test_members_of_one_name_are_told_apart_without_counting_from_the_start() -> None:
    """Each has a name of its own, and naming them takes work in proportion to their number."""
    shown = Counted()
    found = Listing("a.zip", Path("a.zip"), lambda *_: None, None, shown)
    member = Member("zip", 0, 10, 10)
    names = [found.admit("job/build.log", member, lambda: b"text\n") for _ in range(1000)]
    assert len(set(names)) == 1000 and names[-1] == "a.zip!/job/build.log (1000)"
    assert shown.asked <= 3 * 1000
