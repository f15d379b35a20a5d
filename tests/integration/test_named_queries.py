"""The named queries, on nights that are few enough to count by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from bifrost_flow.errors import WarehouseError
from bifrost_flow.records import Call, Finding, LogFile
from connectors.warehouse import Warehouse
from connectors.warehouse.named import find_query, read_named_queries
from tests.warehouse_rows import CALL, FILE, FINDING, NIGHT, RUN, make_run_id

BOOM = replace(FINDING, fingerprint="f1:a", title="Boom", category="crash", severity="error")
SLOW = replace(FINDING, fingerprint="f1:b", title="Slow", category="timeout", severity="warning")
DUMP = replace(FINDING, fingerprint="f1:c", title="Dump", category="crash", severity="critical")
LATE = replace(FINDING, fingerprint="f1:a", title="Late", category="timeout", severity="error")


def at(night: int, project: str = "web") -> datetime:
    """Return when the run of a night began: that of `api` an hour after that of `web`."""
    return NIGHT + timedelta(days=night - 1, hours=project == "api")


def day(night: int) -> str:
    return f"2026-11-{night:02}"


def write_night(
    store: Warehouse,
    night: int,
    findings: Sequence[Finding],
    files: Sequence[LogFile],
    calls: Sequence[Call] = (),
    **run: Any,
) -> None:
    """Write the run of a night; what was seen was seen then."""
    now = at(night, store.project)
    run_id = make_run_id(now)
    store.write_findings(
        run_id, [replace(each, last_seen=now) if each.status != "resolved" else each for each in findings]
    )
    store.write_files(run_id, files)
    store.write_calls(run_id, [replace(call, started_at=now) for call in calls])
    store.write_run(replace(RUN, run_id=run_id, project=store.project, started_at=now, **run))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Six nights of `web` and two of `api`."""
    location = str(tmp_path_factory.mktemp("named") / "w")
    web, api = (Warehouse.open(location, project=name) for name in ("web", "api"))
    failed, passed = FILE, replace(FILE, outcome="passed")
    core = replace(FILE, path="core.bin", job=None, outcome="unknown", status="binary", error="holds no text")
    big = replace(core, path="big.log", status="truncated", error="ends early")

    def tell(finding: Finding, status: str, occurrences: int = 0) -> Finding:
        return replace(finding, status=status, occurrences=occurrences)

    asked = [CALL, replace(CALL, latency_ms=300.0)]
    write_night(
        web,
        1,
        [tell(BOOM, "new", 2), tell(SLOW, "new", 1)],
        [failed],
        asked,
        groups=2,
        llm_calls=2,
        tokens_in=100,
        tokens_out=20,
        cost_usd=0.5,
    )
    saved: dict[str, Any] = {"groups": 1, "cache_hits": 1, "tokens_saved": 60}
    write_night(web, 2, [tell(BOOM, "recurring", 3)], [failed, core], **saved)
    write_night(web, 3, [tell(BOOM, "resolved")], [passed, core], groups=0)
    write_night(web, 4, [tell(SLOW, "resolved")], [passed], groups=0)
    write_night(web, 5, [tell(BOOM, "regressed", 1)], [failed], **saved)
    dear = replace(
        CALL, provider="openai", model="gpt", latency_ms=200.0, attempt=2, tokens_in=80, tokens_out=0
    )
    dear = replace(dear, cost_usd=0.5)
    refused = replace(dear, status="failed", error="429", latency_ms=900.0, attempt=1)
    write_night(
        web,
        6,
        [tell(BOOM, "recurring", 1), tell(DUMP, "new", 4)],
        [failed, big],
        [replace(refused, tokens_in=0, cost_usd=0.0), dear],
        **saved | {"groups": 2, "llm_calls": 2, "tokens_in": 80, "cost_usd": 0.5},
    )
    write_night(
        api, 1, [tell(LATE, "new", 5)], [replace(failed, job="unit")], llm_calls=1, tokens_in=10, errors=1
    )
    write_night(api, 2, [tell(LATE, "resolved")], [replace(passed, job="unit")], groups=0)
    return web


def ask(
    store: Warehouse,
    name: str,
    given: Mapping[str, str] | None = None,
    *,
    project: str | None = None,
    since: datetime | None = None,
) -> list[tuple[Any, ...]]:
    query = find_query(name)
    rows = store.query(query.sql, query.bind(given or {}, project=project, since=since)).rows
    return [tuple(float(cell) if isinstance(cell, Decimal) else cell for cell in row) for row in rows]


