"""Logs in buckets, from a server on loopback behind a proxy that makes faults."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from bifrost_flow.language import set_language
from bifrost_flow.records import FileEvidence, Problem
from connectors.extraction import extract_evidence
from connectors.s3 import stream, transfer
from connectors.s3.access import S3Access, use_access
from connectors.s3.client import open_client
from connectors.s3.find import translate_pattern
from connectors.s3.stream import MAX_PART_BYTES, ObjectPlace
from connectors.s3.transfer import list_objects
from connectors.sources import ReadFacts, Source, find_sources, read_blocks
from tests.s3_fixtures import bucket, s3_server
from tests.s3_server import Bucket, Request

__all__ = ["bucket", "s3_server"]

LOG = b"".join(
    b"2026-11-25T01:02:%02dZ %s\n"
    % (second, b"ERROR disk full on /dev/sda1" if second == 40 else b"INFO fine")
    for second in range(60)
)


def read_all(source: Source) -> tuple[bytes, ReadFacts]:
    facts = ReadFacts()
    return b"".join(read_blocks(source, facts)), facts


def extract(*targets: str) -> tuple[list[FileEvidence], Sequence[Problem]]:
    sources, _, problems = find_sources(targets)
    return list(extract_evidence(sources, budget_tokens=500)), problems


def pack_zip(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def pack_tar(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


OBJECTS = {
    "ci/app.log": LOG,
    "ci/app.log.gz": gzip.compress(LOG),
    "ci/app.log.bz2": bz2.compress(LOG),
    "ci/app.log.xz": lzma.compress(LOG),
    "ci//double.log": LOG,
    "ci/deep/ü 한 [1] +&=%20.log": LOG,
    "ci/deep/unknown.weird": LOG,
    "ci/logs.zip": pack_zip({"1_build.txt": LOG, "2_big.log": LOG * 20_000, "picture.png": b"x"}),
    "ci/logs.tar": pack_tar({"a.log": LOG, "b/b.log": LOG}),
    "ci/logs.tgz": gzip.compress(pack_tar({"c.log": LOG})),
    # What a folder of logs also holds and nobody means.
    "ci/folder/": b"",
    "ci/.hidden/x.log": LOG,
    "ci/picture.png": b"\x89PNG",
    "ci/data.weird": bytes(range(256)) * 40,
    "ci/tables/warehouse.json": b"{}",
    "ci/tables/journal/run.jsonl": LOG,
    "other/x.log": LOG,
}
LOGS = [
    "ci//double.log",
    "ci/app.log",
    "ci/app.log.bz2",
    "ci/app.log.gz",
    "ci/app.log.xz",
    "ci/deep/unknown.weird",
    "ci/deep/ü 한 [1] +&=%20.log",
    "ci/logs.tar!/a.log",
    "ci/logs.tar!/b/b.log",
    "ci/logs.tgz!/c.log",
    "ci/logs.zip!/1_build.txt",
    "ci/logs.zip!/2_big.log",
]


def test_prefix_is_read_as_a_folder_is(bucket: Bucket, tmp_path: Path) -> None:
    """All kinds of objects below a prefix give what the same files in a folder give, with s3:// paths and
    etags; what is no log is left out."""
    bucket.fill(OBJECTS)
    read, problems = extract(f"{bucket.url}/ci")
    assert problems == []
    assert [each.file.path for each in read] == [f"{bucket.url}/{name}" for name in LOGS]
    assert {each.file.status for each in read} == {"read"}
    etags = {f"etag:{each.etag}" for each in list_objects(bucket.access, bucket.name, "")}
    assert {each.file.sha256 for each in read if ".tgz" not in each.file.path} <= etags
    folder = tmp_path / "ci"
    folder.mkdir()
    for name in ("logs.zip", "app.log", "app.log.xz"):
        (folder / name).write_bytes(OBJECTS[f"ci/{name}"])
    for here in extract(str(folder))[0]:
        (there,) = [each for each in read if each.file.path.endswith(here.file.path.rpartition("ci/")[2])]
        assert [(c.spans, c.text, c.fingerprint) for c in there.chunks] == [
            (c.spans, c.text, c.fingerprint) for c in here.chunks
        ]
        assert there.file.lines == here.file.lines


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("ci/app.log", ["ci/app.log"]),
        ("ci/data.weird", ["ci/data.weird"]),
        ("ci/deep/ü 한 [1] +&=%20.log", ["ci/deep/ü 한 [1] +&=%20.log"]),
        ("ci/app.log.*", ["ci/app.log.bz2", "ci/app.log.gz", "ci/app.log.xz"]),
        ("ci/app.log.[!gx]*", ["ci/app.log.bz2"]),
        ("**/x.log", ["other/x.log"]),
        ("o*", ["other/x.log"]),
        ("ci/logs.zip", ["ci/logs.zip!/1_build.txt", "ci/logs.zip!/2_big.log"]),
    ],
)
def test_objects_and_patterns(bucket: Bucket, target: str, found: list[str]) -> None:
    """A key names its object, whatever it is called; a pattern what it matches, prefixes as folders."""
    bucket.fill(OBJECTS)
    sources, _, problems = find_sources([f"{bucket.url}/{target}"])
    assert [source.path for source in sources] == [f"{bucket.url}/{name}" for name in found]
    assert problems == []


@pytest.mark.parametrize(
    ("target", "said"),
    [("none", "no such object"), ("none*", "no file matches"), ("pictures/", "no object here is a log")],
)
def test_nothing_found_is_told(bucket: Bucket, target: str, said: str) -> None:
    """A target without logs is a problem that says what was looked for."""
    bucket.fill({"pictures/x.png": b"\x89PNG"})
    sources, files, (problem,) = find_sources([f"{bucket.url}/{target}"])
    assert (sources, [file.status for file in files]) == ([], ["missing"])
    assert said in problem.message


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("a/*.log", "a/b.log", "a/b/c.log"),
        ("a/**/c.log", "a/c.log", "a/b/cc.log"),
        ("a/**", "a/b/c", "b/c"),
        ("a?[0-9].gz", "ab1.gz", "a/1.gz"),
        ("a+(b).log", "a+(b).log", "aab.log"),
    ],
)
def test_patterns_mean_what_a_shell_means(pattern: str, yes: str, no: str) -> None:
    """`*` stays within a folder, `**` does not, and all else is itself."""
    import re

    assert re.fullmatch(translate_pattern(pattern), yes)
    assert not re.fullmatch(translate_pattern(pattern), no)


@pytest.mark.parametrize(
    "name",
    [
        "ci/2026/11/{day:02}/job-{n}.log",
        "flat/{n:05}.log",
        "one/two/three/{n:05}.log",
        "{n}/x.log",
        "a/{day}//{n}",
    ],
)
def test_all_of_many_objects_are_listed(bucket: Bucket, name: str) -> None:
    """5,200 objects come complete, once and in order, however their keys branch; in pieces side by side."""
    keys = sorted(name.format(n=number, day=number % 28) for number in range(5200))
    bucket.fill(dict.fromkeys(keys, b"x"))
    assert [each.key for each in list_objects(bucket.access, bucket.name, "")] == keys
    assert len(bucket.requests) < 60
    if "day" in name:
        assert bucket.most_at_once > 4


def test_many_small_objects_are_fetched_side_by_side(bucket: Bucket) -> None:
    """Nobody waits for one object after the other, in processes of the pool neither, and each is asked for
    once."""
    objects = {f"jobs/{number:04}.log": LOG * 30 for number in range(200)}
    bucket.fill(objects)
    read, problems = extract(f"{bucket.url}/jobs/")
    assert problems == []
    assert len(read) == 200
    assert all(len(each.chunks) > 0 for each in read)
    gets = [request for request in bucket.requests if ".log" in request.path]
    assert len(gets) == 200
    assert bucket.most_at_once >= 8


def test_large_object_comes_in_parts_of_bounded_size(bucket: Bucket) -> None:
    """One large packed object is read whole in ranges of one version, a few at a time."""
    text = b"".join(b"%d INFO working on %x\n" % (n, hash(str(n)) & 0xFFFFFFFF) for n in range(400_000))
    bucket.fill({"big.log.gz": gzip.compress(text, 1)})
    ((source,), _, _) = find_sources([f"{bucket.url}/big.log.gz"])
    content, facts = read_all(source)
    assert (content, facts.status) == (text, "read")
    gets = [request for request in bucket.requests if request.method == "GET"]
    assert len(gets) > 3
    assert {request.condition for request in gets} == {f'"{source.location.etag}"'}  # ty: ignore
    spans = [[int(part) for part in request.range.removeprefix("bytes=").split("-")] for request in gets]
    assert max(last - first + 1 for first, last in spans) <= MAX_PART_BYTES
    assert sum(last - first + 1 for first, last in spans) == source.size
    assert bucket.most_at_once <= stream.PARTS_AHEAD + 1


@pytest.mark.parametrize("fault", ["slow", "reset", "cut"])
@pytest.mark.parametrize("size", [1, 60])
def test_passing_faults_cost_nothing(bucket: Bucket, fault: str, size: int) -> None:
    """Told to slow down, cut off or broken off in the middle, an object is still read whole, and not what
    came already twice."""
    content = b"".join(b"%d %d\n" % (n, n * n) for n in range(size * 2000))
    bucket.fill({"a.log": content})
    ((source,), _, _) = find_sources([f"{bucket.url}/a.log"])
    bucket.fail_first(fault, 3, part="a.log")
    (evidence,) = extract_evidence([source], budget_tokens=100)
    assert (evidence.file.status, evidence.file.lines) == ("read", size * 2000)
    bucket.fail_first(fault, 3, part="a.log")
    assert read_all(source)[0] == content


def test_broken_body_goes_on_where_it_ended(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came before the break is kept, and the rest is of the same version."""
    monkeypatch.setattr(transfer, "_PIECE_BYTES", 1000)
    content = bytes(range(256)) * 40
    bucket.fill({"a.bin": content})
    bucket.fail_first("cut", 1)
    found = transfer.fetch(bucket.access, bucket.name, "a.bin")
    assert found.content == content
    first, second = bucket.requests
    assert (first.range, second.range) == ("", "bytes=5120-")
    assert second.condition == f'"{found.etag}"'


