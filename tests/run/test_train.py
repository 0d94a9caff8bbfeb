"""Training as a user meets it: what it leaves, and how it ends when something is wrong."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import pandas as pd
import pytest
import torch
from PIL import Image

from scantling import evaluate, load, train
from scantling.core.errors import DataError, RecipeError, ScantlingError, TrainingError
from scantling.data.manifest import Manifest


def test_a_run_leaves_a_bundle_that_loads_and_an_evaluation_with_intervals(phantoms, small, tmp_path):
    result = train("dr_grading", phantoms, tmp_path / "run", overrides=small, progress=False)
    figure = result.metrics["values"]["quadratic_weighted_kappa"]
    assert figure["low"] <= figure["value"] <= figure["high"]
    rows = pd.read_csv(tmp_path / "run/train/log/metrics.csv")
    assert rows["epoch"].tolist() == [1, 2] and rows["val_loss"].notna().all()
    evaluation = evaluate(tmp_path / "run", phantoms, "test", replicates=200)
    assert evaluation.report.stat().st_size > 10_000
    content = json.loads(evaluation.json.read_text())
    assert set(content["by"]["site"]) <= {"0", "1", "site_0", "site_1", "site-0", "site-1"} or content["by"]["site"]
    model = load(result.bundle)
    meta = json.loads((result.bundle / "bundle.json").read_text())
    assert meta["provenance"]["data"]["splits"]["train"]["images"] > 0
    assert "not a medical device" in (result.bundle / "README.md").read_text()
    patients = set(Manifest.read(phantoms).table["patient"].astype(str))
    text = (result.bundle / "bundle.json").read_text() + (result.bundle / "README.md").read_text()
    assert not any(f'"{p}"' in text for p in patients)
    assert model.predict(torch.zeros(1, 3, 32, 32)).probabilities.shape == (1, 5)


def test_the_evaluation_of_the_validation_split_repeats_the_figures_of_the_training(phantoms, small, tmp_path):
    result = train("dr_grading", phantoms, tmp_path / "run", overrides=small, progress=False)
    again = evaluate(tmp_path / "run", phantoms, "val", replicates=0).content["metrics"]
    for name, figure in result.metrics["values"].items():
        assert again[name]["value"] == pytest.approx(figure["value"], abs=1e-6)


def test_same_seed_same_weights_other_seed_other_weights(phantoms, small, tmp_path):
    def weights(name: str, seed: int) -> bytes:
        overrides = {**small, "trainer.max_epochs": 1, "trainer.seed": seed}
        return (train("dr_grading", phantoms, tmp_path / name, overrides=overrides, progress=False).bundle
                / "model.safetensors").read_bytes()  # fmt: skip

    one = weights("a", 1)
    assert one == weights("b", 1)
    assert one != weights("c", 2)


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_checkpoint(phantoms, small, tmp_path):
    settings = {**small, "task.optimizer.lr": 1e6, "trainer.max_epochs": 30, "trainer.checkpoint_steps": 1}
    with pytest.raises(TrainingError, match=r"epoch \d+.*lower task.optimizer.lr"):
        train("dr_grading", phantoms, tmp_path / "run", overrides=settings, progress=False)
    last = tmp_path / "run/train/checkpoints/last.ckpt"
    state = torch.load(last, weights_only=True)["state_dict"]
    assert all(torch.isfinite(v).all() for k, v in state.items() if k.endswith("weight"))


def test_a_full_disk_stops_the_run_and_keeps_the_earlier_checkpoint(phantoms, small, tmp_path, monkeypatch):
    from lightning.pytorch import Trainer

    real, calls = Trainer.save_checkpoint, []

    def save(self, path, *args, **kwargs):
        calls.append(path)
        if len(calls) == 2:
            path.write_bytes(b"half a file")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(self, path, *args, **kwargs)

    monkeypatch.setattr(Trainer, "save_checkpoint", save)
    with pytest.raises(ScantlingError, match=r"(?i)no space left.*--resume"):
        train("dr_grading", phantoms, tmp_path / "run", overrides=small, progress=False)
    folder = tmp_path / "run/train/checkpoints"
    assert torch.load(folder / "last.ckpt", weights_only=True)["epoch"] == 0
    assert not list(folder.glob("*.part"))
    monkeypatch.setattr(Trainer, "save_checkpoint", real)
    assert train("dr_grading", phantoms, tmp_path / "run", resume=True, overrides=small, progress=False).bundle.exists()


@pytest.mark.parametrize("store", ["disk", "none"])
def test_a_corrupt_image_is_named(phantoms, small, tmp_path, store):
    manifest = Manifest.read(phantoms)
    table = manifest.table.copy()
    for name in ("bad.jpg",):
        Image.new("RGB", (64, 64)).save(tmp_path / name)
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:200])
    row = int(manifest.split("train")[5])
    table.loc[row, "image"] = str(tmp_path / "bad.jpg")
    Manifest(table, manifest.folder).write(tmp_path / "bad.csv")
    with pytest.raises(DataError, match=r"bad\.jpg"):
        train(
            "dr_grading",
            tmp_path / "bad.csv",
            tmp_path / "run",
            overrides={**small, "data.store": store},
            progress=False,
        )


def test_a_patient_in_two_splits_is_refused(phantoms, small, tmp_path):
    manifest = Manifest.read(phantoms)
    table = manifest.table.copy()
    patient = table["patient"].iloc[int(manifest.split("train")[0])]
    first = table.index[table["patient"] == patient][0]
    table.loc[first, "split"] = "test"
    Manifest(table, manifest.folder).write(tmp_path / "mixed.csv")
    with pytest.raises(DataError, match="1 patient.*two splits"):
        train("dr_grading", tmp_path / "mixed.csv", tmp_path / "run", overrides=small, progress=False)


def test_early_stopping_ends_the_run(phantoms, small, tmp_path):
    settings = {**small, "task.optimizer.lr": 1e-9, "trainer.max_epochs": 9, "trainer.patience": 2, "data.policy": None}
    train("dr_grading", phantoms, tmp_path / "run", overrides=settings, progress=False)
    assert len(pd.read_csv(tmp_path / "run/train/log/metrics.csv")) < 9


def test_fp16_on_a_cpu_becomes_bf16_and_says_so(phantoms, small, tmp_path, capsys):
    settings = {**small, "trainer.precision": "16-mixed", "trainer.max_epochs": 1}
    train("dr_grading", phantoms, tmp_path / "run", overrides=settings)
    assert "bf16-mixed" in capsys.readouterr().out


def test_two_stages_of_paired_eyes_and_resume_of_the_second(phantoms, small, tmp_path):
    settings = {k.replace("task.", "stages.single.task."): v for k, v in small.items()}
    settings |= {"stages.pairs.task.optimizer.lr": 0.01, "trainer.max_epochs": 1}
    result = train("dr_grading_pairs", phantoms, tmp_path / "run", overrides=settings, progress=False)
    single, pairs = (load(tmp_path / "run" / s / "bundle") for s in ("single", "pairs"))
    assert result.bundle == tmp_path / "run/pairs/bundle"
    for name, value in single.adapter.backbone.state_dict().items():
        assert torch.equal(value, pairs.adapter.backbone.state_dict()[name]), f"{name} of the frozen encoder moved"
    assert evaluate(tmp_path / "run", phantoms, "test", replicates=50).content["n"] > 0
    before = (tmp_path / "run/single/bundle/model.safetensors").stat().st_mtime_ns
    train("dr_grading_pairs", phantoms, tmp_path / "run", resume=True, overrides=settings, progress=False)
    assert (tmp_path / "run/single/bundle/model.safetensors").stat().st_mtime_ns == before


def test_a_bundle_serves_as_the_backbone_of_another_run(phantoms, small, tmp_path):
    first = train("dr_grading", phantoms, tmp_path / "a", overrides={**small, "trainer.max_epochs": 1}, progress=False)
    settings = {**small, "trainer.max_epochs": 1, "task.adapter.weights": str(first.bundle), "task.optimizer.lr": 1e-9}
    settings["task.adapter"] = "scantling.adapt.LinearProbe"
    second = train("dr_grading", phantoms, tmp_path / "b", overrides=settings, progress=False)
    one, two = load(first.bundle).adapter.backbone.state_dict(), load(second.bundle).adapter.backbone.state_dict()
    assert all(torch.equal(one[k], two[k]) for k in one)
    with pytest.raises(ScantlingError, match="does not fit"):
        train(
            "dr_grading",
            phantoms,
            tmp_path / "c",
            overrides={**settings, "task.adapter.backbone": "resnet18"},
            progress=False,
        )


def test_segmentation_trains_and_evaluates_through_the_same_seams(phantoms, tmp_path):
    table = Manifest.read(phantoms).table.assign(target="mask:background|vessel")
    Manifest(table, phantoms.parent).write(tmp_path / "vessels.csv")
    settings = {
        "data.image_size": 64, "task.patch_size": 48, "task.patches": 2, "task.adapter.width": 8, "data.batch_size": 8,
        "trainer.max_epochs": 12, "trainer.accelerator": "cpu", "task.optimizer.lr": 0.01,
    }  # fmt: skip
    result = train("segment", tmp_path / "vessels.csv", tmp_path / "run", overrides=settings, progress=False)
    content = evaluate(tmp_path / "run", tmp_path / "vessels.csv", "test", replicates=100).content
    assert content["metrics"]["dice"]["value"] > 0.3
    assert content["metrics"]["hd95"]["value"] > 0
    assert load(result.bundle).predict(torch.rand(2, 3, 64, 64)).probabilities.shape == (2, 2, 64, 64)


def test_findings_with_missing_values_train(tmp_path, phantoms, small):
    table = Manifest.read(phantoms).table
    grade = table["label"].astype(int)
    table = table.drop(columns="label").assign(target="findings:any|severe")
    table["label:any"], table["label:severe"] = (grade > 0).astype(float), (grade > 2).astype(float)
    table.loc[table.index[::3], "label:severe"] = None
    Manifest(table, phantoms.parent).write(tmp_path / "findings.csv")
    settings = {k: v for k, v in small.items() if k != "data.crop"}
    result = train("findings", tmp_path / "findings.csv", tmp_path / "run", overrides=settings, progress=False)
    assert 0 <= result.metrics["values"]["auroc"]["value"] <= 1
    assert evaluate(tmp_path / "run", tmp_path / "findings.csv", "test", replicates=50).content["n"] > 0


@pytest.mark.slow
def test_two_processes_give_the_metric_of_one_within_noise(phantoms, small, tmp_path):
    settings = {**small, "trainer.max_epochs": 3, "data.policy": None}
    one = train("dr_grading", phantoms, tmp_path / "one", overrides=settings, progress=False).metrics["values"]
    arguments = [f"--{k}={json.dumps(v) if not isinstance(v, str) else v}" for k, v in settings.items()]
    command = [sys.executable, "-m", "scantling", "train", "dr_grading", "--data", str(phantoms), "--out",
               str(tmp_path / "two"), *arguments, "--data.batch_size=4", "--trainer.devices=2",
               "--trainer.strategy=ddp"]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    meta = json.loads((tmp_path / "two/train/bundle/bundle.json").read_text())
    two = meta["metrics"]["values"]
    for name in ("accuracy", "auroc"):
        spread = one[name]["high"] - one[name]["low"]
        assert abs(one[name]["value"] - two[name]["value"]) <= max(spread, 0.2)
    rows = [pd.read_csv(tmp_path / n / "train/log/metrics.csv") for n in ("one", "two")]
    assert rows[0]["step"].tolist() == rows[1]["step"].tolist(), "the same number of steps of the same total batch"


def test_unknown_keys_are_named_with_the_nearest_right_one():
    from scantling.run.recipe import resolve

    for key, value, hint in [
        ("data.batchsize", "3", "batch_size"), ("task.adapter.backbon", "x", "backbone"), ("dta.x", "1", "data"),
        ("task.optimizer.lrr", "1", "lr"), ("trainer.max_epoch", "1", "max_epochs"),
    ]:  # fmt: skip
        with pytest.raises(RecipeError, match=f"did you mean '{hint}'"):
            resolve("dr_grading", [f"--{key}", value])
    with pytest.raises(RecipeError, match="did you mean 'dr_grading'"):
        resolve("dr_gradng")
    for key, value in [("data.batch_size", "abc"), ("data.crop", "fundsu"), ("data.image_size", "[1,2,3]")]:
        with pytest.raises(RecipeError, match=key):
            resolve("dr_grading", [f"--{key}", value])
    with pytest.raises(RecipeError, match="only classes of scantling"):
        resolve("dr_grading", ["--task.adapter", "os.System"])
