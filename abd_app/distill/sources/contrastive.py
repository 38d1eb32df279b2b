"""Instance discrimination: every image is to be told apart from all the others (Fang et al., CMI, IJCAI 2021)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from abd_app.distill.compute.device import sent
from abd_app.distill.sources.pool import affordable, restored, saved

EMBEDDING = 128
_BYTES = 2


class ProjectionHead(nn.Module):
    """Two linear layers with a ReLU between them: ``(N, features)`` -> ``(N, embedding)`` of unit length."""

    def __init__(self, features: int, embedding: int = EMBEDDING) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(features, embedding), nn.ReLU(), nn.Linear(embedding, embedding))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.layers(features), dim=1)


class FeatureBank:
    """A ring of teacher features of the images so far, on the device; the oldest give way to the newest.

    Kept in bfloat16, which is as good for a negative and takes half the memory; at most a gibibyte, or what ``least``
    images take. It holds features before the projection head, which goes on learning.

    Args:
        capacity: Images at most; fewer where they would take more memory than that.
        features: Numbers an image.
        least: Images that are kept whatever they take.
        device: Where they live.
    """

    def __init__(self, capacity: int, features: int, *, least: int, device: torch.device) -> None:
        size = affordable(capacity, features * _BYTES, least=least)
        self._features = torch.empty(size, features, dtype=torch.bfloat16, device=device)
        self._written = 0

    def __len__(self) -> int:
        return min(self._written, len(self._features))

    def add(self, features: torch.Tensor) -> None:
        """Stores ``(N, features)``."""
        new = torch.arange(self._written, self._written + len(features), device=self._features.device)
        self._features[new % len(self._features)] = features.to(torch.bfloat16)
        self._written += len(features)

    def sample(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """``(min(count, held), features)`` float32, each held image at most once."""
        chosen = torch.randperm(len(self), generator=generator)[:count]
        return self._features[sent(chosen, self._features.device)].float()

    def state_dict(self) -> dict[str, Any]:
        """The features and the place of the next."""
        return {"features": saved(self._features[: len(self)]), "written": self._written}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores :meth:`state_dict` of a bank of the same capacity."""
        self._features = restored(self._features, state["features"])
        self._written = state["written"]


def contrastive_loss(
    local_views: torch.Tensor, global_views: torch.Tensor, negatives: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Cross entropy of finding each image's global view by its local one, among all global views (Fang et al. 2021).

    Args:
        local_views: ``(N, E)`` embeddings of unit length; gradients flow through these alone, as published.
        global_views: ``(N, E)`` of the same images in the same order.
        negatives: ``(M, E)`` of earlier images; M may be 0.
        temperature: Divides the cosine similarities.

    Returns:
        Mean over the N images, a scalar. The published form also computes the rows of the earlier images and then
        leaves them out of the mean; they are not computed here.
    """
    candidates = torch.cat([global_views, negatives]).detach()
    similarities = local_views @ candidates.T / temperature
    return F.cross_entropy(similarities, torch.arange(len(local_views), device=local_views.device))
