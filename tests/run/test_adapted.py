"""Models on a frozen network, as a user meets them: two looks at every image, small bundles, shared memory."""

import gc
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open

from scantling import evaluate, load, predict, train
from scantling.core.errors import BundleError, DataError
from scantling.core.frozen import kept_place

COMMON = {
    "task.adapter.backbone": "test_vit",
    "data.batch_size": 8,
    "data.target": "class",
    "trainer.max_epochs": 1,
    "trainer.accelerator": "cpu",
}


@pytest.fixture(scope="module")
def pretrained(phantoms, tmp_path_factory):
    """A small vision transformer that we trained ourselves."""
    out = tmp_path_factory.mktemp("pretrained") / "run"
    overrides = {**COMMON, "task.adapter.weights": "none", "data.image_size": 64, "data.policy": None}
    return train("full_finetune", phantoms, out, overrides=overrides, progress=False).bundle


@pytest.fixture(scope="module")
def fpt(pretrained, phantoms, tmp_path_factory):
    out = tmp_path_factory.mktemp("fpt") / "run"
    return train("fpt_plus", phantoms, out, overrides=fpt_settings(pretrained), progress=False).bundle


def fpt_settings(pretrained, **more):
    size = {"task.adapter.frozen_size": 64, "data.image_size": 32, "task.adapter.prompts": 4}
    return {**COMMON, **size, "task.adapter.reduction": 4, "task.adapter.weights": str(pretrained), **more}


