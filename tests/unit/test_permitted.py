"""What a request may name: what the settings do, and what lies beneath it, wherever links lead."""

from pathlib import Path

import pytest

from bifrost_flow.errors import SettingsError
from connectors.baselines import read_baseline
from connectors.permitted import Permitted
from connectors.sources import find_sources

CASES = [
    ("s3://logs/ci", "s3://logs/ci/2026/x.log", True),
    ("s3://logs/ci/", "S3://logs/ci/*.log", True),
    ("s3://logs/ci", "s3://logs/ci-secret/x.log", False),
    ("s3://logs/ci", "s3://logs/c*", False),
    ("s3://logs/ci", "s3://logs//ci/x.log", False),
    ("s3://logs/ci", "s3://logs", False),
    ("s3://logs/{date:%Y/%m}/", "s3://logs/2026/11/x.log", True),
    ("s3://logs/{date:%Y/%m}/", "s3://logs/other", False),
    ("s3://", "s3://any/thing", True),
    ("gha://owner", "gha://owner/repo?run=1", True),
    ("gha://owner/repo?run=1", "gha://owner/repo?run=2", True),
    ("gha://owner/repo", "gha://owner/other", False),
    ("gha://owner/repo", "gha://owner/repo/../other", False),
    ("gha://owner/repo", "gitlab://owner/repo", False),
    ("/", "/etc/passwd", True),
    ("/", "s3://logs/x", False),
    ("/", "http://host/x.log", False),
    ("/nowhere/logs", "/nowhere/logs/../secret.log", False),
    ("/nowhere/logs", "/nowhere/logs/a/../b.log", True),
    ("/nowhere/logs", "/nowhere/logs2/b.log", False),
    ("/nowhere/logs", "/nowhere/l*/b.log", False),
    ("/nowhere/logs", "/nowhere/logs/{date}/*.log", True),
    ("/nowhere/logs", "/nowhere/logs/*/../../secret/*", False),
    ("/nowhere/logs", "/nowhere/logs/{date:%Y/../../../secret}", False),
    ("/nowhere/*", "/nowhere/l*/../x", False),
    ("/nowhere/*/ci/*.log", "/nowhere/a/ci/x.log", True),
    ("/nowhere/*/ci/*.log", "/nowhere/a/b/ci/x.log", False),
    ("/nowhere/*/ci/*.log", "/nowhere/a/ci/x.key", False),
    ("/nowhere/**/*.log", "/nowhere/a/b/x.log", True),
    ("/nowhere/**/*.log", "/nowhere/a/b/x.key", False),
]


@pytest.mark.parametrize(("root", "target", "covered"), CASES)
def test_what_a_root_covers(root: str, target: str, covered: bool) -> None:
    """A root covers itself and what is beneath it, step by step; a request's pattern where all of it is."""
    assert Permitted(("s3://else", root)).covers(target) is covered
    assert Permitted((root,)).names(root)


def test_a_refusal_says_what_to_set() -> None:
    """It names the path and the setting, and reads alike whether there is such a file or not."""
    permitted = Permitted(("/nowhere/logs",))
    permitted.check(["/nowhere/logs/absent.log"])
    said = []
    for path in (__file__, __file__ + ".absent"):
        with pytest.raises(SettingsError, match=r"serve\.allow.*BIFROST_SERVE_ALLOW") as refused:
            permitted.check(["/nowhere/logs/x.log", path])
        said.append(str(refused.value).replace(path, "PATH"))
    assert said[0] == said[1]


def test_links_lead_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link is judged by what it leads to: named, found in a folder or by a glob; a folder that is itself a
    link stands for where it leads."""
    logs, secret = tmp_path / "real", tmp_path / "secret"
    for folder in (logs, secret):
        folder.mkdir()
        (folder / "x.log").write_text("ERROR: it failed\n")
    (logs / "out.log").symlink_to(secret / "x.log")
    (logs / "folder").symlink_to(secret)
    (tmp_path / "logs").symlink_to(logs)
    monkeypatch.chdir(tmp_path)
    permitted = Permitted(("logs",))
    assert permitted.covers("logs/x.log") and permitted.covers(str(logs / "x.log"))
    assert not permitted.covers("logs/out.log") and not permitted.covers("logs/folder/x.log")
    assert not permitted.covers("logs/folder/*.log")
    for target in ("logs/folder/../secret", "logs/folder/..", "logs/folder/../logs/out.log"):
        assert not permitted.covers(target) and not permitted.names(target)
    for target in ("logs", "logs/**", "logs/fold*/../secret/*.log", str(logs)):
        sources, unread, problems = find_sources([target], permitted=permitted)
        assert [source.path.rpartition("/")[2] for source in sources] == ["x.log"] * ("secret" not in target)
        assert len(unread) == len(problems) >= 1
        assert all("serve.allow" in problem.message for problem in problems)
    assert len(find_sources(["logs"])[0]) == 2  # both links lead to one file


def test_a_name_that_reads_like_a_pattern(tmp_path: Path) -> None:
    """A file that was found is judged by its name as it is: a matrix's `[1]` is no pattern, nor is a
    `{date}`."""
    (tmp_path / "x[1].log").write_text("ERROR: it failed\n")
    permitted = Permitted((f"{tmp_path}/*.log",))
    assert len(find_sources([f"{tmp_path}/*.log"], permitted=permitted)[0]) == 1
    assert not permitted.holds(f"{tmp_path}/sub/{{date:x.log}}")


def test_a_baseline_is_held_to_it_too(tmp_path: Path) -> None:
    """What links of a folder of passing runs lead to is read as little as that of a log."""
    logs, secret = tmp_path / "logs", tmp_path / "secret.log"
    logs.mkdir()
    secret.write_text("token\n")
    (logs / "ok.log").write_text("compiled\n")
    (logs / "link.log").symlink_to(secret)
    with pytest.raises(SettingsError, match=r"serve\.allow"):
        read_baseline([str(logs)], permitted=Permitted((str(logs),)))
    read_baseline([str(logs / "ok.log")], permitted=Permitted((str(logs),)))
