"""Three nights from the command line that read only what is new, by day."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.console import Console


def write_log(folder: Path, failure: str | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"2026-11-25T02:00:{n:02}Z compiled unit {n * 7}" for n in range(20)]
    if failure:
        lines.append(f"2026-11-25T02:01:00Z ERROR: {failure} refused the upload after 3 attempts")
    lines.append(f"Finished: {'FAILURE' if failure else 'SUCCESS'}")
    (folder / f"{failure or 'clean'}.log").write_text("\n".join(lines) + "\n")


def test_three_nights(console: Console) -> None:
    """A backfill takes old days in, a night what is new of today's, and another one finds nothing to read;
    a slip is told at once."""
    today = datetime.now(UTC).date()
    days = [console.folder / "logs" / f"{today - timedelta(days=n)}" for n in range(4)]
    write_log(days[3], "ledger")
    write_log(days[0], "mailer")
    options = ("--provider", "rules", "--json")

    def night(*words: str) -> dict[str, object]:
        done = console.call("run", "logs/{date}", *options, *words, BIFROST_MLFLOW_ENABLED="false")
        assert done.code == 0, done.err
        return done.json

    window = ("--from", days[3].name, "--to", days[1].name)
    backfill = night(*window)
    assert [backfill[name] for name in ("files", "skipped", "new", "resolved")] == [1, 0, 1, 0]
    first = night("--since", "last-success", "--from", days[3].name)
    assert [first[name] for name in ("files", "skipped", "new", "resolved")] == [1, 1, 1, 0]

    second = console.call(
        *("run", "logs/{date}", "--provider", "rules", "--since", "last-success", "--lang", "ko"),
        BIFROST_MLFLOW_ENABLED="false",
    )
    assert second.code == 0, second.err
    assert "새로 읽을 것이 없습니다" in second.out
    assert "새 로그나 바뀐 로그 0개, 다시 읽지 않는 로그 1개" in second.err
    assert re.search("로그가 없는 날 [12]일", second.err)  # two at midnight

    slip = console.call("run", "logs", "--from", "2026-11-01")
    assert (slip.code, slip.out) == (2, "")
    assert "no path has a {date}" in slip.err
