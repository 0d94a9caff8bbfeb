"""Cutting a continuous severity into grades, and finding the cuts."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from scantling.metrics.kappa import confusion_matrix, quadratic_weighted_kappa


def default_thresholds(num_classes: int) -> Tensor:
    """Cuts half-way between grades: 0.5, 1.5, ..., ``(K - 1,)``.

    >>> default_thresholds(5)
    tensor([0.5000, 1.5000, 2.5000, 3.5000])
    """
    return torch.arange(num_classes - 1) + 0.5


def grades_from_scores(scores: Tensor, thresholds: Tensor) -> Tensor:
    """The number of thresholds at or below each score: ties go up.

    Args:
        scores: severities, any shape.
        thresholds: rising cuts ``(K - 1,)``.

    Returns:
        Grades in ``[0, K - 1]``, int64, shaped like ``scores``.

    Source: Huang et al. 2023, arXiv 2110.14160 (largest i with score >= t_i; their first cut, -0.5, changes nothing).

    >>> grades_from_scores(torch.tensor([-3.0, 0.4999, 0.5, 2.5, 99.0]), default_thresholds(5)).tolist()
    [0, 0, 1, 3, 4]
    """
    return torch.bucketize(scores, thresholds.to(scores.dtype), right=True)


def grade_logits(scores: Tensor, thresholds: Tensor) -> Tensor:
    """Log-odds ``score - threshold_k`` between neighbouring grades, summed up to logits ``(N, K)``.

    As thresholds rise, the sums grow up to the grade that the thresholds give and fall after it, so that the arg-max is
    that grade. For the default thresholds the softmax is a unit Gaussian round the score, read at the grades.

    Args:
        scores: ``(N,)``.
        thresholds: rising cuts ``(K - 1,)``.
    """
    steps = scores.unsqueeze(1) - thresholds.to(scores.dtype)
    return F.pad(steps.cumsum(1), (1, 0))


def lift(probabilities: Tensor, prediction: Tensor) -> Tensor:
    """Make ``prediction`` the strict arg-max where rounding or a tie would give another one.

    Args:
        probabilities: ``(N, K)``.
        prediction: classes ``(N,)``, of largest probability up to rounding.

    Returns:
        The probabilities, with that of the prediction at least one rounding step above the others.

    >>> lift(torch.tensor([[0.5, 0.5]]), torch.tensor([1])).argmax(1)
    tensor([1])
    """
    index = prediction.unsqueeze(1)
    others = probabilities.scatter(1, index, 0).amax(1, keepdim=True)
    least = others * (1 + 2 * torch.finfo(probabilities.dtype).eps)
    return probabilities.scatter(1, index, torch.maximum(probabilities.gather(1, index), least))


def fit_thresholds(scores: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """The thresholds with the highest quadratic weighted kappa on the given scores: the global optimum.

    With the sums of the predictions p and labels y, ``1 - kappa = sum((y - p)^2) / (sum(y^2) + sum(p^2) - 2 sum(y)
    sum(p) / N)``, and both sides are sums over the cuts, each depending on its own position among the sorted scores
    only. Dinkelbach's method for ratios therefore needs, a few times, one search over the scores for every cut; the
    cuts come out in order by themselves.

    Fitted thresholds overfit small sets, and a fit on training scores is too good to be true. Fit on validation scores,
    and guard: keep them only if they are better on scores that took no part, as :func:`guarded_thresholds` does.

    Args:
        scores: severities ``(N,)``.
        labels: grades ``(N,)``; missing (negative) ones are left out.
        num_classes: number of grades K.

    Returns:
        Rising cuts ``(K - 1,)`` float32, half-way between scores; the default ones where the scores tell nothing.

    Source: Dinkelbach 1967, On Nonlinear Fractional Programming; the split into cuts is ours.

    >>> fit_thresholds(torch.tensor([0.0, 0.1, 0.2, 0.3]), torch.tensor([0, 0, 1, 2]), 3)
    tensor([0.1500, 0.2500])
    """
    known = (labels >= 0) & scores.isfinite()
    score, order = scores[known].double().cpu().sort()
    label = labels[known].double().cpu()[order]
    count = len(score)
    if count < 2 or score[0] == score[-1]:
        return default_thresholds(num_classes)
    # A cut at position i gives a higher grade to the samples i, i + 1, ...; equal scores cannot be parted.
    position = torch.cat([torch.ones(1, dtype=torch.bool), score.diff() > 0, torch.ones(1, dtype=torch.bool)]).nonzero()
    position = position.squeeze(1)
    above = (count - position).double()
    label_above = label.sum() - F.pad(label.cumsum(0), (1, 0))[position]
    odd = 2 * torch.arange(num_classes - 1, dtype=torch.float64).unsqueeze(1) + 1
    error = odd * above - 2 * label_above  # (K - 1, positions): share of a cut in sum((y - p)^2)
    chance = odd * above - 2 * label.mean() * above
    squares = (label**2).sum()
    disagreement, best = 1.0, None
    while True:
        choice = (error - disagreement * chance).argmin(1, keepdim=True)
        ratio = ((squares + error.gather(1, choice).sum()) / (squares + chance.gather(1, choice).sum())).item()
        if not ratio < disagreement - 1e-12:
            break
        disagreement, best = ratio, position[choice.squeeze(1)]
    if best is None:
        return default_thresholds(num_classes)
    margin = (score[-1] - score[0]) / count
    ends = torch.cat([score[:1] - margin, score, score[-1:] + margin]).float()
    lower, upper = ends[best], ends[best + 1]
    middle = (lower + upper) / 2
    return torch.where(middle > lower, middle, upper)


def guarded_thresholds(
    scores: Tensor, labels: Tensor, held_out_scores: Tensor, held_out_labels: Tensor, num_classes: int
) -> Tensor:
    """Fitted thresholds if they beat the default ones on held-out samples (other patients!), else the default ones.

    Args:
        scores: severities to fit on, ``(N,)``.
        labels: their grades, ``(N,)``; missing ones are negative.
        held_out_scores: severities to judge on, ``(M,)``.
        held_out_labels: their grades, ``(M,)``.
        num_classes: number of grades K.

    Returns:
        Rising cuts ``(K - 1,)``.
    """
    known = held_out_labels >= 0
    truth, severity = held_out_labels[known].cpu().numpy(), held_out_scores[known].cpu()

    def kappa(cuts: Tensor) -> float:
        predicted = grades_from_scores(severity, cuts).numpy()
        return float(quadratic_weighted_kappa(confusion_matrix(truth, predicted, num_classes)))

    fitted, default = fit_thresholds(scores, labels, num_classes), default_thresholds(num_classes)
    return fitted if kappa(fitted) > kappa(default) else default
