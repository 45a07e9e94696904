from __future__ import annotations

import json

import numpy as np
import pytest

import featdiv


@pytest.fixture
def rows(tmp_path):
    """Forty rows of three features, the first of which varies most, then the second."""
    x = np.random.default_rng(0).normal(size=(40, 3)) * [9.0, 3.0, 1.0]
    np.save(tmp_path / "features.npy", x)
    np.save(tmp_path / "other.npy", x[:, [0, 2]])
    return x


@pytest.fixture
def pictures(tmp_path):
    Image = pytest.importorskip("PIL.Image")
    for index in range(40):
        folder = tmp_path / "pictures" / ("train" if index < 30 else "test") / "all"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((9, 12, 3), 6 * index, np.uint8)).save(folder / f"{index:02d}.png")


def test_the_rows_at_the_ends_are_shown(run, rows):
    result = run("directions", "features.npy", "-k", "2", "--extremes", "3", "--json", "out.json")
    assert result.exit_code == 0, result.stderr
    found = featdiv.directions(rows, k=2, extremes=3)
    title, heads, first, second = result.stdout.splitlines()
    assert title == "features: 40 rows of 3 features"
    assert heads.split() == ["direction", "variance", "rows", "at", "one", "end", "rows", "at", "the", "other"]
    for line, place in ((first, 0), (second, 1)):
        number, share, _, *ends = line.split()
        assert number == str(place + 1)
        assert float(share) == pytest.approx(100 * found.shares[place], abs=0.06)
        assert list(map(int, ends)) == [*found.low[place], *found.high[place]]
    # The leading direction is the first feature, but for chance.
    assert abs(rows[int(first.split()[3]), 0]) == pytest.approx(np.abs(rows[:, 0]).max(), rel=0.25)


def test_without_the_mean_subtracted(run, rows, tmp_path):
    far = rows + np.array([0.0, 0.0, 50.0])
    np.save(tmp_path / "far.npy", far)
    result = run("directions", "far.npy", "-k", "1", "--extremes", "1", "--no-center")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[1].split()[:2] == ["direction", "squares"]
    share = np.linalg.svd(far, compute_uv=False)[0] ** 2 / (far**2).sum()
    assert float(result.stdout.splitlines()[2].split()[1]) == pytest.approx(100 * share, abs=0.06)
    assert "--no-center: expected without --other" in run(
        "directions", "far.npy", "--other", "other.npy", "--no-center"
    ).stderr.replace("\n", " ")


def test_what_another_model_lacks(run, rows, tmp_path):
    result = run("directions", "features.npy", "--other", "other.npy", "-k", "1", "--json", "out.json")
    assert result.exit_code == 0, result.stderr
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["other"] == "other"
    assert "told by other" in result.stdout
    # Of the second feature, which the other model does not have, only chance is told.
    assert content["explained"][0] < 0.3
    shown = [content["low"][0][0], content["high"][0][0]]
    assert {*shown} == {int(rows[:, 1].argmin()), int(rows[:, 1].argmax())}


def test_the_page_shows_the_images_at_the_ends(run, rows, pictures, tmp_path):
    result = run(
        "directions", "features.npy", "--images", "pictures", "-k", "1", "--extremes", "2", "--out", "page.html"
    )
    # Folders are read by split and name: rows 30 to 39 come after the others here as there.
    assert result.exit_code == 0, result.stderr
    page = (tmp_path / "page.html").read_text()
    assert "What features shows" in page
    assert page.count("<img ") == 4
    assert "wrote page.html" in result.stderr


def test_json_alone(run, rows):
    result = run("directions", "features.npy", "-k", "1", "--json", "-")
    assert json.loads(result.stdout)["type"] == "Directions"


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("none.npy",), 1, "none.npy"),
        (("features.npy", "-k", "4"), 1, "k: expected at most the 3 features of x; got 4"),
        (("features.npy", "--other-name", "b"), 2, "--other-name: expected beside --other"),
        (("features.npy", "--split", "test"), 2, "--split: expected beside --images"),
        (("features.npy", "-k", "1", "--images", "pictures", "--split", "test"), 1, "expected 40 images, one for each"),
        (("features.npy", "--out", "nowhere/page.html"), 2, "does not exist"),
        (("features.npy", "--backend", "cuda9"), 2, "--backend: expected auto"),
    ],
)  # fmt: skip
def test_wrong_use_is_told(run, rows, pictures, arguments, code, text):
    result = run("directions", *arguments)
    assert result.exit_code == code
    assert text in " ".join(result.stderr.replace("│", " ").split())
