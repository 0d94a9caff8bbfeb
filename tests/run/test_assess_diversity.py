"""``assess diversity``: from two manifests, or two files of embeddings, to figures, tables and a page."""

from __future__ import annotations

import json
import math
import runpy
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from scantling.assess import sdice
from scantling.core.errors import BundleError, DataError, RecipeError
from scantling.data.phantoms import write_skin
from scantling.run.assess_diversity import assess_diversity
from scantling.run.encoders import EMBEDDING, open_encoder
from scantling.run.image_sets import read_set

save = runpy.run_path(str(Path(__file__).with_name("bundles.py")))["save"]
CPU = torch.device("cpu")
QUICK = {"device": "cpu", "bootstrap": 20, "workers": 1}


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Path:
    return write_skin(tmp_path_factory.mktemp("real") / "set", n=60, size=48, seed=1, imbalance=1.0)


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory) -> Path:
    return write_skin(tmp_path_factory.mktemp("synthetic") / "set", n=40, size=48, seed=2, imbalance=1.0)


@pytest.fixture
def arrays(tmp_path):
    """Two files of embeddings."""
    draw = np.random.default_rng(0)
    paths = []
    for name, count in (("real", 60), ("synthetic", 50)):
        labels = np.array(list("abc"))[np.arange(count) % 3]
        features = draw.normal(size=(count, 8)) + 2 * np.eye(8)[np.arange(count) % 3]
        paths.append(tmp_path / f"{name}.npz")
        np.savez(paths[-1], embeddings=features, labels=labels)
    return paths


def findings(folder: Path, rows: list[tuple[int, ...]], seed: int) -> Path:
    """A manifest of noise with two findings; -1 is unknown."""
    folder.mkdir()
    draw = np.random.default_rng(seed)
    for i in range(len(rows)):
        Image.fromarray(draw.integers(0, 256, (32, 32), dtype=np.uint8)).save(folder / f"{i}.png")
    table = pd.DataFrame({"image": [f"{i}.png" for i in range(len(rows))], "target": "findings"})
    for k, name in enumerate(("mass", "nodule")):
        table[f"label:{name}"] = [None if row[k] < 0 else row[k] for row in rows]
    table.to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


