"""The fan-out: many distinct failures asked about a model server that takes its time, and the run after it.

The server is `tests.model_server` on loopback, in a process of its own that shares this machine's cores. The
span is that between the first call's start and the last answer, as the table `llm_calls` has it. The same
questions asked without Prefect say what Prefect costs.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.inputs import find_input
from tests.bench.measure import (
    BIFROST,
    PYTHON,
    ROOT,
    CannotMeasure,
    Figure,
    Options,
    run,
    run_module,
    take_turns,
)
from tests.bench.startup import keep_prefect, make_environment

MISSES = 2000
LATENCY_S = 0.2
AT_ONCE = 64
IDEAL_S = MISSES * LATENCY_S / AT_ONCE
BAR_S = 1.1 * IDEAL_S + 1
WARM_BAR = 1.2
MODEL = "scripted:latest"
SPAN = """
SELECT count(*) AS calls, date_diff('millisecond', min(started_at), max(ended_at)) AS span_ms
FROM (SELECT started_at, started_at + to_milliseconds(latency_ms::BIGINT) AS ended_at FROM llm_calls)
"""


def measure_fanout(options: Options) -> Iterator[Figure]:
    """Yield the span against the ideal, what a call costs beyond it, and the warm re-run against reading."""
    logs = find_input(options.folder, "failures", MISSES)
    out = options.folder / "fanout.out"
    with tempfile.TemporaryDirectory() as home, serve_model() as url, keep_prefect(Path(home)):
        environment = {**make_environment(Path(home)), "BIFROST_OLLAMA_URL": url}
        warehouse = f"{home}/tables"
        words: list[str | Path] = [BIFROST, "run", logs, "--warehouse", warehouse, "--quiet"]
        words += ["--provider", "ollama", "--model", MODEL, "--concurrency", str(AT_ONCE)]
        cold = run(words, environment=environment)
        run([BIFROST, "sql", SPAN, "--warehouse", warehouse, "--format", "json"], out=out)
        (row,) = json.loads(out.read_text())
        calls, span_s = row["calls"], row["span_ms"] / 1000
        if calls < MISSES:
            raise CannotMeasure(f"{logs}: only {calls} of {MISSES} failures were taken for distinct ones")
        run_module("fanout", logs, url, out=out)
        plain_s = float(out.read_text())
        taken = take_turns(
            options.rounds,
            warm=lambda: run([*words, "--json"], out=out, environment=environment),
            read=lambda: run([*words, "--dry-run", "--no-cache"], environment=environment),
            extract=lambda: run([BIFROST, "extract", logs, "--format", "jsonl"]),
        )
        run([BIFROST, "sql", SPAN, "--warehouse", warehouse, "--format", "json"], out=out)
        (row,) = json.loads(out.read_text())
    yield Figure("fanout", f"calls for {MISSES:,} distinct failures", calls, "calls", MISSES)
    note = f"{span_s / IDEAL_S:.2f} × the ideal {IDEAL_S:.2f} s; the run {cold}"
    what = f"span of {MISSES:,} calls of {LATENCY_S:g} s, {AT_ONCE} at once"
    yield Figure("fanout", what, span_s, "s", BAR_S, note=note)
    yield Figure("fanout", "the same without Prefect and tables", plain_s, "s", BAR_S)
    yield Figure("fanout", "a call beyond its ideal share", (span_s - IDEAL_S) / MISSES * 1000, "ms")
    yield Figure("fanout", "of it Prefect, journal and tables", (span_s - plain_s) / MISSES * 1000, "ms")
    yield Figure("fanout", "calls of the warm re-run", row["calls"] - calls, "calls", 0)
    ratio = taken["warm"].wall_s / taken["read"].wall_s
    note = f"warm {taken['warm']}; dry run {taken['read']}; `extract` {taken['extract'].wall_s:.2f} s"
    yield Figure("fanout", "warm re-run / reading alone (dry run)", ratio, "×", WARM_BAR, note=note)


@contextmanager
def serve_model() -> Generator[str]:
    """Run the scripted model server in a process of its own; yield its address."""
    command = [PYTHON, "-m", "tests.model_server", "--delay", str(LATENCY_S)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def main() -> None:
    """Ask about the failures of a folder without Prefect and tables; print the seconds of the calls."""
    from bifrost_flow.evidence.group import group_chunks
    from bifrost_flow.prompts import load_prompt
    from connectors.extraction import extract_evidence
    from connectors.models.choose import ModelSettings, choose_provider
    from connectors.models.fanout import answer_questions, plan
    from connectors.sources import find_sources

    folder, url = sys.argv[1:]
    sources, _, _ = find_sources([folder])
    groups = group_chunks(list(extract_evidence(sources, budget_tokens=2000)))
    provider, _ = choose_provider("ollama", ModelSettings(ollama_url=url, ollama_model=MODEL))
    questions = plan(groups, provider, load_prompt(), "en")
    began = time.perf_counter()
    asked = asyncio.run(answer_questions(questions, provider, concurrency=AT_ONCE))
    print(time.perf_counter() - began)
    if len(asked.answers) != len(groups):
        raise SystemExit(f"{len(asked.answers)} answers to {len(groups)} questions: {asked.problems[:1]}")


if __name__ == "__main__":
    main()
