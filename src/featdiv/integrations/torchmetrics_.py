"""Scores as torchmetrics metrics: exact over all batches and ranks, from one packed state each.

A metric keeps moments, not rows: 4 + d + d^2 float64 numbers, on the device of the metric, beside a buffer in which the
rows of small batches wait to be added together. Whoever reads the state (`compute`, synchronisation, ``state_dict``,
copies) gets all rows. Metrics of one `MetricCollection` that normalise alike share one state and one update (compute
groups).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch

from featdiv._optional import require
from featdiv.errors import InputError
from featdiv.integrations import packed, scores
from featdiv.stats import arguments

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Metric: Any = require("torchmetrics", extra="torchmetrics", needed_by="featdiv.integrations.torchmetrics_").Metric


class SpectralMetric(Metric):  # type: ignore[misc]
    """Any score of the second moments of rows, as a torchmetrics metric.

    ``update`` adds a batch of rows; ``compute`` returns the score of all rows since ``reset``, of all ranks, equal to
    `featdiv` on the same rows at once up to float64 rounding. ``forward`` returns the score of the batch as well; it
    takes an eigendecomposition a step, so prefer ``update``.

    Args:
        name: name of the score in the catalogue.
        num_features: d.
        window: None for all rows since ``reset``, or a number of updates: only the rows of the latest so many count.
            Memory grows to that many states.
        nonfinite: ``"raise"`` (in ``compute``, if a row held NaN or infinity), or ``"drop"``.
        parameters: arguments of the score, for example ``{"definition": "stable-pretraining"}``.
        **kwargs: of ``torchmetrics.Metric``.

    Raises:
        InputError: if there is no such score, it does not come from the moments of rows, or an argument is wrong.

    Complexity:
        ``update``: m d^2 multiply-adds in float64, once max(256, d/2) rows have come together, without waiting for the
        device; ``compute``: O(d^3) on the host. Memory 8 (4 + d + d^2) bytes, times ``window``, and those rows.

    Example:
        >>> import torch
        >>> metric = SpectralMetric("participation_ratio", num_features=2)
        >>> metric.update(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
        >>> metric.update(torch.tensor([[0.0, 1.0], [0.0, -1.0]]))
        >>> round(float(metric.compute()), 6)
        2.0
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = None

    def __init__(
        self,
        name: str,
        num_features: int,
        *,
        window: int | None = None,
        nonfinite: str = "raise",
        parameters: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        function = type(self).__name__
        if num_features < 1:
            raise InputError(f"{function}: num_features: expected a positive integer; got {num_features!r}")
        if window is not None and window < 1:
            raise InputError(f"{function}: window: expected None or a positive number of updates; got {window!r}")
        arguments.check(function, nonfinite=nonfinite)
        self.name = name
        self.num_features = num_features
        self.window = window
        self.nonfinite = nonfinite
        self.parameters = dict(parameters or {})
        self.normalize = scores.normalize_of(name, argument=f"{function}: name")
        self._buffer = packed.Buffer()
        state = packed.empty(num_features)
        self.add_state(
            "moments",
            default=state if window is None else state.repeat(window, 1),
            dist_reduce_fx=packed.merged,
        )

    @property
    def moments(self) -> torch.Tensor:
        """The packed state of all rows seen, (4 + d + d^2,), or one for each update of the window, oldest first."""
        self._accept(self._buffer.drained())
        return self._state

    @moments.setter
    def moments(self, state: torch.Tensor) -> None:
        self._buffer.clear()
        self._state = state

    def _accept(self, due: Iterable[torch.Tensor]) -> None:
        for rows in due:
            batch = packed.of_rows(rows, normalize=self.normalize)
            self._state = packed.added(self._state, batch.to(self._state.device))

    def update(self, rows: torch.Tensor) -> None:
        """Adds a batch of rows.

        Args:
            rows: (m, d), of any real type.

        Raises:
            InputError: if the shape or type is wrong.
        """
        packed.check_rows(rows, function=f"{type(self).__name__}.update", d=self.num_features)
        if self.window is None:
            self._accept(self._buffer.add(rows))
        else:
            batch = packed.of_rows(rows, normalize=self.normalize).to(self.moments.device)
            self.moments = torch.cat([self.moments[1:], batch[None]])

    def compute(self) -> torch.Tensor:
        """Returns the score of the rows seen, a float64 scalar.

        Raises:
            NotEnoughData: if it is undefined for them.
            InputError: if rows could not be used.
        """
        function = type(self).__name__
        state = self.moments if self.window is None else packed.merged(self.moments)
        moments = packed.to_moments(state, function=function, normalize=self.normalize, nonfinite=self.nonfinite)
        found = scores.value(self.name, moments, **self.parameters)
        return torch.tensor(found, dtype=torch.float64, device=self.moments.device)

    def merge_state(self, incoming_state: dict[str, Any] | SpectralMetric) -> None:
        """Adds the rows of another metric; with a window, those of its latest updates to those of ours.

        Raises:
            InputError: if the other is of other features, another window, or other normalisation.
        """
        function = f"{type(self).__name__}.merge_state"
        if isinstance(incoming_state, SpectralMetric) and incoming_state.normalize != self.normalize:
            raise InputError(
                f"{function}: incoming_state: expected normalize={self.normalize!r}; got {incoming_state.normalize!r}"
            )
        other = incoming_state.moments if isinstance(incoming_state, SpectralMetric) else incoming_state["moments"]
        if other.shape != self.moments.shape:
            raise InputError(
                f"{function}: incoming_state: expected a state of shape {tuple(self.moments.shape)} "
                f"(num_features={self.num_features}, window={self.window}); got {tuple(other.shape)}"
            )
        self.moments = packed.merged(torch.stack([other.to(self.moments.device), self.moments]))
        self._computed = None

    def set_dtype(self, dst_type: str | torch.dtype) -> SpectralMetric:
        """Returns the metric as it is: the state stays float64, since half of its digits are lost in squares."""
        return self

    def plot(self, val: Any = None, ax: Axes | None = None) -> tuple[Figure, Axes]:
        """Draws one value, or a sequence of them; see ``torchmetrics.Metric.plot``."""
        drawn: tuple[Figure, Axes] = self._plot(val, ax)
        return drawn

    def _reduce_states(self, incoming_state: dict[str, Any]) -> None:
        # `forward` calls this with the state before the batch, which is older, not another rank's.
        if self.window is None:
            self.moments = packed.added(incoming_state["moments"], self.moments)
        else:
            self.moments = torch.cat([incoming_state["moments"][1:], self.moments[-1:]])


class EffectiveRank(SpectralMetric):
    """Effective rank (Roy & Vetterli 2007) as a metric; arguments as `SpectralMetric`, without the name.

    Example:
        >>> import torch
        >>> metric = EffectiveRank(num_features=3)
        >>> metric.update(torch.eye(3))
        >>> round(float(metric.compute()), 6)
        2.0
    """

    def __init__(self, num_features: int, **kwargs: Any) -> None:
        super().__init__("effective_rank", num_features, **kwargs)


class RankMe(SpectralMetric):
    """RankMe (Garrido et al. 2023) as a metric; ``definition`` names another of its published forms.

    Example:
        >>> import torch
        >>> metric = RankMe(num_features=3)
        >>> metric.update(torch.eye(3))
        >>> round(float(metric.compute()), 5)
        3.0
    """

    def __init__(self, num_features: int, *, definition: str = "garrido2023", **kwargs: Any) -> None:
        from featdiv.metrics.spectral import rankme

        rankme.check_definition(definition)
        super().__init__("rankme", num_features, parameters={"definition": definition}, **kwargs)


class ParticipationRatio(SpectralMetric):
    """Participation ratio as a metric; arguments as `SpectralMetric`, without the name."""

    def __init__(self, num_features: int, **kwargs: Any) -> None:
        super().__init__("participation_ratio", num_features, **kwargs)


class StableRank(SpectralMetric):
    """Stable rank as a metric; arguments as `SpectralMetric`, without the name."""

    def __init__(self, num_features: int, **kwargs: Any) -> None:
        super().__init__("stable_rank", num_features, **kwargs)


class AlphaReQ(SpectralMetric):
    """Exponent of the power law of the eigenvalues as a metric; ``definition`` names a published form."""

    def __init__(self, num_features: int, *, definition: str = "least-squares", **kwargs: Any) -> None:
        super().__init__("alpha_req", num_features, parameters={"definition": definition}, **kwargs)


class Vendi(SpectralMetric):
    """Vendi score of order q with the cosine kernel as a metric; rows are normalised on the way in.

    Example:
        >>> import torch
        >>> metric = Vendi(num_features=2)
        >>> metric.update(torch.tensor([[1.0, 0.0], [5.0, 0.0], [0.0, 2.0], [0.0, 3.0]]))
        >>> round(float(metric.compute()), 6)
        2.0
    """

    def __init__(self, num_features: int, *, q: float = 1.0, **kwargs: Any) -> None:
        from featdiv.metrics.spectral import vendi

        vendi.check_order(q)
        super().__init__("vendi", num_features, parameters={"q": q}, **kwargs)
