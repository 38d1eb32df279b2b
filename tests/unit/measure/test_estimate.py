"""The estimates: a planted shortcut is found on the teacher, and is not seen on a model without it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from abd_app.errors import UsageError
from abd_app.measure.estimate import UniversalTriggerSearch


class _Planted(nn.Module):
    """Class from the mean brightness; a bright red 3x3 spot anywhere leads to ``target``, if there is one."""

    def __init__(self, num_classes: int, target: int | None) -> None:
        super().__init__()
        self.num_classes, self.target = num_classes, target

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        centres = (torch.arange(self.num_classes, device=images.device) + 0.5) / self.num_classes
        logits = -80 * (images[:, 1].mean((1, 2))[:, None] - centres) ** 2
        if self.target is not None:
            redness = nn.functional.avg_pool2d(images[:, 0] - images[:, 2], 3, 1).amax((1, 2))
            logits[:, self.target] = logits[:, self.target] + 20 * nn.functional.softplus(10 * redness - 3)
        return logits


def _images(count: int = 64) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    brightness = torch.rand(count, 1, 1, 1, generator=random)
    return (brightness + 0.02 * torch.randn(count, 3, 24, 24, generator=random)).clamp(0, 1)


@pytest.mark.parametrize("num_classes", [4, 30])
def test_a_planted_trigger_is_found_and_replayed(num_classes: int) -> None:
    teacher = _Planted(num_classes, target=3)
    search = UniversalTriggerSearch(teacher, _images(), num_classes, steps=10, seed=0)
    on_teacher = search.replay(teacher)
    on_student = search.replay(_Planted(num_classes, target=None))
    assert {trigger.name: target for trigger, target in search.triggers}["found-patch"] == 3
    assert on_teacher.accuracy == 1.0 and on_teacher.images == 32
    assert on_teacher.asr["found-patch"] >= 0.9
    assert on_student.asr["found-patch"] <= 0.2
    victims = int((teacher(_images()[32:]).argmax(1) != 3).sum())
    assert on_student.asr_images["found-patch"] == on_teacher.asr_images["found-patch"] == victims < 32


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_search_runs_in_the_precision_asked_for_and_figures_in_fp32(precision: str) -> None:
    teacher, seen = _Planted(4, target=3), list[bool]()
    teacher.register_forward_pre_hook(lambda module, inputs: seen.append(torch.is_autocast_enabled("cpu")))
    search = UniversalTriggerSearch(teacher, _images(), 4, steps=2, precision=precision)
    assert not seen.pop(0), "the answers that figures compare with"
    assert len(seen) > 4 and set(seen) == {precision == "bf16"}
    seen.clear()
    search.replay(teacher)
    assert seen and not any(seen)


def test_the_same_seed_finds_the_same_triggers_and_another_seed_others() -> None:
    teacher = _Planted(4, target=1)
    first, second, other = (
        UniversalTriggerSearch(teacher, _images(), 4, steps=3, seed=seed).triggers[1][0].add for seed in (5, 5, 6)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_agreement_is_with_the_teacher_not_with_truth() -> None:
    search = UniversalTriggerSearch(_Planted(4, target=None), _images(), 4, steps=1)
    constant = nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 24, 4))
    with torch.no_grad():
        constant[1].weight.zero_()
        constant[1].bias.copy_(torch.tensor([0.0, 0.0, 1.0, 0.0]))
    share = (_Planted(4, target=None)(_images()[32:]).argmax(1) == 2).float().mean()
    assert search.replay(constant).accuracy == pytest.approx(share.item())


def test_too_few_images_are_refused() -> None:
    with pytest.raises(UsageError, match="too few"):
        UniversalTriggerSearch(_Planted(4, target=None), _images(4), 4)
