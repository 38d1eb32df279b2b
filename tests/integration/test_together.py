"""Two processes give the student of one, say one thing once, write one set of files, and end together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file

from abd_app.audit import run_audit
from abd_app.distill.assemble import build_student
from abd_app.networks.wide_resnet import WideResNet
from abd_app.plan import AuditPlan, TeacherFacts
from abd_app.teacher import ImageSpec

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="names the loopback device and looks into /proc")

ROOT = Path(__file__).resolve().parents[2]
LEARNER = Path(__file__).with_name("together_learner.py")
ONE = ("-m", "torch.distributed.run", "--standalone", "--local-addr", "localhost", "--nproc-per-node", "1")
TWO = (*ONE[:-1], "2")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    network = WideResNet(10, 1, num_classes=4)
    network.fc.weight.data.mul_(6)
    network.train()(torch.randn(64, 3, 16, 16))
    path = tmp_path_factory.mktemp("together") / "teacher.pth"
    torch.save(network.state_dict(), path)
    return str(path)


def _run(*arguments: str) -> tuple[int, str]:
    """Exit code and what was printed; nothing is left running, whatever happens."""
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        printed, _ = process.communicate(timeout=240)
    finally:
        if process.poll() is None:
            process.terminate()  # torchrun ends those that it has started
            process.wait(60)
    assert _running(arguments[-1]) == []
    return process.returncode, printed


def _running(argument: str) -> list[str]:
    """Processes of whose command line ``argument``, a path of this test alone, is a part."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if argument.encode() in words:
            found.append(entry.name)
    return found


def _distill(teacher: str, out: Path, *options: str, command: str = "abd_app") -> tuple[str, ...]:
    facts = ("--size", "16x16", "--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25")
    how = ("--method", "ood", "--defense", "sr", "--device", "cpu", "--precision", "fp32")
    return ("-m", command, "distill", teacher, *facts, *how, *options, "--out", str(out))


@pytest.fixture(scope="module")
def found(
    teacher: str, tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> tuple[dict[str, torch.Tensor], ...]:
    """What ``together_learner`` found in one process and in two; of side-by-side test processes the first one asks."""
    own = tmp_path_factory.getbasetemp()
    folder = (own if worker_id == "master" else own.parent) / "found"
    outputs = []
    with FileLock(f"{folder}.lock"):
        folder.mkdir(exist_ok=True)
        for name, launcher in (("one.pt", ()), ("two.pt", TWO)):
            if not (folder / name).exists():
                code, printed = _run(*launcher, str(LEARNER), teacher, str(folder / name))
                assert code == 0, printed
            outputs.append(torch.load(folder / name, weights_only=True))
    return tuple(outputs)


def test_batchnorm_over_two_processes_is_that_of_the_whole_batch(found: tuple[dict[str, torch.Tensor], ...]) -> None:
    one, two = found
    for name in ("output", "by images", "by weight", "by bias", "running_mean", "running_var"):
        torch.testing.assert_close(two[name], one[name], rtol=1e-12, atol=1e-12, msg=name)


# Rounding turns signs of ReLUs, sides of activation bounds and signs of Adam's first steps: 0.001, 0.0001 and 0.012 of
# the way. With BatchNorm over half the batch it was 0.24 for ood, with the gradient of half the batch 0.4 (with Adam).
@pytest.mark.parametrize("method", ["fast", "ood", "zskt"])
def test_two_processes_give_the_student_of_one(found: tuple[dict[str, torch.Tensor], ...], method: str) -> None:
    one, two = (outputs[f"{method} after"] for outputs in found)
    way = (one - found[0][f"{method} before"]).norm()
    assert way > 0 and torch.equal(found[0][f"{method} before"], found[1][f"{method} before"])
    assert (one - two).norm() < 0.03 * way
    assert found[0][f"{method} target"] == found[1][f"{method} target"]


def test_two_processes_give_the_purified_teacher_of_one(found: tuple[dict[str, torch.Tensor], ...]) -> None:
    one, two = (outputs["ood teacher after"] for outputs in found)
    way = (one - found[0]["ood teacher before"]).norm()
    assert way > 0
    assert (one - two).norm() < 0.1 * way


def test_torchrun_distils_one_student_and_writes_it_once(teacher: str, tmp_path: Path) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    how = {"method": "ood", "defense": "sr", "device": "cpu", "precision": "fp32", "steps": 4}
    facts = TeacherFacts(input_size=(16, 16), mean=(0.5,) * 3, std=(0.25,) * 3)
    for _ in run_audit(AuditPlan(teacher, str(alone), facts, **how)):  # type: ignore[arg-type]
        pass
    command = "tests.integration.small_abd_app"  # as small as the one alone
    code, printed = _run(*TWO, *_distill(teacher, together, "--steps", "4", command=command))
    assert code == 0, printed
    assert printed.count("exported: ") == printed.count("The student and its report are in") == 1
    assert {path.name for path in together.iterdir()} == {path.name for path in alone.iterdir()}
    reports = [json.loads((folder / "report.json").read_text()) for folder in (alone, together)]
    assert reports[0]["teacher"]["asr"] == reports[1]["teacher"]["asr"] != {}
    assert reports[1]["steps"] == 4 and reports[1]["student"]["images"] > 0
    start = dict(build_student("wrn-16-1", ImageSpec(16, 16, 3, 4, (0.5,) * 3, (0.25,) * 3), 0).named_parameters())
    one, two = (load_file(folder / "student.safetensors") for folder in (alone, together))
    way, distance = (
        torch.cat([(one[name] - other[name].detach()).flatten() for name in start]).norm() for other in (start, two)
    )
    assert 0 < distance < 0.3 * way


def test_no_thread_of_the_group_is_left_when_the_run_ends(teacher: str, tmp_path: Path) -> None:
    """One that is left may abort the process when the interpreter ends; export, which compiles, must not keep it."""
    plan = AuditPlan(teacher, str(tmp_path / "out"), device="cpu")
    code = (
        "import pathlib\n"
        "from abd_app.audit import together\n"
        "from abd_app.plan import AuditPlan\n"
        f"with together.joined(AuditPlan.from_json({plan.to_json()!r})):\n"
        "    import torch._dynamo\n"
        "    print(*(task.read_text() for task in pathlib.Path('/proc/self/task').glob('*/comm')))\n"
        "print('left')\n"
        "print(*(task.read_text() for task in pathlib.Path('/proc/self/task').glob('*/comm')))\n"
    )
    ended, printed = _run(*ONE, "--no-python", sys.executable, "-c", code)
    joined, left = printed.split("left\n")
    assert ended == 0 and "gloo" in joined and "gloo" not in left, printed


def test_a_plan_for_one_process_is_refused_once(teacher: str, tmp_path: Path) -> None:
    code, printed = _run(*TWO, *_distill(teacher, tmp_path / "out", "--minutes", "1"))
    assert code != 0 and printed.count("--minutes 1.0 is not possible in several processes.") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that refuses new folders")
def test_an_error_of_one_process_ends_all_with_its_message(teacher: str) -> None:
    """Only the first one writes; where it may not even try, as another user than root, all refuse alike."""
    code, printed = _run(*TWO, *_distill(teacher, Path("/proc/abd-app/out"), "--steps", "4"))
    assert code != 0 and printed.count("abd-app: ") == 1, printed
    assert "The results cannot be written." in printed or "cannot be made there" in printed
