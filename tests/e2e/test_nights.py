"""Three nights from the command line: what is new each night, what two nights differ in, and a finding's
history."""

import json
from pathlib import Path

import pytest

from tests.console import Console

NIGHTS = (
    {"lint": "ledger", "unit": "mailer"},
    {"lint": None, "unit": "mailer", "build": "indexer"},
    {"lint": "ledger", "build": None},
)


def write_logs(folder: Path, night: int) -> Path:
    """Write the logs of a night into a folder named for its date, and return that."""
    logs = folder / "logs" / f"2026-11-{23 + night}"
    logs.mkdir(parents=True)
    for job, failure in NIGHTS[night].items():
        lines = [f"{logs.name}T02:00:{n:02}Z compiled unit {n * 7}" for n in range(20)]
        if failure:
            lines.append(
                f"{logs.name}T02:01:00Z ERROR: {failure} refused the upload after {night + 2} attempts"
            )
        lines.append(f"Finished: {'FAILURE' if failure else 'SUCCESS'}")
        (logs / f"{job}.log").write_text("\n".join(lines) + "\n")
    return logs


@pytest.fixture
def nights(console: Console) -> list[dict[str, int]]:
    """What each of three nights' runs said of itself; by hand, somebody looks at a log before the last."""
    told = []
    for night in range(3):
        logs = write_logs(console.folder, night)
        if night == 2:
            looked = console.call("analyze", logs / "lint.log", "--provider", "rules", "--format", "json")
            assert looked.json["findings"][0]["status"] == "regressed"
        done = console.call("run", logs, "--provider", "rules", "--json", BIFROST_MLFLOW_ENABLED="false")
        assert done.code == 0, done.err
        told.append(done.json)
    return told


def test_what_is_new_since_last_night(console: Console, nights: list[dict[str, int]]) -> None:
    """Statuses, `diff`, `history` and `show` agree, in words and in JSON; none of it fails a pipeline."""
    counts = [
        tuple(night[name] for name in ("new", "recurring", "regressed", "resolved")) for night in nights
    ]
    assert counts == [(2, 0, 0, 0), (1, 1, 0, 1), (0, 0, 1, 1)]

    def diff(*words: str) -> dict[str, tuple[str, int | None, int | None]]:
        done = console.call("diff", *words, "--format", "json")
        assert done.code == 0, done.err
        return {
            each["title"].split()[0]: (each["change"], each["occurrences_before"], each["occurrences_after"])
            for each in done.json["changes"]
        }

    last = {"ledger": ("regressed", 0, 1), "indexer": ("resolved", 1, 0), "mailer": ("not_seen", 1, None)}
    assert diff() == diff("previous", "latest") == diff(str(nights[2]["run_id"])) == last
    assert diff(str(nights[0]["run_id"]), "latest") == {
        "ledger": ("recurring", 1, 1),
        "mailer": ("not_seen", 1, None),
    }
    shown = console.call("diff")
    assert (shown.code, shown.err) == (0, "")
    assert "0 new, 1 regressed, 0 recurring, 1 resolved, 1 not seen" in shown.out
    assert "logs/2026-11-24/unit.log" in shown.out.split("says nothing of")[1]
    korean = console.call("diff", "--lang", "ko").out
    assert "신규 0, 재발 1, 반복 0, 해결됨 1, 확인 못 함 1" in korean

    same = console.call("diff", "latest", str(nights[2]["run_id"]))
    assert (same.code, same.out) == (2, "")
    assert "Both names mean" in same.err
    assert console.call("diff", str(nights[0]["run_id"])).code == 2
    assert "starts with 'zzz'" in console.call("diff", "zzz").err

    fingerprint = next(
        each["fingerprint"]
        for each in console.call("diff", "-f", "json").json["changes"]
        if each["change"] == "regressed"
    )
    runs = console.call("history", "--finding", fingerprint[:8], "--since", "1h", "-f", "json").json
    assert [run["finding_status"] for run in runs] == ["regressed", "regressed", "resolved", "new"]
    assert console.call("history", "--since", "2001-01-01", "-n", "2").err.count("--limit") == 1
    assert console.call("history", "--since", "now").out == ""
    assert console.call("history", "--since", "someday").code == 2
    finding = json.loads(console.call("show", fingerprint, "-f", "json").out)
    assert (finding["runs_seen"], finding["days_seen"]) == (3, 1)
    assert "runs: 3, days: 1" in console.call("show", fingerprint).out
