"""The wheel has everything in it that the program needs away from its checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bifrost_flow.language import ROOT

PACKAGES = ("bifrost_flow", "flows", "tasks", "connectors")
DATA = ("sql", "locales")
LOG = next((ROOT / "tests" / "data" / "logs" / "zuul").glob("*.fail.log"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel of this checkout, built without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def shipped(wheel: Path) -> set[str]:
    """Return the paths in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that the wheel is installed in, as `pip install --target` does for a pure one."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def call(installed: Path, cwd: Path, *words: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run the installed program in `cwd`; it fails at once if a module of ours comes from elsewhere."""
    program = (
        "import sys\n"
        "from bifrost_flow.cli import app\n"
        "status = 0\n"
        "try:\n"
        "    app(prog_name='bifrost-flow')\n"
        "except SystemExit as end:\n"
        "    status = end.code\n"
        f"ours = [each for name, each in sys.modules.items() if name.partition('.')[0] in {PACKAGES}]\n"
        f"strays = [each.__file__ for each in ours if not each.__file__.startswith({str(installed)!r})]\n"
        "sys.exit(status if ours and not strays else f'not from the wheel: {strays}')\n"
    )
    clean = {name: text for name, text in os.environ.items() if not name.startswith(("BIFROST_", "PYTHON"))}
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=cwd,
        env=clean | {"PYTHONPATH": str(installed), "XDG_CONFIG_HOME": str(cwd)} | extra,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_wheel_ships_every_file_of_its_packages(shipped: set[str]) -> None:
    """Nothing below the packages is left behind, whatever its suffix."""
    files = [path for folder in (*PACKAGES, *DATA) for path in (ROOT / folder).rglob("*") if path.is_file()]
    present = {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}
    assert len(present) > 80
    assert present - shipped == set()


@pytest.mark.parametrize(
    "pattern",
    [
        "sql/migrations/*.sql",
        "sql/views/*.sql",
        "sql/queries/*.sql",
        "locales/*.json",
        "bifrost_flow/prompts/*.yaml",
        "bifrost_flow/render/templates/*.html.j2",
        "bifrost_flow/render/templates/*.css",
        "bifrost_flow/render/templates/*.js",
        "*/py.typed",
    ],
)
def test_wheel_ships_what_is_not_code(shipped: set[str], pattern: str) -> None:
    """SQL, locales, prompts, templates and the markers of typed packages are in the wheel."""
    needed = {str(path.relative_to(ROOT)) for path in ROOT.glob(pattern)}
    assert needed and needed <= shipped


def test_every_package_is_marked_as_typed(shipped: set[str]) -> None:
    """Type checkers of those who import us see our annotations."""
    assert {f"{package}/py.typed" for package in PACKAGES} <= shipped


def test_wheel_ships_nothing_else(shipped: set[str]) -> None:
    """Neither tests nor logs nor tools are installed, and no package that bears another one's name."""
    tops = {name.partition("/")[0] for name in shipped}
    assert {name for name in tops if not name.endswith(".dist-info")} == {*PACKAGES, *DATA}
    assert not {f"{folder}/__init__.py" for folder in DATA} & shipped
    assert not [name for name in shipped if name.endswith(".pyc")]


def test_wheel_has_the_licence_and_the_command(installed: Path) -> None:
    """What is installed carries its licence, its description and the console script."""
    (info,) = installed.glob("bifrost_flow-*.dist-info")
    assert (info / "licenses" / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert "bifrost-flow = bifrost_flow.cli:app" in (info / "entry_points.txt").read_text()
    assert (ROOT / "README.md").read_text(encoding="utf-8").strip() in (info / "METADATA").read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize(("lang", "told"), [("en", "Show the version and exit."), ("ko", "버전")])
def test_installed_program_shows_its_help(installed: Path, tmp_path: Path, lang: str, told: str) -> None:
    """The help comes from the wheel's own locales."""
    done = call(installed, tmp_path, "--help", BIFROST_LANG=lang)
    assert done.returncode == 0, done.stderr
    assert told in done.stdout


def test_installed_program_extracts(installed: Path, tmp_path: Path) -> None:
    """The evidence stage runs on a log from a wheel alone."""
    done = call(installed, tmp_path, "extract", str(LOG))
    assert done.returncode == 0, done.stderr
    assert LOG.name in done.stdout and "pep8" in done.stdout


def test_installed_program_makes_its_tables(installed: Path, tmp_path: Path) -> None:
    """Migrations, views and queries of the wheel make a warehouse, and settings a file to fill in."""
    program = "from connectors.warehouse import Warehouse; Warehouse.open('bifrost-warehouse')"
    environment = os.environ | {"PYTHONPATH": str(installed)}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True, timeout=120)
    done = call(installed, tmp_path, "sql", "SELECT count(*) AS runs FROM runs", "--format", "csv")
    assert (done.returncode, done.stdout.split()) == (0, ["runs", "0"]), done.stderr
    done = call(installed, tmp_path, "config", "init")
    assert done.returncode == 0, done.stderr
    assert "ollama:" in (tmp_path / "bifrost.yaml").read_text(encoding="utf-8")
