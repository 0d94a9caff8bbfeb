"""Contrasts of two views: identities, a slow reference, the queue, and what no gradient may reach."""

import math

import pytest
import torch
from tensordict import TensorDict
from torch import nn
from torch.nn import functional as F

from scantling.core.errors import RecipeError
from scantling.core.target import parse_target
from scantling.nets.cosine_head import CosineHead
from scantling.nets.projection import Projection
from scantling.tasks.objectives import BalancedSoftmax, CrossEntropy, GPaCo, SupervisedContrast
from scantling.tasks.objectives.contrast import pairs
from scantling.tasks.objectives.feature_queue import FeatureQueue
from scantling.tasks.objectives.gpaco import gpaco_losses
from scantling.tasks.objectives.supcon import supervised_contrastive_losses

COUNTS = torch.tensor([50.0, 8, 3])
TARGET = parse_target("class:a|b|c")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=seeded(seed)), dim=1)


def objective(kind=BalancedSoftmax):
    made = kind()
    made.configure(TARGET, COUNTS)
    return made


def built(contrast, features=10):
    torch.manual_seed(0)
    contrast.build(features)
    return contrast


def example(n=8):
    labels = torch.randint(0, 3, (n,), generator=seeded(1)).repeat(2)
    batch = TensorDict({"label": labels}, batch_size=[2 * n])
    return torch.randn(2 * n, 3, generator=seeded(2)), torch.randn(2 * n, 10, generator=seeded(3)), batch


def reference(class_logits, labels, embeddings, queue, queue_labels, alpha, beta, gamma, temperature):
    """The sheet's formula, one sample at a time."""
    losses = []
    for i, y in enumerate(labels.tolist()):
        others = [(embeddings[j], labels[j].item()) for j in range(len(labels)) if j != i]
        others += [(f, q.item()) for f, q in zip(queue, queue_labels) if q >= 0]
        b = [((embeddings[i] @ f).item() / temperature, q) for f, q in others]
        z = class_logits[i].exp().sum().item() + gamma * sum(math.exp(v) for v, _ in b)
        top = beta * (class_logits[i, y].item() - math.log(z))
        top += alpha * sum(v - math.log(z) for v, q in b if q == y)
        losses.append(-top / (beta + alpha * sum(q == y for _, q in b)))
    return torch.tensor(losses)


def filled_queue():
    queue = FeatureQueue(12, 6)
    queue.push(unit(7, 6, seed=5), torch.randint(0, 3, (7,), generator=seeded(6)))
    return queue


@pytest.mark.parametrize("weights", [(0.05, 1.0, 1.0), (0.5, 0.3, 0.2), (1.0, 1.0, 0.0)])
def test_gpaco_is_the_formula_of_the_sheet(weights):
    labels, embeddings, queue = torch.tensor([0, 1, 2, 0, 1, 2]), unit(6, 6), filled_queue()
    class_logits = torch.randn(6, 3, generator=seeded(4))
    got = gpaco_losses(class_logits, labels, *pairs(embeddings, labels, queue, 0.2), *weights)
    want = reference(class_logits, labels, embeddings, queue.features, queue.labels, *weights, 0.2)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


def test_gpaco_without_samples_is_balanced_softmax():
    outputs, features, batch = example()
    contrast, own = built(GPaCo(alpha=0, gamma=0, size=6, hidden=12, queue=16)), objective()
    outputs.requires_grad_()
    for _ in range(2):
        loss = contrast(own, outputs, features, batch)
        torch.testing.assert_close(loss, own.loss(outputs, batch))
        torch.testing.assert_close(loss, F.cross_entropy(outputs + (COUNTS / COUNTS.sum()).log(), batch["label"]))
    (grad,) = torch.autograd.grad(loss, outputs)
    (want,) = torch.autograd.grad(own.loss(outputs, batch), outputs)
    torch.testing.assert_close(grad, want)


def test_each_view_has_class_logits_of_its_own_features():
    outputs, features, batch = example()
    outputs.requires_grad_()
    loss = built(GPaCo(size=6, hidden=12, queue=16))(objective(), outputs, features, batch)
    (grad,) = torch.autograd.grad(loss, outputs)
    assert (grad.abs().sum(1) > 0).all()
    assert not torch.allclose(grad[:8], grad[8:])


