"""The suite of rankings runs through in small, and judges what it should."""

from __future__ import annotations

import pytest

from suites.ranking import SUITE, cache, page

pytest.importorskip("timm")
pytest.importorskip("PIL.Image")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::featdiv.SmallSampleWarning")
def test_the_second_call_finds_every_step(monkeypatch):
    first, again = SUITE.table("cache").run(quick=True)
    assert first["from the folder"] == 0
    assert again["from the folder"] == again["steps"] == first["steps"]
    assert again["same table"]
    monkeypatch.setattr(cache, "LIMIT", -1.0)
    assert [line["kept"] for line in SUITE.table("cache").run(quick=True)] == [True, False]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::featdiv.SmallSampleWarning")
def test_the_page_is_weighed_and_opened(monkeypatch):
    monkeypatch.setattr(page, "FEATURES", 16)
    monkeypatch.setattr(page, "LARGEST", 1000)
    (line,) = SUITE.table("page").run(quick=True)
    assert line["models"] == page.QUICK_MODELS
    assert line["MB"] > 0.05
    assert not line["kept"]
    assert line["opened in s"] is None or line["opened in s"] > 0.0
