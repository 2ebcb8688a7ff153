"""Which parameters of a network can be pruned, and why others cannot."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from lth_sweep.lottery.common.errors import ConfigError, require
from lth_sweep.lottery.common.patterns import matches
from lth_sweep.lottery.network.tracing import copied

EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
MOST_NAMES = 30
"""In a message."""


@dataclass(frozen=True)
class Prunable:
    """Which parameters can be pruned. By default the weights of Linear, of convolutions, transposed ones too, of
    nn.MultiheadAttention and of recurrent layers, as far as they require gradients and a forward pass uses them.

    Patterns are of parameters ("*.c_attn.weight") or of what they are in ("encoder", "*.attention").
    """

    add: tuple[str, ...] = ()
    """These too: embeddings, and parameters of two or more dimensions of one's own layers."""
    leave: tuple[str, ...] = ()
    """None of these."""


DEFAULT = Prunable()


@dataclass(frozen=True)
class Weight:
    """A parameter of two or more dimensions in one of the places that have it."""

    prefix: str
    """The module's name."""
    attribute: str
    """Of the module. The parameter may have another name, where the attribute is computed from it."""
    part: nn.Module

    @property
    def name(self) -> str:
        return f"{self.prefix}.{self.attribute}" if self.prefix else self.attribute

    @property
    def layer(self) -> str:
        """What it goes by if the module has no other."""
        return self.prefix if self.attribute == "weight" and self.prefix else self.name

    @property
    def known(self) -> bool:
        return self.attribute in weights_of(self.part)


def weights_of(module: nn.Module) -> list[str]:
    """The attributes of a module that are its weights, if it is of a known kind."""
    if isinstance(module, nn.Linear | _ConvNd):
        return ["weight"]
    if isinstance(module, nn.MultiheadAttention):  # whose last projection is a Linear of its own
        names = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
        return [name for name in names if getattr(module, name) is not None]
    if isinstance(module, nn.RNNBase):
        return [name for name in module._flat_weights_names if name.startswith("weight")]
    return ["weight_ih", "weight_hh"] if isinstance(module, nn.RNNCellBase) else []


def find(
    module: nn.Module, used: Collection[str], prunable: Prunable
) -> tuple[dict[str, list[Weight]], dict[str, str]]:
    """The prunable parameters, by the first of their names and in the order of the module's, each with the places that
    have it; and layer -> why it is left out, for all others of two or more dimensions. used: the parameters that a
    forward pass reads. Raises ConfigError for a pattern that has no effect."""
    places, left = _places(module)
    found: dict[str, list[Weight]] = {}
    added = {name for name, some in places.items() if _fits(name, some, prunable.add)}
    for name, some in places.items():
        if reason := _reason(module.get_parameter(name), some, name in used, name in added, prunable):
            left[some[0].layer] = reason
        else:
            found[name] = some
    _check(module, prunable, places, added - found.keys(), left)
    return found, left


def _places(module: nn.Module) -> tuple[dict[str, list[Weight]], dict[str, str]]:
    """Of each parameter of two or more dimensions; and why those of some layers cannot be told."""
    places: dict[nn.Parameter, list[Weight]] = {}
    left: dict[str, str] = {}
    computed: set[nn.Parameter] = set()
    for prefix, part in module.named_modules():
        known = weights_of(part)
        for attribute in known:
            weight = Weight(prefix, attribute, part)
            parameter = part._parameters.get(attribute)
            if parameter is None:
                inner = _inside(part, attribute)
                computed.update(inner.values())
                name, reason = _through(part, attribute, inner)
                if name is None:
                    left[weight.layer] = reason
                    continue
                parameter = inner[name]
            places.setdefault(parameter, []).append(weight)
        for attribute, parameter in part._parameters.items():
            if attribute not in known and parameter is not None and parameter.ndim > 1 and parameter not in computed:
                places.setdefault(parameter, []).append(Weight(prefix, attribute, part))
    return {name: places[one] for name, one in module.named_parameters() if one in places}, left


