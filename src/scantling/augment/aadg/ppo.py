"""How the controller learns from rewards: proximal policy optimisation without a critic, or REINFORCE.

Source: Schulman et al. 2017, arXiv 1707.06347; Williams 1992. As used by Lyu et al. 2022, arXiv 2207.13249.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scantling.augment.aadg.controller import Controller
from scantling.augment.aadg.reward import advantages
from scantling.augment.aadg.settings import SearchSettings


def ppo_loss(log_p: Tensor, old: Tensor, advantage: Tensor, clip: float = 0.2) -> Tensor:
    """``-mean min(r A, clip(r, 1 - clip, 1 + clip) A)`` with ``r = exp(log_p - old)``, a scalar.

    Args:
        log_p: log-probabilities of the sampled policies under the controller as it is, ``(M,)``.
        old: the same when they were sampled, ``(M,)``, without a gradient.
        advantage: ``(M,)``.
        clip: how far a ratio may go and still count.
    """
    ratio = (log_p - old).exp()
    return -torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage).mean()


def reinforce_loss(log_p: Tensor, advantage: Tensor) -> Tensor:
    """``-mean(log_p A)``, a scalar, from ``log_p (M,)`` and ``advantage (M,)``."""
    return -(log_p * advantage).mean()


def update(
    controller: Controller,
    optimizer: torch.optim.Optimizer,
    tokens: Tensor,
    rewards: Tensor,
    settings: SearchSettings,
) -> None:
    """Make policies of high reward more probable; nothing changes where all rewards are equal.

    Args:
        controller: that drew the policies, unchanged since.
        optimizer: of its parameters.
        tokens: the policies, ``(M, Q, length, 2)``.
        rewards: ``(M,)``; only their order and relative distances count.
        settings: of the search.
    """
    advantage = advantages(rewards).to(controller.device)
    if settings.update == "none" or not bool(advantage.any()):
        return
    with torch.no_grad():
        old = controller.evaluate(tokens)[0]
    for _ in range(settings.inner_steps if settings.update == "ppo" else 1):
        log_p, entropy = controller.evaluate(tokens)
        if settings.update == "ppo":
            loss = ppo_loss(log_p, old, advantage, settings.clip)
        else:
            loss = reinforce_loss(log_p, advantage)
        optimizer.zero_grad()
        (loss - settings.entropy_weight * entropy.mean()).backward()
        optimizer.step()
