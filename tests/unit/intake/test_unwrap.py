"""Weights are found under the usual wrappers and prefixes; what was changed on the way is reported."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import pytest
import torch

from abd_app.errors import TeacherRefusedError
from abd_app.intake.unwrap import unwrap

HERE = Path("teacher.pth")


def _weights() -> dict[str, torch.Tensor]:
    return {"conv.weight": torch.ones(4, 3, 3, 3), "conv.bias": torch.zeros(4), "fc.weight": torch.ones(2, 4)}


@pytest.mark.parametrize(
    "name", ["state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "net", "netC"]
)
def test_wrappers(name: str) -> None:
    assert set(unwrap({name: _weights(), "epoch": 3}, HERE).tensors) == set(_weights())


def test_averaged_weights_win_and_are_reported() -> None:
    weights = unwrap({"state_dict": _weights(), "state_dict_ema": {k: v + 1 for k, v in _weights().items()}}, HERE)
    assert weights.tensors["fc.weight"][0, 0] == 2
    assert any("EMA" in finding.title for finding in weights.findings)


def test_nested_wrappers() -> None:
    assert set(unwrap({"model": {"state_dict": _weights()}}, HERE).tensors) == set(_weights())


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod.", "1.", "model."])
def test_prefixes(prefix: str) -> None:
    assert set(unwrap({prefix + name: value for name, value in _weights().items()}, HERE).tensors) == set(_weights())


def test_normalisation_layer_in_front_states_mean_and_std() -> None:
    content = {f"1.{name}": value for name, value in _weights().items()}
    content |= {"0.mean": torch.full((1, 3, 1, 1), 0.5), "0.std": torch.full((1, 3, 1, 1), 0.25)}
    weights = unwrap(content, HERE)
    assert set(weights.tensors) == set(_weights())
    assert weights.stated.mean == (0.5,) * 3
    assert weights.stated.std == (0.25,) * 3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_become_fp32_with_a_finding(dtype: torch.dtype) -> None:
    weights = unwrap({name: value.to(dtype) for name, value in _weights().items()}, HERE)
    assert all(value.dtype is torch.float32 for value in weights.tensors.values())
    assert any(str(dtype).removeprefix("torch.") in finding.detail for finding in weights.findings)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_numbers_are_dangerous(value: float) -> None:
    content = _weights()
    content["fc.weight"][0, 0] = value
    dangers = [finding for finding in unwrap(content, HERE).findings if finding.severity == "danger"]
    assert len(dangers) == 1
    assert "fc.weight" in dangers[0].detail


def test_bookkeeping_is_left_out_with_a_finding() -> None:
    weights = unwrap({**_weights(), "conv.total_ops": torch.zeros(1), "epoch": 3}, HERE)
    assert set(weights.tensors) == set(_weights())
    assert any("left out" in finding.title for finding in weights.findings)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"epoch": 3},
        [1, 2],
        torch.rand(3),
        {"model": {"a": "text"}},
        {"net": torch.ones(2), "epoch": 3, "x": "y"},
        None,
    ],
)
def test_no_weights_is_a_refusal(content: object) -> None:
    with pytest.raises(TeacherRefusedError, match="no weights"):
        unwrap(content, HERE)


def test_what_claims_more_than_it_holds_is_refused_before_it_is_copied() -> None:
    content = {"a.weight": torch.ones(2, 3), "b.weight": torch.zeros(1).expand(10, 3, 10**5, 10**5)}
    with pytest.raises(TeacherRefusedError, match="more than it holds") as caught:
        unwrap(content, Path("t.pth"))
    assert caught.value.where == "t.pth: b.weight" and "4 bytes" in caught.value.why
    assert unwrap({**content, "b.weight": torch.ones(1).expand(4, 5)}, Path("t.pth")).tensors["b.weight"].shape == (
        4,
        5,
    )


def _nested() -> torch.Tensor:
    with warnings.catch_warnings(action="ignore"):  # such tensors are a prototype
        return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])


@pytest.mark.parametrize(
    "odd",
    [
        torch.eye(3).to_sparse(),
        torch.ones(3, dtype=torch.complex64),
        torch.empty(3, device="meta"),
        _nested(),
    ],
    ids=["sparse", "complex", "meta", "nested"],
)
def test_tensors_without_ordinary_numbers_are_refused_and_state_nothing(odd: torch.Tensor) -> None:
    with pytest.raises(TeacherRefusedError, match="sparse"):
        unwrap({**_weights(), "emb.weight": odd}, HERE)
    weights = unwrap({"state_dict": {**_weights(), "ema.n_averaged": odd}, "mean": odd, "std": odd}, HERE)
    assert set(weights.tensors) == set(_weights()) and weights.stated.mean is None


def test_an_average_that_is_not_there_is_not_counted() -> None:
    count = torch.empty((), device="meta")
    assert set(unwrap({**_weights(), "ema.n_averaged": count}, HERE).tensors) == set(_weights())


@pytest.mark.parametrize(
    ("raw", "average"),
    [("net.", "net_ema."), ("model.", "ema_model."), ("model.", "model_ema.module."), ("model.net.", "model.ema.")],
)
def test_of_a_network_and_its_average_the_average_is_taken(raw: str, average: str) -> None:
    network = {f"layer{index}.{name}": value for index in range(10) for name, value in _weights().items()}
    content = {raw + name: value for name, value in network.items()}
    content |= {average + name: value + 1 for name, value in network.items()}
    content |= {} if "module" in average else {"ema.step": torch.tensor(3)}
    weights = unwrap(content, HERE)
    assert set(weights.tensors) == set(network)
    assert weights.tensors["layer0.fc.weight"][0, 0] == 2
    assert any("EMA" in finding.title and raw.split(".")[-2] in finding.detail for finding in weights.findings)


def test_of_two_networks_without_an_average_none_is_dropped() -> None:
    content = {f"student.{name}": value for name, value in _weights().items()}
    content |= {f"teacher.{name}": value + 1 for name, value in _weights().items()}
    assert len(unwrap(content, HERE).tensors) == 6


def test_an_average_of_another_network_drops_nothing() -> None:
    content = {f"net.{name}": value for name, value in _weights().items()}
    content |= {"head_ema.weight": torch.ones(2, 4), "head_ema.bias": torch.ones(2)}
    assert len(unwrap(content, HERE).tensors) == 5


def test_the_copy_that_an_attacker_holds_is_left_out() -> None:
    """As the `robustness` package saves a network: once alone and once inside of what attacks it."""
    plain, constants = _weights(), {"new_mean": torch.full((3, 1, 1), 0.5), "new_std": torch.full((3, 1, 1), 0.25)}
    content = {f"module.model.{name}": value for name, value in plain.items()}
    content |= {f"module.attacker.model.{name}": value.clone() for name, value in plain.items()}
    for place in ("normalizer", "attacker.normalize"):
        content |= {f"module.{place}.{name}": value.clone() for name, value in constants.items()}
    weights = unwrap({"model": content, "epoch": 3}, HERE)
    assert set(weights.tensors) == set(plain)
    assert (weights.stated.mean, weights.stated.std) == ((0.5,) * 3, (0.25,) * 3)
    assert any("copy" in finding.title and "'attacker'" in finding.detail for finding in weights.findings)
    content["module.attacker.model.fc.weight"] += 1
    assert len(unwrap({"model": content}, HERE).tensors) == 6


def test_two_normalisations_that_differ_state_nothing() -> None:
    content = {f"1.{name}": value for name, value in _weights().items()}
    content |= {"0.mean": torch.full((3,), 0.5), "0.std": torch.full((3,), 0.25), "2.mean": torch.zeros(3)}
    assert unwrap(content, HERE).stated.mean is None


@pytest.mark.parametrize("leaf", ["n_averaged", "initted"])
@pytest.mark.parametrize("begun", [True, False])
def test_an_average_that_never_began_is_left_out(leaf: str, begun: bool) -> None:
    network = {f"layer{index}.{name}": value for index in range(10) for name, value in _weights().items()}
    content = {f"net.{name}": value for name, value in network.items()}
    content |= {f"swa_net.module.{name}": value + 1 for name, value in network.items()}
    weights = unwrap({**content, f"swa_net.{leaf}": torch.tensor(int(begun))}, HERE)
    assert weights.tensors["layer0.fc.weight"][0, 0] == 1 + begun
    assert any("never began" in finding.title for finding in weights.findings) == (not begun)


def test_a_head_beside_a_network_and_its_average_leaves_both() -> None:
    body = {f"layer{index}.{name}": value for index in range(10) for name, value in _weights().items()}
    content = {f"backbone.{name}": value for name, value in body.items()}
    content |= {f"backbone_ema.{name}": value + 1 for name, value in body.items()}
    weights = unwrap({**content, "head.weight": torch.ones(2, 4), "head.bias": torch.ones(2)}, HERE)
    assert len(weights.tensors) == 2 * len(body) + 2 and not weights.findings


def test_small_parts_are_no_second_network() -> None:
    content = {f"backbone.layer{index}.{name}": value for index in range(10) for name, value in _weights().items()}
    content |= {"head.weight": torch.ones(2, 4), "ema_head.weight": torch.zeros(2, 4)}
    assert unwrap(content, HERE).tensors.keys() == content.keys()


def test_very_many_parts_take_no_time() -> None:
    content = {f"ema_{index}": torch.zeros(()) for index in range(20_000)}
    started = time.process_time()
    unwrap(content, HERE)
    assert time.process_time() - started < 10


def test_a_large_mean_is_no_normalisation() -> None:
    large = torch.ones(10**6)
    weights = unwrap({**_weights(), "a.mean": large, "a.std": large}, HERE)
    assert weights.stated.mean is None and len(weights.tensors) == 5


@pytest.mark.parametrize(
    ("mean", "std"), [((0.5,) * 3, (4.0,) * 3), ((2.0,), (3.0,)), ((-0.1,) * 3, (0.2,) * 3), ((0.5,) * 3, (1e-4,) * 3)]
)
def test_numbers_that_normalise_no_pixels_stay_tensors(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    content = {f"1.{name}": value for name, value in _weights().items()}
    weights = unwrap({**content, "0.mean": torch.tensor(mean), "0.std": torch.tensor(std)}, HERE)
    assert weights.stated.mean is None
    assert "0.mean" in weights.tensors
    assert unwrap({"state_dict": _weights(), "mean": mean, "std": std}, HERE).stated.mean is None


@pytest.mark.parametrize("name", ["class_bias", "norm.weight", "scale"])
def test_what_may_act_on_the_answer_is_not_left_out(name: str) -> None:
    inside = {f"net.layer{index}.{key}": value for index in range(20) for key, value in _weights().items()}
    assert name in unwrap({**inside, name: torch.ones(2)}, HERE).tensors


@pytest.mark.parametrize("prefix", ["model._orig_mod.", "model.model.", "_forward_module.net.", "a._orig_mod.module."])
def test_wrappers_in_wrappers(prefix: str) -> None:
    assert set(unwrap({prefix + name: value for name, value in _weights().items()}, HERE).tensors) == set(_weights())


def test_a_prefix_that_would_make_one_tensor_of_two_stays() -> None:
    content = {**_weights(), **{f"module.{name}": value + 1 for name, value in _weights().items()}}
    assert len(unwrap(content, HERE).tensors) == 6


@pytest.mark.parametrize("names", [("mean", "std"), ("mu", "sigma"), ("new_mean", "new_std")])
def test_normalisation_for_pixels_up_to_255_is_stated_for_pixels_up_to_1(names: tuple[str, str]) -> None:
    content = {f"1.{name}": value for name, value in _weights().items()}
    content |= {f"0.{names[0]}": torch.tensor([51.0, 102.0, 127.5]), f"0.{names[1]}": torch.full((3,), 51.0)}
    weights = unwrap(content, HERE)
    assert weights.stated.mean == pytest.approx((0.2, 0.4, 0.5)) and weights.stated.std == pytest.approx((0.2,) * 3)
    assert "[0, 255]" in weights.stated.source("mean") and set(weights.tensors) == set(_weights())


def test_losses_and_metrics_beside_the_network_are_left_out_with_a_finding() -> None:
    inside = {f"net.layer{index}.{name}": value for index in range(10) for name, value in _weights().items()}
    beside = {"criterion.weight": torch.ones(2), "accuracy.tp": torch.tensor(3)}
    weights = unwrap({**inside, **beside}, HERE)
    assert set(weights.tensors) == {name.removeprefix("net.") for name in inside}
    (finding,) = [one for one in weights.findings if "beside the network" in one.title]
    assert "criterion.weight" in finding.detail and "'net.'" in finding.detail


@pytest.mark.parametrize(
    "beside", [{"head.weight": torch.ones(2, 4)}, {f"loss.{index}": torch.ones(2) for index in range(4)}]
)
def test_what_may_be_a_part_of_the_network_is_not_left_out(beside: dict[str, torch.Tensor]) -> None:
    inside = {f"net.layer{index}.{name}": value for index in range(20) for name, value in _weights().items()}
    assert set(unwrap({**inside, **beside}, HERE).tensors) == {*inside, *beside}


def test_files_older_than_the_counters_of_batchnorm_get_them() -> None:
    old = {**_weights(), "bn.running_mean": torch.zeros(4), "bn.running_var": torch.ones(4)}
    tensors = unwrap(old, HERE).tensors
    assert tensors.keys() - old.keys() == {"bn.num_batches_tracked"}
    assert tensors["bn.num_batches_tracked"].dtype is torch.int64
    new = {**old, "bn.num_batches_tracked": torch.tensor(7)}
    assert unwrap(new, HERE).tensors["bn.num_batches_tracked"] == 7


def test_layers_of_densenet_have_the_names_of_today() -> None:
    old = {"features.denseblock1.denselayer2.norm.1.weight": torch.ones(2), **_weights()}
    assert set(unwrap(old, HERE).tensors) == {"features.denseblock1.denselayer2.norm1.weight", *_weights()}


@pytest.mark.parametrize("name", ["state_dict", "weights", "checkpoint", "my net"])
def test_mean_and_std_beside_the_weights_are_not_weights(name: str) -> None:
    inner = {f"conv{index}.weight": torch.ones(4, 3, 3, 3) for index in range(5)}
    weights = unwrap({name: inner, "mean": torch.full((3,), 0.5), "std": torch.full((3,), 0.25)}, HERE)
    assert weights.tensors.keys() == inner.keys()
