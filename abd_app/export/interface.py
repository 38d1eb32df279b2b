"""What an exported network takes and answers, told where its users look: in its file, and in the report."""

from __future__ import annotations


def interface(channels: int, height: int, width: int, num_classes: int) -> dict[str, str]:
    """A sentence on the ``input`` and one on the ``output`` of an ONNX file that this app has written."""
    colours = "RGB" if channels == 3 else "grey"
    return {
        "input": f"images: float32 (batch, {channels}, {height}, {width}), {colours} in [0, 1], not normalised",
        "output": f"logits: float32 (batch, {num_classes})",
    }
