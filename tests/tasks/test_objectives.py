"""Properties of the objectives (sheet: dr_grading, section "Properties a right implementation has")."""

import math
import typing

import pytest
import torch
from tensordict import TensorDict
from torch.nn import functional as F

from scantling.core.errors import RecipeError
from scantling.core.seams import Objective
from scantling.core.target import parse_target
from scantling.metrics.kappa import confusion_matrix, quadratic_weighted_kappa
from scantling.tasks import objectives
from scantling.tasks.objectives import (
    Coral,
    CrossEntropy,
    CumulativeLink,
    DiceCrossEntropy,
    Focal,
    KappaLoss,
    MAEGrade,
    MSEGrade,
    MultiLabel,
    SmoothL1Grade,
    count_classes,
)
from scantling.tasks.objectives.dice import dice_loss
from scantling.tasks.thresholds import grades_from_scores

GRADES = parse_target("grade:5")
EYEPACS = torch.tensor([25810.0, 2443, 5292, 873, 708])
SINGLE_LABEL = [CrossEntropy, Focal, KappaLoss, MSEGrade, MAEGrade, SmoothL1Grade, Coral, CumulativeLink]
ALL = [*SINGLE_LABEL, MultiLabel, DiceCrossEntropy]


def ready(objective, target=GRADES, counts=None):
    objective.configure(target, counts)
    return objective


def target_for(kind):
    return parse_target({MultiLabel: "findings:a|b|c", DiceCrossEntropy: "mask:background|x|y"}.get(kind, "grade:5"))


def example(kind, n=6, seed=0):
    """Outputs and a labelled batch that fit an objective."""
    g = torch.Generator().manual_seed(seed)
    target = target_for(kind)
    objective = ready(kind(), target)
    shape = (n, objective.outputs_for(target))
    fields = {"label": torch.randint(0, 5, (n,), generator=g)}
    if kind is MultiLabel:
        fields = {"label": torch.randint(0, 2, (n, 3), generator=g).float()}
    if kind is DiceCrossEntropy:
        shape = (*shape, 4, 5)
        fields = {"label": torch.full((n,), -1), "mask": torch.randint(0, 3, (n, 4, 5), generator=g)}
    outputs = torch.randn(shape, generator=g).requires_grad_()
    return objective, outputs, TensorDict(fields, batch_size=[n])


def hide(batch, rows):
    """The batch without the labels of some rows."""
    batch = batch.clone()
    for name in list(batch.keys()):
        batch[name][rows] = float("nan") if batch[name].is_floating_point() else -1
    return batch


@pytest.mark.parametrize("kind", ALL)
def test_missing_labels_do_not_contribute(kind):
    objective, outputs, batch = example(kind)
    hidden = torch.tensor([1, 4])
    loss = objective.loss(outputs, hide(batch, hidden))
    keep = torch.tensor([0, 2, 3, 5])
    torch.testing.assert_close(loss, objective.loss(outputs[keep], batch[keep]))
    loss.backward()
    assert (outputs.grad[hidden] == 0).all()
    assert (outputs.grad[keep] != 0).any()


@pytest.mark.parametrize("kind", ALL)
def test_a_batch_without_labels_gives_zero_with_a_gradient(kind):
    objective, outputs, batch = example(kind)
    loss = objective.loss(outputs, hide(batch, slice(None)))
    loss.backward()
    assert loss.item() == 0
    assert (outputs.grad == 0).all()


@pytest.mark.parametrize("kind", ALL)
def test_a_weight_of_two_is_a_sample_seen_twice(kind):
    objective, outputs, batch = example(kind)
    weighted = batch.clone()
    weighted["weight"] = torch.tensor([1.0, 2, 1, 1, 0, 1])
    rows = torch.tensor([0, 1, 1, 2, 3, 5])
    torch.testing.assert_close(objective.loss(outputs, weighted), objective.loss(outputs[rows], batch[rows]))


