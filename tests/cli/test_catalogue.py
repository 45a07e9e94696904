from __future__ import annotations

import json

from featdiv.metrics import catalogue


def test_every_metric_has_a_line(run):
    result = run("metrics")
    assert result.exit_code == 0
    assert tuple(line.split()[0] for line in result.stdout.splitlines()[1:]) == catalogue.names()


def test_one_metric_shows_its_definitions(run):
    text = run("metrics", "rankme").stdout
    for name in catalogue.definitions("rankme"):
        assert f"definition {name}" in text
    assert "Garrido" in text


def test_json_is_the_whole_catalogue(run):
    entries = json.loads(run("metrics", "--json", "-").stdout)
    assert tuple(entry["name"] for entry in entries) == catalogue.names()
    assert all(entry["definitions"][0]["source"]["year"] for entry in entries)
    (sparsity,) = (entry for entry in entries if entry["name"] == "sparsity")
    assert sparsity["directions"]["treves_rolls_per_unit"] == "lower is sparser"
    assert sparsity["score_sources"]["treves_rolls_per_unit"]["year"] == 1991


def test_an_unknown_metric_names_the_nearest(run):
    result = run("metrics", "rankmee")
    assert result.exit_code == 1
    assert "featdiv metrics: no metric is named 'rankmee'; did you mean rankme?" in result.stderr
