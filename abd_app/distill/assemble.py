"""From a teacher and a recipe to a distillation that is ready to run."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from abd_app.distill.answering import AnsweringTeacher
from abd_app.distill.compute.device import Compute
from abd_app.distill.defences.bounds import bound_activations
from abd_app.distill.defences.judged import JudgedNetwork
from abd_app.distill.defences.retrospection import PaperRetrospection
from abd_app.distill.defences.vaccine import ShufflingVaccine
from abd_app.distill.defences.voting import VotingVaccine
from abd_app.distill.loop import Distillation
from abd_app.distill.recipe import Recipe
from abd_app.distill.sources.base import ImageSource
from abd_app.distill.sources.cmi import CmiSettings, ContrastiveInversionSource
from abd_app.distill.sources.fast import FastSettings, InvertedPatchSource, inverted_images
from abd_app.distill.sources.ood import BalancedPatchSource, PatchSettings
from abd_app.distill.sources.patches import PatchSource
from abd_app.distill.sources.pictures import load_picture, procedural_pictures
from abd_app.distill.sources.zskt import STUDENT_STEPS, AdversarialSource
from abd_app.distill.student import Student, matching_stages
from abd_app.distill.unlearning.teacher_retrospection import TeacherRetrospection
from abd_app.errors import UsageError
from abd_app.events import Role
from abd_app.networks.batchnorm import tracked_batchnorms
from abd_app.networks.catalog import build
from abd_app.networks.pixels import PixelNetwork
from abd_app.teacher import ONNX_BYTES, ImageSpec, Teacher

_FEWEST_PATCHES = 1024


def build_student(name: str, spec: ImageSpec, seed: int) -> PixelNetwork:
    """A freshly initialised student that takes ``(N, C, H, W)`` images in [0, 1]; the same for the same seed.

    It normalises as the teacher does; a teacher that normalises inside its file gets a student around 0.5 +- 0.25.

    Raises:
        UsageError: No ONNX file would hold it.
    """
    torch.manual_seed(seed)
    inside = all(value == 0 for value in spec.mean) and all(value == 1 for value in spec.std)
    mean = tuple(0.5 for _ in spec.mean) if inside else spec.mean
    std = tuple(0.25 for _ in spec.std) if inside else spec.std
    network = build(name, spec.num_classes, spec.channels, side_px=min(spec.height, spec.width))
    if (weights := 4 * sum(parameter.numel() for parameter in network.parameters())) > ONNX_BYTES:
        raise UsageError(
            f"{name} is too large for a student.",
            where="--student",
            why=f"It has {weights / 1e9:.2f} GB of weights, and one ONNX file holds {ONNX_BYTES / 1e9:.2f}.",
            remedy="Choose a smaller architecture.",
        )
    return PixelNetwork(network, mean=mean, std=std)


def assemble(
    teacher: Teacher,
    recipe: Recipe,
    *,
    student_name: str,
    compute: Compute,
    seed: int,
    role: Role = "student",
    picture: str | None = None,
    pictures: torch.Tensor | None = None,
    fast: FastSettings | None = None,
    cmi: CmiSettings | None = None,
    patches: PatchSettings | None = None,
) -> Distillation:
    """A distillation by ``recipe`` of ``teacher``, copied to the device of ``compute``, into a fresh ``student_name``.

    Args:
        seed: Of everything random; student and twin, as ``role`` calls them, of one seed start from the same weights.
        picture: Of the user, for ``ood`` and ``fast``; ``None``: ``pictures``, ``(M, C, S, S)`` uint8, or procedural.
        fast: Settings of ``fast`` other than the default; ``cmi``, ``patches``: those of ``cmi`` and balanced ``ood``.

    Raises:
        UsageError: The picture or the student's architecture cannot be used.
        VaccineError: The recipe asks for a vaccine and the teacher has no layer to shuffle.
    """
    spec, generator = teacher.spec, torch.Generator().manual_seed(seed)
    student = compute.place(build_student(student_name, spec, seed))
    torch.manual_seed(seed)
    answering, vaccine, stages = place_teacher(teacher, recipe, student, compute, generator)
    drawn_from = functools.cache(lambda: _pictures(spec, seed, picture) if pictures is None else pictures)
    return Distillation(
        teacher=answering,
        source=_make_source(answering, spec, recipe, generator, drawn_from, fast, cmi, patches),
        student=Student(student, compute, recipe, stages),
        recipe=recipe,
        vaccine=vaccine,
        retrospection=_make_retrospection(recipe, answering, spec, generator, drawn_from),
        generator=generator,
        role=role,
    )


def purification(
    teacher: Teacher, recipe: Recipe, *, compute: Compute, seed: int, picture: str | None = None
) -> tuple[AnsweringTeacher, TeacherRetrospection]:
    """What happens to the teacher before a student learns from it, alone: its bounded copy and what will unlearn.

    Args:
        recipe: With ``retrospection='teacher'``; of the rest ``method`` and ``bounds`` matter.
        seed: Of everything random.
        picture: Of the user; ``None``: procedural ones.

    Raises:
        UsageError: The picture cannot be used.
    """
    spec, generator = teacher.spec, torch.Generator().manual_seed(seed)
    alone = replace(recipe, vaccine="none", attention=0.0, led_marks=False)
    answering, _, _ = place_teacher(teacher, alone, None, compute, generator)
    retrospection = _make_retrospection(alone, answering, spec, generator, lambda: _pictures(spec, seed, picture))
    assert isinstance(retrospection, TeacherRetrospection)
    return answering, retrospection


def assemble_purified(teacher: Teacher, answering: AnsweringTeacher, retrospection: TeacherRetrospection) -> nn.Module:
    """What ``answering`` has become once ``retrospection``, both of :func:`purification`, has run.

    Returns:
        The copy that unlearned, with its bounds as layers; or ``teacher`` as it was handed in, judged by this copy,
        where both fit into one ONNX file. ``answering`` is used up.
    """
    answering.adopt_second_opinion()
    copied, tolerance = answering.bounds.built_into(answering.network), retrospection.tolerance
    weights = sum(tensor.numel() for tensor in copied.state_dict().values())
    if tolerance is None or 2 * 4 * weights > ONNX_BYTES:
        return copied
    given = copy.deepcopy(teacher.network).eval().requires_grad_(False)
    return answering.compute.place(JudgedNetwork(given, copied, tolerance))


def place_teacher(
    teacher: Teacher, recipe: Recipe, student: PixelNetwork | None, compute: Compute, generator: torch.Generator
) -> tuple[AnsweringTeacher, ShufflingVaccine | None, tuple[str, ...]]:
    """The teacher at work, its vaccine if there is to be one, and the student's stages if attention is transferred."""
    spec, names = teacher.spec, teacher.block_names
    network = compute.place(copy.deepcopy(teacher.network).eval().requires_grad_(False))
    example = compute.images(torch.rand(2, spec.channels, spec.height, spec.width, generator=generator))
    vaccine = None
    if recipe.vaccine != "none":
        kind = VotingVaccine if recipe.vaccine == "votes" else ShufflingVaccine
        vaccine = kind(network, example=example, generator=generator, block_names=names)
    stages: tuple[str, ...] = ()
    if recipe.attention and student is not None:
        stages = matching_stages(student, network, names, example)
    # After the copies, whose channels are shuffled, were made.
    bounds = None if recipe.bounds is None else bound_activations(network, recipe.bounds)
    # What a network of others does in its passes is not known.
    recordable = teacher.card.format != "ONNX" and not (teacher.card.architecture or "").startswith("timm/")
    answering = AnsweringTeacher(
        network,
        compute,
        names if stages else (),
        bounds,
        recordable=recordable,
        temperature=recipe.temperature,
        leeway=recipe.leeway,
    )
    answering.share_trunk("" if vaccine is None else vaccine.trunk)
    return answering, vaccine, stages


