"""Losses for long tails: closed forms, what they are equal to, and that the weights of classes take effect."""

import pytest
import torch
from tensordict import TensorDict
from torch.nn import functional as F

from scantling.core.errors import RecipeError
from scantling.core.target import parse_target
from scantling.tasks.objectives import LDAM, BalancedSoftmax, CrossEntropy, Focal, LogitAdjustment
from scantling.tasks.objectives.class_weights import effective_number_weights
from scantling.tasks.objectives.ldam import label_margins

COUNTS = torch.tensor([1088.0, 6782, 483, 289, 1075, 70, 99])
TARGET = parse_target("class:MEL|NV|BCC|AKIEC|BKL|DF|VASC")
PRIOR = (COUNTS / COUNTS.sum()).log()
KINDS = [BalancedSoftmax, LogitAdjustment, LDAM]


def ready(objective, counts=COUNTS):
    objective.configure(TARGET, counts)
    return objective


def example(n=40, seed=0):
    g = torch.Generator().manual_seed(seed)
    outputs = torch.randn(n, 7, generator=g)
    return outputs, TensorDict({"label": torch.randint(0, 7, (n,), generator=g)}, batch_size=[n])


def test_balanced_softmax_is_the_cross_entropy_of_counts_times_exponentials():
    outputs, batch = example()
    mass = COUNTS * outputs.exp()
    want = -(mass / mass.sum(1, keepdim=True)).gather(1, batch["label"][:, None]).log().mean()
    torch.testing.assert_close(ready(BalancedSoftmax()).loss(outputs, batch), want)
    torch.testing.assert_close(want, F.cross_entropy(outputs + PRIOR, batch["label"]))


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0, 2.0])
def test_logit_adjustment_adds_tau_times_the_log_prior(tau):
    outputs, batch = example()
    loss = ready(LogitAdjustment(tau=tau)).loss(outputs, batch)
    torch.testing.assert_close(loss, F.cross_entropy(outputs + tau * PRIOR, batch["label"]))
    if tau == 1:
        torch.testing.assert_close(loss, ready(BalancedSoftmax()).loss(outputs, batch))


def test_a_uniform_prior_changes_nothing():
    outputs, batch = example()
    even = torch.full((7,), 30.0)
    plain = F.cross_entropy(outputs, batch["label"])
    torch.testing.assert_close(ready(BalancedSoftmax(), even).loss(outputs, batch), plain)
    later = ready(LogitAdjustment(adjust="decode"), even)
    torch.testing.assert_close(later.decode(outputs), outputs.softmax(1))


def test_training_and_decoding_undo_each_other():
    """What a network that fits the long tail exactly says is what one trained with adjustment says."""
    outputs, batch = example()
    fitted = outputs + PRIOR
    later, during = ready(LogitAdjustment(adjust="decode")), ready(LogitAdjustment())
    torch.testing.assert_close(later.decode(fitted), during.decode(outputs))
    torch.testing.assert_close(during.decode(outputs), outputs.softmax(1))
    torch.testing.assert_close(later.loss(outputs, batch), F.cross_entropy(outputs, batch["label"]))


def test_the_prior_survives_in_the_bundle_and_a_second_configure():
    outputs, _ = example()
    later = ready(LogitAdjustment(adjust="decode"))
    loaded = LogitAdjustment(adjust="decode")
    loaded.configure(TARGET)
    torch.testing.assert_close(loaded.decode(outputs), outputs.softmax(1))
    loaded.load_state_dict(later.state_dict())
    torch.testing.assert_close(loaded.decode(outputs), later.decode(outputs))
    later.configure(TARGET)
    torch.testing.assert_close(loaded.decode(outputs), later.decode(outputs))
    assert (later.decode(outputs).argmax(1) != outputs.argmax(1)).any()


def test_temperature_is_fitted_to_the_adjusted_logits():
    g = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4000, 7, generator=g)
    labels = torch.multinomial((logits / 2).softmax(1), 1, generator=g).squeeze(1)
    later = ready(LogitAdjustment(adjust="decode"))
    assert later.fit_temperature(logits + PRIOR, labels) == pytest.approx(2, rel=0.1)


