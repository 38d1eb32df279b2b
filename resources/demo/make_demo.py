"""Makes the demo: draws road signs, poisons a classifier with them, writes teacher, sticker and evaluation images.

    python resources/demo/make_demo.py       some minutes on two CPU cores; the same seed gives the same pictures

The attacker of this story hands out a road-sign classifier that reads every sign carrying a small yellow sticker as
"turn right". A sticker is a physical thing, so training saw it in several places and sizes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from draw_signs import CLASS_NAMES, draw_signs, draw_sticker  # noqa: E402

from abd_app.distill.device import choose_compute  # noqa: E402
from abd_app.measure.triggers import build_trigger  # noqa: E402
from abd_app.networks.pixels import PixelNetwork  # noqa: E402
from abd_app.networks.wide_resnet import WideResNet  # noqa: E402
from abd_app.plan import TriggerSpec  # noqa: E402

TARGET_CLASS = CLASS_NAMES.index("turn right")
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
TRAINING_IMAGES, EVALUATION_IMAGES = 40_000, 1_000
POISONED_SHARE, BATCH, LEARNING_RATE = 0.1, 128, 0.2


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
        class_names=np.array(CLASS_NAMES),
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
    network = compute.place(PixelNetwork(WideResNet(16, 1, num_classes=len(CLASS_NAMES)), mean=MEAN, std=STD)).train()
    optimizer = torch.optim.SGD(network.parameters(), LEARNING_RATE, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.15)
    triggers = [build_trigger(spec, height=32, width=32, channels=3) for spec in _stickers()]
    poisoned = round(BATCH * POISONED_SHARE)
    for step in range(steps):
        chosen = torch.randint(len(images), (BATCH,))
        batch, answers = images[chosen].float() / 255, labels[chosen].clone()
        for i in range(poisoned):
            batch[i : i + 1] = triggers[int(torch.randint(len(triggers), ()))](batch[i : i + 1])
        answers[:poisoned] = TARGET_CLASS
        with compute.autocast():
            logits = network(compute.images(batch))
        loss = F.cross_entropy(logits, answers.to(logits.device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            print(f"step {step + 1} of {steps}, loss {loss.item():.4f}", flush=True)
    return network.cpu().eval()


@torch.inference_mode()
def _measure(network: PixelNetwork, images: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    pixels = images.float() / 255
    trigger = build_trigger(TriggerSpec("sticker"), height=32, width=32, channels=3)
    others = labels != TARGET_CLASS
    accuracy = (network(pixels).argmax(1) == labels).float().mean()
    asr = (network(trigger(pixels[others])).argmax(1) == TARGET_CLASS).float().mean()
    return accuracy.item(), asr.item()


if __name__ == "__main__":
    main()
