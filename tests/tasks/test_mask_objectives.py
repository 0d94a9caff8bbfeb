"""Objectives for masks: structures that may overlap, what is unknown, thresholds, centre lines."""

import pytest
import torch
from tensordict import TensorDict

from scantling.core.errors import DataError, RecipeError
from scantling.core.target import Mask, Masks, parse_target
from scantling.tasks.mask_thresholds import GRID, best_thresholds
from scantling.tasks.objectives import DiceBinaryCrossEntropy, DiceCrossEntropy
from scantling.tasks.objectives.cl_dice import cl_dice_loss, soft_skeleton

EXCLUSIVE, OVERLAPPING = Mask(("background", "disc", "cup")), Masks(("disc", "cup"))


def objective(kind, target, **settings):
    made = kind(**settings)
    made.configure(target)
    return made


def draw(seed=0, shape=(2, 2, 12, 12)):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=g), torch.randint(0, 4, (shape[0], *shape[2:]), generator=g)


def batch(mask, label=None):
    fields = {"mask": mask} if label is None else {"mask": mask, "label": label}
    return TensorDict(fields, batch_size=[len(mask)])


def test_bits_and_classes_survive_the_way_there_and_back():
    kinds = ((DiceBinaryCrossEntropy, OVERLAPPING, 4), (DiceCrossEntropy, EXCLUSIVE, 3))
    for kind, target, values in kinds:
        made = objective(kind, target)
        mask = torch.arange(values).repeat(5)[: values * 4].view(1, values, 4)
        drawn = made.drawn(mask)
        assert drawn.shape == (1, 2, values, 4) and torch.equal(made.encode(drawn).long(), mask)
        assert not made.drawn(torch.full((1, 2, 2), -1)).any()


def test_one_structure_is_the_same_as_two_exclusive_classes():
    """The sigmoid of a difference is the softmax of two classes."""
    one = objective(DiceBinaryCrossEntropy, Masks(("vessel",)))
    two = objective(DiceCrossEntropy, Mask(("background", "vessel")), include_background=False)
    outputs, mask = draw()
    mask = mask.clamp(max=1)
    difference = outputs[:, 1:] - outputs[:, :1]
    torch.testing.assert_close(one.loss(difference, batch(mask)), two.loss(outputs, batch(mask)))
    torch.testing.assert_close(one.decode(difference), two.decode(outputs)[:, 1:])
    assert torch.equal(one.called(one.decode(difference)), two.called(two.decode(outputs)))
    torch.testing.assert_close(one.entropy(one.decode(difference)), two.entropy(two.decode(outputs)))


def test_structures_are_decided_on_their_own():
    made = objective(DiceBinaryCrossEntropy, OVERLAPPING, threshold=0.3)
    p = torch.tensor([[0.29, 0.9], [0.31, 0.31], [0.1, 0.2]]).view(3, 2, 1, 1)
    assert made.called(p).flatten(1).tolist() == [[False, True], [True, True], [False, False]]
    outputs, _ = draw(1)
    assert ((made.decode(outputs) >= 0) & (made.decode(outputs) <= 1)).all()
    assert (made.decode(outputs).sum(1) > 1).any(), "probabilities of structures that overlap do not sum to one"


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_unknown_pixels_and_structures_that_were_not_drawn_have_no_gradient(weight):
    made = objective(DiceBinaryCrossEntropy, OVERLAPPING, cl_dice_weight=weight)
    outputs, mask = draw(2)
    mask[:, :4] = -1
    label = torch.tensor([[1.0, 1.0], [1.0, float("nan")]])
    outputs.requires_grad_()
    made.loss(outputs, batch(mask, label)).backward()
    gradient = outputs.grad
    assert gradient[:, :, :4].abs().max() == 0 and gradient[1, 1].abs().max() == 0
    assert gradient[0, 1, 4:].abs().min() > 0 and gradient[1, 0, 4:].abs().min() > 0


def test_a_batch_without_any_truth_gives_a_zero_with_a_gradient():
    for made, outputs in (
        (objective(DiceBinaryCrossEntropy, OVERLAPPING), draw()[0]),
        (objective(DiceCrossEntropy, EXCLUSIVE), draw(shape=(2, 3, 8, 8))[0]),
    ):
        outputs.requires_grad_()
        loss = made.loss(outputs, batch(torch.full((2, *outputs.shape[2:]), -1)))
        loss.backward()
        assert loss == 0 and outputs.grad.abs().max() == 0


def test_the_loss_falls_to_zero_at_the_truth():
    made = objective(DiceBinaryCrossEntropy, OVERLAPPING, cl_dice_weight=1.0)
    mask = torch.zeros(1, 24, 24, dtype=torch.int64)
    mask[:, 6:18, 6:18], mask[:, 9:14, 9:14] = 1, 3
    right = (made.drawn(mask).float() * 2 - 1) * 40
    assert made.loss(right, batch(mask)) < 1e-4 < 1 < made.loss(-right, batch(mask))


def test_thresholds_are_kept_in_the_state_and_through_a_second_configure():
    made = objective(DiceBinaryCrossEntropy, OVERLAPPING)
    made.thresholds = torch.tensor([0.2, 0.8])
    made.configure(OVERLAPPING)
    other = objective(DiceBinaryCrossEntropy, OVERLAPPING)
    other.load_state_dict(made.state_dict())
    assert other.thresholds.tolist() == pytest.approx([0.2, 0.8])


def test_the_best_threshold_is_the_nearest_to_one_half_of_equals_and_unseen_structures_keep_theirs():
    dice = torch.full((len(GRID), 3, 3), 0.5)
    dice[4, :, 0] = 0.9
    dice[:, :, 2] = torch.nan
    assert best_thresholds(dice, torch.tensor([0.5, 0.1, 0.7])).tolist() == pytest.approx([0.25, 0.5, 0.7])


def test_soft_skeleton_keeps_a_line_and_thins_a_bar():
    line = torch.zeros(1, 1, 24, 24)
    line[..., 10, 4:20] = 1
    assert torch.equal(soft_skeleton(line, 3), line)
    bar = torch.zeros(1, 1, 24, 24)
    bar[..., 8:13, 4:20] = 1
    skeleton = soft_skeleton(bar, 5)
    assert 0 < skeleton.sum() < bar.sum() / 2 and (skeleton <= bar).all() and skeleton[..., 10, 8:16].min() == 1


def test_a_gap_costs_more_centre_line_than_a_thinner_vessel():
    bar = torch.zeros(1, 1, 32, 32)
    bar[..., 12:19, 2:30] = 1
    broken, thinner = bar.clone(), torch.zeros_like(bar)
    broken[..., 13:16] = 0
    thinner[..., 13:18, 2:30] = 1
    weight = torch.ones(1, 1)
    lost = [float(cl_dice_loss(p, bar, weight, 6)) for p in (bar, thinner, broken)]
    assert lost[0] == 0 and lost[1] < 0.05 < lost[2] and (bar - thinner).sum() > (bar - broken).sum()


def test_what_does_not_fit_is_refused():
    with pytest.raises(RecipeError, match="DiceBinaryCrossEntropy"):
        objective(DiceCrossEntropy, OVERLAPPING)
    with pytest.raises(RecipeError, match="threshold"):
        DiceBinaryCrossEntropy(threshold=1.0)
    with pytest.raises(RecipeError, match="not be negative, nor all 0"):
        DiceBinaryCrossEntropy(dice_weight=0, cross_entropy_weight=0)
    with pytest.raises(DataError, match="at most 7"):
        parse_target("masks:" + "|".join("abcdefgh"))
