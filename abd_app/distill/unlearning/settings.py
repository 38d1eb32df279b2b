"""How the teacher's Self-Retrospection is done."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class UnlearningSettings:
    """Hyper-parameters, chosen on the demo teacher and on 16-pixel CIFAR-10 teachers (docs/results.md says on which).

    Attributes:
        search_steps: Of each look for the target class.
        patches: In the pool before it is renewed.
        renewals: How often the pool is renewed before the unlearning.
        drawn: New patches of a renewal, and as many that are inverted if there are such.
        inversion_steps: For each of these; more than ``fast`` takes, so that they are of their class beyond doubt.
        steps: Of the unlearning.
        batch_size: Images a step that keep their answer, and as many that are perturbed.
        adversaries: Displacements for each target, where bending leads there; pictures, and as many canvases, where
            classes trade places.
        mark_adversaries: Pictures, and as many canvases, for a target that stands out by its margin.
        shown: As many of both that the student will see, found in the teacher as it was handed in.
        ball: Bound of the pictures, in pixels of [0, 1].
        mark_ball: The same of the pictures of ``mark_adversaries``: a mark may change a pixel by much more than 0.2.
        boxes: Sides of what is shown of a canvas, from and to, as shares of the image's.
        opacities: Of canvases that are blended in, from and to, where classes trade places.
        climb: Step of the adversaries, as a share of the ball, of half the pixel box, or of half a pixel.
        least_kept: Share of its own images that the class must keep; else the unlearning is undone.
        least_kept_by_all: The same of all images, where classes trade places.
        given_up_at: The step after which this is asked for the first time; then again at the end.
        rate: Peak learning rate of Adam; it rises over 20 steps and falls to 0.
        temperature: Of the softmax in both losses.
        how_far: Share of the way from the weights that were handed in to those that unlearned (as in WiSE-FT: Wortsman
            et al., "Robust fine-tuning of zero-shot models", CVPR 2022), for images that were not optimised. Where
            bending leads to the class it is all of the way: there it costs no accuracy.
        beyond: The same where classes trade places: further than to where unlearning has come, which costs hardly any
            accuracy there.
        tolerated: Where the purified teacher judges the answers of the one that was handed in, how much of a margin may
            be lost, as a share of how far most classes can be driven.
    """

    search_steps: int = 60
    patches: int = 2048
    renewals: int = 16
    drawn: int = 128
    inversion_steps: int = 12
    steps: int = 100
    batch_size: int = 64
    adversaries: int = 4
    mark_adversaries: int = 12
    shown: int = 12
    ball: float = 0.2
    mark_ball: float = 0.3
    boxes: tuple[float, float] = (0.12, 0.5)
    opacities: tuple[float, float] = (0.1, 0.3)
    climb: float = 0.1
    least_kept: float = 0.1
    least_kept_by_all: float = 0.5
    given_up_at: int = 30
    rate: float = 2e-4
    temperature: float = 2.0
    how_far: float = 0.7
    beyond: float = 1.6
    tolerated: float = 0.1
