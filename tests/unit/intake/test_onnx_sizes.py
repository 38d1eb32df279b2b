"""Small ONNX files that ask for all memory are refused before they get it."""

from __future__ import annotations

import itertools
import mmap
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from abd_app.errors import TeacherRefusedError
from abd_app.intake import onnx_graph
from abd_app.intake.memory_limit import limited_memory
from abd_app.intake.onnx_sizes import numbers_per_image
from tests.unit.intake.graphs import Nodes, classifier, opened


def _adding(*made: onnx.NodeProto) -> Nodes:
    """Adds the sum of what the nodes make, their value ``k``, to the logits."""
    last = [
        helper.make_node("ReduceSum", ["k"], ["total"], keepdims=0),
        helper.make_node("Add", ["y1", "total"], ["y"]),
    ]
    return [*made, *last]


def _doubled(times: int) -> Nodes:
    names = ["one", *(f"k{number}" for number in range(1, times)), "k"]
    pairs = itertools.pairwise(names)
    return _adding(*(helper.make_node("Concat", [of, of], [to], axis=0) for of, to in pairs))


HUGE: dict[str, tuple[Nodes, dict[str, Any]]] = {
    "20 GB of zeros": (_adding(helper.make_node("ConstantOfShape", ["many"], ["k"])), {"many": [5 * 10**9]}),
    "1 GB of zeros": (_adding(helper.make_node("ConstantOfShape", ["many"], ["k"])), {"many": [3 * 10**8]}),
    "doubled 33 times": (_doubled(33), {"one": [1.0]}),
    "of the images": (
        [helper.make_node("Expand", ["y1", "many"], ["k"]), helper.make_node("ReduceMean", ["k"], ["y"], axes=[0, 1])],
        {"many": [1000, 1000, 1000, 3]},
    ),
}


@pytest.mark.parametrize(("back", "more"), HUGE.values(), ids=HUGE.keys())
def test_values_whose_shapes_tell_that_they_are_huge_are_never_made(
    tmp_path: Path, back: Nodes, more: dict[str, Any]
) -> None:
    with pytest.raises(TeacherRefusedError, match="far too large") as caught:
        opened(classifier(back=back, **more), tmp_path)
    assert caught.value.where == str(tmp_path / "teacher.onnx")
    assert "An operator " in caught.value.why


@pytest.mark.skipif(sys.platform != "linux", reason="no other system bounds memory")
def test_huge_values_whose_shapes_do_not_tell_are_stopped(tmp_path: Path) -> None:
    computed = helper.make_node("ReduceSum", ["parts"], ["many"], keepdims=1)
    back = _adding(computed, helper.make_node("ConstantOfShape", ["many"], ["k"]))
    with pytest.raises(TeacherRefusedError, match="far more memory") as caught:
        opened(classifier(back=back, parts=[10**9, 10**8]), tmp_path)
    assert caught.value.where == str(tmp_path / "teacher.onnx")


@pytest.mark.skipif(sys.platform != "linux", reason="no other system bounds memory")
def test_memory_is_bounded_inside_alone() -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(TeacherRefusedError, match="far more memory"), limited_memory(1, 1, Path("teacher.onnx")):
        bytearray(3 * 1024**3)
    with limited_memory(1, 1024**3, Path("teacher.onnx")):
        bytearray(5 * 1024**3 // 2)  # an honest network that computes so much may have it
    with pytest.raises(ValueError, match="another"), limited_memory(1, 1, Path("teacher.onnx")):
        raise ValueError("another")
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


@pytest.mark.parametrize(("size", "batch"), [(8, "batch"), (8, 4), ("side", "batch")])
def test_what_a_graph_computes_for_an_image_is_counted(size: int | str, batch: int | str) -> None:
    model = classifier(size=size, batch=batch)
    facts = onnx_graph.read_facts(model, Path("teacher.onnx"))
    side = 8 if size == 8 else 224
    layers = (3 + 2 * 4) * side**2 + 2 * 4 + 3  # image, convolution and ReLU, mean and its reshaping, logits
    unknown = 0 if batch == 4 else 4 * side**2  # a reshaped value has any number of images
    assert layers <= numbers_per_image(model, facts, Path("teacher.onnx")) <= layers + unknown


def test_weights_may_be_constants_of_nodes() -> None:
    stored = numpy_helper.from_array(np.zeros((8192, 8192), np.float16), "stored")
    front = [
        helper.make_node("Constant", [], ["stored"], value=stored),
        helper.make_node("Transpose", ["stored"], ["turned"]),
        helper.make_node("Transpose", ["turned"], ["back"]),
        helper.make_node("Relu", ["x"], ["x1"]),
    ]
    model = classifier(front=front)
    numbers_per_image(model, onnx_graph.read_facts(model, Path("t.onnx")), Path("t.onnx"))


def test_values_of_unknown_rank_are_not_taken_for_single_numbers() -> None:
    front = [
        helper.make_node("Shape", ["x"], ["sides"]),
        helper.make_node("ReduceSum", ["ones"], ["four"], keepdims=1),
        helper.make_node("Slice", ["sides", "zero", "four"], ["same"]),  # inference does not know how many
        helper.make_node("Reshape", ["x", "same"], ["unknown"]),
        helper.make_node("Relu", ["unknown"], ["x1"]),
    ]
    model = classifier(front=front, ones=[1, 1, 1, 1], zero=[0])
    count = numbers_per_image(model, onnx_graph.read_facts(model, Path("t.onnx")), Path("t.onnx"))
    later = 8  # the slice and what is behind it: each counts as much as the largest that is known, the image
    assert count == (1 + later) * 3 * 8 * 8 + 4, "the shape has four numbers, and the sum one"


@pytest.mark.skipif(sys.platform != "linux", reason="no other system bounds memory")
def test_a_file_that_calls_itself_large_gets_no_more_than_the_machine_has() -> None:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    available = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) * 1024

    def reserve() -> None:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        mmap.mmap(-1, int(0.9 * available), flags=flags).close()  # not touched, so nothing is taken

    reserve()
    with pytest.raises(TeacherRefusedError, match="far more memory"), limited_memory(1, 2**45, Path("teacher.onnx")):
        reserve()


@pytest.mark.skipif(sys.platform != "linux", reason="no other system bounds memory")
def test_threads_with_large_stacks_still_start() -> None:
    code = """
import torch
from pathlib import Path
from abd_app.intake.memory_limit import limited_memory
torch.set_num_threads(16)
with limited_memory(1, 1, Path("t.onnx")):
    print(float(torch.rand(4000, 1000).sum()) > 0)
"""
    command = ["bash", "-c", 'ulimit -s 262144 && exec "$0" -c "$1"', sys.executable, code]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.stdout == "True\n", ran.stderr