def test_gradients_reach_both_views_and_never_the_queue():
    outputs, features, batch = example()
    contrast, own = built(GPaCo(size=6, hidden=12, queue=20)), objective()
    features.requires_grad_()
    contrast(own, outputs, features, batch)
    before = contrast.queue.features.clone()
    (grad,) = torch.autograd.grad(contrast(own, outputs, features, batch), features)
    assert (grad.abs().sum(1) > 0).all()
    assert not contrast.queue.features.requires_grad
    assert contrast.queue.features.grad_fn is None
    assert {name for name, _ in contrast.named_parameters() if "queue" in name} == set()
    assert not torch.equal(before, contrast.queue.features)


def test_slots_that_were_never_filled_do_not_count():
    labels, embeddings = torch.tensor([0, 1, 2, 0]), unit(4, 6)
    class_logits = torch.randn(4, 3, generator=seeded(4))
    without = gpaco_losses(class_logits, labels, *pairs(embeddings, labels, FeatureQueue(0, 6), 0.2))
    empty = gpaco_losses(class_logits, labels, *pairs(embeddings, labels, FeatureQueue(64, 6), 0.2))
    torch.testing.assert_close(empty, without)
    full = gpaco_losses(class_logits, labels, *pairs(embeddings, labels, filled_queue(), 0.2))
    assert (full - without).abs().min() > 1e-3


def test_the_queue_is_first_in_first_out_for_any_number():
    queue, sent = FeatureQueue(5, 1), torch.empty(0, 1)
    for number in (2, 2, 4, 1, 9, 5, 3):
        new = torch.arange(len(sent), len(sent) + number).float()[:, None]
        sent = torch.cat([sent, new])
        queue.push(new, new.squeeze(1).long())
        assert sorted(queue.labels[queue.labels >= 0].tolist()) == sent[-5:].squeeze(1).long().tolist()
        known = queue.labels >= 0
        assert torch.equal(queue.features[known].squeeze(1), queue.labels[known].float())
    assert (FeatureQueue(5, 1).labels == -1).all()


def test_the_second_view_enters_the_queue_in_training_alone():
    outputs, features, batch = example()
    contrast = built(SupervisedContrast(size=6, hidden=12, queue=32))
    contrast.eval()
    contrast(objective(), outputs, features, batch)
    assert (contrast.queue.labels == -1).all()
    contrast.train()
    contrast(objective(), outputs, features, batch)
    assert contrast.queue.labels[:8].tolist() == batch["label"][8:].tolist()
    assert (contrast.queue.labels[8:] == -1).all()
    second = contrast.projection(features)[8:]
    torch.testing.assert_close(contrast.queue.features[:8], second)
    torch.testing.assert_close(second.norm(dim=1), torch.ones(8))


def test_supervised_contrast_by_hand_and_its_minimum():
    labels, embeddings = torch.tensor([0, 0, 1, 1]), unit(4, 6)
    got = supervised_contrastive_losses(*pairs(embeddings, labels, FeatureQueue(0, 6), 0.1))
    cosines = embeddings @ embeddings.T / 0.1
    for i, partner in enumerate((1, 0, 3, 2)):
        others = [j for j in range(4) if j != i]
        assert got[i].item() == pytest.approx((cosines[i, others].logsumexp(0) - cosines[i, partner]).item(), rel=1e-4)
    apart = torch.tensor([[1.0, 0], [1, 0], [-1, 0], [-1, 0]])
    best = supervised_contrastive_losses(*pairs(apart, labels, FeatureQueue(0, 2), 0.1))
    torch.testing.assert_close(best, torch.full((4,), math.log(1 + 2 * math.exp(-20))), atol=1e-6, rtol=1e-3)
    assert (got > best).all()
    alone = supervised_contrastive_losses(*pairs(embeddings, torch.arange(4), FeatureQueue(0, 6), 0.1))
    assert (alone == 0).all()


