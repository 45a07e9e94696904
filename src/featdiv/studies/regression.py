"""Least squares over models: lines with their bands, partial correlations, and what one more predictor adds."""

from __future__ import annotations

import dataclasses

import numpy as np

from featdiv.stats.moments import Float64Array
from featdiv.studies import coefficients


@dataclasses.dataclass(frozen=True, kw_only=True)
class JointFit:
    """Least squares y = intercept + slope x + slope_control control, for many problems at once.

    Attributes:
        coefficients: (b, 3) intercept, slope of x, slope of the control.
        r2: (b,) share of the variance of y that both explain.
        r2_x: (b,) share that x explains alone.
    """

    coefficients: Float64Array
    r2: Float64Array
    r2_x: Float64Array


def joint(x: Float64Array, control: Float64Array, y: Float64Array) -> JointFit:
    """Fits y on x and a control, each (b, n) without missing values; NaN where the fit is not unique. O(b n)."""
    n = y.shape[1]
    dx, dc, dy = (value - value.mean(axis=1, keepdims=True) for value in (x, control, y))
    r_yx, r_yc, r_xc = coefficients.pearson(x, y), coefficients.pearson(control, y), coefficients.pearson(x, control)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.where((1.0 - r_xc**2 > 1e-10) & (n > 3), 1.0 - r_xc**2, np.nan)
        scale_x, scale_c, scale_y = (np.sqrt((d * d).sum(axis=1)) for d in (dx, dc, dy))
        slope = (r_yx - r_yc * r_xc) / apart * scale_y / scale_x
        slope_control = (r_yc - r_yx * r_xc) / apart * scale_y / scale_c
        r2 = (r_yx**2 + r_yc**2 - 2.0 * r_yx * r_yc * r_xc) / apart
    intercept = y.mean(axis=1) - slope * x.mean(axis=1) - slope_control * control.mean(axis=1)
    return JointFit(coefficients=np.stack([intercept, slope, slope_control], axis=1), r2=r2, r2_x=r_yx**2)


def partial_correlation(x: Float64Array, y: Float64Array, control: Float64Array) -> Float64Array:
    """Returns (b,) Pearson's r of the residuals of x and of y, each (b, n), after regression on the control. O(b n)."""
    r_xy, r_xc, r_yc = coefficients.pearson(x, y), coefficients.pearson(x, control), coefficients.pearson(y, control)
    with np.errstate(divide="ignore", invalid="ignore"):
        r = (r_xy - r_xc * r_yc) / np.sqrt((1.0 - r_xc**2) * (1.0 - r_yc**2))
    return np.where(np.minimum(1.0 - r_xc**2, 1.0 - r_yc**2) > 1e-10, np.clip(r, -1.0, 1.0), np.nan)


def residuals(x: Float64Array, y: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Returns the (n,) values of the regression line of y on x, and the residuals."""
    slope, intercept = line(x[None], y[None])
    fitted = intercept[0] + slope[0] * x
    return fitted, y - fitted


def line(x: Float64Array, y: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Returns (b,) slopes and intercepts of lines of y over x, each (b, n); NaN where x is constant."""
    dx = x - x.mean(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = (dx * (y - y.mean(axis=1, keepdims=True))).sum(axis=1) / (dx * dx).sum(axis=1)
    slope = np.where(np.isfinite(slope), slope, np.nan)
    return slope, y.mean(axis=1) - slope * x.mean(axis=1)
