"""Phantoms of every kind as data sets of a bench."""

from __future__ import annotations

from pathlib import Path

import pytest

from scantling.core.errors import RecipeError
from scantling.data.manifest import Manifest
from scantling.data.phantoms import WRITERS
from scantling.run.bench import _made
from scantling.run.bench_job import _resolved
from scantling.run.bench_plan import BESIDE, OPEN, PLAN, DataSet, open_data


@pytest.mark.parametrize("kind", sorted(WRITERS))
def test_every_kind_can_be_a_data_set(kind, tmp_path):
    made = _made("set", DataSet("Set", {"phantoms": kind, "n": 6, "size": 48, "seed": 2}), tmp_path / "set")
    assert len(Manifest.read(made)) == 6


def test_lesion_masks_can_be_the_target(tmp_path):
    make = {"phantoms": "skin", "n": 6, "size": 32, "mask": "mask", "target": "mask:background|lesion"}
    manifest = Manifest.read(_made("set", DataSet("Set", make), tmp_path / "set"))
    assert manifest.target.spec == "mask:background|lesion"
    assert manifest.path(0, "mask")[0].is_file()


def test_an_unknown_kind_names_the_nearest(tmp_path):
    with pytest.raises(RecipeError, match="did you mean 'skin'"):
        _made("set", DataSet("Set", {"phantoms": "skinn"}), tmp_path / "set")


def test_settings_name_files_beside_the_manifest_and_the_plan_and_among_open_data(monkeypatch):
    monkeypatch.setenv("SCANTLING_DATA", "/open")
    places = {BESIDE: Path("/d"), OPEN: open_data(), PLAN: Path("/p")}
    given = ["data:donor.png", "open:eyes/1.jpg", "plan:marks/1.png", "pretrain:eyes", "plain", 3]
    found = ["/d/donor.png", "/open/eyes/1.jpg", "/p/marks/1.png", "/b/eyes", "plain", 3]
    assert [_resolved(value, {"eyes": "/b/eyes"}, places) for value in given] == found
    assert _resolved(given, {"eyes": "/b/eyes"}, places) == found
