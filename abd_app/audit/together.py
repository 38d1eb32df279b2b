"""One audit in several processes, which torchrun has started: who takes part, and what they must have in common."""

from __future__ import annotations

import contextlib
import datetime
import functools
import os
from collections.abc import Iterator

import torch

# Its functions keep the group that is there when they are defined as a default. Were it imported later, as PyTorch's
# compiler does on its first use, leaving the group would not end its threads, and the process could abort at its end.
import torch.distributed.nn.functional
from torch import distributed
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from abd_app.distill.compute import parallel
from abd_app.distill.compute.device import device_name
from abd_app.distill.recipe import choose_recipe
from abd_app.errors import UsageError
from abd_app.plan import AuditPlan

_FEWEST_IMAGES = 4
_METHODS = ("auto", "fast", "ood", "zskt")
_LONGEST_WAIT = datetime.timedelta(days=7)
"""How long the others wait while the first process measures or exports. One that dies ends all, through torchrun."""


@contextlib.contextmanager
def joined(plan: AuditPlan) -> Iterator[bool]:
    """Joins the processes that torchrun has started, and leaves them at the end.

    Yields:
        Whether this process is the one that measures, writes and speaks.

    Raises:
        UsageError: The plan cannot be carried out by several processes, or they do not fit together.
    """
    check_plan(plan, int(os.environ["WORLD_SIZE"]))
    device = _choose_device(plan.device)
    # Tensors on the CPU are exchanged in either case: decisions.
    backend = "gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl"
    distributed.init_process_group(
        backend,
        store=PrefixStore("tensors", _store()),
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
        timeout=_LONGEST_WAIT,
    )
    try:
        _compare(
            "plan", plan.to_json(), "The options of two of them differ.", "Give all of them the same command line."
        )
        _compare(
            "device", _kind(device), "The devices of two of them differ.", "Use GPUs of one kind, or --device cpu."
        )
        yield parallel.is_main_process()
    finally:
        distributed.destroy_process_group()


def check_plan(plan: AuditPlan, processes: int) -> None:
    """Refuses what several processes cannot do, before anything is read or written.

    Raises:
        UsageError: Says what, and what to do instead.
    """
    for option, refused, remedy in (
        ("--method", plan.method not in _METHODS, f"Use one of: {', '.join(_METHODS)}."),
        ("--effort", plan.effort == "paper", "Use --effort auto, quick or standard."),
        ("--minutes", plan.minutes is not None, "Give --steps or --effort."),
    ):
        if refused:
            raise UsageError(
                f"{option} {getattr(plan, option.removeprefix('--'))} is not possible in several processes.",
                where=f"{option}, torchrun",
                remedy=f"{remedy} Or run in one process, without torchrun.",
            )
    # On several GPUs "auto" mostly means "fast"; the smaller batch of "ood" is split all the same, only less usefully.
    method = "fast" if plan.method == "auto" else plan.method
    batch = choose_recipe(method, plan.defense, "quick", 1).batch_size  # paper mode is refused
    # Smaller slices are more talk than work.
    most = batch // _FEWEST_IMAGES
    if batch % processes or processes > most:
        possible = [str(count) for count in range(2, most + 1) if batch % count == 0]
        raise UsageError(
            f"A batch of {batch} images cannot be split over {processes} processes.",
            where="torchrun --nproc-per-node",
            remedy=f"Start {', '.join(possible[:-1])} or {possible[-1]} processes in all.",
        )


def first_to_fail() -> bool:
    """Whether no other process has failed before: one message is enough for all."""
    try:
        return bool(_store().add("failures", 1) == 1)
    except RuntimeError:  # torchrun is gone already
        return True


@functools.cache
def _store() -> Store:
    """Where the processes that torchrun has started find each other."""
    store, _, _ = next(iter(rendezvous("env://")))
    return PrefixStore("abd-app", store)


def _choose_device(name: str) -> torch.device:
    """The device of this process: its own GPU where there is one; ``cuda`` means that one from now on."""
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    here, present = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
    if here > present:
        raise UsageError(
            f"There are more processes than GPUs here: {here} and {present}.",
            where="torchrun --nproc-per-node",
            remedy=f"Start {present} processes on this machine, or give --device cpu.",
        )
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return torch.device("cuda")


def _kind(device: torch.device) -> str:
    return device.type if device.type == "cpu" else device_name(device)


def _compare(what: str, mine: str, why: str, remedy: str) -> None:
    """Makes sure that this process and the first have the same."""
    if parallel.is_main_process():
        _store().set(what, mine)
    elif _store().get(what).decode() != mine:
        raise UsageError("The processes of this run do not fit together.", why=why, remedy=remedy)
