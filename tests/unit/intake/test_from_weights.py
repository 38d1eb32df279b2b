"""Networks of libraries answer as the ones that were saved, and what a file leaves open is settled by what is said."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from abd_app.intake import open_teacher
from abd_app.networks import catalog
from abd_app.plan import TeacherFacts

Save = Callable[..., str]

PLAIN = TeacherFacts(input_size=(64, 64), mean=(0.0,) * 3, std=(1.0,) * 3)
IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("with_metadata", [True, False])
def test_layers_that_ask_for_their_version_open(saved: Save, with_metadata: bool) -> None:
    network = catalog.build("torchvision/mnasnet0_5", 4).eval()
    state = network.state_dict()
    teacher = open_teacher(saved(state if with_metadata else dict(state)), PLAIN)
    assert torch.allclose(teacher.network(IMAGES), network(IMAGES), atol=1e-5)
