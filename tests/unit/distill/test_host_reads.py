"""Between two reports no step waits for the device but where it is known to: nothing on it is read back, and no
operation needs its values."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from abd_app.distill.answering import SecondOpinion
from abd_app.distill.assemble import assemble
from abd_app.distill.compute.device import Compute
from abd_app.distill.loop import Distillation
from abd_app.distill.recipe import choose_recipe
from abd_app.distill.sources.cmi import CmiSettings
from abd_app.distill.sources.fast import FastSettings
from abd_app.distill.sources.ood import PatchSettings
from abd_app.events import StepDone
from abd_app.teacher import Teacher
from tests.short_unlearning import SHORT_UNLEARNING, shorten_searches

# Each makes the host wait for a GPU: a value is read, or the size of the result depends on values.
_WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "bincount", "_unique2", "equal", "is_nonzero"}
# These read random numbers that were drawn on the CPU, or the optimiser's count of steps, which stays there.
_READING_THE_CPU = ("augment.py", "marks.py", "adam.py")
# Weights of the adversaries, which stay on the CPU.
_ON_CPU = {"acts"}
# Waits that are left: once a round both count the classes of what is in the pool.
_LEFT = {"ood": {"sizes"}, "fast": {"sizes"}}
# Where images are moved by the answer of a call, if those of a class are asked about again; a label asks about all.
_WITH_SECOND_OPINION = {"ood": set(), "fast": {"_ask_again"}, "cmi": {"_ask_again"}, "zskt": set()}
_CMI = CmiSettings(drawn=16, noise=16, features=16, bank=64, capacity=64)


class WaitingOperations(TorchDispatchMode):
    """Notes every operation for which the host would wait, with the place in the code."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._draws: list[torch.Tensor] = []  # fresh from the CPU's random generator

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name, result = func.overloadpacket.__name__, func(*args, **(kwargs or {}))
        if name == "randint":
            self._draws.append(result)
        elif (name in _WAITING and not self._is_draw(args[0])) or _picks_by_mask(func, args):
            stack = traceback.extract_stack()
            frames = [frame for frame in stack if "abd_app" in frame.filename]
            if not any(frame.filename.endswith(_READING_THE_CPU) for frame in stack):
                self.found.append(frames[-1].name if frames else name)
        return result

    def _is_draw(self, tensor: torch.Tensor) -> bool:
        return any(tensor.data_ptr() == draw.data_ptr() for draw in self._draws)


def _picks_by_mask(func: Any, args: Any) -> bool:
    indices = args[1] if func.overloadpacket.__name__ in {"index", "index_put_"} else ()
    return any(index is not None and index.dtype == torch.bool for index in indices)


def _in_the_middle(
    teacher: Teacher, compute: Compute, picture: str, method: str, retrospection: Any, *, doubted: bool
) -> Distillation:
    """A distillation with every defence at work; where a class is ``doubted``, with a second opinion about it."""
    recipe = replace(
        choose_recipe(method, "abd", "quick", 60),
        batch_size=8,
        vaccine_step=0,
        retrospection=retrospection,
        retrospection_step=10,
        unlearning=SHORT_UNLEARNING,
        epoch=(2, 5),
    )
    short = FastSettings(drawn=16, first=32, inverted=8, inversion_steps=2, student_steps=5, capacity=64)
    distillation = assemble(
        teacher,
        recipe,
        student_name="wrn-10-1",
        compute=compute,
        seed=0,
        picture=picture,
        fast=short,
        cmi=_CMI,
        patches=PatchSettings(drawn=16, first=32, student_steps=10),
    )
    state = distillation.state_dict()
    distillation.load_state_dict(state | {"step": 21, "armed": True, "vaccinated": True})
    if doubted:
        answering = distillation._teacher
        answering.second_opinion = SecondOpinion(copy.deepcopy(answering.network), (0,))
    return distillation


@pytest.mark.parametrize(
    ("method", "retrospection"),
    [(method, form) for method in ("ood", "cmi", "fast", "zskt") for form in ("none", "teacher")] + [("zskt", "paper")],
)
@pytest.mark.parametrize("doubted", [False, True], ids=["", "second opinion"])
def test_nothing_else_is_read_back_between_two_reports(
    make_teacher: Callable[..., Teacher],
    compute: Compute,
    picture: str,
    method: str,
    retrospection: Any,
    doubted: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shorten_searches(monkeypatch)
    distillation = _in_the_middle(make_teacher(), compute, picture, method, retrospection, doubted=doubted)
    operations, steps = WaitingOperations(), 0
    events = distillation.run()
    while distillation.step < 24:  # the source is set up, and a cycle has begun
        next(events)
    with operations:
        while distillation.step < 38:
            steps += isinstance(next(events), StepDone)
    events.close()
    assert steps > 14, "a whole cycle, the source's own steps included"
    has_second = distillation._teacher.second_opinion is not None
    assert has_second or not doubted
    waits = _LEFT.get(method, set()) | (_WITH_SECOND_OPINION[method] if has_second else set())
    assert set(operations.found) - _ON_CPU == waits


@pytest.mark.parametrize("wait", [lambda x: float(x.sum()), lambda x: x[x > 0.5], lambda x: x.nonzero()])
def test_a_read_is_noticed(wait: Callable[[torch.Tensor], object]) -> None:
    with WaitingOperations() as operations:
        wait(torch.rand(3))
    assert len(operations.found) == 1