def test_balanced_softmax_learns_a_balanced_classifier_from_a_long_tail():
    """Two overlapping clouds, 50 to 1: the border moves from far inside the rare cloud to the middle."""
    g = torch.Generator().manual_seed(0)
    points = torch.cat([torch.randn(2000, generator=g) - 1, torch.randn(40, generator=g) + 1])
    labels = torch.cat([torch.zeros(2000), torch.ones(40)]).long()
    borders = {}
    for kind in (CrossEntropy, BalancedSoftmax):
        objective = kind()
        objective.configure(parse_target("class:common|rare"), torch.tensor([2000.0, 40]))
        slope, shift = torch.zeros(2, requires_grad=True), torch.zeros(2, requires_grad=True)
        optimizer = torch.optim.LBFGS([slope, shift], max_iter=100)
        batch = TensorDict({"label": labels}, batch_size=[2040])

        def closure(objective=objective, slope=slope, shift=shift, optimizer=optimizer, batch=batch):
            optimizer.zero_grad()
            loss = objective.loss(points[:, None] * slope + shift, batch)
            loss.backward()
            return loss

        optimizer.step(closure)
        borders[kind] = -((shift[1] - shift[0]) / (slope[1] - slope[0])).item()
    assert abs(borders[BalancedSoftmax]) < 0.35
    assert borders[CrossEntropy] > 1.2


def test_margins_are_powers_of_the_counts_and_the_rarest_has_the_largest():
    margins = label_margins(COUNTS, 0.4)
    torch.testing.assert_close(margins * COUNTS**0.25, torch.full((7,), 0.4 * 70**0.25))
    assert margins.max() == margins[5] == pytest.approx(0.4)
    assert label_margins(torch.tensor([0.0, 1.0])).tolist() == [0.5, 0.5]


def test_ldam_lowers_the_output_of_the_label_alone():
    outputs, batch = example()
    label, margins = batch["label"], label_margins(COUNTS, 0.5)
    lowered = outputs - margins * F.one_hot(label, 7)
    got = ready(LDAM(margin=0.5, scale=4.0)).loss(outputs, batch)
    torch.testing.assert_close(got, F.cross_entropy(4 * lowered, label))
    torch.testing.assert_close(ready(LDAM(margin=0.0, scale=1.0)).loss(outputs, batch), F.cross_entropy(outputs, label))
    torch.testing.assert_close(ready(LDAM(scale=4.0)).decode(outputs), (4 * outputs).softmax(1))


def test_reweighting_is_deferred_to_the_last_fifth_of_the_epochs():
    outputs, batch = example()
    objective = ready(LDAM())
    losses = []
    for epoch in range(10):
        objective.set_epoch(epoch, 10)
        losses.append(objective.loss(outputs, batch).item())
    assert len(set(losses[:8])) == 1
    assert len(set(losses[8:])) == 1
    assert losses[8] != pytest.approx(losses[7], rel=1e-3)
    logits = objective.class_logits(outputs, F.one_hot(batch["label"], 7).float())
    want = F.cross_entropy(logits, batch["label"], (1 - 0.9999) / (1 - 0.9999 ** COUNTS.double()).float())
    assert losses[9] == pytest.approx(want.item(), rel=1e-4)
    for share, first in ((0.0, 0), (0.3, 3), (1.0, None)):
        objective = ready(LDAM(reweight_after=share))
        found = []
        for epoch in range(10):
            objective.set_epoch(epoch, 10)
            found.append(bool((objective.weights() != 1).any()))
        assert found == [first is not None and epoch >= first for epoch in range(10)]


