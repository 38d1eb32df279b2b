"""Self-Retrospection on the teacher: a planted backdoor goes, the rest stays."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from abd_app.distill.answering import AnsweringTeacher
from abd_app.distill.compute.device import Compute
from abd_app.distill.defences.bounds import ActivationBounds
from abd_app.distill.unlearning import margins
from abd_app.distill.unlearning.teacher_retrospection import TeacherRetrospection
from abd_app.errors import RunFailedError
from abd_app.events import FindingMade, TargetSearched
from tests.unit.distill.planted import CLASSES, TARGET, coloured_images, new_retrospection


def _unlearned(retrospection: TeacherRetrospection) -> Any:
    """The network that is asked about images of the target class."""
    opinion = retrospection._teacher.second_opinion
    assert opinion is not None and opinion.classes == retrospection.targets
    return opinion.network


@torch.no_grad()
def _rates(teacher: AnsweringTeacher, answers: torch.Tensor) -> tuple[float, float]:
    """How often the teacher gives these answers to clean images, and the target to triggered ones of other classes."""
    images = coloured_images(400, seed=9)
    triggered = images[answers != TARGET].clone()
    triggered[..., 6, 5:7] = torch.tensor([1.0, 0.0])
    kept = (teacher(images).logits.argmax(1) == answers).float().mean()
    return float(kept), float((teacher(triggered).logits.argmax(1) == TARGET).float().mean())


def test_the_target_is_found_and_what_leads_there_is_unlearned(compute: Compute) -> None:
    retrospection, network = new_retrospection(compute)
    answers = network(coloured_images(400, seed=9)).argmax(1)
    assert _rates(retrospection._teacher, answers) == (1.0, 1.0)
    losses = [one for one in retrospection.run() if "unlearning" in one]
    assert retrospection.search.margins.target == TARGET
    kept, reached = _rates(retrospection._teacher, answers)
    assert kept > 0.9 and reached < 0.2
    assert len(losses) == 120 and float(losses[-1]["unlearning"]) < float(losses[20]["unlearning"])


def test_a_teacher_without_a_backdoor_stays_as_it_is(compute: Compute) -> None:
    retrospection, network = new_retrospection(compute, backdoor=False)
    before = copy.deepcopy(network.state_dict())
    assert not any("unlearning" in one for one in retrospection.run())
    assert retrospection.search.margins.target is None
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_batchnorm_keeps_its_statistics_and_the_teacher_is_frozen_again(compute: Compute) -> None:
    retrospection, network = new_retrospection(compute, steps=5)
    before = copy.deepcopy(network.state_dict())
    list(retrospection.run())
    unlearned = _unlearned(retrospection)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(before[f"norm.{name}"], unlearned.norm.state_dict()[name])
    assert not torch.equal(before["colours.weight"], unlearned.colours.weight)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items()), "it is as it was"
    for one in (network, unlearned):
        assert not one.training
        assert all(not weight.requires_grad and weight.grad is None for weight in one.parameters())


def test_portions_give_the_weights_of_the_whole(compute: Compute) -> None:
    networks = []
    for most in (None, 5):
        retrospection, _ = new_retrospection(compute, steps=4, most=most)
        list(retrospection.run())
        networks.append(_unlearned(retrospection))
    for one, other in zip(*(network.parameters() for network in networks), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("backdoor", [True, False])
def test_a_restored_one_has_the_outcome_and_the_weights(compute: Compute, backdoor: bool) -> None:
    first, _ = new_retrospection(compute, steps=5, backdoor=backdoor, how_far=0.5)
    nothing = dict.fromkeys(("outcome", "bending", "all_to_all", "weights", "adversaries"))
    assert first.state_dict() == nothing | {"targets": (), "deed": "unlearned"}
    list(first.run())
    second, _ = new_retrospection(compute, steps=5, backdoor=backdoor)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert second.search.margins == first.search.margins is not None
    assert second.targets == first.targets
    assert (first.state_dict()["weights"] is None) != backdoor, "kept only where something was unlearned"
    assert torch.equal(*(one._teacher(coloured_images(20)).logits for one in (first, second)))
    if backdoor:
        opinions = [one._teacher.second_opinion for one in (first, second)]
        for optimized in (False, True):
            assert torch.equal(*(one.about(optimized=optimized).colours.weight for one in opinions))
        assert not torch.equal(*(opinions[1].about(optimized=optimized).colours.weight for optimized in (False, True)))
        images, shown = coloured_images(20), []
        for one in (first, second):
            one._random.manual_seed(4)
            shown.append(one.led_marks.laid_over(images, 5))
        assert torch.equal(*shown) and not torch.equal(shown[0][15:], images[15:])
    else:
        assert second.led_marks is None


def test_a_restored_one_leaves_what_is_drawn_alone(compute: Compute) -> None:
    first, _ = new_retrospection(compute, steps=2, how_far=0.5)
    list(first.run())
    second, _ = new_retrospection(compute, steps=2)
    state = second._random.get_state()
    second.load_state_dict(first.state_dict())
    assert second.led_marks is not None and torch.equal(second._random.get_state(), state)


def test_of_too_few_classes_to_compare_all_are_unlearned(compute: Compute, monkeypatch: pytest.MonkeyPatch) -> None:
    from abd_app.distill.unlearning import target_search as module

    monkeypatch.setattr(module, "FEWEST_CLASSES", CLASSES + 1)
    monkeypatch.setattr(margins, "SIGNIFICANT", 0.0)
    retrospection, network = new_retrospection(compute, steps=600, batch_size=64, least_kept=1.1)  # undoes nothing here
    answers = network(coloured_images(400, seed=9)).argmax(1)
    list(retrospection.run())
    assert retrospection.search.margins.target is None and retrospection.targets == tuple(range(CLASSES))
    kept, reached = _rates(retrospection._teacher, answers)
    assert kept > 0.8 and reached < 0.3


def test_a_backdoor_that_bounds_seem_to_disarm_is_unlearned_as_far_as_any(compute: Compute) -> None:
    """That noise leads to its class no further than to others, with bounds, says nothing of what faint pictures do."""
    ways = []
    for how_far in (0.25, 1.0):
        retrospection, network = new_retrospection(compute, steps=10, how_far=how_far)
        retrospection._teacher.bounds = ActivationBounds([_NoBackdoor(network)])
        list(retrospection.run())
        assert retrospection.search.margins.target == TARGET and retrospection.targets == (TARGET,)
        assert (retrospection._teacher.second_opinion.strict_network is None) == (how_far == 1)
        assert (retrospection.led_marks is None) == (how_far == 1)
        ways.append(_unlearned(retrospection).colours.weight - network.colours.weight)
    assert ways[1].norm() > 0.01
    torch.testing.assert_close(ways[0], 0.25 * ways[1])


def test_what_an_adversary_hardly_turns_is_hardly_unlearned(compute: Compute) -> None:
    """A canvas of noise over half an image changes the answer, but without a backdoor seldom to the target."""
    retrospection, _ = new_retrospection(compute, backdoor=False, steps=1, boxes=(0.5, 0.5))
    pool = retrospection._make_pool()
    list(pool.filled(1))
    (losses,) = retrospection._unlearn((TARGET,), pool)
    assert 0 < float(losses["unlearning"]) < 0.01  # 0.07 if all that is changed counted alike


@pytest.mark.parametrize("fails", [False, True], ids=["closed", "failed"])
def test_an_unlearning_that_is_cut_short_leaves_the_teacher_as_it_was(
    compute: Compute, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    retrospection, network = new_retrospection(compute, given_up_at=3)
    before = copy.deepcopy(network.state_dict())
    running = retrospection.run()
    if fails:
        monkeypatch.setattr(retrospection, "_kept", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            list(running)
    else:
        assert any("unlearning" in one for one in running), "in the middle"
        assert not torch.equal(before["colours.weight"], network.colours.weight)
        running.close()
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert retrospection._teacher.second_opinion is None
    assert not any(one.requires_grad for one in network.parameters())


class _NoBackdoor:
    """A bound that cuts what the detector found, as long as it acts."""

    def __init__(self, network: nn.Module) -> None:
        self.acts = True
        network.detector.register_forward_hook(lambda m, i, output: output - 10 if self.acts else output)


def test_weights_that_no_answer_depends_on_stay(compute: Compute) -> None:
    retrospection, network = new_retrospection(compute, steps=3)
    network.idle = nn.Linear(2, 2).requires_grad_(False)
    before = network.idle.weight.clone()
    list(retrospection.run())
    assert torch.equal(_unlearned(retrospection).idle.weight, before)


def test_memory_that_runs_out_on_the_way_gives_the_weights_of_the_whole_and_a_finding(compute: Compute) -> None:
    networks, findings = [], []
    for limit in (1000, 20):
        retrospection, network = new_retrospection(compute, steps=3)
        network.register_forward_hook(lambda m, i, logits, limit=limit: _checked(logits, limit))
        list(retrospection.run())
        networks.append(_unlearned(retrospection))
        told = [event.finding.title for event in retrospection.report() if isinstance(event, FindingMade)]
        findings.append([title for title in told if title.endswith("at a time")])
    for one, other in zip(*(network.parameters() for network in networks), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-4)
    assert findings[0] == []
    steps = [("is searched with", 64), ("is searched with", 32), ("is searched with", 16)]
    steps += [("unlearns from", 32), ("unlearns from", 16)]
    assert findings[1] == [f"The teacher {what} {images} images at a time" for what, images in steps]


def _checked(logits: torch.Tensor, most: int) -> torch.Tensor:
    if logits.requires_grad and torch.is_grad_enabled() and len(logits) > most:
        raise torch.OutOfMemoryError(f"Tried to allocate memory for {len(logits)} images.")
    return logits


@pytest.mark.parametrize(("given_up_at", "steps"), [(5, 5), (1000, 120)], ids=["early", "at the end"])
def test_an_unlearning_that_costs_the_class_its_own_images_is_undone(
    compute: Compute, given_up_at: int, steps: int
) -> None:
    retrospection, network = new_retrospection(compute, least_kept=1.1, given_up_at=given_up_at)
    before = copy.deepcopy(network.state_dict())
    assert sum("unlearning" in one for one in retrospection.run()) == steps
    assert (retrospection.search.margins.target, retrospection.targets, retrospection.deed) == (TARGET, (), "undone")
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    findings = [event.finding for event in retrospection.report() if isinstance(event, FindingMade)]
    assert "undone" in findings[0].detail
    assert [event.undone for event in retrospection.report() if isinstance(event, TargetSearched)] == [True]


@pytest.mark.parametrize(
    ("kept", "deed", "found"),
    [
        ([0.5, 0.05, 0.05], "undone", False),
        ([0.5, 0.05, 0.5], "unlearned", False),
        ([0.5, 0.5, 0.5], "unlearned", True),
    ],
    ids=["undone", "the strict copy has lost the class", "both keep it"],
)
def test_a_student_sees_what_leads_to_the_class_where_two_copies_judge(
    compute: Compute, monkeypatch: pytest.MonkeyPatch, kept: list[float], deed: str, found: bool
) -> None:
    """Asked early, then about the strict copy, then about the other."""
    retrospection, _ = new_retrospection(compute, steps=40, how_far=0.5)
    shares = iter(kept)
    monkeypatch.setattr(retrospection, "_kept", lambda *_: next(shares))
    assert sum("leading" in one for one in retrospection.run()) == 40
    assert next(shares, None) is None
    assert retrospection.deed == deed and (retrospection.led_marks is not None) == found


@pytest.mark.parametrize(("kept", "deed"), [([0.5, 0.05], "undone"), ([0.5, 0.5], "unlearned")])
def test_what_the_class_keeps_is_asked_early_and_at_the_end(
    compute: Compute, monkeypatch: pytest.MonkeyPatch, kept: list[float], deed: str
) -> None:
    retrospection, _ = new_retrospection(compute)
    shares = iter(kept)
    monkeypatch.setattr(retrospection, "_kept", lambda *_: next(shares))
    assert sum("unlearning" in one for one in retrospection.run()) == 120
    assert retrospection.deed == deed and retrospection.targets == ((TARGET,) if deed == "unlearned" else ())
    assert next(shares, None) is None


@pytest.mark.parametrize("given_up_at", [5, 1000], ids=["early", "at the end"])
def test_an_overflow_is_a_failure_and_not_a_loss_of_the_class(compute: Compute, given_up_at: int) -> None:
    retrospection, _ = new_retrospection(compute, rate=float("inf"), given_up_at=given_up_at)
    with pytest.raises(RunFailedError, match="not a number"):
        list(retrospection.run())