@pytest.mark.parametrize("kind", ALL)
def test_training_on_one_batch_learns_its_labels(kind):
    objective, outputs, batch = example(kind, n=24)
    free = outputs.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([free, *objective.parameters()], lr=0.1)
    for _ in range(400):
        optimizer.zero_grad()
        objective.loss(free, batch).backward()
        optimizer.step()
    probabilities = objective.decode(free.detach())
    if kind is MultiLabel:
        assert ((probabilities >= 0.5) == (batch["label"] == 1)).all()
    else:
        truth = batch["mask"] if kind is DiceCrossEntropy else batch["label"]
        assert (probabilities.argmax(1) == truth).float().mean() > 0.99


@pytest.mark.parametrize("kind", ALL)
def test_half_precision_outputs_and_a_batch_of_one(kind):
    objective, outputs, batch = example(kind)
    half = outputs.detach().bfloat16()
    torch.testing.assert_close(objective.loss(half, batch), objective.loss(half.float(), batch))
    assert objective.decode(half).dtype == torch.float32
    one = objective.decode(half[:1])
    assert one.shape[0] == 1
    assert one.shape[1] == target_for(kind).size
    if kind is not MultiLabel:
        torch.testing.assert_close(one.sum(1), torch.ones_like(one.sum(1)))


@pytest.mark.parametrize("kind", ALL)
def test_temperature_changes_confidence_and_never_the_prediction(kind):
    objective, _, _ = example(kind)
    g = torch.Generator().manual_seed(3)
    outputs = 3 * torch.randn(500, *example(kind)[1].shape[1:], generator=g)
    cold = objective.decode(outputs)
    for temperature in (0.03, 0.7, 5.0, 80.0):
        objective.temperature = temperature
        warm = objective.decode(outputs)
        if kind is MultiLabel:
            assert ((warm >= 0.5) == (cold >= 0.5)).all()
        else:
            assert (warm.argmax(1) == cold.argmax(1)).all()
    assert warm.amax(1).mean() < cold.amax(1).mean()


@pytest.mark.parametrize("kind", ALL)
def test_use_before_configure_is_an_error_that_says_so(kind):
    _, outputs, _ = example(kind)
    if kind is not MultiLabel:
        with pytest.raises(RecipeError, match="configure"):
            _ = kind().num_classes
    with pytest.raises(RecipeError, match=kind.__name__):
        kind().configure(parse_target("none"))


@pytest.mark.parametrize("kind", [k for k in ALL if k is not CrossEntropy and k is not Focal])
def test_a_target_of_another_kind_is_refused(kind):
    with pytest.raises(RecipeError, match="cannot train a target of the kind 'class'"):
        kind().configure(parse_target("class:cat|dog"))


@pytest.mark.parametrize("kind", ALL)
def test_settings_are_typed_for_recipes(kind):
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--objective", type=Objective)
    config = parser.parse_object({"objective": {"class_path": f"scantling.tasks.objectives.{kind.__name__}"}})
    assert type(parser.instantiate_classes(config).objective) is kind
    assert kind.__name__ in objectives.__all__
    assert all(name == "return" or hint for name, hint in typing.get_type_hints(kind.__init__).items())


def test_settings_reach_the_objective_through_a_recipe():
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--objective", type=Objective)

    def build(name, **settings):
        spec = {"class_path": f"scantling.tasks.objectives.{name}", "init_args": settings}
        return parser.instantiate_classes(parser.parse_object({"objective": spec})).objective

    assert build("CrossEntropy", class_weights=[1, 2, 3]).class_weights == [1.0, 2.0, 3.0]
    assert build("CrossEntropy", class_weights="dynamic").class_weights == "dynamic"
    assert build("MultiLabel", pos_weight="balanced").pos_weight == "balanced"
    assert build("MSEGrade", thresholds=[0.4, 1.6]).thresholds.tolist() == pytest.approx([0.4, 1.6])
    with pytest.raises(Exception, match="balansed"):
        build("CrossEntropy", class_weights="balansed")


