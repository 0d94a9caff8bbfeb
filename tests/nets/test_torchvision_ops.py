"""torchvision can be imported whether or not its extension fits."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from scantling.nets import torchvision_ops


def test_torchvision_imports_in_a_fresh_process_after_it():
    code = "import scantling.nets.torchvision_ops, torchvision; print(torchvision.models.resnet18().fc.in_features)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "512", done.stderr[-1000:]


def test_declaring_again_changes_nothing():
    before = torchvision_ops._declared
    assert torchvision_ops.declare_missing_operators() is (before is not None)
    assert torchvision_ops._declared is before
    assert all(hasattr(torch.ops.torchvision, name) for name in torchvision_ops.MISSING_OPERATORS)


@pytest.mark.parametrize("absent", [True, False])
def test_nothing_is_declared_without_torchvision_or_with_a_working_extension(monkeypatch, absent):
    monkeypatch.setattr(torchvision_ops, "_declared", None)
    monkeypatch.setattr(torch.ops, "load_library", lambda path: None)
    if absent:
        monkeypatch.setattr(torchvision_ops.importlib.util, "find_spec", lambda name: None)
    assert torchvision_ops.declare_missing_operators() is False
    assert torchvision_ops._declared is None
