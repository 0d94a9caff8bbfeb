"""Training biometry: planes and outlines are learnt, validation is in millimetres, and a run goes on exactly."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tensordict import TensorDict

from scantling.adapt import BiometryUNet
from scantling.core.errors import RecipeError
from scantling.core.seams import Inputs
from scantling.core.target import parse_target
from scantling.data.manifest import Manifest
from scantling.data.preprocess import Preprocess
from scantling.measure.task import MeasureBiometry
from scantling.run.train import train
from scantling.tasks.objectives import DiceCrossEntropy

drawn = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("biometry_set.py"))))
SMALL = {
    "task.adapter.base": 6,
    "task.adapter.depth": 3,
    "task.optimizer.lr": 6e-3,
    "data.image_size": 64,
    "data.batch_size": 8,
    "trainer.accelerator": "cpu",
}


def prepared_task(manifest, size=(48, 64), fit="stretch"):
    """A task that has seen its data, and batches of its validation images whose outputs are made up."""
    found = Manifest.read(manifest)
    task = MeasureBiometry(lambda outputs, inputs: BiometryUNet(outputs, inputs, base=2, depth=2))
    task.preprocess = Preprocess(size, fit=fit, channels=1)
    task.survey(found, None, torch.empty(0))
    task.build(parse_target("biometry:head|abdomen|femur"), Inputs(size, 1, (0.0,), (1.0,)))
    return task, found


def perfect(task, manifest, plane=None):
    """Outputs that are sure of the true mask and plane, with the batch they belong to."""
    rows = manifest.split("val")
    from scantling.data.store import open_images

    images = open_images(manifest, task.preprocess, "none", None, 1).gather(torch.from_numpy(rows))
    labels = torch.from_numpy(task.target.encode(manifest.table)[rows])
    mask = images["mask"].long().masked_fill(images["mask"] == 255, -1)
    outputs = torch.zeros(len(rows), 4, *mask.shape[1:])
    outputs[:, 0] = 20.0 * (mask == 1) - 10.0
    seen = labels.clamp(min=0) if plane is None else torch.full_like(labels, plane)
    outputs[torch.arange(len(rows)), 1 + seen] = 9.0
    batch = TensorDict({"mask": mask, "label": labels, "index": torch.from_numpy(rows)}, batch_size=[len(rows)])
    return outputs, batch


@pytest.mark.parametrize(("size", "fit"), [((96, 64), "stretch"), ((96, 96), "pad"), ((64, 128), "pad")])
def test_lengths_are_in_millimetres_whatever_the_resize(tmp_path, size, fit):
    """A perfect mask on a squeezed or padded grid measures what the original does, with unequal pixels at that."""
    manifest = drawn.write(tmp_path, n=27, size=(120, 160), spacing="1.1\\0.8")
    task, found = prepared_task(manifest, size, fit)
    outputs, batch = perfect(task, found)
    figures = task.summarise(task.collect(outputs, batch))
    truth = np.mean(list(task._truth.values()))
    assert figures["mae"] < 0.02 * truth and figures["dice"] == 1.0 and figures["plane_accuracy"] == 1.0
    assert set(figures) >= {"mae_head", "mae_abdomen", "mae_femur"}


def test_a_column_of_the_manifest_is_the_truth_before_the_mask(tmp_path):
    manifest = drawn.write(tmp_path, n=27)
    table = pd.read_csv(manifest)
    first, _ = prepared_task(manifest)
    table["hc_mm"] = np.where(table["plane"] == "head", 250.0, np.nan)
    table.to_csv(manifest, index=False)
    second, _ = prepared_task(manifest)
    heads = [row for row in first._truth if table["plane"][row] == "head"]
    assert all(second._truth[row] == 250.0 != first._truth[row] for row in heads)
    assert all(second._truth[row] == first._truth[row] for row in set(first._truth) - set(heads))


def test_an_image_in_which_nothing_is_found_is_wrong_by_its_whole_length(tmp_path):
    task, found = prepared_task(drawn.write(tmp_path, n=27))
    outputs, batch = perfect(task, found)
    outputs[:, 0] = -10.0
    figures = task.summarise(task.collect(outputs, batch))
    np.testing.assert_allclose(figures["mae"], np.mean(list(task._truth.values())))
    assert figures["dice"] == 0.0


def test_wrong_planes_cost_accuracy_and_no_length(tmp_path):
    task, found = prepared_task(drawn.write(tmp_path, n=27))
    right, batch = perfect(task, found)
    wrong, _ = perfect(task, found, plane=0)
    one, other = (task.summarise(task.collect(outputs, batch)) for outputs in (right, wrong))
    assert other["plane_accuracy"] == pytest.approx(1 / 3) and other["mae"] == one["mae"]


def test_rows_without_masks_or_planes_are_left_out_of_their_figures(tmp_path):
    manifest = drawn.write(tmp_path, n=27)
    table = pd.read_csv(manifest)
    val = np.flatnonzero(table["split"] == "val")
    table.loc[val[:2], "mask"] = None
    table.loc[val[3:5], "plane"] = None
    table.to_csv(manifest, index=False)
    task, found = prepared_task(manifest)
    outputs, batch = perfect(task, found)
    outputs[:2, 0] = 10.0
    rows = task.collect(outputs, batch)
    figures = task.summarise(rows)
    assert figures["dice"] == 1.0 and figures["plane_accuracy"] == 1.0 and np.isfinite(figures["mae"])
    assert rows["error"].isnan().tolist() == [i in (0, 1, 3, 4) for i in range(len(val))]


def test_another_objective_is_refused_in_one_line():
    task = MeasureBiometry(lambda outputs, inputs: BiometryUNet(outputs, inputs, base=2), DiceCrossEntropy())
    with pytest.raises(RecipeError, match="biometry"):
        task.build(parse_target("biometry"), Inputs((32, 32), 1, (0.0,), (1.0,)))


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    folder = tmp_path_factory.mktemp("learnt")
    manifest = drawn.write(folder / "set", n=54)
    overrides = {**SMALL, "trainer.max_epochs": 16}
    return train("fetal_biometry", manifest, folder / "run", overrides=overrides, progress=False), manifest


def test_a_small_network_learns_planes_and_outlines(learnt):
    result, _ = learnt
    log = pd.read_csv(result.bundle.parent / "log" / "metrics.csv")
    assert log["val_dice"].max() > 0.85 and log["val_plane_accuracy"].max() > 0.9
    best = log.loc[log["val_mae"].idxmin()]
    assert best["val_mae"] < 0.25 * log["val_mae"].iloc[0]
    told = result.metrics["values"]
    assert told["mae"]["value"] == pytest.approx(log["val_mae"].min()), "of an error the smallest is the best"
    assert told["dice"]["value"] == pytest.approx(log["val_dice"].max())


def test_a_run_that_was_stopped_takes_the_same_steps(tmp_path):
    manifest = drawn.write(tmp_path / "set", n=27)
    overrides = {**SMALL, "trainer.max_epochs": 2}
    whole = train("fetal_biometry", manifest, tmp_path / "whole", overrides=overrides, progress=False)
    from scantling.run.keeper import Keeper

    original, calls = Keeper.on_train_epoch_end, []

    def stop(self, trainer, module):
        original(self, trainer, module)
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Keeper, "on_train_epoch_end", stop)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            train("fetal_biometry", manifest, tmp_path / "cut", overrides=overrides, progress=False)
    again = train("fetal_biometry", manifest, tmp_path / "cut", resume=True, overrides=overrides, progress=False)
    one, other = (load_file(r.bundle / "model.safetensors") for r in (whole, again))
    assert all(torch.equal(one[name], other[name]) for name in one)
