"""What holds of the repository as a whole: its lock, its top level, its data and its dependencies."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bifrost_flow.language import ROOT
from connectors import extraction_remote

PACKAGES = ("bifrost_flow", "flows", "tasks", "connectors")
# Folders of data. As packages they would shadow others: `docker` is docker-py, which Prefect imports.
DATA_FOLDERS = ("sql", "locales", "docker", "deployments")
TOP_LEVEL = {
    *PACKAGES,
    *DATA_FOLDERS,
    *("tests", "docs", "pyproject.toml", "README.md", "LICENSE", "ARCHITECTURE.md", "CHANGELOG.md"),
    *("Makefile", "requirements.txt", ".ci", ".github", ".gitignore", ".dockerignore", ".python-version"),
}
# What is installed with an extra alone, and the one place that imports it, which says so where it is missing.
EXTRAS = {"distributed": {"connectors/extraction_remote.py"}}
MAX_README_LINES = 150
MAX_LOG_BYTES = 200_000
DATA = ROOT / "tests" / "data"


@cache
def read_dependencies() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [Requirement(each) for each in project["dependencies"]]


@cache
def read_lock() -> list[str]:
    """Return the logical lines of the lock: a requirement with its hashes is one."""
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    return [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]


@cache
def list_foreign_imports() -> dict[str, set[str]]:
    """Return the packages of others that our code imports, with the files that do."""
    found: dict[str, set[str]] = {}
    for path in (path for folder in PACKAGES for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in (name.partition(".")[0] for name in names):
                if name not in sys.stdlib_module_names and name not in PACKAGES:
                    found.setdefault(name, set()).add(str(path.relative_to(ROOT)))
    return found


def test_every_requirement_is_pinned_and_hashed() -> None:
    """What is installed is, byte for byte, what was locked."""
    pinned = r"[\w.-]+(\[[\w,-]+\])?==\S+( ; [^#]+?)?( +--hash=sha256:[0-9a-f]{64})+ *"
    assert len(read_lock()) > 50
    assert [line[:80] for line in read_lock() if not re.fullmatch(pinned, line)] == []


def test_the_lock_names_no_place() -> None:
    """Where packages come from is up to whoever installs: no address, index or folder is in the lock."""
    lock = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    assert re.findall(r"https?://\S*|^-\S+|\S+ @ .*", lock, re.MULTILINE) == []


def test_the_lock_holds_what_the_project_asks_for() -> None:
    """Each dependency of the project is in the lock, in a version that the project allows."""
    pins = [Requirement(line.partition(" --hash")[0].strip()) for line in read_lock()]
    versions: dict[str, list[str]] = {}
    for pin in pins:
        versions.setdefault(canonicalize_name(pin.name), []).append(str(pin.specifier).removeprefix("=="))
    for wanted in read_dependencies():
        locked = versions.get(canonicalize_name(wanted.name), [])
        assert locked and all(wanted.specifier.contains(each, prereleases=True) for each in locked), wanted


def test_extras_are_asked_for_by_name() -> None:
    """What is imported where an extra may be missing is what that extra installs."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    asked = {kind: Requirement(wanted).name for kind, (wanted,) in extras.items()}
    assert asked == extraction_remote.PACKAGES
    assert set(EXTRAS) <= set(asked.values())


def test_every_import_is_a_dependency_of_ours() -> None:
    """Nothing that we import is there only because a package of somebody else asks for it."""
    direct = {canonicalize_name(each.name) for each in read_dependencies()}
    owners = packages_distributions()
    missing = {
        name: sorted(files)
        for name, files in list_foreign_imports().items()
        if not direct & {canonicalize_name(each) for each in owners.get(name, [])}
        and not (name in EXTRAS and set(files) == EXTRAS[name])
    }
    assert len(list_foreign_imports()) > 10
    assert missing == {}


def test_no_module_bears_the_name_of_a_package_that_we_import() -> None:
    """A reader who sees `import duckdb` needn't ask which one."""
    modules = [path for folder in PACKAGES[1:] for path in (ROOT / folder).rglob("*.py")]
    assert [path for path in modules if path.stem in list_foreign_imports()] == []


