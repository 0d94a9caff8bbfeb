"""SDICE as a metric of torchmetrics."""

import math

import pytest
import torch

from scantling.assess import SDICE, sdice
from scantling.core.errors import DataError, RecipeError

from .simulated import CLASSES, WIDTH, clusters

REAL, SYNTHETIC = clusters(40), clusters(30, 0.8, 3)


def fed(metric: SDICE, start: int = 0, step: int = 1) -> SDICE:
    for (features, labels), real in ((REAL, True), (SYNTHETIC, False)):
        parts = torch.arange(len(labels)).split(17)[start::step]
        for part in parts:
            metric.update(torch.as_tensor(features)[part], torch.as_tensor(labels)[part], real=real)
    return metric


@pytest.mark.parametrize("distance", ["fisher", "biometric", "wasserstein", "js"])
@pytest.mark.parametrize("balance", [False, True])
def test_batches_give_what_the_function_gives(distance, balance):
    found = fed(SDICE(CLASSES, WIDTH, distance, balance=balance)).compute()
    expected = sdice(*REAL, *SYNTHETIC, distance=distance, balance=balance)
    assert (found["gamma_intra"].item(), found["gamma_inter"].item()) == pytest.approx(expected.pair, abs=1e-10)
    assert found["gamma"].item() == pytest.approx(expected.gamma, abs=1e-10)
    assert found["distance_intra"].item() == pytest.approx(expected.intra.distance, abs=1e-9)
    assert found["sign_intra"].item() == expected.intra.sign == 1


@pytest.mark.parametrize("distance", ["fisher", "energy"])
def test_processes_are_added_up(distance):
    one, two = fed(SDICE(CLASSES, WIDTH, distance), 0, 2), fed(SDICE(CLASSES, WIDTH, distance), 1, 2)
    one.merge_state(two)
    whole = fed(SDICE(CLASSES, WIDTH, distance)).compute()
    for name, value in one.compute().items():
        assert value.item() == pytest.approx(whole[name].item(), abs=1e-9), name


def test_reset_forgets_and_a_side_without_images_is_undefined():
    metric = fed(SDICE(CLASSES, WIDTH))
    metric.reset()
    metric.update(torch.as_tensor(REAL[0]), torch.as_tensor(REAL[1]), real=True)
    assert math.isnan(metric.compute()["gamma_intra"].item())


def test_wrong_batches_and_sizes_are_refused():
    with pytest.raises(RecipeError):
        SDICE(0, 4)
    for distance in ("fisher", "ks"):
        with pytest.raises(DataError):
            SDICE(2, 4, distance).update(torch.ones(3, 5), torch.zeros(3), real=True)
    with pytest.raises(DataError, match="labels from 0 to 2"):
        SDICE(2, 4).update(torch.ones(3, 4), torch.tensor([0, 1, 2]), real=True)