# Cross-entropy and its weights


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_agrees_with_torch(smoothing):
    _, outputs, batch = example(CrossEntropy, n=50)
    batch["label"][::7] = -1
    weights = [1.0, 4.0, 2.0, 8.0, 16.0]
    for ours, theirs in [(None, None), (weights, torch.tensor(weights))]:
        loss = ready(CrossEntropy(label_smoothing=smoothing, class_weights=ours)).loss(outputs, batch)
        want = F.cross_entropy(outputs, batch["label"], theirs, ignore_index=-1, label_smoothing=smoothing)
        torch.testing.assert_close(loss, want)


def test_balanced_and_dynamic_weights_really_change_the_loss():
    _, outputs, batch = example(CrossEntropy, n=50)
    plain = ready(CrossEntropy(), counts=EYEPACS).loss(outputs, batch)
    balanced = ready(CrossEntropy(class_weights="balanced"), counts=EYEPACS).loss(outputs, batch)
    want = F.cross_entropy(outputs, batch["label"], 25810 / EYEPACS)
    torch.testing.assert_close(balanced, want)
    assert abs(balanced - plain) > 0.01
    dynamic = ready(CrossEntropy(class_weights="dynamic"), counts=EYEPACS)
    torch.testing.assert_close(dynamic.loss(outputs, batch), balanced)
    weights = []
    for epoch in range(25):
        dynamic.set_epoch(epoch)
        weights.append(dynamic.weights())
    weights = torch.stack(weights)
    assert (weights[:, 0] == 1).all()
    assert (weights[:, 1:].diff(dim=0) < 0).all()
    assert (weights >= 1).all()
    dynamic.set_epoch(1000)
    torch.testing.assert_close(dynamic.loss(outputs, batch), plain)


def test_dynamic_weights_give_the_progressive_class_shares_of_the_sheet():
    dynamic = ready(CrossEntropy(class_weights="dynamic"), counts=EYEPACS)
    for epoch, shares in [
        (1, [0.2] * 5),
        (10, [0.361, 0.161, 0.185, 0.147, 0.146]),
        (25, [0.606, 0.101, 0.163, 0.067, 0.064]),
    ]:
        dynamic.set_epoch(epoch - 1)
        mass = dynamic.weights() * EYEPACS
        torch.testing.assert_close(mass / mass.sum(), torch.tensor(shares), atol=6e-4, rtol=0)


def test_weights_that_do_not_fit_are_refused_and_a_bundle_needs_no_counts():
    with pytest.raises(RecipeError, match="3 class_weights for 5 classes"):
        ready(CrossEntropy(class_weights=[1.0, 2, 3]))
    with pytest.raises(RecipeError, match="4 class counts"):
        ready(CrossEntropy(), counts=torch.ones(4))
    objective, (_, outputs, batch) = ready(CrossEntropy(class_weights="balanced")), example(CrossEntropy)
    objective.decode(outputs)
    with pytest.raises(RecipeError, match="class counts"):
        objective.loss(outputs, batch)


def test_mixed_labels_give_the_mixed_loss():
    _, outputs, batch = example(CrossEntropy)
    one_hot = F.one_hot(batch["label"], 5).float()
    mixed = TensorDict({"label": 0.3 * one_hot + 0.7 * one_hot.flip(0)}, batch_size=[6])
    other = TensorDict({"label": batch["label"].flip(0)}, batch_size=[6])
    for objective in (ready(CrossEntropy()), ready(Focal())):
        want = 0.3 * objective.loss(outputs, batch) + 0.7 * objective.loss(outputs, other)
        torch.testing.assert_close(objective.loss(outputs, mixed), want)


# Focal


def test_focal_without_focus_is_cross_entropy():
    objective, outputs, batch = example(CrossEntropy, n=40)
    want = objective.loss(outputs, batch)
    torch.testing.assert_close(ready(Focal(alpha=1, gamma=0)).loss(outputs, batch), want)
    near = ready(Focal(alpha=1, gamma=0, epsilon=1e-6)).loss(outputs, batch)
    torch.testing.assert_close(near, want, atol=1e-4, rtol=0)


