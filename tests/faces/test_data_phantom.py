"""``scantling data phantom``: every kind has its own options, from the function that writes it."""

from __future__ import annotations

import pandas as pd
import pytest

from scantling.cli import main
from scantling.data import phantoms
from scantling.faces.data_phantom import KINDS, WRITERS


def test_kinds_and_their_functions_are_those_of_the_library():
    assert set(KINDS) == set(phantoms.WRITERS)
    for kind, (module, name) in WRITERS.items():
        assert phantoms.WRITERS[kind].__module__ == module
        assert phantoms.WRITERS[kind].__name__ == name


def test_options_reach_the_set(tmp_path, capsys):
    words = ["--classes", "3", "--imbalance", "5", "--balanced", "none", "--size", "32", "--fractions", "1", "0", "0"]
    assert main(["data", "phantom", "skin", "-n", "20", "-o", str(tmp_path / "skin"), *words]) == 0
    assert "20 images" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "skin" / "manifest.csv")
    assert set(table["label"]) == {"naevus", "melanoma", "keratosis"}
    assert set(table["split"]) == {"train"}
    words = ["-o", str(tmp_path / "eyes"), "--abnormal-in", "all", "--abnormal", "1", "--size", "32", "--n", "4"]
    assert main(["data", "phantom", "--of", "fundus", *words, "anomaly"]) == 0
    table = pd.read_csv(tmp_path / "eyes" / "manifest.csv")
    assert set(table["label"]) == {"abnormal"}
    assert (tmp_path / "eyes" / "donor.png").is_file()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["skin", "--prior", "eyepacs"], "unknown option '--prior'"),
        (["fundus", "--classes", "3"], "unknown option '--classes'"),
        (["anomaly", "--of", "brain"], "'brain' is none of chest, fundus"),
        (["skin", "--classes", "9"], "classes is 9; give 2 to 7"),
    ],
)
def test_what_a_kind_does_not_know_is_refused_in_one_line(words, part, tmp_path, capsys):
    assert main(["data", "phantom", *words, "-o", str(tmp_path / "x")]) == 2
    told = capsys.readouterr().err
    assert part in told
    assert "Traceback" not in told
    assert not (tmp_path / "x").exists()
