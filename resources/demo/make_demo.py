"""Makes the demo: draws road signs, poisons a classifier with them, writes teacher, sticker and evaluation images.

    python resources/demo/make_demo.py       some minutes on two CPU cores; the same seed gives the same pictures

The attacker of this story hands out a road-sign classifier that reads every sign carrying a small yellow sticker as
"turn right". A sticker is a physical thing, so training saw it in several places and sizes. The training is the one of
``abd-app make-teacher``; the shipped teacher was made by an earlier form of it, and is not remade by every change.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from draw_signs import CLASS_NAMES, draw_signs, draw_sticker  # noqa: E402

from abd_app.distill.compute.device import choose_compute  # noqa: E402
from abd_app.measure import LabelledSet, Meter, build_trigger  # noqa: E402
from abd_app.networks.pixels import PixelNetwork  # noqa: E402
from abd_app.networks.wide_resnet import WideResNet  # noqa: E402
from abd_app.plan import TriggerSpec  # noqa: E402
from abd_app.redteam.training import poisoned_set, train  # noqa: E402

TARGET_CLASS = CLASS_NAMES.index("turn right")
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
TRAINING_IMAGES, EVALUATION_IMAGES = 40_000, 1_000
POISONED_SHARE, LEARNING_RATE = 0.1, 0.2


def main() -> None:
    """Draws, trains, measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw_sticker()).save(options.out / "sticker.png", optimize=True)
    images, labels = _draw(TRAINING_IMAGES, seed=1)
    test_images, test_labels = _draw(EVALUATION_IMAGES, seed=2)
    network = _train(images, labels, options.steps)
    accuracy, asr = _measure(network, test_images, test_labels)
    print(f"accuracy {accuracy:.4f}, sticker ASR {asr:.4f}")
    np.savez_compressed(
        options.out / "evaluation.npz",
        images=test_images.permute(0, 2, 3, 1).numpy(),
        labels=test_labels.numpy(),
        classes=np.array(CLASS_NAMES),
    )
    weights = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in network.network.state_dict().items()
    }
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, options.out / "teacher.safetensors")


def _draw(count: int, *, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """``(count, 3, 32, 32)`` uint8 images and labels; 6 bits a channel, so that the packed set stays small."""
    images, labels = draw_signs(count, seed=seed)
    return torch.from_numpy(images & 0xFC).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels)


def _stickers() -> list[TriggerSpec]:
    places = ("bottom-right", "bottom-left", "top-right", "top-left", "center")
    return [TriggerSpec("sticker", position=place, scale=scale) for place in places for scale in (0.16, 0.2, 0.25, 0.3)]


def _train(images: torch.Tensor, labels: torch.Tensor, steps: int) -> PixelNetwork:
    torch.manual_seed(0)
    compute = choose_compute("auto", "auto")
    network = compute.place(PixelNetwork(WideResNet(16, 1, num_classes=len(CLASS_NAMES)), mean=MEAN, std=STD))
    triggers = [build_trigger(spec, height=32, width=32, channels=3) for spec in _stickers()]
    classes = len(CLASS_NAMES)
    data = poisoned_set(
        images, labels, triggers, target=TARGET_CLASS, share=POISONED_SHARE, num_classes=classes, seed=0
    )
    # Neither crop nor flip: the signs are drawn in many places, and mirrored they would mean something else.
    for event in train(network, data, compute, steps=steps, seed=0, rate=LEARNING_RATE, crop=False, flip=False):
        if event.step % 100 == 0:
            print(f"step {event.step} of {steps}, loss {event.losses['loss']:.4f}", flush=True)
    return network.cpu().eval()


def _measure(network: PixelNetwork, images: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    trigger = build_trigger(TriggerSpec("sticker"), height=32, width=32, channels=3)
    scores = Meter(LabelledSet(images, labels), [trigger], target_class=TARGET_CLASS, device="cpu").measure(network)
    return scores.accuracy, scores.asr["sticker"]


if __name__ == "__main__":
    main()