# Of each query all its rows over all projects and nights.
EXPECTED: dict[str, list[tuple[Any, ...]]] = {
    # runs, files, lines, findings, new, recurring, regressed, resolved, calls, hits, cost, errors
    "trend": [
        ("api", day(1), 1, 1, 10, 1, 1, 0, 0, 0, 1, 0, 0.0, 1),
        ("api", day(2), 1, 1, 10, 0, 0, 0, 0, 1, 0, 0, 0.0, 0),
        ("web", day(1), 1, 1, 10, 2, 2, 0, 0, 0, 2, 0, 0.5, 0),
        ("web", day(2), 1, 1, 10, 1, 0, 1, 0, 0, 0, 1, 0.0, 0),
        ("web", day(3), 1, 1, 10, 0, 0, 0, 0, 1, 0, 0, 0.0, 0),
        ("web", day(4), 1, 1, 10, 0, 0, 0, 0, 1, 0, 0, 0.0, 0),
        ("web", day(5), 1, 1, 10, 1, 0, 0, 1, 0, 0, 1, 0.0, 0),
        ("web", day(6), 1, 1, 10, 2, 1, 1, 0, 0, 2, 1, 0.5, 0),
    ],
    "open": [
        ("web", "f1:c", "critical", "crash", "Dump", at(6), at(6), 1, 4),
        ("web", "f1:a", "error", "crash", "Boom", at(5), at(6), 2, 1),
    ],
    "newest": [
        (at(6), "web", "new", "critical", "crash", "Dump", 4, "f1:c", make_run_id(at(6))),
        (at(5), "web", "regressed", "error", "crash", "Boom", 1, "f1:a", make_run_id(at(5))),
        (at(1, "api"), "api", "new", "error", "timeout", "Late", 5, "f1:a", make_run_id(at(1, "api"))),
        (at(1), "web", "new", "error", "crash", "Boom", 2, "f1:a", make_run_id(at(1))),
        (at(1), "web", "new", "warning", "timeout", "Slow", 1, "f1:b", make_run_id(at(1))),
    ],
    "noisiest": [
        ("web", "f1:a", "Boom", "crash", "error", 7, 4, "recurring"),
        ("api", "f1:a", "Late", "timeout", "error", 5, 1, "resolved"),
        ("web", "f1:c", "Dump", "crash", "critical", 4, 1, "new"),
        ("web", "f1:b", "Slow", "timeout", "warning", 1, 1, "resolved"),
    ],
    # failures, open, occurrences, share
    "categories": [
        ("api", "timeout", 1, 0, 5, 1.0),
        ("web", "crash", 2, 2, 11, 0.667),
        ("web", "timeout", 1, 0, 1, 0.333),
    ],
    # came, went, runs
    "flaky": [("web", "f1:a", "Boom", "crash", 2, 1, 4, at(6), "recurring")],
    # resolved, mean, median, longest, still open
    "nights_to_resolve": [
        ("api", "timeout", 1, 1.0, 1.0, 1, 0),
        ("web", "timeout", 1, 3.0, 3.0, 3, 0),
        ("web", "crash", 1, 2.0, 2.0, 2, 2),
    ],
    "failing_jobs": [
        ("web", "lint", 6, 4, 2, 0.667, at(6)),
        ("api", "unit", 2, 1, 1, 0.5, at(1, "api")),
    ],
    "unread_files": [
        ("web", "big.log", "truncated", "ends early", 1, at(6)),
        ("web", "core.bin", "binary", "holds no text", 2, at(3)),
    ],
    # calls, failed, tokens in and out, cost
    "cost": [
        ("web", day(1), "ollama", "qwen", 2, 0, 100, 20, 0.5),
        ("web", day(6), "openai", "gpt", 2, 1, 80, 0, 0.5),
    ],
    # calls, failed, share, median, p95, tokens, cost
    "models": [
        ("ollama", "qwen", 2, 0, 0.0, 200.0, 290.0, 100, 20, 0.5),
        ("openai", "gpt", 2, 1, 0.5, 200.0, 200.0, 80, 0, 0.5),
    ],
    "slowest": [
        ("web", make_run_id(at(6)), 900.0, "openai", "gpt", "failed", 1, 0, 0, at(6), "f1:a", "429"),
        ("web", make_run_id(at(1)), 300.0, "ollama", "qwen", "ok", 1, 50, 10, at(1), "f1:a", None),
        ("web", make_run_id(at(6)), 200.0, "openai", "gpt", "ok", 2, 80, 0, at(6), "f1:a", None),
        ("web", make_run_id(at(1)), 100.0, "ollama", "qwen", "ok", 1, 50, 10, at(1), "f1:a", None),
    ],
    # failures, hits, calls, share, tokens saved, USD: `web` paid 1 USD for 200 tokens
    "cache_savings": [
        ("api", day(1), 1, 0, 1, 0.0, 0, None),
        ("api", day(2), 0, 0, 0, None, 0, None),
        ("web", day(1), 2, 0, 2, 0.0, 0, 0.0),
        ("web", day(2), 1, 1, 0, 1.0, 60, 0.3),
        ("web", day(3), 0, 0, 0, None, 0, 0.0),
        ("web", day(4), 0, 0, 0, None, 0, 0.0),
        ("web", day(5), 1, 1, 0, 1.0, 60, 0.3),
        ("web", day(6), 2, 1, 2, 0.5, 60, 0.3),
    ],
}


