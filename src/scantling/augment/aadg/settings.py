"""How policies are searched: settings that a recipe can hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from scantling.augment.operations import OPERATIONS, known_operation
from scantling.core.errors import RecipeError


@dataclass
class SearchSettings:
    """The search.

    Args:
        policies: policies that are compared in an epoch.
        subpolicies: sub-policies of each; every image gets one of them.
        length: operations in a sub-policy, 1 to 3.
        space: names of the operations, see `scantling.augment.operations`; left out, the paper's ten.
        update: how the controller learns: ppo, reinforce, or none (random policies, for comparison).
        lr: learning rate of the controller (Adam).
        clip: of ppo, how far the probability ratio of a policy may go and still count.
        inner_steps: steps of ppo an epoch.
        entropy_weight: bonus for undecided controllers; the paper gives 1e-5 to reinforce and none to ppo.
        bound: largest logit before the temperature; keeps every choice possible.
        temperature: of the controller.
        blur: square root of the regularisation of the Sinkhorn divergence.
        momentum: of the copy of the domain decoder by which rewards are measured, once an epoch.
        safety: cost of a policy's segmentation loss in its reward; 0 is the paper's.
        at_once: policies in one forward pass; more need more memory, and are seen by batch normalisation together.
        kept: sub-policies written into `policy.json`.
    """

    policies: int = 6
    subpolicies: int = 5
    length: int = 2
    space: list[str] = field(default_factory=lambda: list(OPERATIONS))
    update: Literal["ppo", "reinforce", "none"] = "ppo"
    lr: float = 3.5e-4
    clip: float = 0.2
    inner_steps: int = 5
    entropy_weight: float = 0.0
    bound: float = 2.5
    temperature: float = 2.0
    blur: float = 0.05
    momentum: float = 0.999
    safety: float = 0.0
    at_once: int = 1
    kept: int = 50

    def check(self) -> None:
        """Refuse settings that make no sense.

        Raises:
            RecipeError: an unknown operation, or a number out of range.
        """
        space = [known_operation(name, "task.search.space") for name in self.space]
        if len(set(space)) < max(2, len(space)):
            raise RecipeError("a space needs two different operations or more", where="task.search.space")
        least = {"policies": 2, "subpolicies": 1, "inner_steps": 1, "at_once": 1, "kept": 1}
        for name, number in least.items():
            if getattr(self, name) < number:
                raise RecipeError(
                    f"{name} is {getattr(self, name)}", where=f"task.search.{name}", do=f"use {number} or more"
                )
        if self.policies % self.at_once:
            raise RecipeError(
                f"{self.policies} policies in parts of {self.at_once}", where="task.search.at_once",
                do="choose a divisor of task.search.policies",
            )  # fmt: skip
        if not (self.blur > 0 and self.lr > 0 and self.clip > 0):
            raise RecipeError("blur, lr and clip must be positive", where="task.search")
        if not (0 <= self.momentum <= 1 and self.safety >= 0 and self.entropy_weight >= 0):
            raise RecipeError("momentum must be in [0, 1], safety and entropy_weight at least 0", where="task.search")
