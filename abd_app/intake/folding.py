"""Weights that a file holds as two factors, multiplied: what pruning and weight normalisation make of a layer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

import torch

from abd_app.teacher import Finding

Tensors = dict[str, torch.Tensor]
_Kind = Literal["pruning", "weight normalisation"]

_FACTORS: tuple[tuple[_Kind, re.Pattern[str], str, str], ...] = (
    ("pruning", re.compile(r"(.+)_orig"), r"\1_mask", r"\1"),
    ("weight normalisation", re.compile(r"((?:.+\.)?weight)_g"), r"\1_v", r"\1"),
    (
        "weight normalisation",
        re.compile(r"((?:.+\.)?)parametrizations\.([^.]+)\.original0"),
        r"\1parametrizations.\2.original1",
        r"\1\2",
    ),
)
"""What made them; the names of the first factor, of the second, and of their product."""


def folded(tensors: Tensors, findings: list[Finding]) -> Tensors:
    """The tensors with plain weights in place of their factors, and a finding that says so.

    Factors that do not fit on each other stay as they are, and so do all if two pairs are of one weight, or if they
    repeat what is stored once: products would take as much memory as it claims.
    """
    pairs = list(_pairs(tensors))
    factors = {name for _kind, first, second, _plain in pairs for name in (first, second)}
    distinct = len({plain for *_factors, plain in pairs}) == len(pairs)
    if not pairs or not distinct or not are_stored([tensors[name] for name in factors]):
        return tensors
    products = {
        plain: tensors[first] * tensors[second] if kind == "pruning" else _with_norms(tensors[first], tensors[second])
        for kind, first, second, plain in pairs
    }
    kinds = [kind for kind, *_names in pairs]
    detail = "; ".join(f"{kinds.count(kind)} of {kind}" for kind in dict.fromkeys(kinds))
    findings.append(Finding("info", "Weights that are stored as two factors were multiplied", f"{detail}."))
    return {name: value for name, value in tensors.items() if name not in factors} | products


def _pairs(tensors: Tensors) -> Iterator[tuple[_Kind, str, str, str]]:
    for first in tensors:
        for kind, pattern, other, product in _FACTORS:
            match = pattern.fullmatch(first)
            if match is None:
                continue
            second, plain = match.expand(other), match.expand(product)
            fits = _are_norms if kind == "weight normalisation" else _are_of_one_shape
            if plain not in tensors and second in tensors and fits(tensors[first], tensors[second]):
                yield kind, first, second, plain


def _are_of_one_shape(weight: torch.Tensor, mask: torch.Tensor) -> bool:
    return weight.shape == mask.shape and weight.is_floating_point()


def _are_norms(norms: torch.Tensor, directions: torch.Tensor) -> bool:
    """Whether there is a norm for each slice along one dimension, or one of all."""
    if not (norms.is_floating_point() and directions.is_floating_point()):
        return False
    kept = [dim for dim, length in enumerate(norms.shape) if length != 1]
    along = norms.dim() == directions.dim() and all(norms.shape[dim] == directions.shape[dim] for dim in kept)
    return norms.dim() == 0 or (along and len(kept) <= 1)


def _with_norms(norms: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    others = tuple(dim for dim, length in enumerate(norms.shape) if length == 1)
    if norms.dim() and not others:  # of a vector, each number has a norm of its own
        return directions.sign() * norms
    lengths: torch.Tensor = torch.linalg.vector_norm(directions, dim=others or None, keepdim=bool(others))
    return directions * (norms / lengths)


def are_stored(tensors: list[torch.Tensor]) -> bool:
    """Whether the file holds as many numbers as the tensors claim."""
    stored = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in tensors}
    return sum(one.numel() * one.element_size() for one in tensors) <= sum(stored.values())