def _inside(part: nn.Module, attribute: str) -> dict[str, nn.Parameter]:
    """The parameters that an attribute is computed from, as PyTorch's parametrizations name them, and its old ones."""
    marks = (f"parametrizations.{attribute}.", f"{attribute}_")
    return {name: parameter for name, parameter in part.named_parameters() if name.startswith(marks)}


@torch.no_grad()
def _through(part: nn.Module, attribute: str, inner: Iterable[str]) -> tuple[str | None, str]:
    """Which of these parameters has zeros that are zeros of the computed weight, too, tried with random numbers; or why
    there is none."""
    part = copied(part).eval()
    shape = getattr(part, attribute).shape
    generator = torch.Generator().manual_seed(0)
    reason = "its weight is computed from parameters of other shapes"
    for name in inner:
        parameter = part.get_parameter(name)
        if parameter.shape != shape:
            continue
        kept = torch.rand(shape, generator=generator) < 0.5
        kept[0] = False
        parameter.copy_(torch.randn(shape, generator=generator) * kept)
        for hook in part._forward_pre_hooks.values():  # of which the old ones make the weight
            hook(part, ())
        weight = getattr(part, attribute)
        if not weight.isfinite().all():
            reason = "its weight is normalised by rows, which gives no numbers where all of a row is gone"
        elif weight[~kept].any() or not weight[kept].all():
            reason = "the zeros of its weight are not those of the parameter that it is computed from"
        else:
            return name, ""
    return None, reason


def _fits(name: str, places: Iterable[Weight], patterns: Iterable[str]) -> bool:
    """Whether a pattern is of a parameter by one of its names, or of something that it is in."""
    ways = {name, *(place.name for place in places)}
    return any(matches(way, pattern) for way in ways for pattern in patterns)


def _reason(parameter: nn.Parameter, places: list[Weight], used: bool, added: bool, prunable: Prunable) -> str | None:
    """Why it cannot be pruned."""
    if not used:
        return "no forward pass in evaluation mode uses it"
    if not parameter.requires_grad:
        return "it is frozen: it does not require gradients"
    if _fits(places[0].name, places, prunable.leave):
        return "prunable.leave leaves it out"
    if added:
        return None
    embedding = next((place for place in places if isinstance(place.part, EMBEDDINGS)), None)
    if embedding is None and any(place.known for place in places):
        return None
    what = f"it is a parameter of {type(places[0].part).__name__}"
    if embedding is not None:
        what = "it is an embedding" if len(places) == 1 else f"it is shared with the embedding {embedding.prefix}"
    return f"{what}; prunable.add can name it"


def _check(
    module: nn.Module,
    prunable: Prunable,
    places: Mapping[str, list[Weight]],
    refused: Collection[str],
    left: Mapping[str, str],
) -> None:
    """Refuse patterns that have no effect. refused: parameters that patterns add and that are left out all the same."""
    flat = [name for name, parameter in module.named_parameters() if parameter.ndim < 2]
    for kind, patterns in (("add", prunable.add), ("leave", prunable.leave)):
        for index, pattern in enumerate(patterns):
            fitting = [name for name, some in places.items() if _fits(name, some, [pattern])]
            vectors = [name for name in flat if _fits(name, [], [pattern])]
            require(
                bool(fitting or vectors),
                f"prunable.{kind}.{index}",
                f"{pattern!r} matches no parameter; there are: {_listed(places)}",
            )
            require(
                bool(fitting),
                f"prunable.{kind}.{index}",
                f"{pattern!r} matches only {_listed(vectors)}, with fewer than two dimensions, which cannot be pruned; "
                f"with two or more there are: {_listed(places)}",
            )
            if kind == "add" and all(name in refused for name in fitting):
                layer = places[fitting[0]][0].layer
                raise ConfigError(f"{pattern!r} adds nothing: {layer}: {left[layer]}", f"prunable.{kind}.{index}")


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f", and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
