"""Runs side by side: what differs, how metrics changed, and which run a reference means."""

import pytest

from bifrost_flow.runview import RunView, compare_runs, find_views


def make_view(
    run_id: str,
    parameters: dict[str, str] | None = None,
    metrics: dict[str, float] | None = None,
    **more: str,
) -> RunView:
    return RunView(
        run_id, more.pop("name", "logs"), "p", "completed", None, parameters or {}, metrics or {}, **more
    )


def test_what_differs_is_told_and_what_one_lacks_as_well() -> None:
    """Every name of any run has a value or None for each, and differs unless all have the same."""
    one = make_view("a", {"model": "m", "lang": "en"}, {"hit": 0.5, "same": 1.0, "nan": float("nan")})
    two = make_view(
        "b", {"model": "n", "lang": "en", "extra": "x"}, {"hit": 0.75, "same": 1.0, "nan": float("nan")}
    )
    compared = {each.name: each for each in compare_runs([one, two])}
    assert list(compared) == ["model", "lang", "extra", "hit", "same", "nan"]
    assert {name for name, each in compared.items() if each.differs} == {"model", "extra", "hit"}
    assert compared["extra"].values == (None, "x")
    assert compared["hit"].change == pytest.approx(0.5)
    assert compared["model"].change is None


@pytest.mark.parametrize(("first", "change"), [(0.0, None), (-2.0, 2.0)])
def test_a_change_is_told_where_there_is_one_to_tell(first: float, change: float | None) -> None:
    """From nothing there is no share, and from below zero up is up."""
    (compared,) = compare_runs([make_view("a", {}, {"x": first}), make_view("b", {}, {"x": 2.0})])
    assert compared.change == change


def test_a_reference_is_latest_an_id_a_start_or_a_name() -> None:
    """The whole id goes before starts of others; our own id names a run in MLflow, too."""
    runs = [make_view("abc"), make_view("ab", our_id="01a2"), make_view("cd", name="evaluate x")]
    for reference, found in (
        ("latest", ["abc"]),
        ("ab", ["ab"]),
        ("a", ["abc", "ab"]),
        ("01A", ["ab"]),
        ("evaluate x", ["cd"]),
        ("nothing", []),
    ):
        assert [run.run_id for run in find_views(runs, reference)] == found, reference
