"""Networks of libraries answer as the ones that were saved, and what a file leaves open is settled by what is said."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch

from abd_app.intake import inspect_teacher, open_teacher
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


def test_the_users_normalisation_chooses_the_twin_that_expects_it(saved: Save) -> None:
    network = catalog.build("timm/tf_efficientnet_lite0", 4).eval()
    teacher = open_teacher(saved(network.state_dict()), dataclasses.replace(PLAIN, mean=(0.5,) * 3, std=(0.5,) * 3))
    assert teacher.card.architecture == "timm/tf_efficientnet_lite0"
    assert torch.allclose(teacher.network(IMAGES), network((IMAGES - 0.5) / 0.5), atol=1e-5)


def test_the_users_size_chooses_the_twin_that_takes_it_and_nothing_is_resized(saved: Save) -> None:
    facts = dataclasses.replace(PLAIN, input_size=(384, 384))
    card = inspect_teacher(saved(catalog.build("timm/xcit_nano_12_p16_384", 4).state_dict()), facts)
    assert card.architecture == "timm/xcit_nano_12_p16_384"
    assert not [finding for finding in card.findings if "resized" in finding.title]


def test_where_several_architectures_fit_a_finding_names_the_option(saved: Save) -> None:
    path = saved(catalog.build("timm/resnetblur18", 4).state_dict())
    (finding,) = [one for one in inspect_teacher(path, PLAIN).findings if "Several architectures fit" in one.title]
    assert finding.severity == "info" and "--arch timm/resnetblur18" in finding.detail
    named = inspect_teacher(path, dataclasses.replace(PLAIN, architecture="timm/resnetblur18"))
    assert not [one for one in named.findings if "Several architectures fit" in one.title]
