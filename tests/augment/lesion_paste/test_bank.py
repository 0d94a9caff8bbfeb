"""The lesion bank: one entry a lesion, none lost, none doubled (sheet: lesion_paste, properties)."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from scantling.augment.lesion_paste.bank import Donor, components, make_bank
from scantling.core.errors import DataError

shared = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("donors.py"))))
donor = shared.donor


def test_every_component_is_one_entry_and_the_areas_add_up():
    donors = [donor(3, seed) for seed in range(2)]
    bank = make_bank(donors, ["a", "b", "c"])
    assert bank.counts.tolist() == [6, 6, 6] and len(bank) == 18
    assert bank.area.sum() == sum(int((d.mask > 0).sum()) for d in donors)
    inside = [int(g.masks.sum()) for g in bank.groups]
    assert sum(inside) == bank.area.sum()
    assert (np.diff(bank.kind) >= 0).all()


def test_pixels_that_touch_at_a_corner_are_one_lesion():
    mask = np.eye(5, dtype=np.uint8)
    assert len(components(mask)) == 1
    mask[2, 2] = 0
    assert len(components(mask)) == 2


def test_a_neighbour_in_the_frame_is_no_part_of_a_lesion():
    mask = np.zeros((20, 20), dtype=np.uint8)
    mask[5:9, 5:9] = 1
    mask[6, 10] = 1
    bank = make_bank([Donor(np.zeros((1, 20, 20), np.uint8), mask)], ["a"])
    assert sorted(bank.area.tolist()) == [1, 16]


def test_frames_hold_their_lesion_at_any_angle_and_repeat_the_border():
    image = np.zeros((1, 30, 30), dtype=np.uint8)
    image[:, 0] = 200
    mask = np.zeros((30, 30), dtype=np.uint8)
    mask[0, 3:20] = 1
    (group,) = make_bank([Donor(image, mask)], ["a"]).groups
    assert group.side >= np.hypot(1, 17)
    assert group.masks.sum() == 17
    assert float(group.patches[0, 0, : group.side // 2].min()) == pytest.approx(200 / 255)


def test_the_surroundings_leave_lesions_out():
    image = np.full((1, 20, 20), 100, dtype=np.uint8)
    mask = np.zeros((20, 20), dtype=np.uint8)
    mask[8:11, 8:11], mask[8:11, 12:14] = 1, 1
    image[:, mask > 0] = 255
    bank = make_bank([Donor(image, mask)], ["a"])
    torch.testing.assert_close(bank.surroundings, torch.full((2, 1), 100 / 255))


def test_a_type_without_lesions_or_without_a_name_is_refused():
    with pytest.raises(DataError, match="no lesion of c"):
        make_bank([donor(2)], ["a", "b", "c"])
    with pytest.raises(DataError, match="lesion type 2 has no name"):
        make_bank([donor(2)], ["a"])
