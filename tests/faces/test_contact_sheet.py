"""The contact sheet of a policy."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from scantling.augment.policy import PolicySpec
from scantling.cli import main
from scantling.run.contact_sheet import contact_sheet, draw_sheet

CHAINS = ((("invert", 0),), (("cutout", 9), ("color", 8)))


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "images"
    place.mkdir()
    for number in range(5):
        Image.fromarray(np.full((20, 30, 3), 40 * number, dtype=np.uint8)).save(place / f"{number}.png")
    return place


def test_the_command_draws_a_found_policy_and_its_probabilities(folder, tmp_path, capsys):
    tables = {"operations": [[0.1] * 10], "magnitudes": [[0.1] * 10, [0.1] * 10]}
    PolicySpec(CHAINS, (1, 3), probabilities=tables).write(tmp_path)
    sheet = tmp_path / "sheet.png"
    words = ["data", "contact-sheet", str(folder), "--policy", str(tmp_path), "-o", str(sheet), "--rows", "2", "--size"]
    assert main([*words, "32"]) == 0
    assert str(sheet) in capsys.readouterr().out
    with Image.open(sheet) as image:
        tall = image.height
    PolicySpec(CHAINS, (1, 3)).write(tmp_path)
    assert main([*words, "32"]) == 0
    with Image.open(sheet) as image:
        assert image.height < tall - 100


def test_columns_are_sub_policies_by_weight(folder, tmp_path):
    import torch

    from scantling.augment.policy import SearchedPolicy
    from scantling.run.contact_sheet import _columns

    pixels = torch.full((2, 3, 8, 8), 10, dtype=torch.uint8)
    titles, tiles = _columns(SearchedPolicy(PolicySpec(CHAINS, (1, 3))), pixels, 6, 0)
    assert titles == ["cutout 9, color 8, (75 %)", "invert 0, (25 %)"]
    assert (tiles[1] * 255).round().unique().tolist() == [245.0]
    assert len(draw_sheet(["image", *titles], [pixels / 255, *tiles]).subfigs) == 1


@pytest.mark.parametrize("name", ["randaugment", "bigaug"])
def test_baselines_show_their_draws(folder, tmp_path, name):
    assert contact_sheet(folder, tmp_path / "a.jpg", name, rows=9, columns=2, size=16).stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--policy", "randaugmen", "-o", "a.png"], "did you mean 'randaugment'"),
        (["--policy", "fixed", "-o", "a.gif"], ".png"),
        (["--policy", "fixed", "-o", "a.png", "--rows", "0"], "at least 1"),
    ],
)
def test_bad_words_are_one_line(folder, capsys, words, told):
    assert main(["data", "contact-sheet", str(folder), *words]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_a_policy_file_that_is_none_is_said(folder, tmp_path, capsys):
    (tmp_path / "policy.json").write_text(json.dumps({"subpolicies": [[["spin", 1]]]}), encoding="utf-8")
    assert main(["data", "contact-sheet", str(folder), "--policy", str(tmp_path), "-o", str(tmp_path / "a.png")]) == 2
    assert "unknown operation 'spin'" in capsys.readouterr().err
