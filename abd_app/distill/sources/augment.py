"""Random crops, flips, colours and CutMix for whole batches on the device."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from abd_app.distill.compute.device import sent

_PARTS = 8
_PIXELS_AT_ONCE, _FEWEST_AT_ONCE = 2**23, 8  # 512 images of 128 pixels; fewer would all be of one picture


def portions(count: int, size: tuple[int, int]) -> list[int]:
    """In how many images at a time ``count`` of a size (height, width) are drawn: their floats take much memory.

    The portions are nearly equal; of up to 128 by 128 pixels 512 images and more are one.
    """
    most = max(_FEWEST_AT_ONCE, _PIXELS_AT_ONCE // (size[0] * size[1]))
    pieces = max(1, math.ceil(count / most))
    return [count * (piece + 1) // pieces - count * piece // pieces for piece in range(pieces)]


class PatchCutter:
    """Cuts randomly placed, turned, sheared, flipped and scaled patches from pictures, one affine sampling a batch.

    The transforms are those of Asano & Saeed (2021): random resized crop, rotation up to 30 degrees, shear up to 30
    degrees, flip, colour jitter; here composed into one, and read from an image pyramid so that a large crop does not
    alias.

    Args:
        pictures: ``(M, C, S, S)`` uint8, on the device.
        height: Of a patch, pixels.
        width: Of a patch, pixels.
    """

    def __init__(self, pictures: torch.Tensor, *, height: int, width: int) -> None:
        self._pyramid = [pictures]  # as it is: large ones in floats would take a gibibyte and more
        while min(self._pyramid[-1].shape[-2:]) >= 4 * max(height, width):
            halved = [F.avg_pool2d(_floats(picture), 2) for picture in self._pyramid[-1].split(1)]
            self._pyramid.append(torch.cat(halved))
        self._size = (height, width)
        self._device = pictures.device

    def cut(self, count: int, generator: torch.Generator, *, soften: bool = True) -> torch.Tensor:
        """``(count, C, height, width)`` float patches in [0, 1], all from one level of the pyramid.

        Args:
            soften: Whether some are blurred, which the published transforms do not do.
        """
        level = self._pyramid[int(torch.randint(len(self._pyramid), (), generator=generator))]
        channels = level.shape[1]
        source = torch.randint(len(level), (max(1, min(len(level), count // 8)),), generator=generator)
        each = math.ceil(count / len(source))
        grid = self._grid(len(source) * each, level.shape[-1], generator)
        # Patches of the same picture lie side by side in one tall grid: grid_sample reads each picture once.
        tall = grid.view(len(source), each * self._size[0], self._size[1], 2)
        chosen = _floats(level[sent(source, self._device)])
        patches = F.grid_sample(chosen, tall, padding_mode="reflection", align_corners=False)
        patches = (
            patches.view(len(source), channels, each, *self._size).transpose(1, 2).reshape(-1, channels, *self._size)
        )
        order = torch.randperm(len(patches), generator=generator)[:count]
        cut = patches[sent(order, self._device)]
        return jitter_colours(soften_some(cut, generator) if soften else cut, generator)

    def cut_at_all_scales(self, count: int, generator: torch.Generator, *, soften: bool = True) -> torch.Tensor:
        """The same, in eight parts that come from a level each: for a batch on which something is judged alone."""
        each = -(-count // _PARTS)
        parts = (min(each, count - done) for done in range(0, count, each))
        return torch.cat([self.cut(part, generator, soften=soften) for part in parts])

    def _grid(self, count: int, side: int, generator: torch.Generator) -> torch.Tensor:
        def uniform(low: float, high: float) -> torch.Tensor:
            return low + (high - low) * torch.rand(count, generator=generator)

        zoom = max(self._size) / side * torch.exp(uniform(math.log(0.2), math.log(1.5)))
        stretch = torch.exp(uniform(math.log(0.75), math.log(4 / 3)) / 2)
        turn, shear = uniform(-math.pi / 6, math.pi / 6), torch.tan(uniform(-math.pi / 6, math.pi / 6))
        flip = (torch.rand(count, generator=generator) < 0.5).float() * 2 - 1
        cos, sin = torch.cos(turn), torch.sin(turn)
        theta = torch.stack(
            [
                zoom * stretch * flip * cos,
                zoom * (stretch * shear * cos - sin / stretch),
                uniform(-1, 1) * (1 - zoom).clamp_min(0),
                zoom * stretch * flip * sin,
                zoom * (stretch * shear * sin + cos / stretch),
                uniform(-1, 1) * (1 - zoom).clamp_min(0),
            ],
            dim=1,
        ).view(count, 2, 3)
        return F.affine_grid(sent(theta, self._device), [count, 1, *self._size], align_corners=False)


def _floats(pixels: torch.Tensor) -> torch.Tensor:
    """Pixels in [0, 1], of uint8 or as they are."""
    return pixels.float().div_(255) if pixels.dtype == torch.uint8 else pixels


def soften_some(images: torch.Tensor, generator: torch.Generator, share: float = 0.4) -> torch.Tensor:
    """Blurs a random share of the images by a 3x3 mean, as lenses and cheap resizing do."""
    chosen = sent(torch.rand(len(images), 1, 1, 1, generator=generator) < share, images.device)
    blurred = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return torch.where(chosen, blurred, images)


def jitter_colours(images: torch.Tensor, generator: torch.Generator, strength: float = 0.4) -> torch.Tensor:
    """Random brightness, contrast and saturation for each image, and a swap of channels for a few; stays in [0, 1]."""
    count, channels = images.shape[:2]

    def factor() -> torch.Tensor:
        draw = 1 + strength * (2 * torch.rand(count, 1, 1, 1, generator=generator) - 1)
        return sent(draw, images.device)

    images = images * factor()
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = mean + (images - mean) * (factor() * factor())
    if channels == 3:
        grey = images.mean(dim=1, keepdim=True)
        images = grey + (images - grey) * factor()
    return images.clamp(0, 1)


def cutmix(images: torch.Tensor, generator: torch.Generator, concentration: float = 0.25) -> torch.Tensor:
    """Pastes one random box of a shuffled batch into the batch (Yun et al. 2019); the teacher labels the result.

    Args:
        images: ``(N, C, H, W)``.
        generator: On the CPU.
        concentration: Both parameters of the Beta distribution of the kept share.
    """
    height, width = images.shape[-2:]
    kept = _beta(concentration, generator)
    box = math.sqrt(1 - kept)
    rows, columns = int(height * box), int(width * box)
    top = int(torch.randint(height - rows + 1, (), generator=generator))
    left = int(torch.randint(width - columns + 1, (), generator=generator))
    other = images[sent(torch.randperm(len(images), generator=generator), images.device)]
    mixed = images.clone()
    mixed[..., top : top + rows, left : left + columns] = other[..., top : top + rows, left : left + columns]
    return mixed


def shift_and_flip(
    images: torch.Tensor, generator: torch.Generator, padding: int, *, flips: bool = True
) -> torch.Tensor:
    """Random crop after mirrored padding, and random horizontal flip, each per image (one gather, no loop).

    Without ``flips`` nothing is mirrored: of signs and letters a mirror image means something else.
    """
    count, channels, height, width = images.shape
    padded = F.pad(images, (padding, padding, padding, padding), mode="reflect")
    down, right = torch.randint(2 * padding + 1, (2, count, 1), generator=generator)
    flip = torch.rand(count, 1, generator=generator) < (0.5 if flips else 0.0)
    down, right, flip = (sent(draw, images.device) for draw in (down, right, flip))
    rows = torch.arange(height, device=images.device) + down
    columns = torch.arange(width, device=images.device).expand(count, -1)
    columns = torch.where(flip, width - 1 - columns, columns) + right
    flat = (rows[:, :, None] * padded.shape[-1] + columns[:, None, :]).view(count, 1, -1)
    return padded.flatten(2).gather(2, flat.expand(-1, channels, -1)).view(count, channels, height, width)


def resized_crops(
    images: torch.Tensor, generator: torch.Generator, *, smallest_area: float, steepest: float = 4 / 3
) -> torch.Tensor:
    """Random resized crop and horizontal flip, per image, in one differentiable bilinear sampling.

    Args:
        images: ``(N, C, H, W)``.
        generator: On the CPU.
        smallest_area: Least share of the image that a crop keeps; uniform from there to 1.
        steepest: Largest stretch of the aspect ratio either way, uniform in the logarithm; a crop that would leave the
            image is cut at its border.
    """
    count = len(images)

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    side = uniform(smallest_area, 1.0).sqrt()
    stretch = torch.exp(uniform(-math.log(steepest), math.log(steepest)) / 2)
    wide, high = (side * stretch).clamp_max(1), (side / stretch).clamp_max(1)
    flip = (torch.rand(count, generator=generator) < 0.5).float() * 2 - 1
    zero = torch.zeros(count)
    right, down = uniform(-1, 1) * (1 - wide), uniform(-1, 1) * (1 - high)
    theta = torch.stack([wide * flip, zero, right, zero, high, down], dim=1).view(count, 2, 3)
    grid = F.affine_grid(sent(theta, images.device), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _beta(concentration: float, generator: torch.Generator) -> float:
    """One draw of Beta(a, a) by Johnk's method, which needs only uniforms (torch's sampler takes no generator)."""
    while True:
        first, second = (torch.rand(2, generator=generator, dtype=torch.float64) ** (1 / concentration)).tolist()
        if 0 < first + second <= 1:
            return float(first / (first + second))
