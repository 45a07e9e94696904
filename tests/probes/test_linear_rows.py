from __future__ import annotations

import numpy as np
import pytest

import featdiv


@pytest.mark.parametrize("side", ["val", "test"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_rows_to_judge_on_are_checked_before_anything_is_fitted(side, value, monkeypatch):
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(40, 3)).astype(np.float32), np.arange(40) % 2
    judged = x[:10].copy()
    judged[7, 1] = value
    monkeypatch.setattr("featdiv.probes.linear_solve.solve", lambda *given, **named: pytest.fail("it was fitted"))
    with pytest.raises(featdiv.NonFiniteError, match=f"{side}: expected finite rows; row 7 of them holds NaN"):
        featdiv.linear_probe(x, labels, C=[1.0], **{side: judged, f"{side}_labels": labels[:10]})
