"""How long a run will take, from a few real steps on this device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from abd_app.audit.scoring import LIVE_IMAGES, MEASUREMENTS
from abd_app.distill.assemble import first_patches
from abd_app.distill.defences.vaccine import ShufflingVaccine
from abd_app.distill.defences.voting import VotingVaccine
from abd_app.distill.laps import Cycle
from abd_app.distill.recipe import Recipe
from abd_app.distill.sources.fast import FastSettings, inverted_images
from abd_app.distill.sources.ood import PatchSettings
from abd_app.distill.sources.zskt import STUDENT_STEPS
from abd_app.distill.unlearning import all_to_all
from abd_app.distill.unlearning.bending import STEPS as BEND_STEPS
from abd_app.distill.unlearning.bending import judged_of_each, seen_of_each
from abd_app.distill.unlearning.margins import FEWEST_CLASSES, MOST_CLASSES, looks, starts
from abd_app.teacher import ImageSpec

_FAST, _PATCHES = FastSettings(), PatchSettings()
_ALIKE = 3  # steps of a source without steps of its own, of which the mean is taken
# The vaccine and the usual trials of its check, which takes one to eight, or one to two, cut short if it fails.
_VACCINES: dict[str, tuple[type[ShufflingVaccine], int]] = {"mean": (ShufflingVaccine, 4), "votes": (VotingVaccine, 2)}
_MEASURED_IMAGES = 2 * LIVE_IMAGES  # clean and with one trigger


@dataclass(frozen=True)
class Pace:
    """Seconds that the parts of a run take on one device, for batches of the run's size.

    Attributes:
        spec: The teacher's images.
        plain: A cycle of the source before Self-Retrospection, the vaccine at work; of ``cmi`` one generator step only.
        retrospecting: A cycle with it; the plain one where there is none.
        answer: Of the teacher, to one image.
        shuffled: Of all copies of the vaccine, to one image; 0 without one.
        ascent: Of the teacher, forward and backward to one image.
        unlearning: The same, and backward to its weights.
        inverts: Whether the teacher unlearns on inverted images, too.
        bounded: Whether its activations are bounded.
        reply: Of the student, to one image.
    """

    spec: ImageSpec
    plain: Cycle
    retrospecting: Cycle
    answer: float
    shuffled: float
    ascent: float
    unlearning: float
    inverts: bool
    bounded: bool
    reply: float

    def seconds(self, recipe: Recipe) -> float:
        """Expected wall time of one student: its steps, what happens once, and the measurements for the curves.

        As if the vaccine were accepted and a target class found; a run where a defence does not act is shorter.

        Args:
            recipe: Its kinds of defences and its batch size are those of the measured one.
        """
        late = recipe.steps - recipe.retrospection_step if recipe.retrospection == "paper" else 0
        steps = (recipe.steps - late) * _per_step(self.plain, recipe) + late * _per_step(self.retrospecting, recipe)
        watched = MEASUREMENTS * _MEASURED_IMAGES * self.reply
        return steps + self._begins(recipe) + self._defends(recipe) + self._asks_again(recipe) + watched

    def seconds_before_first_step(self, recipe: Recipe) -> float:
        """Of :meth:`seconds`, what the defences and the first labels take: it does not become less with fewer steps."""
        return (self._begins(recipe) if recipe.labels_once else 0.0) + self._defends(recipe)

    def _begins(self, recipe: Recipe) -> float:
        """First labelling, and the part of the last epoch that was drawn and is not learned from."""
        if recipe.labels_once:
            pool = self._pool(recipe)
            return pool.first * self.plain.own[0] / pool.drawn
        if recipe.method == "cmi":
            generator_steps, student_steps = recipe.epoch
            return -recipe.steps % student_steps / student_steps * generator_steps * self.plain.source
        return 0.0

    def _defends(self, recipe: Recipe) -> float:
        """The vaccine check, and the teacher's own Self-Retrospection."""
        total, drawn = 0.0, self._drawn(recipe)
        if recipe.vaccine != "none":
            kind, trials = _VACCINES[recipe.vaccine]
            total += kind.images_to_check(self.spec.height, self.spec.width) * (drawn + trials * self.shuffled)
        if recipe.retrospection == "teacher":
            how = recipe.unlearning
            renewed = how.renewals * how.drawn
            classes = self.spec.num_classes
            looked_at = min(MOST_CLASSES, classes)
            times = looks(classes, bounded=self.bounded)
            total += times * how.search_steps * looked_at * starts(classes) * self.ascent
            if classes >= FEWEST_CLASSES:
                total += BEND_STEPS * looked_at * seen_of_each(looked_at) * self.ascent
                total += looked_at * judged_of_each(looked_at) * self.answer
            shown = 2 * how.batch_size * how.steps
            total += (how.patches + renewed) * self.answer + shown * self.unlearning
            if recipe.led_marks:  # what leads to the class, for the student to see
                total += shown * self.ascent
            if self.inverts:
                total += renewed * (how.inversion_steps * self.ascent + self.answer)
            if self.inverts and FEWEST_CLASSES <= classes <= MOST_CLASSES:
                more = all_to_all.renewals(classes, how.drawn) * how.drawn
                total += (all_to_all.CLIMBED + more * how.inversion_steps) * self.ascent
                total += (all_to_all.ANSWERED + 2 * more) * self.answer
        return total

    def _asks_again(self, recipe: Recipe) -> float:
        """The second opinion about all that is labelled for the student, or shown to it by ``zskt``'s generator."""
        if recipe.retrospection != "teacher":
            return 0.0
        if recipe.method == "zskt":
            return recipe.steps / STUDENT_STEPS * recipe.batch_size * (self.answer + self.ascent)
        if recipe.method == "cmi":
            return recipe.steps * recipe.batch_size * self.answer
        inverts = recipe.method == "fast"
        pool, student_steps = self._pool(recipe), (_FAST if inverts else _PATCHES).student_steps
        renewed = pool.drawn + inverts * inverted_images(self.spec.height, self.spec.width)
        return (pool.first + recipe.steps / student_steps * renewed) * self.answer

    def _pool(self, recipe: Recipe) -> PatchSettings:
        """How many patches are labelled before the student starts, and at a time."""
        shape = self.spec.channels, self.spec.height, self.spec.width
        return replace(_PATCHES, first=first_patches(recipe)).fitted(shape, self.spec.num_classes)

    def _drawn(self, recipe: Recipe) -> float:
        """To draw one image and have the teacher answer it, without the vaccine's votes."""
        if recipe.labels_once:
            return max(self.answer, self.plain.own[0] / self._pool(recipe).drawn - self.shuffled)
        if recipe.method == "zskt":  # what the student's first step on a pseudo-batch takes longer
            return max(self.answer, (self.plain.first - self.plain.later) / recipe.batch_size)
        return self.answer


def _per_step(cycle: Cycle, recipe: Recipe) -> float:
    """Seconds of a student step with its share of the source."""
    if recipe.method == "cmi":
        generator_steps, student_steps = recipe.epoch
        return replace(cycle, own=(generator_steps * cycle.source,)).per_step(student_steps)
    of_patches = _PATCHES.student_steps if recipe.balanced else _ALIKE
    return cycle.per_step({"fast": _FAST.student_steps, "ood": of_patches, "zskt": STUDENT_STEPS}[recipe.method])


def steps_within(seconds: float, pace: Pace, recipe_of: Callable[[int], Recipe], *, fewest: int) -> int:
    """The most steps whose run is expected to end within ``seconds``; at least ``fewest``."""
    low, high = fewest, fewest + 1
    while pace.seconds(recipe_of(high)) < seconds:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if pace.seconds(recipe_of(middle)) < seconds else (low, middle)
    return low
