"""What broke a fuzzed target once does not break it again, and arbitrary bytes do not either.

`python -m tests.fuzz` (part of `make torture`) searches on, guided by coverage; this is its short form.
"""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.__main__ import CRASHES, NAMES, list_seeds
from tests.fuzz.targets import TARGETS

FOUND = sorted(path for path in CRASHES.rglob("*") if path.is_file())
SLOW = {"log", "packed", "render"}  # milliseconds an input


def test_the_fuzzer_knows_all_targets() -> None:
    """The names that the command offers are those of the targets, and inputs are kept under such names."""
    assert tuple(TARGETS) == NAMES
    assert {path.parent.name for path in FOUND} <= set(NAMES)


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_broke_once(path: Path) -> None:
    """Every input that a fuzzer ever found is taken now."""
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("name", NAMES)
def test_seeds(name: str) -> None:
    """What the fuzzer starts from is no crash by itself."""
    for content in list_seeds(name)[:: 8 if name in SLOW else 1]:
        TARGETS[name](content)


@pytest.mark.parametrize("name", NAMES)
def test_arbitrary_bytes(name: str) -> None:
    """Bytes, letters of any script, and our seeds cut and joined anywhere."""
    seeds = list_seeds(name)
    pieces = st.one_of(
        st.binary(max_size=300),
        st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.tuples(st.sampled_from(seeds), st.integers(0, 3000), st.integers(1, 400)).map(
            lambda cut: cut[0][cut[1] : cut[1] + cut[2]]
        ),
    )

    @settings(max_examples=15 if name in SLOW else 200, suppress_health_check=list(HealthCheck))
    @given(st.lists(pieces, max_size=4).map(b"".join))
    def call(content: bytes) -> None:
        TARGETS[name](content)

    call()
