"""The student as files for other programs: ONNX, checked against PyTorch, and safetensors."""

from __future__ import annotations

import contextlib
import copy
import importlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from abd_app.errors import RunFailedError, first_line
from abd_app.export.files import replacing
from abd_app.export.interface import interface
from abd_app.teacher import ImageSpec

PARITY_LIMIT = 1e-3
MIN_PARITY_IMAGES = 256
_OPSET = 18
_BATCH = 64
_BRANCHING = ("If", "Loop", "Scan")
_FIRST_BATCHES = (1, 7)
"""Checked besides the full batches: a batch size that the exporter has baked in would show."""


def export_onnx(
    network: nn.Module,
    spec: ImageSpec,
    path: Path,
    *,
    metadata: Mapping[str, str],
    images: torch.Tensor,
    what: str = "student",
) -> float:
    """Writes ``network`` as one ONNX file and checks the file against PyTorch in float32 on the CPU.

    Input ``images`` ``(batch, C, H, W)`` float32 in [0, 1], batch free; output ``logits`` ``(batch, num_classes)``.
    Normalisation is inside, weights too. The file gets its name only if, on every image, the logits differ by at most
    1e-3 and the classes agree; where PyTorch's best two logits are within 2e-3 either class is accepted, because
    1e-3 may swap them.

    Args:
        network: Float images in [0, 1] -> logits; it is copied and left as it is.
        metadata: Written into the file's properties, with a sentence each on its input and its output.
        images: ``(N, C, H, W)`` uint8 for the check, N at least 256; synthetic ones will do.
        what: What messages call the network.

    Returns:
        The largest absolute difference of a logit.

    Raises:
        RunFailedError: A package is missing, the network cannot be exported, the check fails, or the disk is full.
        ValueError: Fewer than 256 images.
    """
    if len(images) < MIN_PARITY_IMAGES:
        raise ValueError(f"the parity check needs {MIN_PARITY_IMAGES} images, not {len(images)}")
    onnx, onnxruntime, _ = (_required(name, what) for name in ("onnx", "onnxruntime", "onnxscript"))
    copied = copy.deepcopy(network).to("cpu", torch.float32).to(memory_format=torch.contiguous_format)
    copied.eval().requires_grad_(False)
    model = _converted(copied, spec, what)
    _strip_traces(model.graph)
    onnx.helper.set_model_props(model, {**_told(spec), **metadata})
    with replacing(path) as temporary:
        onnx.save_model(model, str(temporary))
        return _checked_parity(copied, images, onnxruntime, temporary, what)


def _told(spec: ImageSpec) -> dict[str, str]:
    return interface(spec.channels, spec.height, spec.width, spec.num_classes)


def save_weights(network: nn.Module, path: Path, *, metadata: Mapping[str, str] | None = None) -> None:
    """Writes the state dict of ``network`` as safetensors.

    Raises:
        RunFailedError: The disk is full, or the folder cannot be written.
    """
    from safetensors.torch import save

    weights = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in network.state_dict().items()}
    with replacing(path) as temporary:
        temporary.write_bytes(save(weights, metadata={"format": "pt", **(metadata or {})}))


