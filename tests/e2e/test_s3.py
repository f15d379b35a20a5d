"""The console script with logs, tables and reports in a bucket."""

from connectors.s3.client import open_client
from tests.console import Console
from tests.s3_fixtures import bucket, s3_server
from tests.s3_server import CREDENTIALS, REGION, Bucket

__all__ = ["bucket", "s3_server"]

LOG = b"2026-11-25T01:02:03Z INFO start\n2026-11-25T01:02:04Z ERROR disk full on /dev/sda1\n" * 3


def test_run_from_bucket_to_bucket(console: Console, bucket: Bucket) -> None:
    """Logs are read from a prefix, tables and reports go to others; a second run asks nobody, and SQL,
    history, an export and the dashboard read them back; the run itself kept the dashboard up to date."""
    bucket.fill({f"logs/{day:02}/job-{day}.log": LOG for day in range(20)})
    (console.folder / "bifrost.yaml").write_text(
        f"warehouse: {bucket.url}/tables\nprovider: rules\ns3:\n"
        f"  endpoint: {bucket.endpoint}\n  region: {REGION}\noutput:\n  dashboard: true\n"
    )
    words = ("run", f"{bucket.url}/logs/", "--format", "html", "--json")
    first = console.call(*words, stdin=None, **CREDENTIALS)
    assert (first.code, first.err.count("Traceback")) == (0, 0), first.err
    assert (first.json["files"], first.json["llm_calls"]) == (20, 1)
    report = f"reports/{first.json['run_id']}/report.html"
    page = f"{bucket.url}/tables/dashboard.html"
    assert first.json["exports"] == [f"{bucket.url}/tables/{report}", page]
    shown = open_client(bucket.access).get_object(Bucket=bucket.name, Key="tables/dashboard.html")
    assert shown["ContentType"] == "text/html"
    text = shown["Body"].read().decode()
    assert '"link":"reports/{run_id}/report.html"' in text and first.json["run_id"] in text
    assert first.json["warehouse"] == f"{bucket.url}/tables"
    again = console.call(*words, stdin=None, **CREDENTIALS)
    assert (again.json["llm_calls"], again.json["recurring"]) == (0, 1)
    query = "SELECT path FROM files JOIN latest_run USING (run_id) ORDER BY path LIMIT 1"
    found = console.call("sql", query, "--format", "json", stdin=None, **CREDENTIALS)
    assert found.json == [{"path": f"{bucket.url}/logs/00/job-0.log"}]
    elsewhere = f"{bucket.url}/pages/all.html"
    board = console.call("dashboard", "--output", elsewhere, stdin=None, **CREDENTIALS)
    assert (board.code, board.out) == (0, f"{elsewhere}: 2 runs, 1 finding\n")
    text = open_client(bucket.access).get_object(Bucket=bucket.name, Key="pages/all.html")["Body"].read()
    assert b'"link":"../tables/reports/{run_id}/report.html"' in text
    exported = console.call(
        "export", "latest", "--format", "json", "--out", f"{bucket.url}/x", stdin=None, **CREDENTIALS
    )
    assert (exported.code, exported.err) == (0, f"Written: {bucket.url}/x/findings.json\n")
    assert not [path for path in console.folder.iterdir() if path.name.startswith("s3")]
    bucket.plan = lambda _: "expired"
    refused = console.call("history", stdin=None, **CREDENTIALS)
    assert refused.code == 2
    assert "aws sso login" in refused.err