def tensors(bundle):
    with safe_open(bundle / "model.safetensors", "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}


@pytest.mark.parametrize("recipe", ["lora", "linear_probe", "bitfit"])
def test_a_bundle_holds_only_what_learned_and_the_name_of_the_network_below(recipe, pretrained, phantoms, tmp_path):
    settings = {**COMMON, "task.adapter.weights": str(pretrained), "data.image_size": 64, "trainer.max_epochs": 1}
    bundle = train(recipe, phantoms, tmp_path / "run", overrides=settings, progress=False).bundle
    meta = json.loads((bundle / "bundle.json").read_text())
    learned = sum(t.numel() for n, t in tensors(bundle).items() if n.startswith("adapter."))
    assert learned == meta["meter"]["learnable"] < 0.2 * meta["meter"]["total"]
    assert meta["frozen"]["backbone"] == "test_vit" and len(meta["frozen"]["hash"]) == 64
    assert kept_place(meta["frozen"]["hash"]).is_file()
    assert meta["frozen"]["hash"] in (bundle / "README.md").read_text()
    frozen = {n.split("body.")[1]: t for n, t in tensors(pretrained).items() if "body." in n}
    model = load(bundle)
    body = dict(model.adapter.backbone.body.named_parameters())
    assert torch.equal(body["patch_embed.proj.weight"], frozen["patch_embed.proj.weight"])
    again = evaluate(bundle, phantoms, "test", out=tmp_path / "e", replicates=0).content
    assert again["metrics"]


def test_several_tasks_share_one_frozen_network_in_memory(pretrained, phantoms, tmp_path):
    settings = {**COMMON, "task.adapter.weights": str(pretrained), "data.image_size": 64}
    one = load(train("linear_probe", phantoms, tmp_path / "a", overrides=settings, progress=False).bundle)
    two = load(train("bitfit", phantoms, tmp_path / "b", overrides=settings, progress=False).bundle)
    first, second = (dict(m.adapter.backbone.body.named_parameters()) for m in (one, two))
    name = "blocks.0.attn.qkv.weight"
    assert first[name].data_ptr() == second[name].data_ptr()
    assert first["blocks.0.attn.qkv.bias"].data_ptr() != second["blocks.0.attn.qkv.bias"].data_ptr()


def test_a_network_that_is_not_here_is_named_in_one_line(pretrained, phantoms, tmp_path):
    settings = {**COMMON, "task.adapter.weights": str(pretrained), "data.image_size": 64}
    bundle = train("linear_probe", phantoms, tmp_path / "run", overrides=settings, progress=False).bundle
    meta = json.loads((bundle / "bundle.json").read_text())
    meta["frozen"] |= {"hash": "0" * 64}
    (bundle / "bundle.json").write_text(json.dumps(meta))
    with pytest.raises(BundleError, match="frozen network 'test_vit'.* holds another one") as error:
        load(bundle)
    assert "\n" not in str(error.value)


def test_stored_features_and_features_made_on_the_way_give_the_same_predictions(fpt, phantoms, tmp_path):
    table = pd.read_csv(phantoms)
    rows = table[table["split"] == "test"].head(6)
    stored = evaluate(fpt, phantoms, "test", out=tmp_path / "e", replicates=0)
    found = predict(fpt, [phantoms.parent / p for p in rows["image"]], tmp_path / "p", saliency=True)
    names = [c for c in found.table if c.startswith("p_")]
    from scantling.run.evaluate import open_for
    from scantling.run.prepare import read_manifest

    model = load(fpt)
    prepared, _ = open_for(model, read_manifest(phantoms), None)
    batch = prepared.loader(torch.tensor(rows.index.tolist()), 6, sampler="sequential").batch(
        torch.tensor(rows.index.tolist())
    )
    assert "frozen_keys" in batch.keys() and "frozen_image" not in batch.keys()
    expected = model.decide(model.outputs(batch)).probabilities.numpy()
    assert np.allclose(found.table[names].to_numpy(), expected, atol=1e-5)
    assert len(list((tmp_path / "p" / "saliency").iterdir())) == 6
    assert stored.content["metrics"]


def test_features_lie_in_the_store_and_are_computed_once(fpt, pretrained, phantoms, tmp_path, monkeypatch):
    from scantling.adapt.fpt import FrozenFeatures

    def never(self, images):
        raise AssertionError("computed again")

    monkeypatch.setattr(FrozenFeatures, "__call__", never)
    train("fpt_plus", phantoms, tmp_path / "again", overrides=fpt_settings(pretrained), progress=False)
    more = fpt_settings(pretrained, **{"task.adapter.ratio": 0.5})
    with pytest.raises(AssertionError, match="computed again"):
        train("fpt_plus", phantoms, tmp_path / "other", overrides=more, progress=False)


def test_training_on_the_way_gives_the_weights_of_training_on_stored_features(fpt, pretrained, phantoms, tmp_path):
    settings = fpt_settings(pretrained, **{"task.adapter.preload": False})
    other = train("fpt_plus", phantoms, tmp_path / "run", overrides=settings, progress=False).bundle
    ours, theirs = tensors(fpt), tensors(other)
    assert ours.keys() == theirs.keys()
    assert all(torch.allclose(ours[n], theirs[n], atol=2e-5) for n in ours)


def test_features_of_other_settings_are_refused_with_one_line(fpt, pretrained, phantoms, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    monkeypatch.setenv("SCANTLING_CACHE", str(cache))
    train("fpt_plus", phantoms, tmp_path / "one", overrides=fpt_settings(pretrained), progress=False)
    (kept,) = (cache / "stores").glob("*/derived/*/meta.json")
    meta = json.loads(kept.read_text())
    meta["info"]["settings"]["ratio"] = 0.3
    kept.write_text(json.dumps(meta))
    with pytest.raises(DataError, match=r"was computed with ratio = 0\.3 and not 0\.2") as error:
        train("fpt_plus", phantoms, tmp_path / "two", overrides=fpt_settings(pretrained), progress=False)
    assert "\n" not in str(error.value)


def test_mirrored_forms_train_and_evaluate(pretrained, phantoms, tmp_path):
    forms = {"task.adapter.stored_views": ["identity", "horizontal"], "data.policy.horizontal_flip": 0.0}
    result = train("fpt_plus", phantoms, tmp_path / "run", overrides=fpt_settings(pretrained, **forms), progress=False)
    found = evaluate(result.bundle, phantoms, "test", out=tmp_path / "e", replicates=0, augmentation="flips")
    assert found.content["metrics"]


def test_the_large_network_is_not_needed_to_train_on_stored_features(fpt, pretrained, phantoms, tmp_path, monkeypatch):
    import scantling.nets.frozen as frozen

    def never(*_, **__):
        raise AssertionError("built")

    monkeypatch.setattr(frozen, "frozen_body", never)
    train("fpt_plus", phantoms, tmp_path / "run", overrides=fpt_settings(pretrained), progress=False)


def test_a_bundle_that_moved_finds_its_network_in_the_cache(fpt, phantoms, tmp_path):
    moved = shutil.copytree(fpt, tmp_path / "moved")
    meta = json.loads((moved / "bundle.json").read_text())
    meta["frozen"]["source"] = "/nowhere"
    (moved / "bundle.json").write_text(json.dumps(meta))
    gc.collect()
    image = phantoms.parent / pd.read_csv(phantoms)["image"][0]
    assert torch.equal(load(moved).predict(image).probabilities, load(fpt).predict(image).probabilities)
    with pytest.raises(DataError, match="looks at every image again at 64 x 64 pixels"):
        load(fpt).predict(torch.zeros(1, 3, 32, 32))


def test_flips_at_test_time_flip_both_looks(fpt, phantoms):
    image = phantoms.parent / pd.read_csv(phantoms)["image"][0]
    model = load(fpt)
    batch = model.read([image])
    mirrored = batch.clone()
    for name in ("image", "frozen_image"):
        mirrored[name] = batch[name].flip(-1)
    assert torch.allclose(model.outputs(batch, "flips"), model.outputs(mirrored, "flips"), atol=1e-5)
    assert not torch.allclose(model.outputs(batch), model.outputs(mirrored), atol=1e-5)
