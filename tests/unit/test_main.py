from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_QT = """
import sys
sys.modules["PySide6"] = None
sys.argv = ["abd-app", "gui"]
from abd_app.__main__ import main
main()
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_package_runs_from_a_plain_checkout() -> None:
    asked = run("-m", "abd_app", "--version")
    assert (asked.returncode, asked.stderr) == (0, "")
    assert asked.stdout.startswith("abd-app ")


def test_the_exit_code_reaches_the_shell() -> None:
    assert run("-m", "abd_app", "distill", "t.pt", "--out", "r", "--method", "cmi").returncode == 2


def test_without_qt_the_window_says_what_to_install_and_what_still_works() -> None:
    opened = run("-c", WITHOUT_QT)
    assert opened.returncode == 2, opened.stderr
    assert "PySide6-Essentials" in opened.stderr
    assert "abd-app distill" in opened.stderr
    assert "Traceback" not in opened.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent")
def test_control_c_while_the_program_is_still_loaded_is_no_traceback() -> None:
    code = """
import builtins, sys
load = builtins.__import__
def interrupted(name, *rest, **more):
    if name == "typer":
        raise KeyboardInterrupt
    return load(name, *rest, **more)
builtins.__import__ = interrupted
sys.argv = ["abd-app", "runs"]
from abd_app.__main__ import main
main()
"""
    ran = run("-c", code)
    assert (ran.returncode, ran.stderr) == (130, "abd-app: cancelled\n")
