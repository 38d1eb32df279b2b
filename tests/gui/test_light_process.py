from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# The real composition root and a real run with the real child process; only the runner in the child is a fake.
SCRIPT = """
import sys, time
started_s = time.perf_counter()
from pathlib import Path
import abd_app.app as app
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication
from abd_app.gui.main_window import MainWindow

def look():
    window = next(one for one in QApplication.topLevelWidgets() if isinstance(one, MainWindow))
    state = window.session.state.value
    if state == "ready":
        print("shown_s", shown_s, flush=True)
        window.draft.choose(steps=20)
        window.distill()
    elif state == "finished":
        heavy = ("torch", "torchvision", "onnx", "onnxruntime", "timm", "onnxscript", "safetensors")
        print("heavy", [name for name in heavy if name in sys.modules], flush=True)
        window.close()

if __name__ == "__main__":
    show = MainWindow.show
    def timed_show(window):
        global shown_s
        show(window)
        QApplication.processEvents()
        shown_s = time.perf_counter() - started_s
    MainWindow.show = timed_show
    application = QApplication([])
    timer = QTimer()
    timer.timeout.connect(look)
    timer.start(50)
    code = app.main(sys.argv[1], runner="tests.gui.fake_runner")
    print("code", code)
"""


def test_the_window_opens_fast_and_its_process_never_imports_an_engine(tmp_path: Path) -> None:
    teacher = tmp_path / "ready.pth"
    teacher.write_bytes(b"weights")
    script = tmp_path / "start.py"
    script.write_text(SCRIPT, encoding="utf-8")
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "QT_QPA_PLATFORM": "offscreen",
        "HOME": str(tmp_path),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    done = subprocess.run(
        [sys.executable, script, teacher], capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    lines = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert lines["heavy"] == "[]", done.stderr
    assert lines["code"] == "0"
    assert float(lines["shown_s"]) < 4.0  # the aim is 1.5 s on an idle machine; tests share theirs with others
    assert list(tmp_path.rglob("student.onnx"))
    assert "ABD App" in next(tmp_path.rglob("abd-app.log")).read_text(encoding="utf-8")


def _run(home: Path, *command: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "QT_QPA_PLATFORM": "offscreen",
        "HOME": str(home),
    }
    words = [sys.executable, *command]
    return subprocess.run(words, capture_output=True, text=True, timeout=30, check=False, env=environment)


def test_ctrl_c_ends_the_window_and_its_engine(tmp_path: Path) -> None:
    script = tmp_path / "start.py"
    script.write_text(
        "import os, signal, sys, threading, time\n"
        "import abd_app.app as app\n"
        "from PySide6.QtCore import QTimer\n"
        "from PySide6.QtWidgets import QApplication\n"
        "if __name__ == '__main__':\n"
        "    application = QApplication([])\n"
        "    QTimer.singleShot(1500, lambda: os.kill(os.getpid(), signal.SIGINT))\n"
        "    code = app.main(runner='tests.gui.fake_runner')\n"
        "    import multiprocessing\n"
        "    print(code, multiprocessing.active_children())\n",
        encoding="utf-8",
    )
    done = _run(tmp_path, script)
    assert done.stdout.strip() == "0 []", done.stderr


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_a_run_and_then_the_window(tmp_path: Path, number: str) -> None:
    (tmp_path / "teacher.pth").write_bytes(b"x")
    script = tmp_path / "start.py"
    script.write_text(
        "import os, signal, sys\n"
        "import abd_app.app as app\n"
        "from PySide6.QtCore import QTimer\n"
        "from PySide6.QtWidgets import QApplication\n"
        "def look():\n"
        "    window = next((one for one in application.topLevelWidgets() if hasattr(one, 'session')), None)\n"
        "    if window is None or not window.session.can_start:\n"
        "        return\n"
        "    window.draft.choose(minutes=9.0)\n"
        "    window.distill()\n"
        "    timer.stop()\n"
        "    print('running', window.session.running, flush=True)\n"
        f"    QTimer.singleShot(500, lambda: os.kill(os.getpid(), signal.{number}))\n"
        "if __name__ == '__main__':\n"
        "    application = QApplication([])\n"
        "    timer = QTimer(interval=100, timeout=look)\n"
        "    timer.start()\n"
        "    print(app.main(sys.argv[1], runner='tests.gui.fake_runner'))\n",
        encoding="utf-8",
    )
    done = _run(tmp_path, script, tmp_path / "teacher.pth")
    assert done.stdout.split() == ["running", "True", "0"], done.stderr
