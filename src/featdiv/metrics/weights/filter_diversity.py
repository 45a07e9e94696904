"""Filter diversity: how different the filters of each layer of a model are."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from featdiv import __version__
from featdiv.errors import InputError, NotEnoughData
from featdiv.metrics.weights import filters
from featdiv.metrics.weights.checkpoints import FUNCTION, Weight, weights
from featdiv.results import Provenance, Result

core = filters.core

MEASURES = ("cosine", "effective_rank", "participation_ratio", "clusters")

_STATE_DICT = "a state dict does not tell grouped or transposed convolutions from others; pass the module, or groups="


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerDiversity:
    """The filters of one layer.

    Attributes:
        name: name of the parameter.
        kind: ``"convolution"``, ``"linear"`` or ``"attention"``.
        filters: number of filters.
        fan_in: weights of a filter.
        blocks: sets within which filters are compared: groups or heads; their mean is the layer's value.
        parameters: weights of the layer, its share in the model's value.
        zero_filters: filters whose weights are all zero; they have no direction and are left out.
        cosine: 1 - mean absolute cosine.
        effective_rank: as a share of the smaller of filters and fan-in.
        participation_ratio: in dimensions.
        clusters: as a share of the filters.
    """

    name: str
    kind: str
    filters: int
    fan_in: int
    blocks: int
    parameters: int
    zero_filters: int
    cosine: float
    effective_rank: float
    participation_ratio: float
    clusters: float


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FilterDiversity(Result):
    """Result of `filter_diversity`.

    Attributes:
        layers: one `LayerDiversity` for each layer, in the order of the model.
        skipped: name of each parameter that is no layer's, to the rule by which it was skipped.
    """

    layers: tuple[LayerDiversity, ...]
    skipped: Mapping[str, str]

    _array_fields = ("layers", "skipped")

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={self.read(f'filter_{name}'):.6g}" for name in MEASURES)
        return f"FilterDiversity({len(self.layers)} layers, {shown})"

    def _sheet(self) -> tuple[str, Sequence[str], list[list[str]]]:
        lines = [
            [one.name, one.kind, str(one.filters), str(one.fan_in), *(f"{getattr(one, m):.6g}" for m in MEASURES)]
            for one in self.layers
        ]
        lines.append(["all layers", "", "", "", *(f"{self.read(f'filter_{name}'):.6g}" for name in MEASURES)])
        heads = ("layer", "kind", "filters", "fan-in", *MEASURES)
        return f"FilterDiversity of {self.provenance.source}", heads, lines

    @property
    def cosine(self) -> float:
        """1 - mean absolute cosine of two filters of a layer."""
        return self.read("filter_cosine")

    @property
    def effective_rank(self) -> float:
        """Effective rank of the filters, as a share of the largest that is possible."""
        return self.read("filter_effective_rank")

    @property
    def participation_ratio(self) -> float:
        """Participation ratio of the filters, in dimensions."""
        return self.read("filter_participation_ratio")

    @property
    def clusters(self) -> float:
        """Clusters of filters at cosine 0.5, as a share of the filters."""
        return self.read("filter_clusters")


def filter_diversity(
    model: Any,
    *,
    split_heads: int | Mapping[str, int] | None = None,
    groups: Mapping[str, int] | None = None,
) -> FilterDiversity:
    """Filter diversity of every layer of a model, and their mean weighted by parameters.

    A layer's weights become a matrix W of filters as rows, (C_out, C_in k k) for a convolution. With rows
    w_i of unit length, G = W W^T, eigenvalues lambda of G and sigma = sqrt(lambda):

    * ``cosine``: 1 - mean over i < j of abs(G_ij);
    * ``effective_rank``: exp H(sigma/sum(sigma)) / min(C_out, fan-in);
    * ``participation_ratio``: sum(lambda)^2 / sum(lambda^2), in dimensions;
    * ``clusters``: clusters of average linkage, cut at a mean cosine of 0.5, over C_out.

    None of them depends on the order or the length of the filters. They are of a model's own making: motivated
    by Nayman et al. 2022 and 2024, who relate the diversity of filters to transfer, but whose formula was not
    available; no parity with their numbers is claimed.

    Which parameters are layers: weights of convolutions (any dimension, transposed too), linear layers, and
    attention projections. In a state dict: names that end in ``weight`` with two to five dimensions, but not
    lookup tables (``...embed...``, ``wte``, ``wpe``). Skipped, and listed with the rule: one-dimensional
    parameters (biases, normalisations, frozen or not), embeddings, everything else, layers that have nothing
    to compare (one filter, or one weight a filter), and layers of more than 8,192 filters.

    Filters are compared within a group of a grouped convolution, since groups see different channels; the
    value of the layer is the mean over groups. Depthwise filters, with one channel each, are compared as
    patterns in space. Filters that are all zero are left out and counted.

    Args:
        model: `torch.nn.Module`, a state dict (of tensors or arrays), or the path of a ``.safetensors`` or
            ``.pt`` file, of which only weights are loaded.
        split_heads: number of heads by which to split attention projections (``qkv``, ``q_proj``,
            ``in_proj_weight``, ``query``, ... by name), comparing filters within each head of each of query,
            key and value; or a mapping of layer names to heads, which splits these layers only. None: no split.
        groups: mapping of layer names to groups, for convolutions in a state dict, which does not say.

    Returns:
        A `FilterDiversity`: the four measures of the model, its ``layers``, and what was ``skipped``.

    Raises:
        NotEnoughData: if no layer has filters to compare.
        NonFiniteError: if a weight is NaN or infinite.
        InputError: if ``model`` is none of these, or heads or groups do not divide the filters.
        FormatError: if the file is damaged or holds Python objects.

    Complexity:
        O(C_out^2 fan-in + min(C_out, fan-in)^3) for a layer, in float64; memory O(C_out^2).

    Source:
        The featdiv authors; motivated by Nayman et al. 2022. Effective rank: Roy & Vetterli 2007.

    Example:
        >>> import featdiv, numpy as np
        >>> state = {"a.weight": np.eye(4), "b.weight": np.ones((4, 4)), "b.bias": np.ones(4)}
        >>> diversity = featdiv.filter_diversity(state)
        >>> [(layer.name, layer.cosine, layer.clusters) for layer in diversity.layers]
        [('a.weight', 1.0, 1.0), ('b.weight', 0.0, 0.25)]
        >>> diversity.cosine, list(diversity.skipped)
        (0.5, ['b.bias'])
    """
    _check_heads(split_heads)
    layers: list[LayerDiversity] = []
    skipped: dict[str, str] = {}
    unused = {
        argument: set(names)
        for argument, names in (("split_heads", split_heads), ("groups", groups))
        if isinstance(names, Mapping)
    }
    for weight in weights(model):
        if weight.kind:
            for names in unused.values():
                names -= {weight.name, weight.layer}
        found = weight.rule or _layer(weight, split_heads, groups)
        if isinstance(found, str):
            skipped[weight.name] = found
        else:
            layers.append(found)
    for argument, names in unused.items():
        if names:
            raise InputError(
                f"{FUNCTION}: {argument}: expected names of layers; got {', '.join(sorted(names))}, which the model "
                "has not"
            )
    if not layers:
        reasons = "; ".join(dict.fromkeys(skipped.values())) or "there are no parameters"
        raise NotEnoughData(f"{FUNCTION}: no layer has filters to compare: {reasons}")
    shares = np.array([layer.parameters for layer in layers], dtype=np.float64)
    scores = {
        f"filter_{name}": float(np.average([getattr(layer, name) for layer in layers], weights=shares))
        for name in MEASURES
    }
    module = hasattr(model, "named_modules")
    return FilterDiversity(
        scores=scores,
        layers=tuple(layers),
        skipped=skipped,
        provenance=Provenance(
            function=f"featdiv.{FUNCTION}",
            version=__version__,
            arguments={"split_heads": split_heads, "groups": groups},
            method="all pairs of filters",
            precision="float64",
            source=os.fspath(model) if isinstance(model, (str, os.PathLike)) else type(model).__name__,
            notes=() if module or groups or not _may_be_grouped(layers) else (_STATE_DICT,),
        ),
    )


def _layer(
    weight: Weight, split_heads: int | Mapping[str, int] | None, groups: Mapping[str, int] | None
) -> LayerDiversity | str:
    """Returns the layer, or the rule by which it is skipped."""
    blocks = filters.blocks(weight, heads=split_heads, groups=groups)
    count, fan_in = sum(len(block) for block in blocks), blocks[0].shape[1]
    if fan_in < 2:
        return "one weight a filter, which has a sign but no direction"
    if len(blocks[0]) < 2:
        return "one filter, or one in each group: there is nothing to compare it with"
    if len(blocks[0]) > filters.LARGEST:
        return f"{len(blocks[0]):,} filters: all pairs are formed for {filters.LARGEST:,} at most"
    live = [block[block.any(axis=1)] for block in blocks]
    measured = [filters.measure(block) for block in live if len(block) > 1]
    if not measured:
        return "fewer than two filters that are not zero"
    return LayerDiversity(
        name=weight.name,
        kind=weight.kind,
        filters=count,
        fan_in=fan_in,
        blocks=len(blocks),
        parameters=count * fan_in,
        zero_filters=count - sum(len(block) for block in live),
        **{name: float(np.mean([values[name] for values in measured])) for name in MEASURES},
    )


def _may_be_grouped(layers: list[LayerDiversity]) -> bool:
    return any(layer.kind == "convolution" for layer in layers)


def _check_heads(split_heads: Any) -> None:
    whole = isinstance(split_heads, int) and not isinstance(split_heads, bool) and split_heads > 0
    if not (split_heads is None or whole or isinstance(split_heads, Mapping)):
        raise InputError(
            f"{FUNCTION}: split_heads: expected a positive number of heads, a mapping of layer names to them, or None; "
            f"got {split_heads!r}"
        )
