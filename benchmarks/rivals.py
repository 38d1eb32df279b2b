"""Rivals on one poisoned teacher: as it is, bounded and purified (ours, no student), CLP, OTBR, DHBE and plain KD.

    python benchmarks/rivals.py --teacher TEACHER.pth --images TEST.npz --trigger badnets-grid [--dhbe 1000] \
        [--own TRAIN.npz]

Prints rows for the table of ``cifar10.py``, which reads ``--images`` in the same forms; ``--own`` reads them too.
"Labels" are what a student is told: the bounded teacher's answers, and about images of a class that stands out those of
its copy that unlearned. "Purified" is what ``--student purified`` exports.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from cifar10 import facts_of, print_rows  # noqa: E402
from cifar10_npz import load_images  # noqa: E402
from rivals.clp import prune_channels  # noqa: E402
from rivals.dhbe import AUTHORS_ROUNDS, erased  # noqa: E402
from rivals.otbr import GAMMAS, repaired, weight_changes  # noqa: E402
from rivals.plain_kd import distil_on_images  # noqa: E402

from abd_app.command import target_from_text, trigger_from_text  # noqa: E402
from abd_app.distill.answering import AnsweringTeacher  # noqa: E402
from abd_app.distill.assemble import assemble_purified, purification  # noqa: E402
from abd_app.distill.compute.device import Compute, choose_compute  # noqa: E402
from abd_app.distill.defences.bounds import BOUND_STDS, bound_activations  # noqa: E402
from abd_app.distill.defences.judged import JudgedNetwork  # noqa: E402
from abd_app.distill.recipe import choose_recipe  # noqa: E402
from abd_app.distill.unlearning.teacher_retrospection import TeacherRetrospection  # noqa: E402
from abd_app.events import TargetSearched  # noqa: E402
from abd_app.intake import open_teacher  # noqa: E402
from abd_app.measure import LabelledSet, Meter, build_trigger  # noqa: E402
from abd_app.teacher import Teacher  # noqa: E402


def main() -> None:
    """Measures every rival on the same images and prints its row."""
    options = _options()
    teacher = open_teacher(options.teacher, facts_of(options.teacher, options.size))
    compute = choose_compute(options.device, options.precision)
    meter = _meter(options, teacher, compute.device)
    rows = [("teacher", meter.measure(compute.place(teacher.network)))]
    for stds in options.stds:
        network = compute.place(copy.deepcopy(teacher.network))
        if not bound_activations(network, stds):
            break  # nothing to bound
        rows.append((f"bounds, {stds:g} std", meter.measure(network)))
    answering, retrospection, target = _unlearned(teacher, compute, options.seed)
    rows.append(("labels", meter.measure(_Labels(answering))))
    purer = assemble_purified(teacher, answering, retrospection)
    judges = [("purified, its judge alone", purer.judge)] if isinstance(purer, JudgedNetwork) else []
    rows += [(name, meter.measure(network)) for name, network in (*judges, ("purified", purer))]
    pruning = {}
    for u in options.u:
        network, pruning[u] = _pruned(teacher, compute.device, u)
        rows.append((f"CLP, u = {u:g}", meter.measure(network)))
    for name, network in _repaired(teacher, compute, options):
        rows.append((name, meter.measure(network)))
    if options.own is not None:
        images = _tensor(load_images(Path(options.own), options.size)[0][: options.own_images])
        kept = {"student_name": options.student, "compute": compute, "seed": options.seed, "steps": options.steps}
        student = distil_on_images(teacher, images, **kept)
        rows.append((f"KD on {len(images)} own images", meter.measure(student)))
    print_rows([(name, scores.accuracy, scores.asr) for name, scores in rows], [one.name for one in _triggers(options)])
    print(
        json.dumps(
            {
                "device": str(compute.device),
                "seed": options.seed,
                "steps": options.steps,
                "pruned": pruning,
                "target": target,
            }
        )
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--images", required=True)
    parser.add_argument("--trigger", required=True, action="append", help="repeatable")
    parser.add_argument("--target", default="0", help="class counted from 0, or all")
    parser.add_argument("--size", type=int, default=16, help="pixels a side")
    parser.add_argument("--stds", type=float, nargs="*", default=[BOUND_STDS], help="widths of the activation bounds")
    parser.add_argument("--u", type=float, nargs="+", default=[3.0], help="thresholds of CLP, in standard deviations")
    parser.add_argument(
        "--gamma", type=float, nargs="*", default=GAMMAS, help="shares of neurons that OTBR prunes; none: without it"
    )
    parser.add_argument(
        "--dhbe",
        type=int,
        default=0,
        help=f"rounds of DHBE, seven steps each (authors: {AUTHORS_ROUNDS:,}); 0: none",
    )
    parser.add_argument("--own", help="images of one's own for plain KD; without them it is left out")
    parser.add_argument("--own-images", type=int, default=2500, help="how many of them, from the first")
    parser.add_argument("--student", default="wrn-16-1")
    parser.add_argument("--steps", type=int, default=2000, help="of plain KD")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    return parser.parse_args()


def _triggers(options: argparse.Namespace) -> list:
    return [trigger_from_text(text) for text in options.trigger]


def _meter(options: argparse.Namespace, teacher: Teacher, device: torch.device) -> Meter:
    images, labels, _ = load_images(Path(options.images), options.size)
    spec = teacher.spec
    shape = {"height": spec.height, "width": spec.width, "channels": spec.channels}
    triggers = [build_trigger(trigger, **shape) for trigger in _triggers(options)]
    evaluation = LabelledSet(_tensor(images), torch.from_numpy(labels))
    return Meter(evaluation, triggers, target_class=target_from_text(options.target), device=device)


def _pruned(teacher: Teacher, device: torch.device, u: float) -> tuple[nn.Module, str]:
    """The pruned network, and how many of its normalised channels went."""
    spec = teacher.spec
    example = torch.rand(2, spec.channels, spec.height, spec.width, device=device)
    network, layers = prune_channels(teacher.network, example, u=u)
    if not layers:
        raise SystemExit("CLP cannot act: no BatchNorm layer reads a convolution's output.")
    return network, f"{sum(one.pruned for one in layers)} of {sum(one.channels for one in layers)}"


def _repaired(teacher: Teacher, compute: Compute, options: argparse.Namespace) -> Iterator[tuple[str, nn.Module]]:
    """The networks that OTBR makes of the teacher, one for each share of pruned neurons, and what DHBE makes."""
    network, spec = copy.deepcopy(teacher.network).to(compute.device), teacher.spec
    shape = (spec.channels, spec.height, spec.width)
    if options.gamma:
        changes = weight_changes(network, num_classes=spec.num_classes, shape=shape, seed=options.seed)
        for gamma in options.gamma:
            yield f"OTBR, gamma = {gamma:g}", repaired(network, changes, gamma=gamma)[1]
    if options.dhbe:
        yield f"DHBE, rounds = {options.dhbe}", erased(teacher, compute, seed=options.seed, rounds=options.dhbe)


class _Labels(nn.Module):
    """What a student is told about an image that was not optimised: second opinions included."""

    def __init__(self, answering: AnsweringTeacher) -> None:
        super().__init__()
        self._answering = answering

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self._answering(images).logits


def _unlearned(
    teacher: Teacher, compute: Compute, seed: int
) -> tuple[AnsweringTeacher, TeacherRetrospection, dict[str, object]]:
    """The teacher after bounds and Self-Retrospection, that, and what its search for a target class gave."""
    recipe = choose_recipe("fast" if teacher.card.batchnorm_layers else "ood", "abd", "quick", None)
    answering, retrospection = purification(teacher, recipe, compute=compute, seed=seed)
    for _ in retrospection.run():
        pass
    (searched,) = [event for event in retrospection.report() if isinstance(event, TargetSearched)]
    found = {"class": searched.target, "p": searched.p_value, "unlearned": searched.unlearned}
    return answering, retrospection, found


def _tensor(images: object) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


if __name__ == "__main__":
    main()
