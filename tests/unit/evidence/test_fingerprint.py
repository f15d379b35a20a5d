"""Fingerprints: a failure keeps its own through renumbering, times, paths and hosts; another has another."""

from datetime import datetime

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from bifrost_flow.evidence.fingerprint import VERSION, fingerprint_lines, mask_events, mask_text
from bifrost_flow.evidence.frames import name_frames

START = datetime(2000, 1, 1)  # noqa: DTZ001 -- hypothesis wants naive bounds
numbers = st.integers(min_value=0, max_value=10**12)
words = st.from_regex(r"[a-z]{3,10}", fullmatch=True)
folders = st.lists(st.from_regex(r"[A-Za-z0-9_.-]{1,12}", fullmatch=True), min_size=1, max_size=5)
hosts = st.builds(lambda a, b: f"{a}-{b}.example.com", words, numbers)


def print_of(*lines: str) -> str:
    return fingerprint_lines(lines)[0]


@given(numbers, numbers)
def test_numbers_do_not_matter(one: int, other: int) -> None:
    """Line, process and port numbers differ between two reports of one failure."""
    text = "worker {} died after {} retries at line {}"
    assert print_of(text.format(one, one, one)) == print_of(text.format(other, other, other))


@given(
    st.datetimes(min_value=START),
    st.datetimes(min_value=START),
)
def test_times_do_not_matter(one, other) -> None:
    """A time in a message is a value like any other."""
    for form in ("%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%d %H:%M:%S", "%H:%M:%S", "%b %d %H:%M:%S"):
        lines = [f"error: token expired at {when.strftime(form)} for this job" for when in (one, other)]
        assert print_of(lines[0]) == print_of(lines[1])


@given(folders, folders)
def test_folders_do_not_matter_and_file_names_do(one: list[str], other: list[str]) -> None:
    """A checkout lies elsewhere on each machine; the file in it is the same."""
    paths = ["/" + "/".join(parts) + "/src_main.c" for parts in (one, other)]
    assert print_of(f"{paths[0]}:12:3: error: no such field") == print_of(
        f"{paths[1]}:99:1: error: no such field"
    )
    assert print_of(f"{paths[0]}: error") != print_of("/x/another.c: error")


@given(hosts, hosts, numbers, numbers)
def test_hosts_do_not_matter(one: str, other: str, port: int, another: int) -> None:
    """Where a service runs is no part of what failed."""
    assert print_of(f"cannot connect to {one}:{port % 65536}") == print_of(
        f"cannot connect to {other}:{another % 65536}"
    )


@given(st.uuids(), st.uuids(), st.binary(min_size=8, max_size=20), st.binary(min_size=8, max_size=20))
def test_identifiers_do_not_matter(one, other, digest: bytes, another: bytes) -> None:
    """UUIDs, hashes and addresses are masked."""
    first = f"layer sha256:1a{digest.hex()} of {one} at 0x{digest.hex()} is gone"
    second = f"layer sha256:1a{another.hex()} of {other} at 0x{another.hex()} is gone"
    assert print_of(first) == print_of(second)


def test_different_failures_differ() -> None:
    """Masking leaves what tells two failures apart."""
    lines = [
        "ImportError: cannot import name 'a' from 'b'",
        "error TS2304: Cannot find name 'describe'",
        "error[E0658]: use of unstable feature",
        "undefined reference to `gf_estimate_kernel'",
        "undefined reference to `estimate_kernel'",
        "FAILED tests/test_a.py::test_one",
        "FAILED tests/test_a.py::test_two",
    ]
    assert len({print_of(line) for line in lines}) == len(lines)


def test_a_fingerprint_carries_its_rules_version() -> None:
    """The version is part of the value, so that histories of other rules are not mixed with it."""
    assert print_of("error").startswith(f"{VERSION}:")


@given(st.text(max_size=300))
def test_masking_survives_any_text_and_is_stable(text: str) -> None:
    """Masks never fail, and masking twice gives what masking once gave of equal texts."""
    assert mask_text(text) == mask_text(text)
    assert len(mask_text(text)) <= 400
    mask_events(pl.Series([text]))


def test_stacks_name_their_functions() -> None:
    """The functions on top of a stack are found in any language, without plumbing and arguments."""
    python = [
        '  File "/a/b.py", line 3, in outer',
        "    x()",
        '  File "/a/c.py", line 9, in inner',
        "    y()",
    ]
    java = ["\tat org.junit.Assert.fail(Assert.java:88)", "\tat com.acme.Thing.run(Thing.java:5)"]
    native = ["    #0 0x4f in abort /build/x.c:3", "    #1 0x5 in parse_header(char*) /src/p.cc:12:3"]
    kernel = [" dump_stack+0x1/0x2", " ? guess+0x1/0x2", " ip6_route+0x12/0x40"]
    assert name_frames(python) == ["outer", "inner"]
    assert name_frames(java) == ["com.acme.Thing.run"]
    assert name_frames(native) == ["parse_header"]
    assert name_frames(kernel) == ["ip6_route"]


def test_kernels_of_any_architecture_name_their_functions() -> None:
    """32-bit ARM prints who was called from where; waiting for a lock is the cause of nothing."""
    older = [
        " [<816d8460>] (dump_backtrace) from [<816d8790>] (show_stack+0x18/0x1c)",
        "  r7:81d67c90 r6:82222b24",
        " [<816f972c>] (down_write) from [<804c4268>] (simple_removal+0x198/0x378)",
        " [<804c40d0>] (simple_removal) from [<80656bdc>] (debugfs_remove+0x40/0x54)",
    ]
    newer = [" dump_backtrace from show_stack+0x20/0x24", " simple_removal from debugfs_remove+0x40/0x54"]
    locked = [
        " __lock_acquire+0x2e/0x36",
        " _raw_write_lock_irqsave+0x4e/0x62",
        " sg_remove_request+0x70/0x120",
    ]
    assert name_frames(older) == name_frames(newer) == ["simple_removal"]
    assert name_frames(locked) == ["sg_remove_request"]
    assert name_frames([" raw_sendmsg+0x1/0x2"]) == ["raw_sendmsg"]
