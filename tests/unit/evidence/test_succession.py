"""Failures are found again after the rules of fingerprints changed, and different ones are not mixed up."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from bifrost_flow.evidence import fingerprint
from bifrost_flow.evidence.fingerprint import fingerprint_lines
from bifrost_flow.evidence.succession import find_predecessors, list_unknown
from bifrost_flow.records import Chunk
from tests.samples import make_chunk

FAILURES = {
    "timeout": "step 3 begins\nERROR: upload of part 17 timed out after 30 s\nFinished: FAILURE",
    "missing": "step 4 begins\nerror: cannot find module 'left-pad' in /srv/app/node_modules\nexit 1",
    "crash": "compiling\nmain.c:10:4: error: use of undeclared identifier 'foo'\nmake: *** [all] Error 2",
}


@pytest.fixture
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch
    fingerprint._mask.cache_clear()


def set_rules(patch: pytest.MonkeyPatch, version: str, masks: tuple) -> None:
    patch.setattr(fingerprint, "VERSION", version)
    patch.setattr(fingerprint, "_MASKS", masks)
    fingerprint._mask.cache_clear()


def build(text: str, *, stack: tuple[str, ...] = ()) -> Chunk:
    """Return a chunk as today's rules make it, around the second line of `text`."""
    name, template = fingerprint_lines([text.split("\n")[1], *stack])
    return replace(make_chunk(text, anchor=1, fingerprint=name), template=template)


def vary(text: str) -> str:
    """Return what the failure says another night."""
    return text.replace("17", "218").replace("30 s", "31 s").replace("/srv/app", "/tmp/b/77")


STRICTER = tuple(mask for mask in fingerprint._MASKS if mask[1] != "<n>")
LOOSER = (*fingerprint._MASKS, (fingerprint.re.compile(r"\b\w{9,}\b"), "<word>", ("",)))


@pytest.mark.parametrize("masks", [LOOSER, fingerprint._MASKS], ids=["looser", "same"])
def test_each_failure_finds_its_own(patch: pytest.MonkeyPatch, masks: tuple) -> None:
    """Whether the new rules mask more or the same, each failure is matched with itself alone."""
    old = {name: build(text) for name, text in FAILURES.items()}
    set_rules(patch, "f9", masks)
    new = {name: build(vary(text)) for name, text in FAILURES.items()}
    assert {chunk.fingerprint for chunk in new.values()} & {
        chunk.fingerprint for chunk in old.values()
    } == set()
    found = find_predecessors(list(new.values()), list(old.values()))
    assert found == {new[name].fingerprint: (old[name].fingerprint,) for name in FAILURES}


def test_rules_that_mask_less_still_find_what_reads_the_same(patch: pytest.MonkeyPatch) -> None:
    """Where numbers tell failures apart from now on, only the one with the same numbers goes on."""
    old = build(FAILURES["timeout"])
    set_rules(patch, "f9", STRICTER)
    same, other = build(FAILURES["timeout"]), build(vary(FAILURES["timeout"]))
    assert find_predecessors([same, other], [old]) == {same.fingerprint: (old.fingerprint,)}


def test_stack_tells_failures_apart_that_say_the_same(patch: pytest.MonkeyPatch) -> None:
    """Of two crashes with one message, each goes on as the one whose stack reads like its own."""
    text = FAILURES["crash"]
    old = [build(text, stack=(frame,)) for frame in ("read_header", "write_footer")]
    set_rules(patch, "f9", LOOSER)
    new = [build(text, stack=(frame, "")) for frame in ("read_header", "write_footer")]
    new = [replace(chunk, template=before.template) for chunk, before in zip(new, old, strict=True)]
    new = [replace(chunk, fingerprint=f"f9:{number}") for number, chunk in enumerate(new)]
    assert find_predecessors(new, old) == {
        "f9:0": (old[0].fingerprint,),
        "f9:1": (old[1].fingerprint,),
    }


def test_failures_that_become_one_are_both_taken_over(patch: pytest.MonkeyPatch) -> None:
    """Rules that mask more may unite failures; none of those that were is left behind."""
    first = build("a\nERROR: cannot resolve alphabetically here\nb")
    second = build("a\nERROR: cannot resolve numerically here\nb")
    set_rules(patch, "f9", LOOSER)
    both = build("a\nERROR: cannot resolve reversedly here\nb")
    assert find_predecessors([both], [first, second]) == {
        both.fingerprint: tuple(sorted((first.fingerprint, second.fingerprint)))
    }


def test_end_without_a_message_is_found_by_its_last_words(patch: pytest.MonkeyPatch) -> None:
    """A piece that shows the end of a step, and not the line it is built around, goes by its last words."""
    old = replace(build(FAILURES["missing"]), anchor=9000)
    set_rules(patch, "f9", LOOSER)
    new = replace(build(vary(FAILURES["missing"])), anchor=7000)
    assert find_predecessors([new], [old]) == {new.fingerprint: (old.fingerprint,)}


def test_known_failures_are_not_looked_for() -> None:
    """What history has already needs no predecessor; of others, one piece each is enough."""
    known, unknown = make_chunk(fingerprint="f9:a"), make_chunk(fingerprint="f9:b")
    assert list_unknown([known, unknown, unknown], {"f9:a": None}) == [unknown]
