"""The rules of the house, checked: who may import whom, what the window's process holds, how long things are."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "abd_app"
QT = {"PySide6", "shiboken6", "pyqtgraph", "qtawesome", "qtpy", "pytestqt"}
ENGINE = {"torch", "torchvision", "onnx", "onnxruntime", "timm"}
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 40


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def python_files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def imported_packages(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_import_contracts_hold() -> None:
    checked = run_python("import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))")
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("room", ["distill", "intake", "measure", "export", "audit", "redteam"])
def test_the_engine_imports_without_qt(room: str) -> None:
    blocked = f"""
import sys
class NoQt:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {QT!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, NoQt())
import abd_app.{room}
assert not {QT!r} & set(sys.modules)
"""
    imported = run_python(blocked)
    assert imported.returncode == 0, imported.stderr


@pytest.mark.parametrize("module", ["__main__", "cli", "app", "gui", "worker", "plan", "events", "teacher", "demo"])
def test_the_windows_process_has_no_engine_in_it(module: str) -> None:
    code = f"import sys, abd_app.{module}; print(*({ENGINE!r} & set(sys.modules)))"
    imported = run_python(code)
    assert imported.returncode == 0, imported.stderr
    assert imported.stdout.split() == []


def test_unit_tests_import_no_qt() -> None:
    assert {path.name: found for path in python_files("tests/unit") if (found := imported_packages(path) & QT)} == {}


def test_gui_tests_import_no_engine() -> None:
    assert {path.name: found for path in python_files("tests/gui") if (found := imported_packages(path) & ENGINE)} == {}


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_files_and_functions_stay_short() -> None:
    too_long = []
    for path in python_files("abd_app", "benchmarks", "docs", "packaging", "resources", "tests"):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > MAX_FILE_LINES:
            too_long.append(f"{path.relative_to(ROOT)}: {lines} lines")
        for function in functions(path):
            length = (function.end_lineno or 0) - function.lineno + 1
            if length > MAX_FUNCTION_LINES:
                too_long.append(f"{path.relative_to(ROOT)}:{function.lineno} {function.name}: {length} lines")
    assert too_long == []


def test_ray_is_imported_in_one_module() -> None:
    assert [path.name for path in python_files("abd_app") if "ray" in imported_packages(path)] == ["ray_pool.py"]


def test_torch_load_is_called_in_one_function_of_the_intake() -> None:
    callers = [
        (path.relative_to(PACKAGE).parts[0], function.name)
        for path in python_files("abd_app")
        for function in functions(path)
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load"
    ]
    assert callers == [("intake", "load_weights_only")]


def test_nothing_that_installs_names_an_address() -> None:
    pinned = [path for pattern in ("*lock*", "*constraints*", "*requirements*") for path in ROOT.glob(pattern)]
    setup = [ROOT / "pyproject.toml", ROOT / "Makefile", ROOT / ".ci" / "run", ROOT / ".pre-commit-config.yaml"]
    files = [path for path in [*pinned, *setup, *(ROOT / "packaging").rglob("*.sh")] if path.is_file()]
    address = re.compile(r"https?://|git\+|--(extra-)?index-url|--find-links")
    assert {path.name: found[0] for path in files if (found := address.search(path.read_text(encoding="utf-8")))} == {}


def test_the_wheel_carries_the_resources(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("abd_app-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    resources = [path for path in (ROOT / "resources").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    expected = {f"abd_app/resources/{path.relative_to(ROOT / 'resources').as_posix()}" for path in resources}
    assert expected
    assert expected <= names
    assert "abd_app/cli/__init__.py" in names
    assert not [name for name in names if name.startswith("tests/")]
