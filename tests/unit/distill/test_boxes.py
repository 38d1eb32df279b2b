"""Boxes anywhere in an image."""

from __future__ import annotations

import torch

from abd_app.distill.boxes import random_boxes


def _random() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_random_boxes_are_boxes_of_the_stated_sides_anywhere_in_the_image() -> None:
    height, width = 40, 20
    masks = random_boxes(600, height, width, _random())
    assert masks.shape == (600, 1, height, width)
    assert masks.unique().tolist() == [0.0, 1.0]
    rows, columns = masks[:, 0].amax(2), masks[:, 0].amax(1)
    assert torch.equal(masks[:, 0], rows[:, :, None] * columns[:, None, :])
    for spans, side in ((rows, height), (columns, width)):
        lengths = spans.sum(1)
        assert float(lengths.min()) >= 0.12 * side - 0.5 and float(lengths.max()) <= 0.28 * side + 0.5
        assert float(lengths.max()) - float(lengths.min()) >= 0.1 * side
        assert (spans.diff(dim=1) > 0).sum(1).max() <= 1, "one run each"
        assert spans[:, 0].any() and spans[:, -1].any(), "the border is reached"
    assert random_boxes(50, 8, 8, _random())[:, 0].amax(2).sum(1).min() == 2, "never thinner than two pixels"
