"""The main job by hand, in one fresh process: import, check, split, train, evaluate, predict, export."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest

SCRIPT = """
import json, sys
from scantling.cli import main
for words in json.loads(sys.argv[1]):
    code = main(words)
    if code:
        sys.exit(f"{words[:2]} ended with {code}")
    if words[0] == "train":
        print("MODULES " + json.dumps(sorted({m.split(".")[0] for m in sys.modules})))
"""

# transformers is not among them: torchmetrics, which Lightning imports, imports it wherever it is installed.
UNUSED = {
    "monai", "peft", "diffusers", "onnx", "onnxruntime", "sklearn", "skimage", "kornia", "pydicom",
    "nibabel", "gradio", "fastapi", "ray",
}  # fmt: skip


@pytest.mark.slow
def test_from_a_table_of_labels_to_predictions(phantoms, tmp_path):
    source = pd.read_csv(phantoms)
    source["file"] = [str(phantoms.parent / i) for i in source["image"]]
    labels = source.rename(columns={"label": "dr_grade"})[["file", "dr_grade", "patient", "site"]]
    labels.to_csv(tmp_path / "labels.csv", index=False)
    new = tmp_path / "new_images"
    new.mkdir()
    for file in source["file"].head(3):
        shutil.copy(file, new)
    table, run = str(tmp_path / "retina.csv"), str(tmp_path / "run")
    small = ["--task.adapter.backbone", "resnet10t", "--task.adapter.weights", "none", "--data.image_size", "32",
             "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"]  # fmt: skip
    verbs = [
        ["data", "import", "--layout", "csv", str(tmp_path / "labels.csv"), "--image", "file", "--label", "dr_grade",
         "--target", "grade", "--patient", "patient", "--site", "site", "-o", table],
        ["data", "check", table],
        ["data", "split", table, "--by", "patient", "--stratify", "label", "--fractions", "0.7", "0.1", "0.2",
         "--seed", "0"],
        ["train", "dr_grading", "--data", table, "--out", run, *small],
        ["evaluate", run, "--data", table, "--split", "test", "--replicates", "100"],
        ["predict", run, str(new), "-o", str(tmp_path / "out")],
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(verbs)], capture_output=True, text=True, timeout=400, env=environment
    )
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    modules = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("MODULES "))[8:])
    assert not UNUSED & set(modules), "modules that this recipe does not use"
    split = pd.read_csv(table)
    assert split.groupby("patient")["split"].nunique().max() == 1
    assert json.loads((tmp_path / "run/train/timing.json").read_text())["until_first_step_seconds"] > 0
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    predictions = pd.read_csv(next((tmp_path / "out").glob("*.csv")))
    assert len(predictions) == 3
    probabilities = predictions.filter(regex="^p_")
    assert probabilities.sum(axis=1).round(4).eq(1).all()
    assert len(list((tmp_path / "out").rglob("*.png"))) == 3