def _make_source(
    answering: AnsweringTeacher,
    spec: ImageSpec,
    recipe: Recipe,
    generator: torch.Generator,
    pictures: Callable[[], torch.Tensor],
    fast: FastSettings | None,
    cmi: CmiSettings | None,
    patches: PatchSettings | None,
) -> ImageSource:
    if recipe.method == "zskt":
        return AdversarialSource(
            answering,
            spec,
            generator=generator,
            pseudo_batches=recipe.steps // STUDENT_STEPS,
            vaccine_weight=recipe.vaccine_weight,
            batch_size=recipe.batch_size,
        )
    if recipe.method == "cmi":
        generator_steps, student_steps = recipe.epoch
        length = {"generator_steps": generator_steps, "student_steps": student_steps}
        chosen = replace(cmi or CmiSettings(), batch_size=recipe.batch_size, vaccine=recipe.vaccine_weight, **length)
        return ContrastiveInversionSource(answering, spec, generator=generator, settings=chosen)
    return _make_patches(answering, spec, recipe, generator, pictures(), fast, patches)


def _make_patches(
    answering: AnsweringTeacher,
    spec: ImageSpec,
    recipe: Recipe,
    generator: torch.Generator,
    pictures: torch.Tensor,
    fast: FastSettings | None,
    patches: PatchSettings | None,
) -> ImageSource:
    size, pictures = (spec.height, spec.width), pictures.to(answering.compute.device)
    if not recipe.balanced:
        return PatchSource(answering, pictures, size=size, generator=generator, batch_size=recipe.batch_size)
    first, kind = first_patches(recipe), BalancedPatchSource
    settings = patches or PatchSettings(first=first)
    if recipe.method == "fast":
        kind, settings = InvertedPatchSource, fast or FastSettings(first=first, inverted=inverted_images(*size))
    settings = replace(settings, batch_size=recipe.batch_size)
    return kind(answering, pictures, size=size, num_classes=spec.num_classes, generator=generator, settings=settings)