def test_focal_follows_its_formula_and_alpha_only_rescales():
    _, outputs, batch = example(Focal, n=40)
    p = outputs.softmax(1).gather(1, batch["label"][:, None]).squeeze(1)
    torch.testing.assert_close(ready(Focal()).loss(outputs, batch), (-5 * (1 - p) ** 2 * p.log()).mean())
    torch.testing.assert_close(
        ready(Focal(alpha=1)).loss(outputs, batch) * 5, ready(Focal(alpha=5)).loss(outputs, batch)
    )


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_has_finite_gradients_for_certain_samples(gamma):
    outputs = torch.tensor([[200.0, 0, 0, 0, 0], [-200.0, 0, 0, 0, 0]], requires_grad=True)
    batch = TensorDict({"label": torch.tensor([0, 0])}, batch_size=[2])
    ready(Focal(gamma=gamma)).loss(outputs, batch).backward()
    assert outputs.grad.isfinite().all()


# Kappa loss


def test_kappa_loss_of_certain_predictions_is_one_minus_kappa():
    g = torch.Generator().manual_seed(0)
    for _ in range(20):
        label = torch.randint(0, 5, (64,), generator=g)
        predicted = (label + torch.randint(-1, 2, (64,), generator=g)).clamp(0, 4)
        batch = TensorDict({"label": label}, batch_size=[64])
        loss = ready(KappaLoss()).loss(1000 * F.one_hot(predicted, 5).double(), batch)
        kappa = quadratic_weighted_kappa(confusion_matrix(label.numpy(), predicted.numpy(), 5))
        assert loss.item() == pytest.approx(1 - kappa, abs=1e-6)


def test_kappa_loss_lies_in_zero_to_two():
    label = torch.tensor([0, 4, 0, 4])
    batch = TensorDict({"label": label}, batch_size=[4])
    loss = ready(KappaLoss())
    right, wrong = F.one_hot(label, 5) * 100.0, F.one_hot(4 - label, 5) * 100.0
    assert loss.loss(right, batch).item() == pytest.approx(0, abs=1e-6)
    assert loss.loss(wrong, batch).item() == pytest.approx(2, abs=1e-6)
    assert loss.loss(torch.zeros(4, 5), batch).item() == pytest.approx(1, abs=1e-6)


# Regression