@pytest.mark.parametrize("folder", DATA_FOLDERS)
def test_folders_of_data_are_no_packages(folder: str) -> None:
    """Folders of data hold no code, and shadow no package of the same name."""
    assert list((ROOT / folder).rglob("*.py")) == []


@pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="not a checkout")
def test_the_top_level_is_what_the_design_says() -> None:
    """Nothing new settles at the top level unnoticed."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    assert {name.partition("/")[0] for name in listed.stdout.split("\0") if name} - TOP_LEVEL == set()


def test_readme_is_short() -> None:
    """The README is read, not searched."""
    assert 20 < len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= MAX_README_LINES


def test_links_between_documents_lead_somewhere() -> None:
    """Each relative link in our documents names a file that is there."""
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), DATA / "README.md"]
    dead = [
        (document.name, link)
        for document in documents
        for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
        if not (document.parent / link).exists()
    ]
    assert dead == []


def test_each_threat_has_a_test_that_exists() -> None:
    """The threat model names for each threat a test, and no test that is not there."""
    page = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 25
    for row in rows:
        file, name = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row)[0]
        assert re.search(rf"(?m)^(async )?def {name}\(", (ROOT / file).read_text(encoding="utf-8")), row


def read_origins(folder: str = "logs") -> dict[str, tuple[str, str]]:
    """Return origin and licence of each file of a folder, from its table in the data's README."""
    origins = {}
    head = f"| file below `{folder}/` |"
    tables = (DATA / "README.md").read_text(encoding="utf-8").split("\n\n")
    for line in next(table for table in tables if table.startswith(head)).splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for name in re.findall(r"`([^`]+)`", cells[0]) if line.startswith("| `") else []:
            origins[name] = (cells[-2], cells[-1])
    return origins


def test_every_log_has_an_origin_and_a_licence() -> None:
    """Each log below `tests/data/logs` is listed, and each listed one is there."""
    logs = {str(path.relative_to(DATA / "logs")) for path in (DATA / "logs").rglob("*") if not path.is_dir()}
    assert logs == read_origins().keys()
    assert [name for name, (origin, licence) in read_origins().items() if not (origin and licence)] == []


def test_the_text_of_every_licence_ships() -> None:
    """For each licence of a log there is a text in `LICENSES`, named for source and licence."""
    texts = [path for path in (DATA / "LICENSES").glob("*.txt") if path.stat().st_size > 200]
    kinds = {path.stem.partition(".")[2] for path in texts}
    licences = {licence.replace(" ", "-") for _, licence in read_origins().values()}
    assert {each for each in licences if not any(each.startswith(kind) for kind in kinds)} == set()


def test_every_schema_has_an_origin_and_a_licence() -> None:
    """Each schema below `tests/data/schemas` is listed with its origin, and each listed one is there."""
    schemas = {path.name for path in (DATA / "schemas").iterdir()}
    assert schemas == read_origins("schemas").keys()
    assert {licence for _, licence in read_origins("schemas").values()} == {"MIT"}
    assert {path.name for path in (DATA / "LICENSES").glob("s*.MIT.txt")} == {
        "sarif-js-sdk.MIT.txt",
        "slack-types.MIT.txt",
    }


def test_logs_are_small() -> None:
    """A clone stays small: a log that needs more room doesn't belong in it."""
    logs = [path for path in (DATA / "logs").rglob("*") if path.is_file()]
    assert [path.name for path in logs if path.stat().st_size > MAX_LOG_BYTES] == []


def test_reports_are_said_to_be_invented() -> None:
    """Nobody takes the reports among the test data for what some model once said of a real job."""
    assert list((DATA / "reports").glob("*.json"))
    sentences = re.split(r"(?<=\.)\s", (DATA / "README.md").read_text(encoding="utf-8"))
    assert [each for each in sentences if "`reports/*.json`" in each and "invented" in each]


def test_an_audit_that_asked_nobody_says_so() -> None:
    """Where the database of advisories is out of reach, that is no clean bill: exit code 4, and why."""
    done = subprocess.run(
        [str(ROOT / ".ci" / "audit")],
        env={
            "PATH": os.environ["PATH"],
            "PYTHON": sys.executable,
            "AUDIT_OSV_URL": "http://127.0.0.1:9/v1/query",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    assert "Nothing was audited" in done.stderr and "http://127.0.0.1:9/v1/query" in done.stderr
