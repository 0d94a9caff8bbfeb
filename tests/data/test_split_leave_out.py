"""One domain for the test, the others for training and validation."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from scantling.cli import main
from scantling.core.errors import DataError
from scantling.data.manifest import Manifest
from scantling.data.split import leave_out


@pytest.fixture
def manifest() -> Manifest:
    """Three sites of ten patients with two images each."""
    rows = [
        {"image": f"{site}{p}{eye}.png", "patient": f"{site}{p}", "site": site}
        for site in ("a", "b", "c")
        for p in range(10)
        for eye in "lr"
    ]
    return Manifest(pd.DataFrame(rows), Path("."))


def test_the_test_split_is_one_domain_and_the_others_are_in_both_parts(manifest):
    table = leave_out(manifest, "site", "b").table
    assert (table["split"] == "test").equals(table["site"] == "b")
    counts = table[table["site"] != "b"].groupby(["site", "split"]).size()
    assert counts.to_dict() == {(s, p): n for s in "ac" for p, n in (("train", 16), ("val", 4))}
    assert (table.groupby("patient")["split"].nunique() == 1).all()


def test_it_repeats_itself_and_forgets_earlier_splits(manifest):
    first = leave_out(manifest, "site", "b", seed=3)
    again = leave_out(leave_out(first, "site", "a"), "site", "b", seed=3)
    assert first.table["split"].tolist() == again.table["split"].tolist()
    assert first.table["split"].tolist() != leave_out(manifest, "site", "b", seed=4).table["split"].tolist()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [("sites", "a", "no column 'sites'"), ("site", "d", "no row with the site 'd'.*a, b, c"), ("eye", "x", "all rows")],
)
def test_what_cannot_be_left_out_is_refused(manifest, column, value, message):
    whole = manifest.with_table(manifest.table.assign(eye="x"))
    with pytest.raises(DataError, match=message):
        leave_out(whole, column, value)


def test_a_patient_of_two_domains_is_refused(manifest):
    table = manifest.table.copy()
    table.loc[0, "site"] = "b"
    with pytest.raises(DataError, match="are in the test split and outside it"):
        leave_out(manifest.with_table(table), "site", "b")


def test_the_command_line_leaves_a_site_out(manifest, tmp_path, capsys):
    manifest.write(tmp_path / "m.csv")
    assert main(["data", "split", str(tmp_path / "m.csv"), "--leave-out", "site=c"]) == 0
    table = Manifest.read(tmp_path / "m.csv").table
    assert set(table.loc[table["split"] == "test", "site"]) == {"c"}
    for words in (["--leave-out", "site"], ["--leave-out", "site=c", "--folds", "3"]):
        assert main(["data", "split", str(tmp_path / "m.csv"), *words]) == 2
    assert "Traceback" not in capsys.readouterr().err
