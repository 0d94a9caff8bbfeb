"""LesionPaste as a whole: the same key gives the same image, and only what the mask says has changed."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from scantling.augment import LesionPaste
from scantling.augment.lesion_paste import make_bank
from scantling.augment.lesion_paste.bank import Donor
from scantling.core.errors import DataError, RecipeError
from scantling.core.numbers import keys_of
from scantling.core.seams import Inputs

shared = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("donors.py"))))
PLAIN, SIZE, donor, normals, paster = shared.PLAIN, shared.SIZE, shared.donor, shared.normals, shared.paster

SEED = 5


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_an_image_does_not_depend_on_its_batch():
    whole = paster(4).by_row(normals(8), SEED)
    parts = torch.cat([paster(4).by_row(part, SEED) for part in normals(8).split(3)])
    backwards = paster(4).by_row(normals(8).flip(0), SEED).flip(0)
    for other in (parts, backwards):
        assert torch.equal(whole["image"], other["image"]) and torch.equal(whole["mask"], other["mask"])
    assert not torch.equal(whole["image"], paster(4).by_row(normals(8), SEED + 1)["image"])


def test_the_generator_decides_and_the_global_one_stays():
    before = torch.random.get_rng_state()
    one, two, other = (paster()(normals(), generator(s))["image"] for s in (1, 1, 2))
    assert torch.equal(one, two) and not torch.equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_mask_says_exactly_where_the_image_changed_and_the_rest_is_bit_identical():
    batch = normals()
    original = batch["image"].clone()
    out = paster()(batch, generator())
    changed = (out["image"] != original).any(1)
    assert torch.equal(changed, out["mask"] > 0)
    assert torch.equal(batch["image"], original)
    assert out["label"].tolist() == [1] * 6 and out["synthetic"].all()
    assert out["image"].min() >= 0 and out["image"].max() <= 1


def test_strength_zero_gives_the_normal_image_and_strengths_interpolate():
    batch = normals(3)
    none, half, whole = (
        paster(1, strength=(s, s), most=0.1, augment=PLAIN).with_keys(batch, keys_of(0, np.arange(3)))["image"]
        for s in (0.0, 0.4, 1.0)
    )
    assert torch.equal(none, batch["image"])
    torch.testing.assert_close(half, torch.lerp(none, whole, 0.4))


def test_at_full_strength_without_augmentation_the_donor_s_own_pixels_appear():
    made = paster(1, strength=(1.0, 1.0), most=0.1, augment=PLAIN)
    out = made.by_row(normals(20), 3)
    lesions = {tuple(donor(1).image[:, y, x].tolist()) for y, x in np.argwhere(donor(1).mask)}
    seen = out["image"].permute(0, 2, 3, 1)[out["mask"] > 0].mul(255).round().int()
    assert {tuple(row) for row in seen.tolist()} <= lesions
    whole = {4, 9, 25}
    inside = [n for n in (out["mask"] > 0).sum((1, 2)).tolist() if n in whole]
    assert set(inside) == whole


def test_all_lesions_of_a_type_are_equally_likely():
    made = paster(1, most=0.1)
    plan = made._plan(keys_of(0, np.arange(9000)))
    shares = np.bincount(plan.lesion, minlength=3) / len(plan.lesion)
    np.testing.assert_allclose(shares, 1 / 3, atol=0.015)


def test_types_lie_over_each_other_in_their_order():
    size = 16
    image = np.zeros((1, size, size), np.uint8)
    mask = np.zeros((size, size), np.uint8)
    mask[2:5, 2:5], mask[9:12, 9:12] = 1, 2
    image[:, mask == 1], image[:, mask == 2] = 100, 200
    made = LesionPaste(strength=(1.0, 1.0), severity=[0], augment=PLAIN, region="everywhere", margin=[20.0 * 512 / 9])
    made.use(make_bank([Donor(image, mask)], ["low", "high"]))
    out = made.by_row(normals(200, 9, 1), 0)
    both = out["mask"].flatten(1).amax(1) == 2
    assert both.float().mean() > 0.9
    middle = out["image"][both, 0, 4, 4]
    torch.testing.assert_close(middle, torch.full_like(middle, 200 / 255))


def test_decoys_show_normal_tissue_in_the_shape_of_lesions():
    batch = normals()
    batch["image"] = torch.linspace(0.1, 0.9, 6).view(-1, 1, 1, 1).expand(-1, 3, SIZE, SIZE).clone()
    out = paster(strength=(1.0, 1.0), augment=PLAIN).decoys(batch, generator())
    expected = batch["image"].roll(-1, 0)
    changed = (out["image"] != batch["image"]).any(1)
    assert changed.flatten(1).any(1).all()
    torch.testing.assert_close(out["image"].movedim(1, -1)[changed], expected.movedim(1, -1)[changed])
    assert "label" not in out.keys()


def test_a_feathered_rim_is_weaker_than_the_middle_and_stays_inside_the_mask():
    image = np.full((1, SIZE, SIZE), 255, np.uint8)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[10:29, 10:29] = 1
    hard, soft = (
        LesionPaste(strength=(1.0, 1.0), most=0.1, feather=f, augment=PLAIN, region="everywhere", margin=[200.0])
        for f in (0, 3)
    )
    for made in (hard, soft):
        made.use(make_bank([Donor(image, mask)], ["a"]))
    batch = normals(1, SIZE, 1)
    batch["image"] = torch.zeros_like(batch["image"])
    out, plain = soft.by_row(batch, 0), hard.by_row(batch, 0)
    assert torch.equal(out["mask"], plain["mask"]) and torch.equal(plain["image"][0, 0] > 0, plain["mask"][0] > 0)
    inside = out["image"][0, 0][out["mask"][0] > 0].view(19, 19)
    assert (
        inside[9, 9] == 1
        and float(inside[0, 9]) == pytest.approx(4 / 7)
        and float(inside[0, 0]) == pytest.approx((4 / 7) ** 2)
    )


def test_a_matched_lesion_keeps_its_contrast_against_new_surroundings():
    image = np.full((1, SIZE, SIZE), 102, np.uint8)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[20:26, 20:26] = 1
    image[:, mask > 0] = 51
    made = LesionPaste(strength=(1.0, 1.0), match_colour=True, augment=PLAIN, region="everywhere")
    made.use(make_bank([Donor(image, mask)], ["a"]))
    batch = normals(2, SIZE, 1)
    batch["image"] = torch.full_like(batch["image"], 0.8)
    out = made.by_row(batch, 0)
    lesion = out["image"][:, 0][out["mask"] > 0]
    torch.testing.assert_close(lesion, torch.full_like(lesion, 0.8 - 0.2))


def test_an_image_in_which_nothing_may_be_pasted_stays_normal():
    batch = normals(2)
    batch["image"][0] = 0
    out = paster(region="field")(batch, generator())
    assert out["label"].tolist() == [0, 1] and torch.equal(out["image"][0], batch["image"][0])


def test_donors_are_read_from_a_picture_or_a_manifest(tmp_path):
    one = donor(2)
    Image.fromarray(one.image.transpose(1, 2, 0)).save(tmp_path / "one.png")
    for name, values in {"all": (one.mask > 0) * 255, "types": one.mask, "t0": (one.mask == 1) * 255,
                         "t1": (one.mask == 2) * 255}.items():  # fmt: skip
        Image.fromarray(values.astype(np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "many.csv").write_text("image,mask,target\none.png,types.png,mask:none|t0|t1\n")
    (tmp_path / "columns.csv").write_text("image,mask:t0,mask:t1\none.png,t0.png,t1.png\n")
    inputs = Inputs((SIZE, SIZE))

    def bank(**settings):
        made = LesionPaste(**settings)
        made.configure(inputs)
        return made.bank

    single = bank(lesion=str(tmp_path / "one.png"), lesion_mask=str(tmp_path / "all.png"))
    assert single.types == ("lesion",) and len(single) == 6
    for settings in (
        {"lesion": str(tmp_path / "many.csv")},
        {"lesion": str(tmp_path / "columns.csv")},
        {"lesion": str(tmp_path / "one.png"), "lesion_mask": str(tmp_path / "types.png"), "types": ["t0", "t1"]},
    ):
        several = bank(**settings)
        assert several.types == ("t0", "t1") and several.counts.tolist() == [3, 3]
    with pytest.raises(DataError, match="no mask of its lesions"):
        bank(lesion=str(tmp_path / "one.png"))
    with pytest.raises(DataError, match=r"twp\.png.*no such file.*--lesion-mask"):
        bank(lesion=str(tmp_path / "one.png"), lesion_mask=str(tmp_path / "twp.png"))
    with pytest.raises(DataError, match=r"name them in task\.synthesizer\.types"):
        bank(lesion=str(tmp_path / "one.png"), lesion_mask=str(tmp_path / "types.png"))
    with pytest.raises(RecipeError, match="no annotated image"):
        bank()


def test_what_cannot_be_is_refused():
    with pytest.raises(RecipeError, match="strength"):
        LesionPaste(strength=(0.5, 1.5))
    with pytest.raises(RecipeError, match="fewest"):
        LesionPaste(fewest=[0])
    with pytest.raises(RecipeError, match="channels"):
        paster()(normals(2, channels=1), generator())
