"""What a checkpoint keeps beside its weights does not hide them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from abd_app.errors import TeacherRefusedError
from abd_app.intake.unwrap import unwrap

HERE = Path("teacher.pth")


def _weights() -> dict[str, torch.Tensor]:
    return {"conv.weight": torch.ones(4, 3, 3, 3), "conv.bias": torch.zeros(4), "fc.weight": torch.ones(2, 4)}


@pytest.mark.parametrize("options", [{"depth": 28}, {"net": {"depth": 28}}, {"mean": torch.ones(3), "depth": [1, 2]}])
@pytest.mark.parametrize("name", ["weights", "net"])
def test_options_under_a_usual_name_do_not_hide_the_weights(options: dict[str, object], name: str) -> None:
    weights = unwrap({"model": options, name: _weights()}, HERE)
    assert weights.tensors.keys() == _weights().keys()


def test_a_refusal_speaks_of_what_is_where_the_weights_should_be() -> None:
    content = {"epoch": 3, "state_dict": {"body": _weights(), "head": _weights()}}
    with pytest.raises(TeacherRefusedError, match="no weights") as caught:
        unwrap(content, HERE)
    assert "'body', 'head'" in caught.value.why and "epoch" not in caught.value.why


def test_of_several_networks_the_others_are_named() -> None:
    weights = unwrap({"model": _weights(), "ema_model": _weights(), "model_ema": {}}, HERE)
    (finding,) = [one for one in weights.findings if "more than one network" in one.title]
    assert "'ema_model'" in finding.detail and finding.severity == "warning"


def test_what_an_average_was_made_of_is_no_other_network() -> None:
    weights = unwrap({"state_dict": _weights(), "state_dict_ema": _weights()}, HERE)
    assert [(one.severity, one.detail) for one in weights.findings] == [("info", "state_dict_ema")]
    other = {**_weights(), "fc.weight": torch.ones(3, 4)}
    (finding, _) = unwrap({"state_dict": other, "state_dict_ema": _weights()}, HERE).findings
    assert finding.severity == "warning" and "'state_dict'" in finding.detail
