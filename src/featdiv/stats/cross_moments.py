"""`CrossMoments`: what several representations of the same rows have in common, in one mergeable value.

Row i is x_i in one model, y_i in another. Laid side by side they are one row of d_x + d_y + … features, whose
`Moments` hold every mean, every scatter and every cross scatter at once; so they merge as `Moments` do. Debiased
CKA needs sums weighted by squared norms as well (`CrossNormSums`), for every pair of models. All are about the means:
for z_i the joint row less the joint mean, z_a its features in model a, k_a = |z_a|^2,

    W[a] = sum k_a z          (one vector of all features for each model)
    F[a, b] = sum k_a k_b.

Moved by an offset o, where z becomes z + o and the z still sum to zero, with S the joint scatter, t_a = sum k_a,
s_a = |o_a|^2 and u_a = S[:, a] o_a,

    W[a]    becomes  W[a] + 2 u_a + (t_a + n s_a) o
    F[a, b] becomes  F[a, b] + 2 W[a][b].o_b + 2 W[b][a].o_a + 4 o_b.u_a[b] + t_a s_b + s_a t_b + n s_a s_b

which for one model is `NormSums.moved`. Merging moves both sides to the common mean and adds.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from featdiv.errors import InputError
from featdiv.stats.cross_moments_norms import CrossNormSums, slices
from featdiv.stats.moments import Float64Array, Moments, NormSums

if TYPE_CHECKING:
    import torch.distributed

    from featdiv.io.progress import Progress


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CrossMoments:
    """Means, scatters and cross scatters of several representations of the same rows.

    An immutable value with an identity and an associative merge. Linear CKA (debiased too), canonical correlations,
    Procrustes distances and ridge regressions between any two of the models follow from it without the rows.

    Attributes:
        names: the models, in order.
        sizes: features of each.
        joint: moments of the rows laid side by side; its ``normalize`` refers to each model's own rows.
        norm_sums: the norm-weighted sums of every pair.

    Example:
        >>> import numpy as np
        >>> from featdiv import CrossMoments
        >>> rng = np.random.default_rng(0)
        >>> x, y = rng.normal(size=(500, 3)), rng.normal(size=(500, 2))
        >>> both = CrossMoments.of({"x": x, "y": y}, precision="float64")
        >>> both.cross("x", "y").shape
        (3, 2)
        >>> halves = [CrossMoments.of({"x": x[s], "y": y[s]}, precision="float64") for s in (slice(200), slice(200, 500))]
        >>> bool(np.allclose((halves[0] + halves[1]).cross("x", "y"), both.cross("x", "y"), rtol=1e-12))
        True
    """  # noqa: E501

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    joint: Moments
    norm_sums: CrossNormSums

    def __repr__(self) -> str:
        models = ", ".join(f"{name}: {size}" for name, size in zip(self.names, self.sizes, strict=True))
        return f"CrossMoments({self.joint.n} rows, {models})"

    def __post_init__(self) -> None:
        count, total = len(self.names), sum(self.sizes)
        if len(set(self.names)) != count or not count:
            raise InputError(f"CrossMoments: names: expected different names of models; got {self.names}")
        if len(self.sizes) != count or min(self.sizes) < 1:
            raise InputError(f"CrossMoments: sizes: expected the features of each of {count} models; got {self.sizes}")
        shapes = (self.joint.d, self.norm_sums.weighted.shape, self.norm_sums.fourth.shape)
        if shapes != (total, (count, total), (count, count)):
            raise InputError(
                f"CrossMoments: expected joint moments of {total} features, weighted sums of shape {(count, total)} "
                f"and fourth sums of shape {(count, count)}; got {shapes[0]}, {shapes[1]} and {shapes[2]}"
            )

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.joint.n

    @property
    def normalize(self) -> str | None:
        """``"l2"`` if the rows of each model were divided by their Euclidean norm first, else None."""
        return self.joint.normalize

    @property
    def named_sizes(self) -> dict[str, int]:
        """Name to features of each model."""
        return dict(zip(self.names, self.sizes, strict=True))

    def position(self, name: str) -> int:
        """Returns the index of a model.

        Raises:
            InputError: if there is none of that name.
        """
        if name not in self.names:
            raise InputError(f"CrossMoments: no model is named {name!r}; there are {', '.join(self.names)}")
        return self.names.index(name)

    def moments(self, name: str) -> Moments:
        """Returns the moments of one model, with norm sums; its arrays are views."""
        index = self.position(name)
        at = slices(self.sizes)[index]
        return dataclasses.replace(
            self.joint,
            mean=self.joint.mean[at],
            scatter=self.joint.scatter[at, at],
            norm_sums=NormSums(
                weighted=self.norm_sums.weighted[index, at], fourth=float(self.norm_sums.fourth[index, index])
            ),
        )

    def cross(self, name: str, other: str) -> Float64Array:
        """Returns the (d_name, d_other) cross scatter: sum over rows of (x - mean)(y - mean)^T; a view."""
        where = slices(self.sizes)
        block: Float64Array = self.joint.scatter[where[self.position(name)], where[self.position(other)]]
        return block

    def select(self, *names: str) -> CrossMoments:
        """Returns the statistic of some of the models, in the order given."""
        where = slices(self.sizes)
        index = np.array([self.position(name) for name in names])
        features = np.concatenate([np.arange(where[i].start, where[i].stop) for i in index])
        return CrossMoments(
            names=names,
            sizes=tuple(self.sizes[i] for i in index),
            joint=dataclasses.replace(
                self.joint,
                mean=self.joint.mean[features],
                scatter=self.joint.scatter[np.ix_(features, features)],
            ),
            norm_sums=CrossNormSums(
                weighted=self.norm_sums.weighted[np.ix_(index, features)],
                fourth=self.norm_sums.fourth[np.ix_(index, index)],
            ),
        )

    @classmethod
    def empty(cls, sizes: Mapping[str, int], *, normalize: str | None = None) -> CrossMoments:
        """Returns the identity of `merge`: the statistic of no rows.

        Args:
            sizes: name of each model to its number of features.
            normalize: as in `from_sources`.
        """
        features = tuple(sizes.values())
        return cls(
            names=tuple(sizes),
            sizes=features,
            joint=Moments.empty(sum(features), normalize=normalize),
            norm_sums=CrossNormSums.zeros(features),
        )

    @classmethod
    def of(
        cls,
        models: Mapping[str, Any],
        *,
        normalize: str | None = None,
        precision: str = "float32",
        backend: str = "auto",
    ) -> CrossMoments:
        """Returns the statistic of arrays of rows; short for `from_sources` on them."""
        return cls.from_sources(models, normalize=normalize, precision=precision, backend=backend)

    @classmethod
    def from_sources(
        cls,
        models: Mapping[str, Any],
        *,
        normalize: str | None = None,
        precision: str = "float32",
        backend: str = "auto",
        device: str | None = None,
        nonfinite: str = "raise",
        memory: int | float | str | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> CrossMoments:
        """Reads several sources once, side by side, and returns the statistic of their rows.

        Row i of every source is the same sample. Sources that all carry ids are brought into the order of the first.

        Args:
            models: name to rows: anything that `featdiv.open` takes.
            normalize: ``"l2"`` divides each row of each model by its Euclidean norm first.
            precision: ``"float64"``, ``"float32"``, ``"mixed"`` or ``"bfloat16"``, as in `Moments.from_source`.
            backend: scatter backend, or ``"auto"``.
            device: torch device on which to work; None for where the rows are.
            nonfinite: ``"raise"``, or ``"drop"`` for leaving out rows that hold NaN or infinity in any model.
            memory: budget, in bytes or as text; None for a quarter of the RAM.
            seed: seed of the spot checks that give ``measured_error``.
            progress: called with (rows done, rows in all or None) after every chunk.

        Raises:
            InputError: if an argument cannot be used, or the sources do not hold the same rows.
            NonFiniteError: if a row holds NaN or infinity.
            ZeroNormError: with ``normalize="l2"``, if a row has norm zero.
            BudgetExceeded: if the D x D joint scatter does not fit the budget.

        Complexity:
            n D^2 multiply-adds for D features in all; memory O(D^2) beside a chunk of rows.
        """
        from featdiv.stats import cross_moments_read

        return cross_moments_read.from_sources(
            models,
            normalize=normalize,
            precision=precision,
            backend=backend,
            device=device,
            nonfinite=nonfinite,
            memory=memory,
            seed=seed,
            progress=progress,
        )

    def merge(self, other: CrossMoments) -> CrossMoments:
        """Returns the statistic of both sets of rows together.

        Args:
            other: statistic of other rows in the same models, in the same order.

        Raises:
            InputError: if the two do not describe the same models.
        """
        if not isinstance(other, CrossMoments):
            raise InputError(f"CrossMoments.merge: other: expected CrossMoments; got {type(other).__name__}")
        if (self.names, self.sizes) != (other.names, other.sizes):
            raise InputError(
                f"CrossMoments.merge: other: expected the models {_described(self)}; got {_described(other)}"
            )
        joint = self.joint.merge(other.joint)
        if self.n == 0:
            return other
        if other.n == 0:
            return self
        delta = other.joint.mean - self.joint.mean
        share = other.n / joint.n
        return CrossMoments(
            names=self.names,
            sizes=self.sizes,
            joint=joint,
            norm_sums=self.norm_sums.moved(-delta * share, self.n, self.joint.scatter, self.sizes)
            + other.norm_sums.moved(delta * (1.0 - share), other.n, other.joint.scatter, self.sizes),
        )

    __add__ = merge

    def __radd__(self, zero: object) -> CrossMoments:
        """Adds nothing to 0, from which `sum` starts."""
        return self if isinstance(zero, int) and zero == 0 else NotImplemented

    def without(self, part: CrossMoments) -> CrossMoments:
        """Returns the statistic of the rows that are not in ``part``: merging undone, for the jackknife.

        Args:
            part: statistic of some of the rows in this one. Exact up to rounding while it is not nearly all of them.
        """
        n = self.n - part.n
        mean = self.joint.mean + (self.joint.mean - part.joint.mean) * (part.n / n)
        delta = part.joint.mean - mean
        step = delta * np.sqrt(part.n * n / self.n)
        scatter = self.joint.scatter - part.joint.scatter - np.outer(step, step)
        share = part.n / self.n
        # About the mean of the whole the sums subtract; the rest is then moved to its own mean.
        about_whole = self.norm_sums - part.norm_sums.moved(
            delta * (1.0 - share), part.n, part.joint.scatter, self.sizes
        )
        offset = mean - self.joint.mean
        return CrossMoments(
            names=self.names,
            sizes=self.sizes,
            joint=dataclasses.replace(self.joint, n=n, mean=mean, scatter=scatter),
            norm_sums=about_whole.centred(offset, n, scatter, self.sizes),
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the statistic to a ``.npz`` file that `load` reads; see `featdiv.stats.storage`.

        The file appears under its name only when it is complete.
        """
        from featdiv.stats import cross_moments_storage

        cross_moments_storage.save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CrossMoments:
        """Reads what `save` wrote.

        Raises:
            FormatError: if the file is not a complete one of this kind and of a version this featdiv knows.
            SourceNotFound: if there is no such file.
        """
        from featdiv.stats import cross_moments_storage

        return cross_moments_storage.load(path)

    def all_reduce(self, group: torch.distributed.ProcessGroup | None = None) -> CrossMoments:
        """Returns the statistic of the rows of all processes; every rank gets the same numbers.

        A collective call: every process of ``group`` makes it, one without rows with `empty`.

        Args:
            group: process group of ``torch.distributed``; None for the default one.

        Raises:
            InputError: on every rank, if the ranks differ in models or in normalisation.
        """
        from featdiv.stats import cross_moments_distributed

        return cross_moments_distributed.all_reduce(self, group)


def _described(moments: CrossMoments) -> str:
    pairs = zip(moments.names, moments.sizes, strict=True)
    return ", ".join(f"{name} ({size} features)" for name, size in pairs)
