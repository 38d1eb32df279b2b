"""What images a library's own weights of an architecture are made for: a reason to choose it among several that fit."""

from __future__ import annotations

from abd_app.intake.stated import StatedFacts

_USUAL_SIZE = (224, 224)
"""Networks that take any size are trained at this one whatever their own is, so that it tells none from another."""
_ROUNDING = 0.002
"""By which two spellings of the same mean may differ."""

_Numbers = tuple[float, ...]


def agreement(architecture: str, said: StatedFacts) -> int:
    """In how many respects (image size; normalisation) own weights of the architecture are made for what is said."""
    library, _, name = architecture.partition("/")
    if library == "torchvision":
        return _of_torchvision(name, said)
    return _of_timm(name, said) if library == "timm" else 0


def _of_torchvision(name: str, said: StatedFacts) -> int:
    from torchvision.models import get_model_weights

    try:
        presets = [weights.transforms() for weights in get_model_weights(name)]
    except ValueError:  # Of some architectures there are none.
        return 0
    sizes = {(preset.crop_size[0], preset.crop_size[0]) for preset in presets}
    normalised = any(_normalises(preset.mean, preset.std, said) for preset in presets)
    return normalised + (said.input_size in sizes - {_USUAL_SIZE})


def _of_timm(name: str, said: StatedFacts) -> int:
    from timm.models import get_arch_pretrained_cfgs, get_pretrained_cfg

    built = get_pretrained_cfg(name)  # Of several, the network is built for the size of this one.
    if built is None:
        return 0
    telling = built.fixed_input_size or said.input_size != _USUAL_SIZE
    normalised = any(_normalises(one.mean, one.std, said) for one in get_arch_pretrained_cfgs(name).values())
    return normalised + bool(telling and said.input_size == tuple(built.input_size[1:]))


def _normalises(mean: _Numbers, std: _Numbers, said: StatedFacts) -> bool:
    return _equal(mean, said.mean) and _equal(std, said.std)


def _equal(own: _Numbers, said: _Numbers | None) -> bool:
    """Whether the numbers are the same; one of them stands for all channels."""
    if said is None:
        return False
    said = said * len(own) if len(said) == 1 else said
    return len(said) == len(own) and all(abs(one - other) <= _ROUNDING for one, other in zip(own, said, strict=True))
