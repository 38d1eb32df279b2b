"""A recorded conversation between the window and its engine: gzipped JSON lines, one message and its time each."""

from __future__ import annotations

import dataclasses
import gzip
import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from abd_app.events import DevicesListed, Event, StepDone
from abd_app.plan import AuditPlan
from abd_app.worker.codec import decode, encode
from abd_app.worker.messages import AuditJob, InspectionFinished, InspectJob

RECORDING = Path(__file__).parent / "demo_run.jsonl.gz"
"""The built-in demo, as ``make record-demo`` wrote it."""


@dataclass(frozen=True)
class Said:
    """One message, and the seconds since the recording began."""

    elapsed_s: float
    message: Event | InspectJob | AuditJob


@dataclass(frozen=True)
class Recording:
    """An inspection and the run that followed it.

    Attributes:
        devices: Of the machine that computed it.
        plan: Of the run; paths are bare names.
        inspection: The events of the inspection.
        run: The events of the run.
    """

    devices: DevicesListed
    plan: AuditPlan
    inspection: tuple[Said, ...]
    run: tuple[Said, ...]

    def demo_plan(self, out: str) -> AuditPlan:
        """The plan of the run, with ``out`` as its output folder."""
        return dataclasses.replace(self.plan, out=out)

    def until_last_is_halfway(self) -> tuple[Said, ...]:
        """The events of the run until the network that learns last, the twin if there is one, is half-way."""
        last = [said.message.role for said in self.run if isinstance(said.message, StepDone)][-1]

        def before(said: Said) -> bool:
            step = said.message
            return not (isinstance(step, StepDone) and step.role == last and 2 * step.step > step.total_steps)

        return tuple(itertools.takewhile(before, self.run))


def to_lines(conversation: Iterable[Said]) -> str:
    """The messages as JSON lines."""
    lines = ({"elapsed_s": said.elapsed_s, "message": json.loads(encode(said.message))} for said in conversation)
    return "".join(json.dumps(line) + "\n" for line in lines)


def read_recording(path: Path = RECORDING) -> Recording:
    """Reads what :func:`to_lines` wrote and gzip packed.

    Raises:
        FileNotFoundError: There is no recording.
        CodecError: A line is not a message of this version of the app.
    """
    conversation = [_said(line) for line in gzip.decompress(path.read_bytes()).decode().splitlines()]
    kinds = [type(said.message) for said in conversation]
    asked, looked, started = (kinds.index(kind) for kind in (InspectJob, InspectionFinished, AuditJob))
    devices, job = conversation[0].message, conversation[started].message
    assert isinstance(devices, DevicesListed)
    assert isinstance(job, AuditJob)
    return Recording(devices, job.plan, tuple(conversation[asked + 1 : looked + 1]), tuple(conversation[started + 1 :]))


def _said(line: str) -> Said:
    raw = json.loads(line)
    return Said(raw["elapsed_s"], decode(json.dumps(raw["message"]).encode()))