def first_patches(recipe: Recipe) -> int:
    """How many patches ``ood`` and ``fast`` label before the student starts: fewer for a short run.

    A half of the images that the student of ``fast`` will see; an eighth for ``ood``, which labels more on the way.
    """
    shown = recipe.steps * recipe.batch_size
    return min(PatchSettings.first, max(_FEWEST_PATCHES, shown // (8 if recipe.method == "ood" else 2)))


def _pictures(spec: ImageSpec, seed: int, picture: str | None) -> torch.Tensor:
    side = max(spec.height, spec.width)
    if picture is None:
        return procedural_pictures(channels=spec.channels, seed=seed, smallest_px=side)
    return load_picture(picture, channels=spec.channels, smallest_px=side)


def _make_retrospection(
    recipe: Recipe,
    answering: AnsweringTeacher,
    spec: ImageSpec,
    generator: torch.Generator,
    pictures: Callable[[], torch.Tensor],
) -> PaperRetrospection | TeacherRetrospection | None:
    compute, how = answering.compute, recipe.unlearning
    if recipe.retrospection == "none":
        return None
    if recipe.retrospection == "paper":
        return PaperRetrospection(compute, torch.tensor(spec.std, device=compute.device).view(1, -1, 1, 1))

    inverts = unlearns_inverted(recipe, answering)

    def pool() -> BalancedPatchSource:
        kind, settings = BalancedPatchSource, PatchSettings()
        if inverts:
            kind, settings = InvertedPatchSource, FastSettings(inverted=how.drawn, inversion_steps=how.inversion_steps)
        capacity = how.patches + 2 * how.renewals * how.drawn
        settings = replace(settings, first=how.patches, drawn=how.drawn, capacity=capacity)
        return kind(
            answering,
            pictures().to(compute.device),
            size=(spec.height, spec.width),
            num_classes=spec.num_classes,
            generator=generator,
            settings=settings,
        )

    return TeacherRetrospection(
        answering,
        pool,
        shape=(spec.channels, spec.height, spec.width),
        num_classes=spec.num_classes,
        generator=generator,
        settings=how,
        inverts=inverts,
        marks=recipe.led_marks,
    )


def unlearns_inverted(recipe: Recipe, answering: AnsweringTeacher) -> bool:
    """Whether the teacher unlearns on inverted patches, too: not for ``ood``, and not without BatchNorm."""
    return recipe.method != "ood" and bool(tracked_batchnorms(answering.network))
