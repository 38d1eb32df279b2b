"""A graph that was exported for batches of one size, as a network for any number of images."""

from __future__ import annotations

import torch
from torch import nn
from torch.func import functional_call

from abd_app.intake.onnx_network import OnnxNetwork


class OneByOne(OnnxNetwork):
    """Answers each group of as many images as the graph takes by itself, and all groups at once (``torch.vmap``).

    Exact whatever the graph does with the size of its batch, but slower than a graph that takes any, and closed: within
    the groups nothing can be looked at, so the layers of the graph are no submodules. Its weights are parameters of
    this one.

    Args:
        network: A converted graph.
        batch: How many images it takes.
    """

    def __init__(self, network: OnnxNetwork, batch: int) -> None:
        super().__init__(nn.Identity())
        self.batch = batch
        self._names: dict[str, str] = {}
        for name, parameter in network.named_parameters():
            self.register_parameter(self._plain(name), parameter)
        for name, buffer in network.named_buffers():
            self.register_buffer(self._plain(name), buffer)
        self._closed = (network,)  # in a tuple it is no submodule

    def _plain(self, name: str) -> str:
        plain = name.replace(".", "__")
        self._names[plain] = name
        return plain

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The graph's answers for any number of images; what lacks to a whole group is filled with the last one."""
        (network,) = self._closed
        tensors = {name: getattr(self, plain) for plain, name in self._names.items()}
        lacking = -len(images) % self.batch
        whole = torch.cat([images, images[-1:].expand(lacking, *images.shape[1:])]) if lacking else images
        groups = whole.unflatten(0, (-1, self.batch))
        answers: torch.Tensor = torch.vmap(lambda group: functional_call(network, tensors, (group,)))(groups)
        return answers.flatten(0, 1)[: len(images)]