def _required(package: str, what: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise RunFailedError(
            f"The {what} cannot be exported: the package {package} is missing.",
            why=str(error),
            remedy=f"Install {package}, then "
            + ("continue the run (--resume)." if what == "student" else "start the command again."),
        ) from error


def _converted(network: nn.Module, spec: ImageSpec, what: str) -> Any:
    """By torch.export; a teacher that came as ONNX computes its axes, which it does not follow, and is traced.

    What tracing freezes of the batch shows in the check: it is made with other batches than the example.
    """
    example = torch.rand(2, spec.channels, spec.height, spec.width, generator=torch.Generator().manual_seed(0))
    try:
        with _quiet():
            convert = _traced if _came_as_onnx(network) else _exported
            return convert(network, example)
    except Exception as error:  # the exporter raises its own tree, torch.export's and plain RuntimeErrors
        raise RunFailedError(
            f"The {what} could not be converted to ONNX.",
            why=f"{type(error).__name__}: {first_line(error)}",
            remedy=f"Choose another {what} architecture; {what}.safetensors holds the weights.",
        ) from error


def _came_as_onnx(network: nn.Module) -> bool:
    """Whether a converted ONNX model is in it that takes the same way for all images, so that it can be traced."""
    parts = [type(module) for module in network.modules() if type(module).__module__.startswith("onnx2pytorch.")]
    return bool(parts) and not any(part.__name__ in _BRANCHING for part in parts)


def _exported(network: nn.Module, example: torch.Tensor) -> Any:
    program = torch.onnx.export(
        network,
        (example,),
        dynamo=True,
        verbose=False,
        opset_version=_OPSET,
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )
    if program is None:
        raise RuntimeError("the exporter returned nothing")
    return program.model_proto


def _traced(network: nn.Module, example: torch.Tensor) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "traced.onnx"
        torch.onnx.export(
            network,
            (example,),
            file,
            dynamo=False,
            opset_version=_OPSET,
            input_names=["images"],
            output_names=["logits"],
            dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}},
        )
        return importlib.import_module("onnx").load(str(file))


def _strip_traces(graph: Any) -> None:
    """Removes the exporter's notes from nodes and values: stack traces name folders of this machine."""
    for item in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del item.metadata_props[:]
        item.doc_string = ""


def _checked_parity(network: nn.Module, images: torch.Tensor, onnxruntime: Any, file: Path, what: str) -> float:
    pixels = images.to("cpu", torch.float32).div_(255)
    expected, answered = _torch_logits(network, pixels), _onnx_logits(onnxruntime, file, pixels.numpy(), what)
    if not np.isfinite(expected).all():
        _fail(file, f"The {what} answers with numbers that are not finite.", "Train it again with another seed.")
    difference = float(np.abs(expected - answered).max()) if expected.shape == answered.shape else float("inf")
    best_two = np.sort(expected, axis=1)[:, -2:]
    decided = best_two[:, 1] - best_two[:, 0] >= 2 * PARITY_LIMIT
    differing = int(((expected.argmax(1) != answered.argmax(1)) & decided).sum())
    if not difference <= PARITY_LIMIT or differing:
        failure = f"The ONNX {what} differs from PyTorch: by {difference:.3g}, and in class on {differing} images."
        _fail(file, failure, f"Keep {what}.safetensors, and report the {what} architecture and these figures.")
    return difference


def _torch_logits(network: nn.Module, pixels: torch.Tensor) -> npt.NDArray[np.float32]:
    with torch.inference_mode():
        logits: npt.NDArray[np.float32] = torch.cat([network(pixels[part]) for part in _parts(len(pixels))]).numpy()
    return logits


def _onnx_logits(onnxruntime: Any, file: Path, pixels: npt.NDArray[np.float32], what: str) -> npt.NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        return np.concatenate([session.run(["logits"], {"images": pixels[part]})[0] for part in _parts(len(pixels))])
    except Exception as error:  # onnxruntime's exceptions share no public base class
        _fail(file, f"The ONNX {what} does not run.", f"Choose another {what} architecture.", why=str(error))


def _parts(count: int) -> list[slice]:
    starts = [0, *np.cumsum(_FIRST_BATCHES).tolist()]
    starts += range(starts[-1] + _BATCH, count, _BATCH)
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], count], strict=True)]


def _fail(
    file: Path, failure: str, remedy: str, *, why: str = "It was checked against PyTorch and not kept."
) -> NoReturn:
    raise RunFailedError(failure, where=str(file.parent), why=why, remedy=remedy)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter's chatter off stdout, which belongs to ``--json``, and its warnings away from the user."""
    chatter, before = io.StringIO(), logging.root.manager.disable
    with contextlib.redirect_stdout(chatter), contextlib.redirect_stderr(chatter), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
