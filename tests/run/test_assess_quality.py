"""Quality as a user meets it: train on good images, assess, and a gate before a prediction."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from scantling import train
from scantling.cli import main
from scantling.core.errors import BundleError, DataError
from scantling.data.phantoms import write_octa
from scantling.run.assess_quality import assess_quality
from scantling.run.predict import predict

save = runpy.run_path(str(Path(__file__).with_name("bundles.py")))["save"]
TINY = {
    "task.adapter.backbone": "test_resnet",
    "task.adapter.weights": "none",
    "data.image_size": 48,
    "data.batch_size": 8,
    "trainer.max_epochs": 2,
    "trainer.accelerator": "cpu",
}


@pytest.fixture(scope="module")
def octa(tmp_path_factory) -> Path:
    return write_octa(tmp_path_factory.mktemp("octa") / "set", n=110, size=48, seed=3).parent


@pytest.fixture(scope="module")
def run(octa, tmp_path_factory) -> Path:
    return train(
        "uno_qa", octa / "good.csv", tmp_path_factory.mktemp("runs") / "run", overrides=TINY, progress=False
    ).folder


def test_images_are_scored_graded_and_reported(octa, run, tmp_path):
    result = assess_quality(run, octa / "manifest.csv", tmp_path / "out", split="test", device="cpu")
    table = pd.read_csv(result.path)
    assert list(table) == ["image", "score", "quality_index", "outstanding", "grade", "confidence", "error"]
    assert ((table["score"] <= result.record["threshold"]) == (table["outstanding"] == "yes")).all()
    assert ((table["grade"] == "outstanding") == (table["outstanding"] == "yes")).all()
    assert table["quality_index"].between(0, 100).all()
    assert (table.sort_values("score")["quality_index"].diff().dropna() <= 1e-6).all()
    counts = result.record["composition"]
    assert counts["outstanding"] + counts["gradable"] + counts["ungradable"] == len(table) == counts["all"]
    assert result.record["agreement"]["auroc"] > 0.8
    page = (tmp_path / "out" / "report.html").read_text()
    assert (
        "<svg" in page
        and "Outstanding" in page
        and "data:image/jpeg" in page
        and "http" not in page.replace("http-equiv", "")
    )
    assert not list((tmp_path / "out").glob(".*"))
    record = json.loads((tmp_path / "out" / "quality.json").read_text())
    again = assess_quality(
        run, octa / "manifest.csv", split="test", device="cpu", clusters=str(tmp_path / "out/quality.json")
    )
    assert again.table["grade"].tolist() == table["grade"].tolist() and record["model"] == again.record["model"]


def test_stored_groups_grade_an_image_whatever_else_is_assessed(octa, run):
    every = assess_quality(run, octa / "manifest.csv", split="test", clusters="bundle", device="cpu").table
    few = every["image"][:3].tolist()
    alone = assess_quality(run, [octa / name for name in few], clusters="bundle", device="cpu", batch_size=2).table
    assert alone["grade"].tolist() == every["grade"][:3].tolist()
    np.testing.assert_allclose(alone["score"], every["score"][:3], atol=1e-3)


@pytest.mark.parametrize("recipe", ["uno_qa", "uno_qa_embedding", "uno_qa_distill"])
def test_grades_in_the_training_manifest_change_nothing(recipe, octa, tmp_path):
    good = pd.read_csv(octa / "good.csv")[:24]
    images = [str(octa / name) for name in good["image"]]
    plain = pd.DataFrame({"image": images, "patient": good["patient"]})
    rng = np.random.default_rng(0)
    graded = plain.assign(label=rng.integers(0, 3, len(plain)), target="grade:3", severity=rng.random(len(plain)))
    weights, records = [], []
    for name, table in {"plain": plain, "graded": graded}.items():
        table.to_csv(tmp_path / f"{name}.csv", index=False)
        settings = TINY | {"trainer.max_epochs": 1}
        result = train(recipe, tmp_path / f"{name}.csv", tmp_path / name, overrides=settings, progress=False)
        weights.append((result.bundle / "model.safetensors").read_bytes())
        records.append((result.bundle / "quality.json").read_text())
    assert weights[0] == weights[1] and records[0] == records[1]
    assert json.loads(records[0])["direction"].keys() >= {"auroc", "two_sided"}


def test_an_assessment_goes_on_and_an_unreadable_image_stops_nothing(octa, run, tmp_path):
    rows = pd.read_csv(octa / "manifest.csv")["image"][:9]
    home = tmp_path / "images"
    home.mkdir()
    for number, name in enumerate(rows):
        Image.open(octa / name).save(home / f"{number}.png")

    class Stop(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done >= 4:
            raise Stop

    with pytest.raises(Stop):
        assess_quality(run, home, tmp_path / "out", batch_size=4, device="cpu", progress=stop)
    assert (tmp_path / "out" / ".quality.csv.part").exists() and not (tmp_path / "out" / "quality.csv").exists()
    told: list[int] = []
    assess_quality(run, home, tmp_path / "out", batch_size=4, device="cpu", progress=lambda d, t: told.append(d))
    assert told[0] == 8
    assess_quality(run, home, tmp_path / "whole", device="cpu")
    assert (tmp_path / "out/quality.csv").read_text() == (tmp_path / "whole/quality.csv").read_text()
    (home / "9.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="1 of 10 images could not be read"):
        assess_quality(run, home, tmp_path / "out", device="cpu")
    table = pd.read_csv(tmp_path / "out" / "quality.csv")
    assert table["error"].notna().tolist() == [False] * 9 + [True] and table["grade"].isna().sum() == 1


def test_a_gate_withholds_bad_images_and_says_so(octa, run, tmp_path):
    bundle = save(tmp_path / "model", "grade", size=48)
    free = predict(bundle, octa / "manifest.csv", tmp_path / "free", split="test", device="cpu", saliency=False).table
    result = predict(
        bundle, octa / "manifest.csv", tmp_path / "gated", split="test", device="cpu", saliency=False,
        quality_gate=run, quality_gate_level="outstanding",
    )  # fmt: skip
    table = pd.read_csv(result.path)
    held = table["withheld"].notna()
    assert 0 < held.sum() == result.withheld < len(table) and "withheld" in result.rule
    assert table.loc[held, ["prediction", "score"]].isna().all(axis=None) and table["error"].isna().all()
    assert (table.loc[~held, "image_quality"] == "outstanding").all()
    assert table.loc[~held, "prediction"].tolist() == free.loc[~held, "prediction"].tolist()
    graded = assess_quality(run, octa / "manifest.csv", split="test", clusters="bundle", device="cpu").table
    np.testing.assert_allclose(table["image_quality_score"], graded["score"], rtol=1e-3, atol=1e-3)
    looser = predict(
        bundle, octa / "manifest.csv", None, split="test", device="cpu", quality_gate=run
    )  # fmt: skip
    expected = graded["grade"] == "ungradable"
    if "keeps no groups" in looser.rule:
        expected = graded["outstanding"] == "no"
    assert looser.table["withheld"].notna().tolist() == expected.tolist()


@pytest.mark.parametrize("kind", ["mask", "biometry"])
def test_a_gate_before_masks_writes_none_of_what_it_withholds(octa, run, tmp_path, kind):
    bundle = save(tmp_path / "model", kind, size=48)
    pixels = {"pixels": True} if kind == "biometry" else {}
    result = predict(
        bundle, octa / "manifest.csv", tmp_path / "gated", split="test", device="cpu",
        quality_gate=run, quality_gate_level="outstanding", **pixels,
    )  # fmt: skip
    table = result.table
    held = table["withheld"].notna()
    assert 0 < held.sum() < len(table) and table.loc[held, "mask"].isna().all()
    written = {path.name for path in (tmp_path / "gated" / "masks").rglob("*.png")}
    assert {Path(name).name for name in table.loc[~held, "mask"].dropna()} == written
    assert not any(Path(name).name in " ".join(written) for name in table.loc[held, "image"])
    if kind == "biometry":
        assert table.loc[held, "quality"].isna().all() and table.loc[~held, "quality"].notna().all()


def test_other_bundles_and_groups_are_refused(octa, run, tmp_path):
    bundle = save(tmp_path / "model", "grade", size=48)
    with pytest.raises(BundleError, match="scores no quality"):
        assess_quality(bundle, octa / "manifest.csv", device="cpu")
    with pytest.raises(BundleError, match="scores no quality"):
        predict(run, octa / "manifest.csv", quality_gate=bundle, device="cpu")
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(DataError, match="another model"):
        assess_quality(run, octa / "manifest.csv", clusters=str(tmp_path / "x.json"), device="cpu")
    with pytest.raises(DataError, match="no groups of images"):
        assess_quality(run, octa / "manifest.csv", clusters="nowhere.json", device="cpu")


def test_the_command_line_assesses(octa, run, tmp_path, capsys):
    words = [str(run), str(octa / "manifest.csv"), "--split", "val", "-o", str(tmp_path / "out"), "--device", "cpu"]
    assert main(["assess", "quality", *words]) == 0
    told = capsys.readouterr().out
    assert "outstanding" in told and "report.html" in told
    assert main(["assess"]) == 0 and "quality" in capsys.readouterr().out


def test_a_resumed_training_ends_with_the_same_weights(octa, tmp_path):
    settings = TINY | {"trainer.max_epochs": 2}
    whole = train("uno_qa", octa / "good.csv", tmp_path / "whole", overrides=settings, progress=False)
    from scantling.assess.quality.task import AssessQuality

    calls = 0
    plain = AssessQuality.step_loss

    def stopping(self, batch, generator):
        nonlocal calls
        calls += 1
        if calls == 5:
            raise RuntimeError
        return plain(self, batch, generator)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AssessQuality, "step_loss", stopping)
        with pytest.raises(RuntimeError):
            train("uno_qa", octa / "good.csv", tmp_path / "parts", overrides=settings, progress=False)
    parts = train("uno_qa", octa / "good.csv", tmp_path / "parts", overrides=settings, progress=False, resume=True)
    from safetensors.torch import load_file

    one, two = (load_file(r.bundle / "model.safetensors") for r in (whole, parts))
    assert all(torch.equal(one[name], two[name]) for name in one)
