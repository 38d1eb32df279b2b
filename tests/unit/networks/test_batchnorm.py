"""Which BatchNorm layers tell of the training data: intake, sources and bounds count the same ones."""

from __future__ import annotations

from torch import nn

from abd_app.intake.candidate import Candidate
from abd_app.intake.sniff import FileKind
from abd_app.intake.stated import NOTHING_STATED
from abd_app.networks.batchnorm import tracked_batchnorms


def test_layers_over_images_with_statistics_count() -> None:
    without = nn.BatchNorm2d(2, track_running_stats=False)
    network = nn.Sequential(without, nn.BatchNorm2d(2), nn.BatchNorm1d(2), nn.BatchNorm3d(2), nn.SyncBatchNorm(2))
    assert tracked_batchnorms(network) == [network[1], network[4]]
    assert Candidate(FileKind.SAFETENSORS, NOTHING_STATED, (), network).batchnorm_layers == 2
    assert Candidate(FileKind.SAFETENSORS, NOTHING_STATED, ()).batchnorm_layers == 0
