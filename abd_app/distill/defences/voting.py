"""The Shuffling Vaccine in our form: every shuffled copy of the teacher has a vote."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import torch
from torch import nn

from abd_app.distill.answering import Answer, AnsweringTeacher
from abd_app.distill.defences.vaccine import ShufflingVaccine, VaccineCheck
from abd_app.text import percent

VOTERS, VOTES_NEEDED = 8, 6
FEWEST, MOST, TIMES_CHANCE = 0.005, 0.5, 4
TRIALS = 2
_SHARE_TO_GO_ON = 0.2
_FEWEST_CHECKED, _CIFAR_PIXELS = 1000, 32**2


class VotingVaccine(ShufflingVaccine):
    """Suspicious is an image whose class survives in six of eight shuffled copies, each asked for itself.

    A shuffled copy answers most images with one of a few classes, so that a class survives in a single copy, or in the
    mean of three, for about one clean image in ten by chance alone; hardly ever does it survive in six of eight copies
    that were shuffled independently. It therefore holds images back from the student only where a backdoor outlives the
    shuffling, and a vaccine that cannot act does no harm.

    Deviations from the paper: votes instead of the class of averaged logits; eight copies instead of three; the check
    counts votes instead of looking for a tail of log KL; suspicious images are held back instead of weighing -0.1.
    The numbers of copies and votes were chosen on the demo teacher and on one 16-pixel CIFAR-10 teacher (BadNets grid).

    Args:
        teacher: As in :class:`ShufflingVaccine`.
        example: As there.
        block_names: As there.
        generator: As there.
        copies: Voters.
        needed: Votes that make an image suspicious.
    """

    def __init__(
        self,
        teacher: nn.Module,
        *,
        example: torch.Tensor,
        generator: torch.Generator,
        block_names: Sequence[str] = (),
        copies: int = VOTERS,
        needed: int = VOTES_NEEDED,
    ) -> None:
        super().__init__(teacher, example=example, generator=generator, block_names=block_names, copies=copies)
        self._needed = needed

    def suspicious(self, images: torch.Tensor, answer: Answer) -> torch.Tensor:
        """``(N,)`` bool: images whose class survives in enough copies."""
        return self._survives(self._votes(images, answer), answer)

    @staticmethod
    def images_to_check(height: int, width: int) -> int:
        """Of more than 32 by 32 pixels fewer for the same work, but 1,000 at least: 0.5 % of them are to be found."""
        whole = ShufflingVaccine.images_to_check(height, width)
        return min(whole, max(_FEWEST_CHECKED, whole * _CIFAR_PIXELS // (height * width)))

    @torch.inference_mode()
    def check(
        self, teacher: AnsweringTeacher, images: torch.Tensor, generator: torch.Generator
    ) -> Generator[float, None, VaccineCheck]:
        """Accepted if the votes single images out: 0.5 to 50 % of them, four times more than chance alone would.

        One reshuffling. A trial ends after a fifth of the images, but 1,000 at least, if none of them is suspicious.
        Arguments as in :meth:`ShufflingVaccine.check`; the share is returned as ``tail_ratio``.
        """
        share, chance, num_classes = 0.0, 0.0, 0
        for trial, pairs in enumerate(self._trials(teacher, images, TRIALS, generator), 1):
            votes, classes, found = [], [], []
            for part, answer in pairs:
                with teacher.compute.autocast():
                    votes.append(self._votes(part, answer))
                classes.append(answer.logits.argmax(dim=1))
                found.append(classes[-1][self._survives(votes[-1], answer)])
                num_classes = answer.logits.shape[1]
                yield (trial - 1 + sum(map(len, classes)) / len(images)) / TRIALS
                seen = sum(map(len, classes))
                if seen >= max(_FEWEST_CHECKED, _SHARE_TO_GO_ON * len(images)) and not any(map(len, found)):
                    break
            suspects = torch.cat(found)
            share = len(suspects) / len(images)
            chance = chance_share(torch.cat(votes, dim=1), torch.cat(classes), num_classes, self._needed)
            if max(FEWEST, TIMES_CHANCE * chance) < share < MOST:
                return VaccineCheck(True, share, trial, int(suspects.mode().values))
        return VaccineCheck(False, share, TRIALS, rejected_for=_why_not(share, chance))

    def _votes(self, images: torch.Tensor, answer: Answer) -> torch.Tensor:
        """``(M, N)``: the class of every image in every copy."""
        return torch.stack([logits.argmax(dim=1) for logits in self.each(images, answer.trunk)])

    def _survives(self, votes: torch.Tensor, answer: Answer) -> torch.Tensor:
        return (votes == answer.logits.argmax(dim=1)).sum(dim=0) >= self._needed


def _why_not(share: float, chance: float) -> str:
    """What is wrong with a share of images that survive, as a clause; ``chance`` is the share that would anyway."""
    kept = f"{percent(share)} of the images keep their class in most of them"
    if share <= FEWEST:
        return f"{kept}, and only more than {percent(FEWEST)} would tell of a backdoor"
    if share >= MOST:
        return f"{kept}, which is too many to single any out"
    by_chance = f"the {percent(chance)} of chance alone"
    return f"{kept}, and only more than {TIMES_CHANCE} times {by_chance} would tell of a backdoor"


def chance_share(votes: torch.Tensor, classes: torch.Tensor, num_classes: int, needed: int) -> float:
    """Expected share of images with enough votes if the copies voted without looking at them.

    A shuffled copy answers some classes far more often than others, so the chance of an image depends on its class: it
    is the upper tail of the sum of M independent draws with each copy's own rate of that class.

    Args:
        votes: ``(M, N)`` class indices.
        classes: ``(N,)`` class indices, the teacher's.
        num_classes: K.
        needed: Votes that are enough, at least 1.
    """
    rates = torch.stack([torch.bincount(row, minlength=num_classes) / len(row) for row in votes])
    # Row v of the table: probability that exactly v of the copies so far voted for each class.
    table = torch.zeros(len(votes) + 1, num_classes, device=rates.device)
    table[0] = 1
    for rate in rates:
        table[1:] = table[1:] * (1 - rate) + table[:-1] * rate
        table[0] = table[0] * (1 - rate)
    share = torch.bincount(classes, minlength=num_classes) / len(classes)
    return float((table[needed:].sum(dim=0) * share).sum())
