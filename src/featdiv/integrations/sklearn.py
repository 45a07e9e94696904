"""scikit-learn estimators over the probes, for pipelines and grid searches.

Importing this module needs scikit-learn. Rows are ``X`` and labels ``y`` here, as everywhere in scikit-learn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from featdiv.stats.moments import Float64Array
from featdiv.stats.neighbours import Neighbours

if TYPE_CHECKING:
    from featdiv.probes.knn_vote import Rule

__all__ = ["KNNProbe", "LinearProbe", "RidgeProbe"]


class _Probe(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """What the estimators share: checked rows, and labels turned into numbers and back."""

    def _checked(self, X: Any, y: Any) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"{type(self).__name__}: y: expected at least 2 classes; got 1 class")
        return X, numbers.reshape(-1).astype(np.int64)

    def _rows(self, X: Any) -> npt.NDArray[Any]:
        check_is_fitted(self)
        rows: npt.NDArray[Any] = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return rows


class LinearProbe(_Probe):
    """`featdiv.linear_probe` at one C, or with C chosen from several on held-out rows.

    Args:
        C: inverse strength of the penalty, or several to choose from.
        folds: folds to choose C on; None for a stratified tenth of the rows.
        standardize: whether to scale features first.
        intercept: whether to fit an intercept.
        class_weight: None or ``"balanced"``.
        tol: relative distance to the minimum that is wanted.
        max_iter: steps that a C may take.
        seed: of the choice of held-out rows.

    Attributes:
        classes_: labels, sorted.
        coef_: (k, d) weights, as in ``LogisticRegression``.
        intercept_: (k,) intercepts.
        C_: the C that was used.
        n_iter_: steps that it took.
        probe_: the `featdiv.LinearProbe`.

    Example:
        >>> import numpy as np
        >>> from featdiv.integrations.sklearn import LinearProbe
        >>> X = np.random.default_rng(0).normal(size=(100, 3))
        >>> LinearProbe(C=10.0).fit(X, X[:, 0] > 0).score(X, X[:, 0] > 0) > 0.95
        True
    """

    def __init__(
        self,
        C: Any = 1.0,
        *,
        folds: int | None = None,
        standardize: bool = False,
        intercept: bool = True,
        class_weight: str | None = None,
        tol: float = 1e-11,
        max_iter: int = 1000,
        seed: int = 0,
    ) -> None:
        self.C = C
        self.folds = folds
        self.standardize = standardize
        self.intercept = intercept
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter
        self.seed = seed

    def fit(self, X: Any, y: Any) -> Self:
        """Fits to rows (n, d) and labels (n,)."""
        from featdiv.probes.linear import linear_probe

        X, numbers = self._checked(X, y)
        self.probe_ = linear_probe(
            X,
            numbers,
            C=self.C,
            folds=self.folds,
            standardize=self.standardize,
            intercept=self.intercept,
            class_weight=self.class_weight,
            tol=self.tol,
            max_iter=self.max_iter,
            seed=self.seed,
        )
        self.coef_, self.intercept_, self.C_ = self.probe_.coefficients, self.probe_.intercept, self.probe_.C
        self.n_iter_ = max([1, *(fitted.iterations for fitted in self.probe_.path if fitted.C == self.C_)])
        return self

    def decision_function(self, X: Any) -> Float64Array:
        """Returns logits: (m,) for two classes, else (m, c)."""
        rows = self._rows(X)
        return self.probe_.decision_function(rows)

    def predict_proba(self, X: Any) -> Float64Array:
        """Returns (m, c) probabilities."""
        rows = self._rows(X)
        return self.probe_.predict_proba(rows)

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Returns the label of each row."""
        rows = self._rows(X)
        found: npt.NDArray[Any] = self.classes_[self.probe_.predict(rows)]
        return found


