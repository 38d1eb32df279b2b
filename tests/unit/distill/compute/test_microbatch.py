"""A batch in portions: the gradient and the labels of the whole, and a run that goes on when memory runs out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from abd_app.distill.answering import Answer, AnsweringTeacher, SecondOpinion
from abd_app.distill.assemble import assemble
from abd_app.distill.compute import microbatch, parallel
from abd_app.distill.compute.device import Compute
from abd_app.distill.compute.microbatch import Microbatches
from abd_app.distill.defences import vaccine, voting
from abd_app.distill.labelling import Labeller
from abd_app.distill.recipe import Recipe, choose_recipe
from abd_app.distill.sources.base import Batch
from abd_app.distill.student import Student
from abd_app.errors import RunFailedError
from abd_app.events import FindingMade, StepDone
from abd_app.networks.catalog import build
from abd_app.networks.wide_resnet import WideResNet
from abd_app.teacher import Teacher

_RECIPE = Recipe(method="ood", steps=100, vaccine="mean", vaccine_weight=0.5, attention=3.0)
_STAGES = WideResNet.block_names


class _TooLargeBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: torch.Tensor, most: int) -> torch.Tensor:
        ctx.most = most
        return features.clone()

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor, None]:
        _check(len(slope), ctx.most)
        return slope, None


def _check(count: int, most: int) -> None:
    if count > most:
        raise torch.OutOfMemoryError(f"Tried to allocate memory for {count} images.")


def _limit(network: nn.Module, most: int) -> None:
    """Lets a network run out of memory above ``most`` images, as soon as it is given them."""
    network.register_forward_pre_hook(lambda module, inputs: _check(len(inputs[0]), most))


def _limit_backward(network: nn.Module, most: int) -> None:
    """The same, in the middle of the way back: the later layers have their gradients already."""
    network.get_submodule("block2").register_forward_hook(lambda m, i, output: _TooLargeBackward.apply(output, most))


def _student(compute: Compute, *, frozen: bool) -> Student:
    torch.manual_seed(1)
    student = Student(build("wrn-10-1", 4), compute, _RECIPE, _STAGES)
    if frozen:  # images do not depend on each other: portions give the gradient of the batch
        student.network.eval()
    return student


def _batch() -> Batch:
    torch.manual_seed(2)
    blocks = tuple(torch.rand(12, 4, side, side) for side in (8, 4, 2))
    suspicious = torch.tensor([True, False, False] * 4)
    return Batch(torch.rand(12, 3, 8, 8), Answer(torch.randn(12, 4) * 5, blocks), suspicious)


def _gradient(student: Student) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in student.network.parameters() if p.grad is not None])


@pytest.mark.parametrize("suspicious", [True, False])
@pytest.mark.parametrize("limit", [_limit, _limit_backward])
def test_portions_add_up_to_the_loss_and_the_gradient_of_the_batch(
    compute: Compute, limit: Callable[[nn.Module, int], None], suspicious: bool
) -> None:
    batch = _batch() if suspicious else replace(_batch(), suspicious=None)
    whole, parts = _student(compute, frozen=True), _student(compute, frozen=True)
    limit(parts.network, 5)
    expected, found = whole.add_gradient(batch), parts.add_gradient(batch)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(_gradient(parts), _gradient(whole), rtol=1e-4, atol=1e-6)
    assert parts.microbatches.most == 3 and whole.microbatches.most is None


def test_a_pass_that_ran_out_of_memory_leaves_no_trace_in_batchnorm(compute: Compute) -> None:
    planned, surprised = _student(compute, frozen=False), _student(compute, frozen=False)
    planned.microbatches.most = 3
    _limit_backward(surprised.network, 5)
    for student in (planned, surprised):
        student.add_gradient(_batch())
    for name, value in planned.network.named_buffers():
        torch.testing.assert_close(surprised.network.get_buffer(name), value, msg=name)


def test_the_size_found_goes_on_with_the_run(compute: Compute) -> None:
    student, later = _student(compute, frozen=False), _student(compute, frozen=False)
    _limit(student.network, 4)
    student.add_gradient(_batch())
    later.load_state_dict(student.state_dict())
    assert later.microbatches.most == student.microbatches.most == 3
    earlier_version = {name: value for name, value in student.state_dict().items() if name != "at_a_time"}
    later.load_state_dict(earlier_version)
    assert later.microbatches.most is None


def test_too_little_memory_for_the_smallest_portion_is_a_message(compute: Compute) -> None:
    student = _student(compute, frozen=False)
    _limit(student.network, 1)
    with pytest.raises(RunFailedError, match="too little memory for 2 images") as failure:
        student.add_gradient(_batch())
    assert "Tried to allocate" in failure.value.why and failure.value.remedy


def test_labels_in_portions_are_those_of_the_batch(answering: AnsweringTeacher) -> None:
    images = torch.rand(13, 3, 8, 8)
    expected, _ = Labeller(answering).label(images)
    _limit(answering.network, 4)
    found, suspicious = Labeller(answering).label(images)
    torch.testing.assert_close(found, expected)
    assert suspicious.dtype == torch.bool and suspicious.shape == (13,) and not suspicious.any()


_LEARNS, _INVERTED = "The student learns from {} images at a time", "Images are inverted {} at a time"


@pytest.mark.parametrize(
    ("method", "measured", "said"),
    [
        ("ood", False, [_LEARNS.format(count) for count in (32, 16, 8)]),
        ("fast", True, [_INVERTED.format(8), _LEARNS.format(8)]),
    ],
)
def test_a_run_goes_on_with_smaller_portions_and_says_so(
    make_teacher: Callable[..., Teacher],
    compute: Compute,
    picture: str,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    measured: bool,
    said: list[str],
) -> None:
    monkeypatch.setattr(microbatch, "memory_of", lambda device: _MadeUpMemory(10_000) if measured else None)
    monkeypatch.setattr(vaccine, "CHECK_IMAGES", 500)
    monkeypatch.setattr(voting, "FEWEST", 2.0)  # not accepted: the check itself is not cut into portions
    recipe = replace(choose_recipe(method, "abd", "quick", 6), batch_size=64, retrospection="none")
    run = assemble(make_teacher(), recipe, student_name="wrn-10-1", compute=compute, seed=0, picture=picture)
    _limit_backward(run.student.network.network, 10)
    events = list(run.run())
    assert [event.step for event in events if isinstance(event, StepDone)][-1] == 6
    found = [event.finding for event in events if isinstance(event, FindingMade)]
    titles = [finding.title for finding in found if "at a time" in finding.title]
    assert titles == said
    assert all("BatchNorm" in finding.detail for finding in found if finding.title.startswith("The student"))


class _MadeUpMemory:
    """A device on which an image takes ``of_image`` bytes and a pass ``fixed`` more."""

    def __init__(self, free: int, *, of_image: int = 10, fixed: int = 40) -> None:
        self.free, self.of_image, self.fixed = free, of_image, fixed
        self.seen = 0

    def peak_bytes(self, run: Callable[[], object]) -> int:
        self.seen = 0
        run()
        return self.fixed + self.of_image * self.seen

    def free_bytes(self) -> int:
        return self.free


@pytest.mark.parametrize(("free", "most"), [(10_000, None), (400, 30), (10, 1)])
def test_the_first_size_is_what_a_trial_says_fits(compute: Compute, free: int, most: int | None) -> None:
    memory = _MadeUpMemory(free)
    microbatches = Microbatches(compute, "It takes", "", memory=memory)
    done: list[slice] = []
    undone: list[int] = []

    def run(part: slice) -> int:
        memory.seen = part.stop - part.start
        done.append(part)
        return memory.seen

    assert sum(microbatches.over(100, run, lambda: undone.append(len(done)))) == 100
    assert done[:2] == [slice(0, 8), slice(0, 16)] and undone == [1, 2], "the trial leaves nothing behind"
    assert microbatches.most == most
    titles = {None: [], 30: ["It takes 30 images at a time"], 1: ["It takes 1 image at a time"]}
    assert [finding.title for finding in microbatches.findings()] == titles[most]
    microbatches.over(100, run)
    assert done.count(slice(0, 8)) == 1, "measured once"


def test_what_is_needed_later_is_not_counted_on(compute: Compute) -> None:
    memory = _MadeUpMemory(500)
    microbatches = Microbatches(compute, "It takes", "", reserved_bytes=100, memory=memory)
    microbatches.over(100, lambda part: setattr(memory, "seen", part.stop - part.start))
    assert microbatches.most == 30, "as with 400"


def test_what_was_freed_is_given_back_before_the_batch_begins_again(
    compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened = list[object]()
    monkeypatch.setattr(microbatch, "release_memory", lambda device: happened.append("given back"))

    def run(part: slice) -> None:
        happened.append(part.stop - part.start)
        _check(part.stop - part.start, 5)

    Microbatches(compute, "It takes", "", memory=_MadeUpMemory(10_000)).over(12, run, lambda: happened.append("undone"))
    assert happened == [12, "undone", "given back", 6, "undone", "given back", 3, 3, 3, 3]


@pytest.mark.parametrize(("before", "most"), [(16, 16), (40, 40), (None, 30)])
def test_a_run_that_goes_on_takes_as_many_as_before(compute: Compute, before: int | None, most: int) -> None:
    """Memory is not what it was, and other portions would give another student."""
    memory = _MadeUpMemory(400)
    microbatches = Microbatches(compute, "It takes", "", memory=memory)
    microbatches.restore(before)

    def run(part: slice) -> None:
        memory.seen = part.stop - part.start

    microbatches.over(100, run)
    assert microbatches.most == most


@pytest.mark.parametrize("count", range(1, 12))
def test_no_portion_is_smaller_than_the_fewest(compute: Compute, count: int) -> None:
    microbatches = Microbatches(compute, "It takes", "", fewest=2)
    microbatches.most = 2
    parts = microbatches.over(count, lambda part: part.stop - part.start)
    assert sum(parts) == count and max(parts) <= 3
    assert min(parts) >= min(2, count), "BatchNorm needs two"


def test_what_labels_more_dearly_is_measured_again(answering: AnsweringTeacher) -> None:
    """A pass with a second opinion takes more; portions become smaller, never larger."""
    memory = _MadeUpMemory(1000)
    answering.network.register_forward_pre_hook(lambda _, given: setattr(memory, "seen", len(given[0])))
    answering.microbatches = Microbatches(answering.compute, "The teacher labels", "", memory=memory)
    labeller, images, most = Labeller(answering), torch.rand(40, 3, 8, 8), list[int | None]()
    opinion = SecondOpinion(copy.deepcopy(answering.network), (0,))
    for of_image, second in ((10, None), (10, None), (40, None), (40, opinion), (10, None)):
        memory.of_image, answering.second_opinion = of_image, second
        labeller.label(images)
        most.append(answering.microbatches.most)
    assert most == [None, None, None, 20, 20]


@pytest.mark.parametrize(("count", "most"), [(33, None), (33, 8), (33, 17), (34, 3), (7, 2), (5, 1)])
def test_processes_meet_in_every_portion(
    compute: Compute, monkeypatch: pytest.MonkeyPatch, count: int, most: int | None
) -> None:
    """Of a batch that they do not share equally, too: each tries, or none, and takes as many portions as the others."""
    parts, asked, sizes = list[list[slice]](), list[int](), list[int]()
    monkeypatch.setattr(parallel, "world_size", lambda: 2)
    monkeypatch.setattr(parallel, "all_reduce_min", lambda number: asked.append(number) or number)
    for rank in (0, 1):
        monkeypatch.setattr(parallel.distributed, "get_rank", lambda: rank)  # noqa: B023
        microbatches = Microbatches(compute, "", "", fewest=2, memory=_MadeUpMemory(10_000))
        microbatches.most = most
        parts.append(microbatches.over(count, lambda part: part))
        sizes += [part.stop - part.start for part in parts[-1]]
    assert len(parts[0]) == len(parts[1]) and sum(sizes) == count
    assert len(asked) == (2 if count > 32 else 0)
    assert min(sizes) >= 2
