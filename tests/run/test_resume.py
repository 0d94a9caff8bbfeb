"""A run that was killed at any moment and resumed ends with the very weights of one that was not."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from scantling import train
from scantling.core.errors import RecipeError

HARD = {
    "task.adapter.dropout": 0.3,
    "task.ema_decay": 0.9,
    "data.sampler": "progressive",
    "trainer.accumulate_grad_batches": 2,
    "trainer.checkpoint_steps": 1,
    "trainer.max_epochs": 12,
}

SCRIPT = """
import json, sys
import torch
torch.set_num_threads(1)
from scantling import train
train("dr_grading", sys.argv[1], sys.argv[2], sys.argv[4] == "True", json.loads(sys.argv[3]))
"""


def start(manifest: Path, out: Path, settings: dict, resume: bool) -> subprocess.Popen:
    arguments = [sys.executable, "-c", SCRIPT, str(manifest), str(out), json.dumps(settings), str(resume)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ})


def kill_after_a_checkpoint(child: subprocess.Popen, last: Path, delay: float) -> None:
    """SIGKILL a training a moment after its next checkpoint."""
    begun = last.stat().st_mtime_ns if last.exists() else 0
    deadline = time.monotonic() + 180
    while child.poll() is None and time.monotonic() < deadline:
        if last.exists() and last.stat().st_mtime_ns > begun:
            break
        time.sleep(0.01)
    time.sleep(delay)
    child.send_signal(signal.SIGKILL)
    child.wait()


@pytest.mark.slow
def test_killed_twice_and_resumed_gives_bit_identical_weights(phantoms, small, tmp_path):
    settings, moments = {**small, **HARD}, random.Random(os.getpid())
    train("dr_grading", phantoms, tmp_path / "whole", overrides=settings, progress=False)
    last = tmp_path / "killed" / "train" / "checkpoints" / "last.ckpt"
    for resume in (False, True):
        child = start(phantoms, tmp_path / "killed", settings, resume)
        kill_after_a_checkpoint(child, last, moments.uniform(0.0, 0.5))
        assert not (tmp_path / "killed" / "train" / "bundle").exists(), "killed too late to prove anything"
    train("dr_grading", phantoms, tmp_path / "killed", resume=True, overrides=settings, progress=False)
    one, two = (load_file(tmp_path / n / "train" / "bundle" / "model.safetensors") for n in ("whole", "killed"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[k], two[k]) for k in one)
    ends = [torch.load(tmp_path / n / "train/checkpoints/last.ckpt", weights_only=True) for n in ("whole", "killed")]
    assert all(torch.equal(ends[0]["state_dict"][k], ends[1]["state_dict"][k]) for k in ends[0]["state_dict"])


def test_a_run_is_not_overwritten_and_not_resumed_with_other_settings(phantoms, small, tmp_path):
    out = tmp_path / "run"
    train("dr_grading", phantoms, out, overrides={**small, "trainer.max_epochs": 1}, progress=False)
    before = (out / "train" / "bundle" / "model.safetensors").read_bytes()
    with pytest.raises(RecipeError, match="a run is here already"):
        train("dr_grading", phantoms, out, overrides={**small, "trainer.max_epochs": 1}, progress=False)
    with pytest.raises(RecipeError, match="other settings.*max_epochs"):
        train("dr_grading", phantoms, out, resume=True, overrides={**small, "trainer.max_epochs": 2}, progress=False)
    assert (out / "train" / "bundle" / "model.safetensors").read_bytes() == before
    with pytest.raises(RecipeError, match="no run to resume"):
        train("dr_grading", phantoms, tmp_path / "none", resume=True, overrides=small, progress=False)
