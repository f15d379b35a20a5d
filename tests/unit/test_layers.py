"""Imports go down the layers, and what a command doesn't need isn't loaded."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bifrost_flow.language import ROOT
from connectors.warehouse import Warehouse

LINT = Path(sys.executable).with_name("lint-imports")
LOG = next((ROOT / "tests" / "data" / "logs" / "zuul").glob("*.fail.log"))

# One module of each layer, as our contracts name them, and nothing in them.
MODULES = (
    "bifrost_flow/__init__.py",
    "bifrost_flow/records.py",
    "bifrost_flow/cli/__init__.py",
    "bifrost_flow/cli/run.py",
    "connectors/__init__.py",
    "connectors/sources.py",
    "tasks/__init__.py",
    "tasks/ingest.py",
    "flows/__init__.py",
    "flows/audit.py",
)
DOWNWARD = {
    "bifrost_flow/cli/run.py": "from flows import audit",
    "flows/audit.py": "import prefect\nfrom tasks import ingest",
    "tasks/ingest.py": "import prefect\nfrom connectors import sources",
    "connectors/sources.py": "from bifrost_flow import records",
}
# What costs most to import, and what no command without a flow or a model has a use for.
FLOW_PACKAGES = ("prefect", "mlflow", "boto3", "botocore")
HEAVY_PACKAGES = (*FLOW_PACKAGES, "polars", "pyarrow", "duckdb", "httpx", "pydantic_settings", "slack_sdk")
# Packages that reach for a network, a disk or a server: nothing for the core.
OUTSIDE_PACKAGES = {
    *("prefect", "mlflow", "boto3", "botocore", "duckdb", "httpx", "httpx_aiohttp", "aiohttp", "slack_sdk"),
    *("sqlalchemy", "requests", "socket", "subprocess"),
}


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the packages in `folder` with our contracts."""
    return subprocess.run(
        [LINT, "--config", str(ROOT / "pyproject.toml"), "--no-cache", "--no-logo"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def write_packages(folder: Path, **more: str) -> None:
    """Write packages with our names, whose imports go down, and the lines of `more` in its files."""
    for name in MODULES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(DOWNWARD.get(name, "") + "\n" + more.get(name, "") + "\n")


def test_imports_go_down_the_layers_only() -> None:
    """The project keeps its own contracts."""
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_contracts_accept_downward_imports(tmp_path: Path) -> None:
    """What the table of layers allows is allowed, so that a refusal means something."""
    write_packages(tmp_path)
    done = lint_imports(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("place", "line", "told"),
    [
        (
            "bifrost_flow/records.py",
            "import connectors.sources",
            "bifrost_flow.records -> connectors.sources",
        ),
        (
            "bifrost_flow/records.py",
            "def f():\n    import flows.audit",
            "bifrost_flow.records -> flows.audit",
        ),
        (
            "bifrost_flow/records.py",
            "import bifrost_flow.cli.run",
            "bifrost_flow.records -> bifrost_flow.cli",
        ),
        ("connectors/sources.py", "import tasks.ingest", "connectors.sources -> tasks.ingest"),
        ("connectors/sources.py", "def f():\n    import prefect", "connectors.sources -> prefect"),
        ("connectors/sources.py", "import bifrost_flow.cli.run", "connectors.sources -> bifrost_flow.cli"),
        ("tasks/ingest.py", "from flows import audit", "tasks.ingest -> flows.audit"),
        ("flows/audit.py", "from bifrost_flow.cli import run", "flows.audit -> bifrost_flow.cli"),
    ],
)
def test_contracts_refuse_upward_imports(tmp_path: Path, place: str, line: str, told: str) -> None:
    """One import that goes up breaks a contract, which names it."""
    write_packages(tmp_path, **{place: line})
    done = lint_imports(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert told in done.stdout


def list_imports(folder: str) -> Iterator[tuple[str, str, bool]]:
    """Yield the file, the package and whether it is imported with the module, for each import in `folder`."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        late = {
            id(node)
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
            for node in ast.walk(function)
        }
        for node in ast.walk(tree):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in names:
                yield str(path.relative_to(ROOT)), name.partition(".")[0], id(node) not in late


def test_prefect_is_imported_in_flows_and_tasks_alone() -> None:
    """Connectors and core know nothing of Prefect; the CLI imports it within its commands."""
    found = [each for folder in ("bifrost_flow", "connectors") for each in list_imports(folder)]
    prefect = {(path, at_import) for path, package, at_import in found if package == "prefect"}
    assert {(path, at_import) for path, at_import in prefect if "/cli/" not in path or at_import} == set()


def test_the_core_reaches_for_nothing_outside() -> None:
    """Below the CLI, `bifrost_flow` imports no package that opens connections, databases or processes."""
    core = [each for each in list_imports("bifrost_flow") if "/cli/" not in each[0]]
    assert len(core) > 50
    assert [(path, package) for path, package, _ in core if package in OUTSIDE_PACKAGES] == []


def run_and_list_modules(*words: str, cwd: Path) -> tuple[int, set[str]]:
    """Run a command in a fresh interpreter; return its exit code and the packages that it loaded."""
    program = (
        "import json, sys\n"
        "from bifrost_flow.cli import app\n"
        "try:\n"
        "    app(sys.argv[1:])\n"
        "except SystemExit as end:\n"
        "    packages = sorted({name.partition('.')[0] for name in sys.modules})\n"
        "    sys.__stderr__.write('\\n' + json.dumps([end.code or 0, packages]))\n"
    )
    environment = {name: text for name, text in os.environ.items() if not name.startswith("BIFROST_")}
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=cwd,
        env=environment | {"XDG_CONFIG_HOME": str(cwd)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    code, packages = json.loads(done.stderr.splitlines()[-1])
    return code, set(packages)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an empty warehouse in it."""
    folder = tmp_path_factory.mktemp("light")
    Warehouse.open(str(folder / "bifrost-warehouse"))
    return folder


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["run", "--help"], ["sql", "--help"], ["up", "--help"]], ids=" ".join
)
def test_help_loads_nothing_heavy(folder: Path, words: list[str]) -> None:
    """Whoever only asks what there is waits for no data frame, database or server library."""
    code, packages = run_and_list_modules(*words, cwd=folder)
    assert code == 0 and "typer" in packages
    assert packages.intersection(HEAVY_PACKAGES) == set()


@pytest.mark.parametrize(
    "words",
    [
        ["extract", str(LOG)],
        ["events", str(LOG)],
        ["filter", str(LOG)],
        ["sql", "SELECT 1 AS one"],
        ["history"],
        ["cache", "stats"],
        ["prompts", "list"],
        ["config", "show"],
        ["config", "path"],
        ["config", "init"],
    ],
    ids=lambda words: " ".join(words[:2]).removesuffix(f" {LOG}"),
)
def test_commands_without_a_flow_load_no_prefect(folder: Path, words: list[str]) -> None:
    """Commands that need no flow and no model do without Prefect, MLflow and AWS."""
    code, packages = run_and_list_modules(*words, cwd=folder)
    assert code == 0
    assert packages.intersection(FLOW_PACKAGES) == set()
