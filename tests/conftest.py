"""Fixtures for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from scantling.nets import torchvision_ops  # noqa: F401  (before anything imports torchvision)

torch.set_num_threads(1)

DATA = "SCANTLING_DATA"


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Stores of tests never mix with the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCANTLING_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        yield


@pytest.fixture
def shared_data():
    """The folder of a real data set, or a skip that says why."""
    root = Path(os.environ.get(DATA) or Path(__file__).resolve().parents[1].parent / "shared" / "data")

    def folder(name: str) -> Path:
        path = root / name
        if not path.exists():
            pytest.skip(f"real data '{name}' is not at {root}; set {DATA}")
        return path

    return folder


SMALL: dict[str, Any] = {
    "task.adapter.backbone": "resnet10t",
    "task.adapter.weights": "none",
    "data.image_size": 32,
    "data.batch_size": 8,
    "trainer.max_epochs": 2,
    "trainer.accelerator": "cpu",
    "task.optimizer.lr": 0.002,
}


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of 96 fundus phantoms of 48 patients from two sites."""
    from scantling.data.phantoms import write_fundus

    return write_fundus(tmp_path_factory.mktemp("phantoms") / "set", n=96, sites=2, size=64, seed=3)


@pytest.fixture
def small() -> dict[str, Any]:
    """Overrides that make any grading recipe small."""
    return dict(SMALL)
