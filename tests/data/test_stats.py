"""Figures of a data set, against a direct computation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from scantling.data.manifest import Manifest
from scantling.data.stats import stats


def test_counts_sizes_and_colours(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 256, (10 + i, 20, 3), dtype=np.uint8) for i in range(4)]
    for i, p in enumerate(pixels):
        Image.fromarray(p).save(tmp_path / f"{i}.png")
    table = pd.DataFrame(
        {
            "image": [f"{i}.png" for i in range(4)], "label": ["0", "1", "1", None], "target": "grade:2",
            "patient": list("aabb"), "site": list("xxyy"),
        }
    )  # fmt: skip
    out = stats(Manifest(table, tmp_path))
    assert out["images"] == 4
    assert out["patients"] == 2
    assert out["unlabelled"] == 1
    assert out["classes"] == {"all": {"0": 1, "1": 2}}
    assert out["sites"] == {
        "x": {"images": 2, "classes": {"0": 1, "1": 1}}, "y": {"images": 2, "classes": {"1": 1}},
    }  # fmt: skip
    assert out["sizes"] == {"min": [10, 20], "median": [11, 20], "max": [13, 20], "distinct": 4}
    mean = np.mean([p.mean(axis=(0, 1)) / 255 for p in pixels], axis=0)
    every = np.concatenate([p.reshape(-1, 3) / 255 for p in pixels])
    np.testing.assert_allclose(out["mean"], mean)
    np.testing.assert_allclose(out["std"], np.sqrt(((every - mean) ** 2).mean(axis=0)))
    json.dumps(out)


def test_colours_come_from_the_training_split_and_a_seeded_sample(tmp_path: Path) -> None:
    for i, value in enumerate((10, 20, 200)):
        Image.new("L", (4, 4), value).save(tmp_path / f"{i}.png")
    table = pd.DataFrame({"image": ["0.png", "1.png", "2.png"], "split": ["train", "train", "test"]})
    out = stats(Manifest(table, tmp_path))
    assert out["mean"] == pytest.approx([15 / 255])
    assert out["std"] == pytest.approx([5 / 255])
    assert out["channels"] == {"1": 2}
    one = [stats(Manifest(table, tmp_path), sample=1, seed=s)["mean"] for s in (0, 0)]
    assert one[0] == one[1]
    assert stats(Manifest(table, tmp_path), sample=1)["sampled"] == 1