def test_constant_output_optimum_is_the_mean_grade_of_eyepacs():
    batch = TensorDict({"label": torch.arange(5), "weight": EYEPACS}, batch_size=[5])
    constant = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    objective = ready(MSEGrade())
    optimizer = torch.optim.LBFGS([constant], line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = objective.loss(constant.expand(5, 1), batch)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert constant.item() == pytest.approx(0.5260, abs=5e-5)
    assert closure().item() == pytest.approx(0.9416, abs=5e-5)


@pytest.mark.parametrize(
    ("kind", "loss"), [(MSEGrade, F.mse_loss), (MAEGrade, F.l1_loss), (SmoothL1Grade, F.smooth_l1_loss)]
)
def test_regression_losses_agree_with_torch(kind, loss):
    objective, outputs, batch = example(kind, n=30)
    torch.testing.assert_close(objective.loss(outputs, batch), loss(outputs[:, 0], batch["label"].float()))


def test_smooth_l1_tends_to_absolute_and_to_squared_error():
    _, outputs, batch = example(MSEGrade, n=30)
    small = ready(SmoothL1Grade(beta=1e-6)).loss(outputs, batch)
    torch.testing.assert_close(small, ready(MAEGrade()).loss(outputs, batch), atol=1e-5, rtol=0)
    large = ready(SmoothL1Grade(beta=100.0)).loss(outputs, batch)
    torch.testing.assert_close(200 * large, ready(MSEGrade()).loss(outputs, batch))


@pytest.mark.parametrize("thresholds", [None, [0.31, 0.32, 2.9, 3.0], [-2.0, 0.5, 0.5, 7.25], [1.0, 1.0, 1.0, 1.0]])
@pytest.mark.parametrize("temperature", [0.01, 0.3, 1.0, 9.0, 1000.0])
def test_decoded_arg_max_is_the_thresholds_grade_on_a_fine_grid(thresholds, temperature):
    objective = ready(MSEGrade(thresholds))
    objective.temperature = temperature
    cuts = objective.thresholds
    beside = torch.cat([cuts, torch.nextafter(cuts, cuts - 1), torch.nextafter(cuts, cuts + 1)])
    scores = torch.cat([torch.linspace(-6, 12, 20001), beside, torch.tensor([-1e6, 1e6])])
    probabilities = objective.decode(scores.unsqueeze(1))
    assert (probabilities.argmax(1) == grades_from_scores(scores, cuts)).all()
    assert (probabilities >= 0).all()
    torch.testing.assert_close(probabilities.sum(1), torch.ones(len(scores)), atol=3e-6, rtol=0)
    assert torch.equal(objective.score(scores.unsqueeze(1)), scores)


def test_default_probabilities_are_a_gaussian_round_the_severity():
    objective = ready(MSEGrade())
    objective.temperature = 0.4
    scores = torch.linspace(-1, 5, 100).unsqueeze(1)
    want = torch.softmax(-((scores - torch.arange(5)) ** 2) / (2 * 0.4), 1)
    torch.testing.assert_close(objective.decode(scores), want, atol=1e-5, rtol=0)


def test_any_number_of_grades_and_thresholds_that_do_not_fit():
    for k in (2, 3, 9):
        objective = ready(MSEGrade(), parse_target(f"grade:{k}"))
        assert objective.decode(torch.arange(k).float().unsqueeze(1)).argmax(1).tolist() == list(range(k))
    with pytest.raises(RecipeError, match="2 thresholds for 5 grades"):
        ready(MSEGrade([0.5, 1.5]))
    with pytest.raises(RecipeError, match="rise"):
        MSEGrade([1.5, 0.5])


def test_outputs_of_the_wrong_width_are_not_broadcast():
    batch = TensorDict({"label": torch.arange(5)}, batch_size=[5])
    with pytest.raises(RuntimeError):
        ready(MSEGrade()).loss(torch.zeros(5, 5), batch)


@pytest.mark.parametrize("kind", [MSEGrade, Coral, CumulativeLink])
def test_what_was_fitted_survives_a_second_configure_and_the_state_dict(kind):
    objective = ready(kind(), counts=EYEPACS)
    if kind is MSEGrade:
        objective.set_thresholds(torch.tensor([0.3, 1.2, 2.2, 3.1]))
    else:
        with torch.no_grad():
            for p in objective.parameters():
                p.add_(0.1)
    scores = torch.linspace(-3, 6, 50).unsqueeze(1)
    before = objective.decode(scores)
    objective.configure(GRADES)
    assert torch.equal(objective.decode(scores), before)
    other = ready(kind())
    assert not torch.equal(other.decode(scores), before)
    other.load_state_dict(objective.state_dict())
    assert torch.equal(other.decode(scores), before)


# Ordinal heads


def test_coral_grade_is_the_number_of_likely_cuts_even_while_biases_are_out_of_order():
    objective = ready(Coral())
    objective.biases.data = torch.tensor([1.0, 2.0, -1.5, -0.5])
    scores = torch.linspace(-4, 4, 4001)
    counted = (torch.sigmoid(scores[:, None].double() + objective.biases.detach().double()) >= 0.5).sum(1)
    probabilities = objective.decode(scores[:, None]).detach()
    assert (probabilities.argmax(1) == counted).all()
    expected = objective.score(scores[:, None])
    assert (expected.diff() > 0).all()
    assert expected.min() > 0
    assert expected.max() < 4


def test_coral_probabilities_are_the_losses_likelihood_over_ordered_patterns():
    objective = ready(Coral())
    severity = torch.tensor([[0.37]])
    p = torch.sigmoid(severity + objective.biases).squeeze(0)
    patterns = torch.stack([(torch.arange(4) < k).float() for k in range(5)])
    likelihood = (patterns * p + (1 - patterns) * (1 - p)).prod(1)
    torch.testing.assert_close(objective.decode(severity)[0], likelihood / likelihood.sum())
    losses = [objective.loss(severity, TensorDict({"label": torch.tensor([k])}, batch_size=[1])) for k in range(5)]
    torch.testing.assert_close(torch.stack(losses), -likelihood.log())


def test_cumulative_link_is_a_difference_of_logistics_exact_in_the_tails():
    objective = ready(CumulativeLink(), counts=EYEPACS)
    cuts = objective.cuts().detach().double()
    scores = torch.linspace(-8, 8, 33, dtype=torch.float64)
    below = F.pad(torch.sigmoid(cuts - scores[:, None]), (0, 1), value=1.0)
    want = below - F.pad(below[:, :-1], (1, 0))
    got = objective.double().decode(scores[:, None])
    torch.testing.assert_close(got, want)
    far = objective.float().logits(torch.tensor([[-90.0], [90.0]]))
    assert far.isfinite().all()
    assert far[0, 4] < -80
    assert far[1, 0] < -80


def test_ordinal_heads_start_at_the_class_frequencies():
    prior = EYEPACS / EYEPACS.sum()
    torch.testing.assert_close(ready(CumulativeLink(), counts=EYEPACS).decode(torch.zeros(1, 1))[0], prior)
    above = torch.sigmoid(ready(Coral(), counts=EYEPACS).biases)
    torch.testing.assert_close(above, 1 - prior.cumsum(0)[:-1])


def test_cuts_of_the_cumulative_link_stay_in_order_under_training():
    objective = ready(CumulativeLink())
    outputs = torch.zeros(200, 1)
    batch = TensorDict({"label": torch.tensor([0, 4]).repeat(100)}, batch_size=[200])
    optimizer = torch.optim.SGD(objective.parameters(), lr=5.0)
    for _ in range(200):
        optimizer.zero_grad()
        objective.loss(outputs, batch).backward()
        optimizer.step()
    assert (objective.cuts().diff() > 0).all()
    torch.testing.assert_close(objective.decode(outputs)[0, [0, 4]], torch.tensor([0.5, 0.5]), atol=0.01, rtol=0)


@pytest.mark.parametrize("kind", [CrossEntropy, Focal, KappaLoss, CumulativeLink])
def test_score_is_the_expected_grade_of_ordinal_targets_only(kind):
    objective, outputs, _ = example(kind)
    torch.testing.assert_close(objective.score(outputs), objective.decode(outputs) @ torch.arange(5.0))
    if kind in (CrossEntropy, Focal):
        assert ready(kind(), parse_target("class:a|b|c|d|e")).score(outputs) is None


# Findings


def test_multi_label_agrees_with_torch_on_known_findings():
    objective, outputs, batch = example(MultiLabel, n=20)
    batch["label"][::3, 1] = float("nan")
    known = ~batch["label"].isnan()
    want = F.binary_cross_entropy_with_logits(outputs[known], batch["label"][known])
    torch.testing.assert_close(objective.loss(outputs, batch), want)


def test_multi_label_positive_weights():
    target = target_for(MultiLabel)
    _, outputs, batch = example(MultiLabel, n=20)
    batch["label"][3, 0] = float("nan")
    counts = count_classes(target, batch["label"])
    assert counts.sum(1).tolist() == [19, 20, 20]
    ratio = counts[:, 0] / counts[:, 1]
    balanced = ready(MultiLabel("balanced"), target, counts).loss(outputs, batch)
    torch.testing.assert_close(balanced, ready(MultiLabel(ratio.tolist()), target).loss(outputs, batch))
    three = F.binary_cross_entropy_with_logits(outputs[4:], batch["label"][4:], pos_weight=torch.tensor(3.0))
    torch.testing.assert_close(ready(MultiLabel(3.0), target).loss(outputs[4:], batch[4:]), three)
    with pytest.raises(RecipeError, match="2 values of pos_weight for 3 findings"):
        ready(MultiLabel([1.0, 2.0]), target)


# Masks


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("batch_dice", [False, True])
@pytest.mark.parametrize("include_background", [False, True])
def test_dice_cross_entropy_agrees_with_monai(squared, batch_dice, include_background):
    from monai.losses import DiceCELoss

    _, outputs, batch = example(DiceCrossEntropy)
    settings = {"squared": squared, "batch_dice": batch_dice, "include_background": include_background}
    ours = ready(DiceCrossEntropy(**settings, dice_weight=0.7, cross_entropy_weight=1.3), target_for(DiceCrossEntropy))
    theirs = DiceCELoss(
        include_background=include_background,
        to_onehot_y=True,
        softmax=True,
        squared_pred=squared,
        batch=batch_dice,
        lambda_dice=0.7,
        lambda_ce=1.3,
    )
    torch.testing.assert_close(ours.loss(outputs, batch), theirs(outputs, batch["mask"].unsqueeze(1)))


@pytest.mark.parametrize("batch_dice", [False, True])
def test_unknown_pixels_do_not_matter(batch_dice):
    objective = ready(DiceCrossEntropy(batch_dice=batch_dice), target_for(DiceCrossEntropy))
    _, outputs, batch = example(DiceCrossEntropy)
    batch["mask"][:, :, 3:] = -1
    loss = objective.loss(outputs, batch)
    cropped = TensorDict({"mask": batch["mask"][:, :, :3]}, batch_size=[6])
    torch.testing.assert_close(loss, objective.loss(outputs[..., :3], cropped))
    loss.backward()
    assert (outputs.grad[..., 3:] == 0).all()
    assert (outputs.grad[..., :3] != 0).all()


def test_dice_of_perfect_and_of_disjoint_masks():
    label = torch.tensor([[[1.0, 1, 0, 0], [0, 0, 1, 1]]])
    for squared in (False, True):
        assert dice_loss(label, label, torch.ones(1), squared).item() == pytest.approx(0, abs=1e-6)
        assert dice_loss(label.flip(1), label, torch.ones(1), squared).item() == pytest.approx(1, abs=1e-5)
    half = dice_loss(torch.full_like(label, 0.5), label, torch.ones(1))
    assert half.item() == pytest.approx(0.5, abs=1e-5)
    assert math.isfinite(half)


def test_counts_leave_out_missing_labels():
    assert count_classes(GRADES, torch.tensor([0, 0, 3, -1])).tolist() == [2, 0, 0, 1, 0]
    assert count_classes(parse_target("mask"), torch.tensor([[[0, 1], [1, -1]]])).tolist() == [1, 2]


@pytest.mark.parametrize("kind", ["CrossEntropy", "MSEGrade", "MAEGrade", "Coral", "CumulativeLink", "KappaLoss"])
def test_a_label_as_a_distribution_with_one_class_is_that_class(kind):
    objective = getattr(objectives, kind)()
    objective.configure(parse_target("grade:4"))
    labels = torch.tensor([0, 3, 1, -1, 2])
    outputs = torch.randn(5, objective.outputs_for(parse_target("grade:4")), generator=torch.Generator().manual_seed(0))
    sure = torch.eye(4)[labels.clamp(min=0)]
    sure[3] = torch.nan
    as_classes, as_shares = (
        objective.loss(outputs, TensorDict({"label": given}, batch_size=[5])) for given in (labels, sure)
    )
    torch.testing.assert_close(as_classes, as_shares)


@pytest.mark.parametrize("kind", ["CrossEntropy", "Coral", "CumulativeLink"])
def test_the_loss_of_a_mixed_label_is_the_mixture_of_the_losses(kind):
    objective = getattr(objectives, kind)()
    objective.configure(parse_target("grade:4"))
    outputs = torch.randn(6, objective.outputs_for(parse_target("grade:4")), generator=torch.Generator().manual_seed(1))
    one, other = torch.eye(4)[[0, 1, 2, 3, 0, 2]], torch.eye(4)[[3, 3, 0, 1, 2, 1]]
    a, b, mixed = (
        objective.loss(outputs, TensorDict({"label": given}, batch_size=[6]))
        for given in (one, other, 0.3 * one + 0.7 * other)
    )
    torch.testing.assert_close(mixed, 0.3 * a + 0.7 * b)
