"""What a pass takes of the machine's memory is measured, and what is left decides how many images go at a time."""

from __future__ import annotations

import pytest
import torch

from abd_app import memory
from abd_app.distill.answering import Answer
from abd_app.distill.compute import parallel
from abd_app.distill.compute.device import Compute
from abd_app.distill.compute.device_memory import CudaMemory, HostMemory, images_that_fit, measured_portion, memory_of
from abd_app.distill.compute.microbatch import Microbatches
from abd_app.distill.recipe import Recipe
from abd_app.distill.sources.base import Batch
from abd_app.distill.student import Student
from abd_app.networks.catalog import build

_MIB = 2**20
linux = pytest.mark.skipif(not memory.can_measure_peaks(), reason="this system does not tell what a process takes")


def _take(mebibytes: int) -> None:
    torch.rand(mebibytes * _MIB // 8).mul(2)  # as much again


class _Machine(HostMemory):
    """This one, if it had ``left`` bytes left."""

    def __init__(self, left: int) -> None:
        self._left = left

    def free_bytes(self) -> int:
        return self._left


@linux
def test_the_peak_is_what_a_pass_has_at_most_beside_what_was_there() -> None:
    kept, host = torch.rand(16 * _MIB), HostMemory()  # 64 MiB that stay
    scraps = [torch.rand(_MIB // 8) for _ in range(200)]
    del scraps  # freed, but the process may keep it for later
    state = torch.random.get_rng_state()
    for mebibytes in (100, 200, 100):
        assert host.peak_bytes(lambda: _take(mebibytes)) == pytest.approx(mebibytes * _MIB, rel=0.2)  # noqa: B023
    assert torch.equal(torch.random.get_rng_state(), state)
    assert len(kept) == 16 * _MIB


@linux
def test_what_stays_of_a_first_pass_is_no_part_of_its_peak() -> None:
    stays = list[torch.Tensor]()

    def run() -> None:
        if not stays:
            stays.append(torch.rand(16 * _MIB))
        _take(100)

    assert HostMemory().peak_bytes(run) == pytest.approx(100 * _MIB, rel=0.2)


@linux
def test_gradients_that_each_trial_leaves_are_not_counted_for_each_image() -> None:
    gradients = list[torch.Tensor]()

    def run(images: int) -> None:
        if not gradients:
            gradients.append(torch.rand(20 * _MIB))  # 80 MiB
        _take(10 * images)

    assert 60 < measured_portion(_Machine(1000 * _MIB), 128, run, gradients.clear) < 110, "ten mebibytes each"


def test_others_are_left_a_quarter_of_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("abd_app.distill.compute.device_memory.available_bytes", lambda: 1000)
    assert HostMemory().free_bytes() == 750
    monkeypatch.setattr(parallel, "processes_here", lambda: 2)
    assert HostMemory().free_bytes() == 375


@pytest.mark.parametrize(("size", "told", "here"), [(1, "8", 1), (8, "4", 4), (8, None, 1)])
def test_processes_on_other_machines_do_not_share_the_memory(
    monkeypatch: pytest.MonkeyPatch, size: int, told: str | None, here: int
) -> None:
    monkeypatch.setattr(parallel, "world_size", lambda: size)
    if told is None:
        monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    else:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", told)
    assert parallel.processes_here() == here


def test_each_device_has_its_own_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(memory_of(torch.device("cuda")), CudaMemory)
    for peaks, left in ((True, 1), (False, 1), (True, None)):
        monkeypatch.setattr("abd_app.distill.compute.device_memory.can_measure_peaks", lambda: peaks)  # noqa: B023
        monkeypatch.setattr("abd_app.distill.compute.device_memory.available_bytes", lambda: left)  # noqa: B023
        assert isinstance(memory_of(torch.device("cpu")), HostMemory) is (peaks and left is not None)


@linux
def test_a_student_that_would_take_too_much_learns_in_portions_that_take_less(compute: Compute) -> None:
    recipe = Recipe(method="ood", steps=10, vaccine="none", retrospection="none")
    left, images = 150 * _MIB, torch.rand(128, 3, 64, 64)
    whole, cut = (Student(compute.place(build("wrn-10-1", 4)), compute, recipe) for _ in range(2))
    batch, most = Batch(compute.images(images), Answer(torch.randn(128, 4))), list[int | None]()
    for student, bytes_left in ((whole, 2**40), (cut, left)):
        student.microbatches = Microbatches(compute, "It learns from", "", fewest=2, memory=_Machine(bytes_left))
        student.learn(batch, 0)
        most.append(student.microbatches.most)
    counted = {int(value) for name, value in whole.network.named_buffers() if name.endswith("num_batches_tracked")}
    assert counted == {1}, "a trial leaves no trace"
    assert most[0] is None and most[1] is not None and 16 <= most[1] < 80
    taken = [HostMemory().peak_bytes(lambda: student.learn(batch, 1)) for student in (whole, cut)]  # noqa: B023
    assert taken[1] < 0.75 * taken[0] and taken[1] < 2 * left


def test_a_pass_of_few_images_is_not_tried() -> None:
    assert measured_portion(_Machine(0), 16, lambda count: pytest.fail("tried")) == 16


def test_a_trial_that_runs_out_of_memory_says_how_much_fits() -> None:
    assert images_that_fit(1000, []) == 1
    assert images_that_fit(1000, [100]) == 8
    assert images_that_fit(1000, [100, 180]) == int((0.85 * 1000 - 20) / 10)