class _Balanced(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.outside: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in {"meta", "img", "br", "path", "use", "hr"}:
            self.open.append(tag)
        self.outside += [v for k, v in attrs if k in {"src", "href"} and v and not v.startswith(("data:", "#"))]

    def handle_endtag(self, tag):
        if tag not in {"path", "use"}:
            assert self.open.pop() == tag


def test_two_manifests_become_figures_tables_and_a_page(real, synthetic, tmp_path):
    found = assess_diversity(real, synthetic, "pixels", tmp_path / "out", **QUICK)
    content = json.loads((tmp_path / "out" / "diversity.json").read_text(encoding="utf-8"))
    assert content["sdice"]["intra"]["gamma"] == pytest.approx(found.result.intra.gamma)
    assert set(content["sdice"]["intra"]["distances"]) >= {"fisher", "wasserstein", "js"}
    assert sum(v["real"] for v in content["images"].values()) == 60
    assert 0 < content["companions"]["ms_ssim"]["real"] < 1
    classes = pd.read_csv(tmp_path / "out" / "classes.csv")
    assert len(classes) == 7 and classes["real_images"].is_monotonic_increasing
    assert len(pd.read_csv(tmp_path / "out" / "class_pairs.csv")) == 21
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    parser = _Balanced()
    parser.feed(page)
    assert not parser.open and not parser.outside
    assert page.count('alt="synthetic image"') == 12
    assert "must not judge them" in page and found.result.reading[1:] in page.replace("&#39;", "'")
    assert "below 100" in page
    assert str(tmp_path / "out" / "index.html") in found.summary()


def test_copies_of_the_real_set_score_one_and_are_called_copies(real, tmp_path):
    found = assess_diversity(real, real, "pixels", tmp_path / "out", floor=0, **QUICK)
    assert found.result.pair == (1.0, 1.0)
    assert found.content["companions"]["memorisation"]["copies"] == 1.0
    assert found.content["companions"]["recall"] == 1.0


def test_embeddings_are_computed_once_and_kept(real, tmp_path, monkeypatch):
    bundle = save(tmp_path / "bundle", "class", size=32)
    encoder = open_encoder(str(bundle), CPU)
    first = read_set(real, encoder, CPU, workers=1)
    again = open_encoder(str(bundle), CPU)
    monkeypatch.setattr(type(again.derivation), "__call__", lambda *_: pytest.fail("computed again"))
    torch.testing.assert_close(read_set(real, again, CPU, workers=1).embeddings, first.embeddings)
    assert first.embeddings.shape == (60, 512)


def test_the_features_of_a_bundle_are_what_its_head_reads(real, tmp_path):
    from scantling.run.model import load

    bundle = save(tmp_path / "bundle", "class", size=32)
    taken = read_set(real, open_encoder(str(bundle), CPU), CPU, workers=1)
    model = load(bundle)
    assert taken.images is not None
    probabilities = model.predict(taken.images[:4]).probabilities
    outputs = model.adapter.head(taken.embeddings[:4])
    torch.testing.assert_close(model.objective.decode(outputs), probabilities)
    other = open_encoder(str(save(tmp_path / "other", "class", size=32, seed=1)), CPU)
    assert other.derivation.settings != open_encoder(str(bundle), CPU).derivation.settings
    found = other.derivation(taken.images[:2])[EMBEDDING]
    assert found.shape == (2, 512) and not torch.allclose(found, taken.embeddings[:2])


def test_files_of_embeddings_need_no_encoder_and_give_what_the_function_gives(arrays, tmp_path):
    found = assess_diversity(*arrays, out=tmp_path / "out", seed=5, **QUICK)
    real, synthetic = (np.load(p) for p in arrays)
    expected = sdice(real["embeddings"], real["labels"], synthetic["embeddings"], synthetic["labels"])
    assert found.result.pair == pytest.approx(expected.pair, abs=1e-12)
    assert found.content["companions"]["ms_ssim"] == {"real": None, "synthetic": None}
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "Closest pairs" not in page and "<svg" in page
    again = assess_diversity(*arrays, out=tmp_path / "again", seed=5, **QUICK)
    assert {**again.content, "created": ""} == {**found.content, "created": ""}


def test_a_smaller_number_of_images_is_said_and_leaves_the_scores(arrays, tmp_path):
    whole = assess_diversity(*arrays, out=tmp_path / "a", **QUICK)
    some = assess_diversity(*arrays, out=tmp_path / "b", max_images=30, **QUICK)
    assert some.result.pair == whole.result.pair
    assert any("30 of 60 real images" in note for note in some.content["notes"])


def test_images_with_one_finding_are_kept_or_pairs_weighed(tmp_path):
    rows = [(1, 0), (0, 1), (1, 1), (0, 0), (1, -1), (0, 1), (1, 0), (0, 0)] * 2
    real, synthetic = findings(tmp_path / "a", rows, 0), findings(tmp_path / "b", rows[:8], 1)
    single = assess_diversity(real, synthetic, "pixels", tmp_path / "s", floor=0, **QUICK)
    assert single.content["images"] == {
        "mass": {"real": 6, "synthetic": 3}, "nodule": {"real": 4, "synthetic": 2}
    }  # fmt: skip
    assert any("6 real images without a usable label" in note for note in single.content["notes"])
    both = assess_diversity(real, synthetic, "pixels", tmp_path / "j", floor=0, multi_label="jaccard", **QUICK)
    assert set(both.content["images"]) == {"none", "mass", "nodule", "mass|nodule"}
    assert sum(v["real"] for v in both.content["images"].values()) == 14


def test_what_cannot_be_used_is_said_on_one_line(real, arrays, tmp_path):
    out = tmp_path / "out"
    unlabelled = tmp_path / "unlabelled.csv"
    pd.DataFrame({"image": ["a.png"]}).to_csv(unlabelled, index=False)
    other = tmp_path / "other.csv"
    paths = [str(real.parent / i) for i in pd.read_csv(real)["image"]]
    pd.DataFrame({"image": paths, "label": "owl"}).to_csv(other, index=False)
    (tmp_path / "broken.npz").write_bytes(b"no archive")
    np.savez(tmp_path / "wide.npz", embeddings=np.ones((3, 5)), labels=np.array(["a", "b", "c"]))
    segmenter = save(tmp_path / "segmenter", "mask", size=32)
    cases = [
        ((real, real, None), {}, RecipeError, "no encoder given"),
        ((real, arrays[0], "pixels"), {}, DataError, "two manifests or two .npz"),
        ((real, unlabelled, "pixels"), {}, DataError, "no classes"),
        ((real, other, "pixels"), {}, DataError, "no class in common"),
        ((real, real, str(tmp_path / "nothing")), {}, BundleError, "no such folder"),
        ((real, real, str(segmenter)), {}, BundleError, "single linear head"),
        ((real, real, "hub:resnet5"), {}, RecipeError, "timm knows no backbone"),
        ((real, real, "pixels"), {"distance": "emd"}, RecipeError, "unknown distance"),
        ((real, real, "pixels"), {"neighbours": 0}, RecipeError, "begin at 1"),
        ((arrays[0], tmp_path / "broken.npz", None), {}, DataError, "cannot be read"),
        ((arrays[0], tmp_path / "wide.npz", None), {}, DataError, "use one encoder"),
    ]
    for (one, two, encoder), options, kind, message in cases:
        with pytest.raises(kind, match=message) as caught:
            assess_diversity(one, two, encoder, out, **QUICK, **options)
        assert "\n" not in str(caught.value)
    assert not out.exists()


def test_a_blank_image_has_no_direction_and_is_named(tmp_path):
    manifest = findings(tmp_path / "a", [(1, 0)] * 4, 0)
    Image.new("L", (32, 32), 7).save(tmp_path / "a" / "2.png")
    with pytest.raises(DataError, match=r"row 4: the embedding of '2.png' is zero"):
        assess_diversity(manifest, manifest, "pixels", tmp_path / "out", **QUICK)


def test_one_class_writes_a_page_without_the_second_score(tmp_path):
    manifest = findings(tmp_path / "a", [(1, 0)] * 8, 0)
    with pytest.warns(UserWarning, match="gamma_inter"):
        found = assess_diversity(manifest, manifest, "pixels", tmp_path / "out", floor=0, **QUICK)
    assert math.isnan(found.result.inter.gamma)
    assert json.loads((tmp_path / "out" / "diversity.json").read_text())["sdice"]["inter"]["gamma"] is None
    assert "gamma_inter is undefined" in found.summary()


def test_the_command_line_does_the_same(arrays, tmp_path, capsys):
    from scantling.cli import main

    words = ["assess", "diversity", *map(str, arrays), "-o", str(tmp_path / "out"), "--bootstrap", "20"]
    assert main([*words, "--distance", "wasserstein", "--floor", "20", "--max-images", "40"]) == 0
    told = capsys.readouterr().out
    assert "gamma_intra" in told and "index.html" in told
    assert main([*words, "--distance", "wasserstien"]) == 2
    assert "wasserstein" in capsys.readouterr().err