@pytest.mark.parametrize("name", read_named_queries())
def test_rows_are_those_that_were_counted_by_hand(store: Warehouse, name: str) -> None:
    """Each query gives exactly the rows that its comment promises, in that order."""
    rows = ask(store, name)
    days = [tuple(str(cell) if type(cell).__name__ == "date" else cell for cell in row) for row in rows]
    assert days == EXPECTED[name]


@pytest.mark.parametrize("name", read_named_queries())
def test_project_and_time_narrow_each_query(store: Warehouse, name: str) -> None:
    """With a project no row of another is left; from after the last run on there is nothing."""
    of_web = [row for row in EXPECTED[name] if "api" not in row]
    assert len(ask(store, name, project="web")) == len(of_web)
    assert ask(store, name, project="none") == []
    assert ask(store, name, since=at(7)) == []


def test_time_counts_from_the_run_on(store: Warehouse) -> None:
    """What began before `since` is left out of the counts, not only of the rows."""
    since = at(5)
    assert [row[5:7] for row in ask(store, "noisiest", since=since)] == [(4, 1), (2, 2)]
    assert ask(store, "flaky", {"least": "1"}, since=since)[0][4:7] == (1, 0, 2)
    assert ask(store, "nights_to_resolve", since=since) == [("web", "crash", 0, None, None, None, 2)]
    assert [row[1].isoformat() for row in ask(store, "trend", since=since)] == [day(5), day(6)]


def test_parameters_have_defaults_and_types(store: Warehouse) -> None:
    """A given value counts in place of the default; what is no number or not known is told with what is."""
    assert len(ask(store, "slowest", {"limit": "2"})) == 2
    with pytest.raises(WarehouseError, match=r"limit: 'many' is no BIGINT"):
        find_query("slowest").bind({"limit": "many"}, project=None, since=None)
    with pytest.raises(WarehouseError, match=r"takes no limits.*limit.*Did you mean limit\?"):
        find_query("slowest").bind({"limits": "1"}, project=None, since=None)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("flakey", "flaky"), ("trends", "trend"), ("unread", "unread_files"), ("Cache-Saving", "cache_savings")],
)
def test_unknown_name_is_answered_with_the_closest(name: str, meant: str) -> None:
    """A slip of the fingers is told with what was meant; what resembles nothing gets no guess."""
    with pytest.raises(WarehouseError, match=rf"{name}.*Did you mean {meant}\?"):
        find_query(name)
    with pytest.raises(WarehouseError) as caught:
        find_query("zzzzz")
    assert "mean" not in str(caught.value)


def test_each_query_says_grain_and_order() -> None:
    """Whoever reads the file or the reference learns what one row is, and how rows are sorted."""
    queries = read_named_queries()
    assert len(queries) >= 10
    for query in queries.values():
        assert query.comment.startswith("Grain: ") and "Order: " in query.comment, query.name
        assert "ORDER BY" in query.sql, query.name
        for parameter in query.parameters:
            assert f"${parameter.name}" in query.sql and parameter.meaning, query.name
