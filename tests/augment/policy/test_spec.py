"""A policy as a file: what is written is what is read, and what is wrong is said with file and key."""

from __future__ import annotations

import json
import os

import pytest

from scantling.augment.policy import OPERATIONS, PolicySpec
from scantling.core.errors import RecipeError
from scantling.run.policies import NAMED, policy_of, written_out
from scantling.run.recipe import resolve

CHAINS = ((("sharpness", 6), ("auto_contrast", 0)), (("brightness", 7),))
TABLES = {"operations": [[0.1] * 10, [0.2] + [0.8 / 9] * 9], "magnitudes": [[0.1] * 10]}


def test_a_policy_survives_its_file(tmp_path):
    for spec in (PolicySpec(CHAINS), PolicySpec(CHAINS, (2.0, 1.0), OPERATIONS[:3], None), PolicySpec(CHAINS, None)):
        assert PolicySpec.read(spec.write(tmp_path / "policy.json")) == spec
    spec = PolicySpec(CHAINS, probabilities=TABLES)
    assert PolicySpec.read(spec.write(tmp_path)).probabilities == TABLES
    assert (tmp_path / "policy.json").is_file()


def test_chances_sum_to_one():
    assert PolicySpec(CHAINS).chances == (0.5, 0.5)
    assert PolicySpec(CHAINS, (3, 1)).chances == (0.75, 0.25)


def test_run_folders_and_bundles_are_searched_for_it(tmp_path):
    bundle = tmp_path / "run" / "search" / "bundle"
    bundle.mkdir(parents=True)
    old = tmp_path / "run" / "first" / "bundle"
    old.mkdir(parents=True)
    PolicySpec(CHAINS).write(bundle)
    os.utime(PolicySpec(CHAINS[:1]).write(old), (1, 1))
    for place in (bundle, bundle.parent, tmp_path / "run", bundle / "policy.json"):
        assert PolicySpec.read(place) == PolicySpec(CHAINS)
    with pytest.raises(RecipeError, match="no policy.json here"):
        PolicySpec.read(tmp_path)


WRONG = {
    "subpolicies[0]": {"subpolicies": [[["brightnes", 7]]]},
    "subpolicies[1]": {"subpolicies": [[["brightness", 7]], [["brightness", 10]]]},
    "brightness 7": {"subpolicies": [["brightness 7"]]},
    "whole number": {"subpolicies": [[["brightness", 0.5]]]},
    "no sub-policy": {"subpolicies": []},
    "2 weights": {"subpolicies": [[["invert", 0]]], "weights": [1, 2]},
    "no weights": {"subpolicies": [[["invert", 0]]], "weights": [-1]},
    "did you mean 'weights'": {"subpolicies": [[["invert", 0]]], "weight": [1]},
    "10 numbers": {"subpolicies": [[["invert", 0]]], "probabilities": {"magnitudes": [[0.5, 0.5]]}},
    "no probability": {"subpolicies": [[["invert", 0]]], "probabilities": {"magnitudes": [[2.0] * 10]}},
    "did you mean 'operations'": {"subpolicies": [[["invert", 0]]], "probabilities": {"operation": [[1]]}},
    "has format 2": {"format": 2, "subpolicies": [[["invert", 0]]]},
    "no 'subpolicies'": {"weights": [1]},
}


@pytest.mark.parametrize("told", WRONG)
def test_what_is_wrong_is_said_with_the_file(told, tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(WRONG[told]), encoding="utf-8")
    with pytest.raises(RecipeError) as error:
        PolicySpec.read(file)
    assert str(file) in str(error.value)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_json_is_said(tmp_path):
    (tmp_path / "policy.json").write_text("{", encoding="utf-8")
    with pytest.raises(RecipeError, match="not valid JSON"):
        PolicySpec.read(tmp_path)


@pytest.mark.parametrize("name", NAMED)
def test_a_recipe_takes_a_policy_by_name(name):
    found = resolve("segment", {"data.policy": name}).stages[0].build().data.policy
    assert type(found) is type(policy_of(name))


def test_a_recipe_takes_a_found_policy_and_needs_its_file_no_more(tmp_path):
    spec = PolicySpec(CHAINS, (2.0, 1.0), probabilities=TABLES)
    file = spec.write(tmp_path)
    recipe = resolve("segment", ["--data.policy", str(tmp_path), "--data.policy.crop", "64"])
    (tmp_path / "again.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    file.unlink()
    assert str(tmp_path) not in recipe.to_yaml()
    policy = resolve(tmp_path / "again.yaml").stages[0].build().data.policy
    assert (policy.policy.subpolicies, policy.policy.weights) == (CHAINS, (2.0, 1.0))
    assert policy.framing.crop == 64


def test_a_path_inside_a_written_recipe_is_read_too(tmp_path):
    PolicySpec(CHAINS).write(tmp_path)
    given = {"class_path": "scantling.augment.policy.SearchedPolicy", "init_args": {"policy": str(tmp_path), "crop": 9}}
    assert written_out(given)["init_args"]["policy"]["subpolicies"] == [[list(s) for s in c] for c in CHAINS]
    assert written_out(given)["init_args"]["crop"] == 9
    assert given["init_args"]["policy"] == str(tmp_path)


def test_other_words_are_left_or_refused():
    assert written_out("none") is None
    assert written_out("scantling.augment.NoPolicy") == "scantling.augment.NoPolicy"
    assert written_out("stage:search")["init_args"] == {"policy": "stage:search"}
    with pytest.raises(RecipeError, match="did you mean 'randaugment'"):
        resolve("segment", {"data.policy": "randaugmen"})
    with pytest.raises(RecipeError, match="did you mean 'magnitude'"):
        resolve("segment", ["--data.policy", "randaugment", "--data.policy.magnitud", "3"])
