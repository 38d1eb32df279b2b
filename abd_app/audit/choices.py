"""What ``auto`` means for this teacher."""

from __future__ import annotations

from abd_app.errors import UsageError
from abd_app.intake import OneByOne
from abd_app.networks.catalog import SMALL_IMAGE_PX
from abd_app.plan import PURIFIED
from abd_app.teacher import ONNX_BYTES, Teacher, TeacherCard

_INVERTING = ("cmi", "fast")
_MAYBE_FOLDED = " (ONNX export folds them away unless it is told to keep them)"
_OR_STATE_DICT = ", or open the teacher's state_dict instead"


def choose_method(method: str, card: TeacherCard, device_type: str, *, purifies: bool = False) -> tuple[str, str]:
    """The image source to use, and the reason in one sentence.

    Args:
        method: As in the plan.
        card: Of the teacher.
        device_type: ``cpu`` or ``cuda``.
        purifies: Whether no student is to learn: unlearning needs few images, which may be dear ones.

    Raises:
        UsageError: The method asked for cannot work with this teacher.
    """
    has_statistics, is_onnx = card.batchnorm_layers > 0, card.format == "ONNX"
    if method in _INVERTING and not has_statistics:
        raise UsageError(
            f"The method {method} cannot be used with this teacher.",
            where=f"--method {method}",
            why=f"It inverts the statistics of BatchNorm layers, and the file has none{_MAYBE_FOLDED * is_onnx}.",
            remedy=f"Use --method ood or auto{_OR_STATE_DICT * is_onnx}.",
        )
    if method != "auto":
        return method, "as you asked"
    if card.batchnorm_folded:
        return (
            "ood",
            "ONNX export seems to have folded BatchNorm layers away: what is left says too little",
        )
    if has_statistics and device_type == "cpu" and not purifies and max(card.input_size or (0,)) > SMALL_IMAGE_PX:
        return "ood", f"inverting images of more than {SMALL_IMAGE_PX} pixels a side takes a CPU too long"
    if has_statistics:
        layers = card.batchnorm_layers
        return (
            "fast",
            f"the statistics of the teacher's {layers} BatchNorm layers describe the images it was trained on",
        )
    return "ood", "the teacher has no BatchNorm statistics to invert, so patches of unrelated pictures are used"


def choose_effort(effort: str, side_px: int, device_type: str, *, limited: bool = False) -> str:
    """``auto``: ``standard`` for small images on a GPU, else ``quick``.

    Args:
        effort: As in the plan.
        side_px: The longer side of the teacher's images.
        device_type: ``cpu`` or ``cuda``.
        limited: Whether steps or minutes are given instead.
    """
    if effort != "auto":
        return effort
    return "standard" if device_type == "cuda" and side_px <= SMALL_IMAGE_PX and not limited else "quick"


def choose_student(name: str, teacher: Teacher) -> str:
    """``auto``: WRN-16-1 for small images, ResNet-18 for larger ones.

    Raises:
        UsageError: The teacher itself is to be purified, and cannot be exported again.
    """
    if name == PURIFIED and 4 * teacher.card.parameters > ONNX_BYTES:
        raise UsageError(
            "This teacher is too large to be purified.",
            where=f"--student {PURIFIED}",
            why=f"It has {4 * teacher.card.parameters / 1e9:.2f} GB of weights in float32, and one ONNX file holds "
            f"{ONNX_BYTES / 1e9:.2f}.",
            remedy="Choose a student instead.",
        )
    if name == PURIFIED and any(isinstance(module, OneByOne) for module in teacher.network.modules()):
        raise UsageError(
            "This teacher cannot be purified.",
            where=f"--student {PURIFIED}",
            why="Its graph was exported for batches of one size and rests on it: it cannot be exported for others.",
            remedy="Export it again with a dynamic batch and open that, or choose a student.",
        )
    if name != "auto":
        return name
    return "wrn-16-1" if max(teacher.spec.height, teacher.spec.width) <= SMALL_IMAGE_PX else "resnet18-imagenet"
