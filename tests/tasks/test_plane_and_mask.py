"""Plane and mask in one loss: what lambda switches off, what missing labels leave out, and what Dice must be."""

import pandas as pd
import pytest
import torch
from tensordict import TensorDict

from scantling.adapt import BiometryUNet
from scantling.core.errors import DataError, RecipeError
from scantling.core.seams import Inputs
from scantling.core.target import Biometry, parse_target
from scantling.tasks.objectives import PlaneAndMask
from scantling.tasks.objectives.plane_and_mask import smooth_dice_loss

TARGET = parse_target("biometry:head|abdomen|femur")
GREY = Inputs((16, 16), 1, (0.0,), (1.0,))


def objective(weight=0.3, target=TARGET):
    made = PlaneAndMask(weight)
    made.configure(target)
    return made


def batch(label=(0, 1, 2, 0), seed=0):
    generator = torch.Generator().manual_seed(seed)
    n = len(label)
    return TensorDict(
        {
            "image": torch.rand(n, 1, 16, 16, generator=generator),
            "mask": torch.randint(0, 2, (n, 16, 16), generator=generator),
            "label": torch.tensor(label),
        },
        batch_size=[n],
    )


def network(seed=0, **settings):
    torch.manual_seed(seed)
    return BiometryUNet(4, GREY, **{"base": 4, "depth": 2, **settings})


def gradients(weight):
    net, made, rows = network(), objective(weight), batch()
    made.loss(net(rows), rows).backward()
    parts = {"encoder": net.net.down, "decoder": [net.net.widen, net.net.up, net.net.head], "planes": net.head}
    modules = {name: [m] if isinstance(m, torch.nn.Module) else m for name, m in parts.items()}
    return {
        name: max(float(p.grad.abs().max()) for m in found for p in m.parameters() if p.grad is not None)
        for name, found in modules.items()
    }


def test_without_the_planes_their_head_has_no_gradient():
    found = gradients(0.0)
    assert found["planes"] == 0 < min(found["encoder"], found["decoder"])


def test_with_the_planes_alone_the_decoder_has_no_gradient_and_the_encoder_has():
    found = gradients(1.0)
    assert found["decoder"] == 0 < min(found["encoder"], found["planes"])


def test_the_loss_is_the_sum_with_lambda():
    rows = batch()
    outputs = torch.randn(4, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    outputs[:, 1:] = outputs[:, 1:, :1, :1]
    made = objective(0.3)
    planes, masks = made.plane_loss(outputs, rows), made.mask_loss(outputs, rows)
    torch.testing.assert_close(made.loss(outputs, rows), 0.3 * planes + 0.7 * masks)
    torch.testing.assert_close(planes, torch.nn.functional.cross_entropy(outputs[:, 1:, 3, 5], rows["label"]))


def test_dice_is_nothing_for_a_perfect_or_an_empty_prediction_symmetric_and_below_one():
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 2, (5, 100), generator=generator).float()
    truth[4] = 0
    assert smooth_dice_loss(truth, truth).abs().max() < 1e-6
    other = torch.rand(5, 100, generator=generator)
    torch.testing.assert_close(smooth_dice_loss(other, truth), smooth_dice_loss(truth, other))
    worst = smooth_dice_loss(1 - truth, truth)
    assert (worst >= 0).all() and (worst < 1).all() and worst.min() > 0.98


def test_images_without_a_plane_or_a_mask_leave_out_that_part_alone():
    rows, net, made = batch((0, -1, 2, -1)), network(), objective(0.3)
    rows["mask"][:2] = -1
    outputs = net(rows).detach().requires_grad_()
    made.loss(outputs, rows).backward()
    masks, planes = outputs.grad[:, 0].abs().amax((1, 2)), outputs.grad[:, 1:].abs().amax((1, 2, 3))
    assert (masks[:2] == 0).all() and (masks[2:] > 0).all()
    assert (planes[[1, 3]] == 0).all() and (planes[[0, 2]] > 0).all()


def test_a_batch_without_any_label_costs_nothing_and_still_has_a_gradient():
    rows, net, made = batch((-1, -1)), network(), objective(0.3)
    rows["mask"][:] = -1
    loss = made.loss(net(rows), rows)
    loss.backward()
    assert loss == 0 and all(p.grad is None or p.grad.abs().max() == 0 for p in net.parameters())


def test_pixels_that_are_not_known_do_not_count():
    rows, made = batch(), objective(0.0)
    rows["mask"][:, 8:] = -1
    outputs = torch.randn(4, 4, 16, 16)
    changed = outputs.clone()
    changed[:, 0, 8:] = 50.0
    torch.testing.assert_close(made.loss(changed, rows), made.loss(outputs, rows))


def test_probabilities_are_of_the_mask_and_of_planes_that_sum_to_one():
    net, rows, made = network().eval(), batch(), objective()
    found = made.decode(net(rows))
    assert found.shape == (4, 4, 16, 16)
    torch.testing.assert_close(found[:, 1:].sum(1), torch.ones(4, 16, 16))
    torch.testing.assert_close(made.planes(found), found[:, 1:, 0, 0])
    names = [TARGET.names[i] for i in made.planes(found).argmax(1)]
    assert TARGET.decode(found.detach().numpy()) == names
    assert (made.drawn(rows["mask"])[:, 0] == (rows["mask"] == 1)).all()


def test_brightness_and_contrast_do_not_matter_where_images_are_standardised():
    net, rows = network(norm="none").eval(), batch()
    with torch.no_grad():
        first = net(rows)
        rows["image"] = 0.4 * rows["image"] + 0.3
        torch.testing.assert_close(net(rows), first, atol=1e-4, rtol=1e-4)
        plain = network(norm="none", standardise=False).eval()
        assert not torch.allclose(plain(rows), plain(batch()), atol=1e-3)


def test_a_black_image_and_an_encoder_of_timm_give_finite_outputs():
    rows = batch()
    rows["image"].zero_()
    assert network()(rows).isfinite().all()
    assert network(backbone="resnet10t")(batch()).shape == (4, 4, 16, 16)


def test_heads_alone_are_a_target_too():
    target = parse_target("biometry:head")
    made = objective(0.3, target)
    assert made.outputs_for(target) == 2
    rows = batch((0, 0))
    outputs = torch.randn(2, 2, 16, 16)
    assert made.plane_loss(outputs, rows) == 0
    assert Biometry(("head",)).encode(pd.DataFrame({"image": ["a", "b"]})).tolist() == [0, 0]


def test_planes_come_from_the_table_in_their_usual_order():
    table = pd.DataFrame({"image": ["a", "b", "c"], "plane": ["femur", "head", None]})
    target = parse_target("biometry", table)
    assert target.spec == "biometry:head|femur"
    assert target.encode(table).tolist() == [1, 0, -1]
    assert parse_target("biometry").names == ("head", "abdomen", "femur")


def test_unknown_planes_and_settings_are_refused_in_one_line():
    with pytest.raises(DataError, match=r"did you mean 'abdomen'.*use some of head"):
        parse_target("biometry:head|abdoman")
    with pytest.raises(DataError, match="row 3"):
        TARGET.encode(pd.DataFrame({"image": ["a", "b"], "plane": ["head", "spine"]}))
    for settings in ({"plane_weight": 1.5}, {"threshold": 0.0}):
        with pytest.raises(RecipeError, match="objective"):
            PlaneAndMask(**settings)