class RidgeProbe(_Probe):
    """`featdiv.ridge_probe`: the strength of the penalty is chosen by leaving one out.

    Args:
        lambdas: strengths to choose from; None for those of `featdiv.ridge_probe`.
        normalize: ``"l2"`` to divide each row by its norm first.

    Attributes:
        classes_: labels, sorted.
        coef_: (c, d) weights.
        intercept_: (c,) intercepts.
        alpha_: the strength that was chosen.
        probe_: the `featdiv.RidgeProbe`.

    Example:
        >>> import numpy as np
        >>> from featdiv.integrations.sklearn import RidgeProbe
        >>> X = np.random.default_rng(0).normal(size=(100, 3))
        >>> RidgeProbe().fit(X, X[:, 0] > 0).score(X, X[:, 0] > 0) > 0.9
        True
    """

    def __init__(self, lambdas: Any = None, *, normalize: str | None = None) -> None:
        self.lambdas = lambdas
        self.normalize = normalize

    def fit(self, X: Any, y: Any) -> Self:
        """Fits to rows (n, d) and labels (n,)."""
        from featdiv.probes.ridge import ridge_probe

        X, numbers = self._checked(X, y)
        self.probe_ = ridge_probe(X, numbers, lambdas=self.lambdas, normalize=self.normalize)
        self.coef_, self.intercept_ = self.probe_.coefficients.T, self.probe_.intercept
        self.alpha_ = self.probe_.best_lambda
        return self

    def decision_function(self, X: Any) -> Float64Array:
        """Returns outputs: (m,) for two classes, positive for the second, else (m, c)."""
        rows = self._rows(X)
        found = self.probe_.decision(rows)
        return found[:, 1] - found[:, 0] if found.shape[1] == 2 else found

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Returns the label of each row."""
        outputs = self.decision_function(X)
        found: npt.NDArray[Any] = self.classes_[
            (outputs > 0).astype(np.int64) if outputs.ndim == 1 else outputs.argmax(axis=1)
        ]
        return found


class KNNProbe(_Probe):
    """The vote of `featdiv.knn_probe` at one k.

    Args:
        k: neighbours that vote; all rows where there are fewer.
        vote: ``"exp"`` (weights exp(similarity / temperature)) or ``"uniform"``.
        temperature: of ``"exp"``.
        distance: ``"cosine"`` or ``"l2"``.

    Attributes:
        classes_: labels, sorted.

    Example:
        >>> import numpy as np
        >>> from featdiv.integrations.sklearn import KNNProbe
        >>> X = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
        >>> KNNProbe(k=1).fit(X, ["cat", "cat", "dog", "dog"]).predict([[2.0, 0.1]]).tolist()
        ['cat']
    """

    def __init__(self, k: int = 20, *, vote: str = "exp", temperature: float = 0.07, distance: str = "cosine") -> None:
        self.k = k
        self.vote = vote
        self.temperature = temperature
        self.distance = distance

    def fit(self, X: Any, y: Any) -> Self:
        """Keeps rows (n, d) and labels (n,)."""
        self._gallery, self._codes = self._checked(X, y)
        return self

    def _neighbours(self, X: Any) -> tuple[Neighbours, Rule]:
        from featdiv.probes.knn_vote import rules

        rows = self._rows(X)
        k = min(self.k, len(self._gallery))
        (rule,) = rules((k,), (self.vote,), (self.temperature,))
        return Neighbours.of(self._gallery, rows, k=k, distance=self.distance, exclude_self=False), rule

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Returns the label of each row; ties go as in `featdiv.knn_probe`."""
        from featdiv.probes.knn_vote import tally

        neighbours, rule = self._neighbours(X)
        unknown = np.zeros(len(neighbours.indices), dtype=np.int64)
        (counted,) = tally(neighbours, self._codes, unknown, (rule,))
        found: npt.NDArray[Any] = self.classes_[counted.predicted]
        return found

    def predict_proba(self, X: Any) -> npt.NDArray[np.float32]:
        """Returns (m, c) shares of the votes."""
        from featdiv.probes.knn_vote import shares

        neighbours, rule = self._neighbours(X)
        return shares(neighbours, self._codes, len(self.classes_), rule)
