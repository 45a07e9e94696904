"""Errors of `open` under the names that callers know."""

import pickle

import numpy as np
import pytest

import featdiv
from featdiv.errors import InputError, NonFiniteError, SourceNotFound
from featdiv.io.caller import called_by

ROWS = np.random.default_rng(0).normal(size=(60, 5))
LABELS = np.arange(60) % 3
LINE = ROWS[:, 0]


@pytest.mark.parametrize(
    ("call", "begins"),
    [
        (lambda: featdiv.spectrum(LINE), "featdiv.spectrum: x: expected 2-D rows"),
        (lambda: featdiv.spectrum(ROWS, groups=LABELS[:4]), "featdiv.spectrum: groups: expected 60 entries"),
        (lambda: featdiv.effective_rank(LINE), "effective_rank: x: expected 2-D rows"),
        (lambda: featdiv.uniformity(LINE), "uniformity: x: expected 2-D rows"),
        (lambda: featdiv.vendi(LINE, kernel=lambda a, b: a @ b.T), "vendi: x: expected 2-D rows"),
        (lambda: featdiv.frechet_distance(ROWS, LINE), "frechet_distance: other: expected 2-D rows"),
        (lambda: featdiv.cka(ROWS, LINE), "cka: other: expected 2-D rows"),
        (lambda: featdiv.cka(ROWS, ROWS, groups=LABELS[:4]), "cka: groups: expected 60 entries"),
        (lambda: featdiv.rsa(LINE, ROWS), "rsa: x: expected 2-D rows"),
        (lambda: featdiv.compare({"a": ROWS, "b": LINE}), "featdiv.compare: b: expected 2-D rows"),
        (lambda: featdiv.class_separation(ROWS, LABELS[:4]), "class_separation: labels: expected 60 entries"),
        (lambda: featdiv.transferability(ROWS, LABELS, groups=LABELS[:4]), "featdiv.transferability: groups: expected"),
        (lambda: featdiv.diversity(LINE), "featdiv.diversity: x: expected 2-D rows"),
        (lambda: featdiv.directions(LINE), "featdiv.directions: x: expected 2-D rows"),
        (lambda: featdiv.logme(LINE, targets=LABELS), "logme: x: expected 2-D rows"),
        (lambda: featdiv.Neighbours.of(LINE, k=2), "Neighbours.of: gallery: expected 2-D rows"),
        (lambda: featdiv.Moments.from_source(LINE), "Moments.from_source: source: expected 2-D rows"),
        (lambda: featdiv.CrossMoments.from_sources({"a": ROWS, "b": LINE}), "CrossMoments.from_sources: b: expected"),
        (lambda: featdiv.ClassMoments.from_source(ROWS, labels=[1]), "ClassMoments.from_source: labels: expected 60"),
    ],
)
def test_functions_name_themselves_and_their_argument(call, begins):
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value).startswith(begins)


@pytest.mark.parametrize("probe", ["knn_probe", "linear_probe", "ridge_probe"])
@pytest.mark.parametrize(
    ("given", "argument"),
    [
        ({"train": LINE}, "train"),
        ({"labels": LABELS[:4]}, "labels"),
        ({"groups": LABELS[:4]}, "groups"),
        ({"test": LINE}, "test"),
        ({"test_labels": LABELS[:4]}, "test_labels"),
        ({"test_groups": LABELS[:4]}, "test_groups"),
    ],
)
def test_probes_say_which_of_their_rows(probe, given, argument):
    sides = {"train": ROWS, "labels": LABELS, "test": ROWS, "test_labels": LABELS} | given
    with pytest.raises(InputError, match=f"^{probe}: {argument}: expected"):
        getattr(featdiv, probe)(**sides)


def test_frechet_distance_says_which_rows_are_not_finite():
    spoilt = ROWS.copy()
    spoilt[7, 2] = np.nan
    with pytest.raises(NonFiniteError, match=r"^frechet_distance: other: expected finite rows; .* first in row 7"):
        featdiv.frechet_distance(ROWS, spoilt)
    with pytest.raises(NonFiniteError, match=r"^frechet_distance: x: expected finite rows; .* first in row 7"):
        featdiv.frechet_distance(spoilt, ROWS)


def test_the_error_stays_what_it_is_and_travels():
    with pytest.raises(SourceNotFound) as caught, called_by("cka", source="other"):
        featdiv.open("nowhere.npy")
    assert str(pickle.loads(pickle.dumps(caught.value))) == "cka: other: no such file or directory: nowhere.npy"


def test_other_errors_pass_as_they_are():
    with pytest.raises(InputError, match=r"^featdiv\.open: chunk_rows: "), called_by("cka"):
        featdiv.open(ROWS, chunk_rows=0)
    with pytest.raises(ZeroDivisionError), called_by("cka"):
        1 / 0  # noqa: B018
