from __future__ import annotations

import pytest

from abd_app.batch.local_pool import local_slots, make_slots
from abd_app.batch.ray_pool import audit_share
from abd_app.errors import UsageError
from abd_app.plan import AuditPlan


def test_cores_are_divided_among_the_jobs_of_a_cpu() -> None:
    assert [slot.environment for slot in make_slots([], 3, cores=8)] == [{"OMP_NUM_THREADS": "2"}] * 3
    assert [slot.environment for slot in make_slots([], 4, cores=2)] == [{"OMP_NUM_THREADS": "1"}] * 4
    assert [slot.environment for slot in make_slots([], 1, cores=8)] == [{}]


def test_each_job_gets_one_gpu_and_more_jobs_share_them() -> None:
    slots = make_slots(["4", "GPU-ab"], 3, cores=9)
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots] == ["4", "GPU-ab", "4"]
    assert {slot.environment["OMP_NUM_THREADS"] for slot in slots} == {"3"}


@pytest.mark.parametrize(("visible", "expected"), [(None, ["0", "1"]), ("5,3", ["5", "3"])])
def test_there_are_as_many_jobs_as_visible_gpus(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, expected: list[str]
) -> None:
    import torch

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    slots = local_slots(AuditPlan("", "", precision="fp32"), None)
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots] == expected
    assert [slot.name for slot in local_slots(AuditPlan("", "", device="cpu", precision="fp32"), None)] == ["CPU"]


def test_a_gpu_that_is_not_there_is_bad_usage_of_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="CUDA"):
        local_slots(AuditPlan("", "", device="cuda"), None)


@pytest.mark.parametrize(
    ("gpus", "cores", "largest", "jobs", "expected"),
    [
        (2, 16, 16, None, (1.0, 1)),
        (2, 16, 16, 1, (1.0, 1)),
        (2, 16, 16, 3, (0.5, 1)),
        (1, 16, 16, 4, (0.25, 1)),
        (0, 16, 8, None, (0, 1)),
        (0, 16, 8, 4, (0, 4)),
        (0, 16, 8, 1, (0, 8)),
        (0, 2, 2, 5, (0, 1)),
    ],
)
def test_on_ray_an_audit_takes_a_share_that_fits(
    gpus: int, cores: int, largest: int, jobs: int | None, expected: tuple[float, int]
) -> None:
    share = audit_share(gpus=gpus, cores=cores, largest_node_cores=largest, jobs=jobs)
    assert (share["num_gpus"], share["num_cpus"]) == expected