def test_fault_that_stays_is_told_of_its_file_alone(bucket: Bucket) -> None:
    """An object that can't be had, or is gone since it was listed, is a problem of its own."""
    bucket.fill({f"ci/{name}.log": LOG for name in ("a", "b", "c", "d")})
    sources, _, _ = find_sources([f"{bucket.url}/ci/"])

    def plan(request: Request) -> str | None:
        return "gone" if "b.log" in request.path else "slow" if "c.log" in request.path else None

    bucket.plan = plan
    read = list(extract_evidence(sources, budget_tokens=100))
    assert [each.file.status for each in read] == ["read", "unreadable", "unreadable", "read"]
    assert "not any more" in str(read[1].file.error)
    assert "SlowDown" in str(read[2].file.error)
    assert len([request for request in bucket.requests if "c.log" in request.path]) == transfer.MAX_ATTEMPTS


def test_object_that_changes_while_it_is_read_is_noticed(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large one is read up to the change, and that is told; never a mix of two versions."""
    monkeypatch.setattr(stream, "MAX_PART_BYTES", 256 << 10)
    bucket.fill({"a.log": b"old line of the first version\n" * 400_000})
    ((source,), _, _) = find_sources([f"{bucket.url}/a.log"])
    facts = ReadFacts()
    blocks = read_blocks(source, facts, block_bytes=1 << 20)
    text = next(blocks)
    bucket.fill({"a.log": b"new line of the other version\n" * 400_000})
    text += b"".join(blocks)
    assert (facts.status, facts.sha256) == ("truncated", None)
    assert "changed while it was read" in str(facts.error)
    assert b"new" not in text


def test_small_object_that_changed_since_it_was_listed_is_read_as_it_is(bucket: Bucket) -> None:
    """It comes in one answer, so it is whole; the row tells the version that was read."""
    bucket.fill({"a.log": LOG})
    sources, _, _ = find_sources([f"{bucket.url}/a.log"])
    bucket.fill({"a.log": LOG * 2})
    (evidence,) = extract_evidence(sources, budget_tokens=100)
    (listed,) = list_objects(bucket.access, bucket.name, "")
    assert (evidence.file.status, evidence.file.lines) == ("read", 120)
    assert (evidence.file.sha256, evidence.file.bytes) == (f"etag:{listed.etag}", len(LOG) * 2)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("denied", "s3:ListBucket"),
        ("expired", "aws sso login"),
        ("skewed", "set the clock"),
        ("unknown", "check the access key"),
        ("elsewhere", "eu-north-1"),
    ],
)
def test_refusals_say_what_to_do(bucket: Bucket, fault: str, said: str) -> None:
    """What a server refuses for good is told at once, with the way out, in both languages."""
    bucket.plan = lambda _: fault
    for language in ("en", "ko"):
        bucket.requests.clear()
        set_language(language)
        try:
            sources, (file,), (problem,) = find_sources([f"{bucket.url}/ci/"])
        finally:
            set_language("en")
        assert (sources, file.status) == ([], "unreadable")
        assert problem.message.startswith(f"{bucket.url}/ci/: ")
        assert said in problem.message or language == "ko"
        # botocore itself asks where the bucket is, and there once more.
        assert len(bucket.requests) <= (4 if fault == "elsewhere" else 1)


def test_wrong_places_are_told(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket that isn't there, nobody at the address, no credentials and a bad name are told apart."""

    def ask(url: str) -> str:
        return find_sources([url])[2][0].message

    assert "no bucket 'bifrost-none'" in ask("s3://bifrost-none/x/")
    assert "no name of a bucket" in ask("s3://No_Bucket!/x/")
    use_access(S3Access(endpoint="http://127.0.0.1:9"))
    assert "http://127.0.0.1:9 does not answer" in ask(f"{bucket.url}/x/")
    use_access(S3Access(profile="nobody"))
    assert "nobody" in ask(f"{bucket.url}/x/")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", "/nonexistent")
    use_access(S3Access(endpoint=bucket.endpoint, region="us-west-2"))
    assert "s3.anonymous" in ask(f"{bucket.url}/x/")


def test_public_bucket_is_read_without_credentials(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """With s3.anonymous nothing is signed."""
    bucket.fill({"a.log": LOG})
    open_client(bucket.access).put_object_acl(Bucket=bucket.name, Key="a.log", ACL="public-read")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    use_access(S3Access(endpoint=bucket.endpoint, anonymous=True))
    read, problems = extract(f"{bucket.url}/a.log")
    assert (problems, read[0].file.lines) == ([], 60)


def test_stream_reads_and_seeks_as_a_file_does(bucket: Bucket) -> None:
    """Jumps, short reads and the end give what a file gives."""
    content = bytes(n * n % 251 for n in range(1_500_000))
    bucket.fill({"a.bin": content})
    (listed,) = list_objects(bucket.access, bucket.name, "")
    place = ObjectPlace(bucket.access, bucket.name, "a.bin", listed.size, listed.etag)
    with place.open() as there, io.BytesIO(content) as here:
        for offset, whence, size in [
            (0, 0, 10),
            (1_400_000, 0, 300_000),
            (-5, 2, 99),
            (5, 0, 600_000),
            (7, 1, 900_000),
        ]:
            assert there.seek(offset, whence) == here.seek(offset, whence)
            assert there.read(size) == here.read(size)
            assert there.tell() == here.tell()
        assert there.read() == here.read()
        assert there.read(1) == b""