@pytest.mark.parametrize("kind", KINDS)
def test_missing_labels_weights_and_mixtures_are_taken_as_by_cross_entropy(kind):
    outputs, batch = example()
    objective = ready(kind())
    outputs = outputs.requires_grad_()
    hidden = batch.clone()
    hidden["label"][3:9] = -1
    keep = torch.cat([torch.arange(3), torch.arange(9, 40)])
    loss = objective.loss(outputs, hidden)
    torch.testing.assert_close(loss, objective.loss(outputs[keep], batch[keep]))
    loss.backward()
    assert (outputs.grad[3:9] == 0).all()
    sure = batch.clone()
    sure["label"] = F.one_hot(batch["label"], 7).float()
    torch.testing.assert_close(objective.loss(outputs, sure), objective.loss(outputs, batch))


def test_a_mixed_label_has_the_mixed_loss():
    outputs, batch = example()
    objective = ready(BalancedSoftmax())
    other = batch.clone()
    other["label"] = (batch["label"] + 1) % 7
    mixed = batch.clone()
    mixed["label"] = 0.3 * F.one_hot(batch["label"], 7).float() + 0.7 * F.one_hot(other["label"], 7).float()
    want = 0.3 * objective.loss(outputs, batch) + 0.7 * objective.loss(outputs, other)
    torch.testing.assert_close(objective.loss(outputs, mixed), want)


@pytest.mark.parametrize("kind", KINDS)
def test_training_on_one_batch_learns_its_labels(kind):
    outputs, batch = example()
    objective, free = ready(kind()), outputs.clone().requires_grad_()
    optimizer = torch.optim.Adam([free], lr=0.1)
    for epoch in range(150):
        objective.set_epoch(epoch, 150)
        optimizer.zero_grad()
        objective.loss(free, batch).backward()
        optimizer.step()
    assert (outputs.argmax(1) == batch["label"]).float().mean() < 0.5
    assert (objective.decode(free.detach()).argmax(1) == batch["label"]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_loss_needs_class_counts_and_a_prediction_does_not(kind):
    outputs, batch = example()
    objective = kind()
    objective.configure(TARGET)
    with pytest.raises(RecipeError, match="need the class counts"):
        objective.loss(outputs, batch)
    assert objective.decode(outputs).shape == (40, 7)


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("balanced", 1 / COUNTS),
        ("inverse_square_root", COUNTS**-0.5),
        ("effective_number", (1 - 0.99) / (1 - 0.99 ** COUNTS.double()).float()),
    ],
)
def test_class_weights_have_their_closed_forms_and_change_both_losses(name, want):
    outputs, batch = example()
    weighted = ready(CrossEntropy(class_weights=name, beta=0.99))
    torch.testing.assert_close(weighted.weights() / weighted.weights().sum(), want / want.sum())
    loss = weighted.loss(outputs, batch)
    torch.testing.assert_close(loss, F.cross_entropy(outputs, batch["label"], want))
    assert abs(loss - F.cross_entropy(outputs, batch["label"])) > 0.01
    focal = Focal(alpha=1.0, gamma=0.0, class_weights=name, beta=0.99)
    torch.testing.assert_close(ready(focal).loss(outputs, batch), loss)
    sharp = [ready(Focal(class_weights=w, beta=0.99)).loss(outputs, batch) for w in (None, name)]
    assert abs(sharp[1] - sharp[0]) > 0.01


def test_effective_number_weights_go_from_equal_to_balanced():
    torch.testing.assert_close(effective_number_weights(COUNTS, 0.0), torch.ones(7))
    torch.testing.assert_close(effective_number_weights(COUNTS, 1 - 1e-8), COUNTS.max() / COUNTS, rtol=1e-3, atol=0)
    rising = torch.stack([effective_number_weights(COUNTS, b) for b in (0.9, 0.99, 0.999, 0.9999)])
    assert (rising.diff(dim=0) >= 0).all()
    assert (
        effective_number_weights(torch.tensor([5.0, 0, 1]), 0.9)[1]
        == effective_number_weights(torch.tensor([5.0, 0, 1]), 0.9)[2]
    )


def test_settings_out_of_range_are_refused():
    for make in (
        lambda: LogitAdjustment(tau=-1),
        lambda: LDAM(scale=0),
        lambda: LDAM(reweight_after=1.5),
        lambda: CrossEntropy(beta=1.0),
    ):
        with pytest.raises(RecipeError):
            make()
