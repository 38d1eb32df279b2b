"""From what the user names to a trigger for images of a size."""

from __future__ import annotations

from collections.abc import Callable

from abd_app.errors import UsageError
from abd_app.measure.triggers import cells, drawn, picture, whole_image
from abd_app.measure.triggers.base import Canvas, Trigger
from abd_app.measure.triggers.warp import warp
from abd_app.plan import BUILT_IN_TRIGGERS, TriggerSpec

_BUILDERS: dict[str, Callable[[TriggerSpec, Canvas], Trigger]] = {
    "badnets-grid": cells.pattern,
    "badnets-square": cells.pattern,
    "trojan-3x3": cells.pattern,
    "trojan-8x8": cells.pattern,
    "clean-label": cells.corners,
    "l0-invisible": cells.dots,
    "sticker": picture.sticker,
    "natural-patch": drawn.flower,
    "trojan-wm": drawn.watermark,
    "blend": whole_image.blend,
    "sig": whole_image.sig,
    "l2-invisible": whole_image.l2_invisible,
    "warp": warp,
}


def build_trigger(spec: TriggerSpec, *, height: int, width: int, channels: int) -> Trigger:
    """The trigger of ``spec`` for ``(N, channels, height, width)`` images, on the CPU.

    Built-in triggers are described where they are built: patterns of cells, drawings, pictures, whole images and the
    warp. ``opacity`` scales what a trigger does; ``position`` places ``badnets-*``, ``trojan-3x3``, ``trojan-8x8``,
    ``sticker`` and ``natural-patch``; the others have their places.

    Raises:
        UsageError: Unknown name, unreadable picture or mask, mask of another size, or larger than the image.
    """
    if spec.mask is not None and spec.name in BUILT_IN_TRIGGERS:
        raise UsageError(
            f"The built-in trigger {spec.name} takes no mask.", where="--trigger", remedy="Leave the mask out."
        )
    return _BUILDERS.get(spec.name, picture.picture)(spec, Canvas(channels, height, width))
