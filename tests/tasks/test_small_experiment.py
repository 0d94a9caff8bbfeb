"""The sheet's experiment on a CPU: which training gives the highest quadratic weighted kappa (sheet: dr_grading).

Synthetic patients with two eyes: a latent severity with a correlation of 0.81 between the eyes and an EyePACS-like
prior of the grades, seen through 16 noisy features.
"""

import torch
from torch import nn

from scantling.core.target import parse_target
from scantling.metrics.kappa import confusion_matrix, quadratic_weighted_kappa
from scantling.nets.paired_eyes import PairedEyeHead
from scantling.tasks.objectives import CrossEntropy, MSEGrade, count_classes

PRIOR = torch.tensor([0.726, 0.068, 0.155, 0.027, 0.024])
GRADES = parse_target("grade:5")
FEATURES, CORRELATION, NOISE = 16, 0.81, 0.65


class BothEyes(nn.Module):
    """The paired-eye head on a row of two eyes' features."""

    def __init__(self) -> None:
        super().__init__()
        self.head = PairedEyeHead(FEATURES * 4)
        self.wide = nn.Linear(FEATURES, FEATURES * 4)

    def forward(self, rows):
        graded, fellow = rows.chunk(2, dim=1)
        return self.head(self.wide(graded), self.wide(fellow))


def patients(count, generator):
    """Features ``(count, 2, 16)`` and grades ``(count, 2)``."""
    shared = CORRELATION**0.5 * torch.randn(count, 1, generator=generator)
    latent = shared + (1 - CORRELATION) ** 0.5 * torch.randn(count, 2, generator=generator)
    grades = torch.bucketize(latent, torch.special.ndtri(PRIOR.cumsum(0)[:-1]), right=True)
    fixed = torch.Generator().manual_seed(99)
    slope, offset = torch.randn(2, FEATURES, generator=fixed)
    clean = torch.tanh(latent.unsqueeze(2) * slope + offset)
    return clean + NOISE * torch.randn(clean.shape, generator=generator), grades


def one_eye(x):
    return x.flatten(0, 1)


def both_eyes(x):
    return torch.cat([x, x.flip(1)], dim=2).flatten(0, 1)


def kappa_of(objective, network, view, train, test, generator, balanced=False, epochs=20, size=128):
    x, y = view(train[0]), train[1].flatten()
    objective.configure(GRADES, count_classes(GRADES, y))
    steps = epochs * (len(x) // size)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    weight = 1 / count_classes(GRADES, y)[y] if balanced else torch.ones(len(y))
    for _ in range(epochs):
        order = torch.multinomial(weight, len(x), replacement=balanced, generator=generator)
        for rows in order[: len(x) // size * size].split(size):
            optimizer.zero_grad()
            objective.loss(network(x[rows]), {"label": y[rows]}).backward()
            optimizer.step()
            rate.step()
    with torch.no_grad():
        predicted = objective.decode(network(view(test[0]))).argmax(1)
    return float(quadratic_weighted_kappa(confusion_matrix(test[1].flatten().numpy(), predicted.numpy(), 5)))


def perceptron(outputs):
    return nn.Sequential(nn.Linear(FEATURES, 32), nn.ReLU(), nn.Linear(32, outputs))


def experiment(seed):
    """Kappa of cross-entropy, squared error, squared error on balanced draws, and squared error on both eyes."""
    generator = torch.Generator().manual_seed(seed)
    train, test = patients(3000, generator), patients(8000, generator)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        networks = perceptron(5), perceptron(1), perceptron(1), BothEyes()
    runs = [
        (CrossEntropy(), networks[0], one_eye, False),
        (MSEGrade(), networks[1], one_eye, False),
        (MSEGrade(), networks[2], one_eye, True),
        (MSEGrade(), networks[3], both_eyes, False),
    ]
    return torch.tensor([kappa_of(o, network, view, train, test, generator, even) for o, network, view, even in runs])


def test_squared_error_beats_cross_entropy_balancing_hurts_it_and_the_fellow_eye_helps():
    cross_entropy, squared, balanced, paired = torch.stack([experiment(seed) for seed in range(3)]).mean(0).tolist()
    assert squared - cross_entropy > 0.015
    assert squared - balanced > 0.03
    assert paired - squared > 0.015
    assert 0.7 < squared < 0.82
