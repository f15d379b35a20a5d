"""Rows of small made-up warehouses: one record of each kind, of which a test changes what it is about."""

from datetime import UTC, datetime, timedelta

from bifrost_flow.records import Call, Chunk, Finding, LogFile, Run

NIGHT = datetime(2026, 11, 1, 2, 0, tzinfo=UTC)

FILE = LogFile(
    "logs/lint.log", "ab" * 32, 9, 2, "utf-8", "plain", None, "lint", NIGHT, None, "failed", "read", None
)
CALL = Call("key", "f1:a", "ollama", "qwen", 1, "ok", None, 100.0, 50, 10, 0.25, NIGHT)
CHUNK = Chunk(
    chunk_id="1",
    path="logs/lint.log",
    rank=1,
    spans=((3, 5), (9, 9)),
    severity="error",
    category="crash",
    score=1.5,
    fingerprint="f1:a",
    template="boom <n>",
    tokens=4,
    text="a\nb\nc\nd",
    redactions=0,
    anchor=4,
)
FINDING = Finding(
    fingerprint="f1:a",
    status="new",
    title="Boom",
    category="crash",
    severity="error",
    root_cause="cause",
    explanation="why",
    suggestion="do",
    confidence=0.75,
    evidence=(),
    grounded=True,
    occurrences=1,
    files=1,
    first_seen=NIGHT,
    last_seen=NIGHT,
    provider="rules",
    model="rules",
    prompt="error_analysis",
    prompt_version="1",
    cached=False,
    language="en",
)
RUN = Run(
    run_id="",
    flow_run_id=None,
    project="default",
    source="./logs",
    started_at=NIGHT,
    finished_at=NIGHT + timedelta(seconds=3),
    status="completed",
    settings="{}",
    versions="{}",
    files=1,
    bytes=100,
    lines=10,
    chunks=1,
    groups=1,
    llm_calls=0,
    cache_hits=0,
    tokens_in=0,
    tokens_out=0,
    tokens_saved=0,
    cost_usd=0.0,
    errors=0,
)


def make_run_id(at: datetime, number: int = 0) -> str:
    """Return the id that a run of that time would have, always the same."""
    stamp = f"{int(at.timestamp() * 1000):012x}"
    return f"{stamp[:8]}-{stamp[8:]}-7000-8000-{number:012x}"