@pytest.mark.parametrize("kind", [GPaCo, SupervisedContrast])
def test_training_puts_the_samples_of_a_class_together(kind):
    _, features, batch = example(n=24)
    contrast, own = built(kind(size=6, hidden=12, queue=60)), objective()
    head, free = nn.Linear(10, 3), features.clone().requires_grad_()
    optimizer = torch.optim.Adam([free, *head.parameters(), *contrast.parameters()], lr=0.03)

    def gap():
        """Mean cosine within classes, less that between them."""
        found = contrast.eval().projection(free.detach())
        cosines, same = found @ found.T, batch["label"][:, None] == batch["label"]
        contrast.train()
        return (cosines[same].mean() - cosines[~same].mean()).item()

    before = gap()
    for _ in range(100):
        optimizer.zero_grad()
        contrast(own, head(free), free, batch).backward()
        optimizer.step()
    assert gap() > before + 0.5
    assert (head(free).argmax(1) == batch["label"]).all()


def test_the_weight_of_the_contrast_is_linear_and_0_leaves_the_classification_loss():
    outputs, features, batch = example()
    own = objective(CrossEntropy)
    losses = [built(SupervisedContrast(weight=w, size=6, hidden=12))(own, outputs, features, batch) for w in (0, 1, 3)]
    torch.testing.assert_close(losses[0], own.loss(outputs, batch))
    torch.testing.assert_close(losses[2] - losses[0], 3 * (losses[1] - losses[0]))
    assert losses[1] > losses[0]


@pytest.mark.parametrize("kind", [GPaCo, SupervisedContrast])
def test_samples_without_a_label_neither_pull_nor_push(kind):
    outputs, features, batch = example()
    hidden = batch.clone()
    hidden["label"][[2, 10]] = -1
    contrast = built(kind(size=6, hidden=12, queue=0)).eval()
    outputs.requires_grad_(), features.requires_grad_()
    loss = contrast(objective(), outputs, features, hidden)
    grads = torch.autograd.grad(loss, (outputs, features))
    keep = [i for i in range(16) if i not in (2, 10)]
    torch.testing.assert_close(loss, contrast(objective(), outputs[keep], features[keep], batch[keep]))
    for grad in grads:
        assert (grad[[2, 10]] == 0).all()
        assert grad.isfinite().all()


@pytest.mark.parametrize("kind", [GPaCo, SupervisedContrast])
def test_mixtures_of_classes_are_refused_in_one_line(kind):
    outputs, features, batch = example()
    batch["label"] = F.one_hot(batch["label"], 3).float()
    with pytest.raises(RecipeError, match="the mixer gives mixtures of classes"):
        built(kind(size=6, hidden=12))(objective(), outputs, features, batch)


@pytest.mark.parametrize("kind", [GPaCo, SupervisedContrast])
def test_half_precision_features_lose_no_cosines(kind):
    outputs, features, batch = example()
    contrast = built(kind(size=6, hidden=12, queue=0))
    plain = contrast(objective(), outputs, features.bfloat16().float(), batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(contrast(objective(), outputs, features.bfloat16(), batch), plain)


def test_the_heads_of_the_sheet_have_its_parameters():
    """Trainable in all: 79,861,607 with a backbone of 56,762,976 and a classifier for 7 classes."""
    with torch.device("meta"):
        heads, classifier = Projection(768), nn.Linear(768, 7)
    added = sum(p.numel() for part in (heads, classifier) for p in part.parameters())
    assert 56_762_976 + added == 79_861_607


def test_only_the_first_view_has_a_predictor():
    torch.manual_seed(0)
    heads = Projection(10, 6, 12)
    features = torch.randn(8, 10)
    both, plain = heads(features), F.normalize(heads.projector(features), dim=1)
    torch.testing.assert_close(both[4:], plain[4:])
    assert not torch.allclose(both[:4], plain[:4], atol=0.1)


def test_a_cosine_head_knows_directions_alone():
    torch.manual_seed(0)
    head = CosineHead(10, 3)
    features = torch.randn(5, 10)
    want = torch.cosine_similarity(features[:, None], head.weight[None], dim=2)
    torch.testing.assert_close(head(features), want)
    with torch.no_grad():
        head.weight.mul_(9)
    torch.testing.assert_close(head(features), want)


def test_settings_out_of_range_are_refused():
    for make in (
        lambda: GPaCo(beta=0),
        lambda: GPaCo(gamma=-1),
        lambda: GPaCo(temperature=0),
        lambda: SupervisedContrast(weight=-1),
        lambda: SupervisedContrast(queue=-1),
    ):
        with pytest.raises(RecipeError):
            make()
