"""SearchPolicy: trains a segmentation network and searches, in the same run, the augmentation that spreads its domains.

Source: Lyu et al. 2022, arXiv 2207.13249.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from scantling.augment.aadg.controller import Controller, shares, typical
from scantling.augment.aadg.domains import Domains, source_domains
from scantling.augment.aadg.ppo import update
from scantling.augment.aadg.proposal import Proposal
from scantling.augment.aadg.reward import by_domain, diversity
from scantling.augment.aadg.settings import SearchSettings
from scantling.augment.policy import MAGNITUDES, Framing, PolicySpec
from scantling.augment.policy.spec import FILE
from scantling.core.batch import IMAGE, INDEX, as_float
from scantling.core.errors import RecipeError
from scantling.core.seams import Inputs, Objective
from scantling.nets.domain import DomainDecoder, soft_domains
from scantling.tasks.optim import OptimizerSettings
from scantling.tasks.segment import Segment
from scantling.tasks.task import AdapterFactory, follow

if TYPE_CHECKING:
    from tensordict import TensorDict

    from scantling.core.target import Target
    from scantling.data.images import ImageSource
    from scantling.data.manifest import Manifest


class Encoding(Protocol):
    """An adapter that gives pooled features of its encoder beside its outputs."""

    features: int

    def outputs_and_encoded(self, batch: TensorDict) -> tuple[Tensor, Tensor]:
        """Outputs ``(B, outputs, H, W)`` and pooled features ``(B, features)``."""


class SearchPolicy(Segment):
    """Predicts masks, and searches an augmentation policy for sites that it has never seen.

    A controller proposes policies; the images of every step are augmented by each of them, the network learns from all,
    and a policy is rewarded for how far apart the domains then lie in the features of a domain classifier. No gradient
    of the domain classifier or of the rewards reaches the segmentation network. A batch of ``data.batch_size`` indices
    holds one image of every domain for each. The best weights are chosen on validation images of the source domains.

    Departures from the released code: the copy of the domain classifier by which rewards are measured is a real copy;
    soft labels sum to 1; rewards are means over pairs of domains, of any number; each policy has a forward pass of its
    own (``at_once``), so that policies do not meet in batch normalisation; the images of a domain take turns instead of
    being drawn with replacement; the weights are never chosen on the target domain.

    Args:
        adapter: the network, by class and settings; one whose encoder gives pooled features, such as UNet.
        objective: the loss; left out, Dice with cross-entropy.
        optimizer: the optimiser, also of the domain classifier; its rate is that of the warm-up.
        ema_decay: keep an exponential moving average of the weights with this decay, and evaluate it; 0 for none.
        patch_size: side in pixels of the random training crops and of the sliding window; left out, whole images.
        overlap: share by which neighbouring windows overlap, in [0, 1).
        domain: column of the manifest that names the sites, or clusters:3 for groups of images that look alike.
        warmup_epochs: epochs without policies, before the search.
        search_rate: factor on the network's learning rate during the search.
        decoder_lr: learning rate of the domain classifier.
        scale_range: factors by which height and width are scaled, each on its own, before a crop.
        scale_probability: share of the images that are scaled.
        rounds: how often an epoch shows every image of the largest domain.
        search: the search itself.
    """

    domains: Tensor
    tokens: Tensor
    rewards: Tensor
    drawn: Tensor

    def __init__(
        self,
        adapter: AdapterFactory,
        objective: Objective | None = None,
        optimizer: OptimizerSettings | None = None,
        ema_decay: float = 0.0,
        patch_size: int | None = None,
        overlap: float = 0.25,
        domain: str = "site",
        warmup_epochs: int = 60,
        search_rate: float = 0.1,
        decoder_lr: float = 1e-3,
        scale_range: tuple[float, float] = (0.5, 2.0),
        scale_probability: float = 0.8,
        rounds: int = 3,
        search: SearchSettings | None = None,
    ) -> None:
        super().__init__(
            adapter, objective, optimizer=optimizer, ema_decay=ema_decay, patch_size=patch_size, overlap=overlap
        )
        if warmup_epochs < 0 or rounds < 1 or search_rate <= 0 or decoder_lr <= 0:
            raise RecipeError(
                "warmup_epochs must not be negative, rounds 1 or more, and both rates positive", where="task"
            )
        self.automatic_optimization = False
        self.domain, self.warmup_epochs, self.rounds = domain, warmup_epochs, rounds
        self.search_rate, self.decoder_lr = search_rate, decoder_lr
        self.search = search or SearchSettings()
        self.search.check()
        self.framing = Framing(scale_range, patch_size, scale_probability)
        self.sources: Domains
        self.trajectory: list[tuple[list[float], list[float]]] = []

    def survey(self, manifest: Manifest, images: ImageSource, rows: Tensor, seed: int = 0) -> None:
        """Find the source domains among the training rows.

        Raises:
            DataError: there are none, or fewer than two.
        """
        self.sources = source_domains(manifest, images, rows, self.domain, seed)

    def loader_options(self) -> dict[str, Any]:
        """One image of every domain for every index of a training batch."""
        return {"groups": self.sources.codes, "rounds": self.rounds}

    def epoch_length(self, rows: Tensor) -> int:
        """Indices of an epoch: every image of the largest domain, ``rounds`` times."""
        return self.rounds * int(self.sources.codes[rows].bincount().max())

    def build(self, target: Target, inputs: Inputs, class_counts: Tensor | None = None, seed: int = 0) -> None:
        """Make the networks: segmentation, domain classifier with its copy, controller.

        Raises:
            RecipeError: the adapter gives no pooled features.
        """
        super().build(target, inputs, class_counts, seed)
        if not hasattr(self.adapter, "outputs_and_encoded"):
            raise RecipeError(
                f"{type(self.adapter).__name__} gives no features of its encoder", where="task.adapter",
                do="use scantling.adapt.UNet",
            )  # fmt: skip
        s = self.search
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.decoder = DomainDecoder(self._encoding.features, len(self.sources.names))
            self.controller = Controller(len(s.space), MAGNITUDES, s.length, bound=s.bound, temperature=s.temperature)
        self.steady = copy.deepcopy(self.decoder).requires_grad_(False)
        self.register_buffer("domains", self.sources.codes, persistent=False)
        self.register_buffer("tokens", torch.zeros(s.policies, s.subpolicies, s.length, 2, dtype=torch.int64))
        self.register_buffer("rewards", torch.zeros(s.policies, dtype=torch.float64))
        self.register_buffer("drawn", torch.tensor(-1))

    @property
    def searching(self) -> bool:
        """Whether the warm-up is over."""
        return self.current_epoch >= self.warmup_epochs

    def on_fit_start(self) -> None:
        """Refuse what cannot be searched before the first step.

        Raises:
            RecipeError: a warm-up as long as the training, or several devices.
        """
        epochs = int(self.trainer.max_epochs or 1)
        if self.warmup_epochs >= epochs:
            raise RecipeError(
                f"a warm-up of {self.warmup_epochs} epochs leaves nothing of {epochs} for the search",
                where="task.warmup_epochs",
                do="shorten it, or raise trainer.max_epochs",
            )
        if self.trainer.world_size > 1:
            raise RecipeError(
                f"one search on {self.trainer.world_size} devices", where="trainer.devices",
                do="use one device; several searches may run at once, see scantling.run.search",
            )  # fmt: skip

    def on_train_epoch_start(self) -> None:
        """Propose the policies of the epoch; a run that goes on in its midst keeps those that it had."""
        super().on_train_epoch_start()
        if not self.searching or int(self.drawn) == self.current_epoch:
            return
        if self.current_epoch == self.warmup_epochs:
            self.steady.load_state_dict(self.decoder.state_dict())
            self._note_shares()
        generator = torch.Generator().manual_seed(self.step_seed(-1))
        self.tokens.copy_(self.controller.sample(self.search.policies, self.search.subpolicies, generator)[0])
        self.rewards.zero_()
        self.drawn.fill_(self.current_epoch)

    def training_step(self, batch: TensorDict, batch_idx: int) -> Tensor:
        """One step of the network and of the domain classifier, from one copy of the batch for every policy."""
        seed = self.step_seed(batch_idx)
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed + 1)
        batch = self.augment(batch, generator)
        optimizer, scheduler = cast("Any", self.optimizers())[0], cast("Any", self.lr_schedulers())
        optimizer.zero_grad()
        tokens = self.tokens if self.searching else self.tokens[:1, :, :0]
        number, at_once = len(tokens), min(self.search.at_once, len(tokens))
        total = torch.zeros((), device=self.device)
        for first in range(0, number, at_once):
            chosen = slice(first, first + at_once)
            losses, told = self._losses(self._copies(batch, tokens[chosen], generator), at_once, chosen, generator)
            loss = losses.sum() / number
            self.check_finite(loss, batch_idx)
            self.manual_backward(loss + told * (at_once / number))
            total = total + loss.detach()
        optimizer.step()
        scheduler.step()
        if self.averaged is not None:
            follow(self.averaged, self.adapter, self.ema_decay)
        self.log("train_loss", total, on_step=False, on_epoch=True, batch_size=len(batch))
        return total

    def augment(self, batch: TensorDict, generator: torch.Generator) -> TensorDict:
        """What all policies share: ``data.policy``, where there is one."""
        return as_float(batch if self.policy is None else self.policy(batch, generator))

    def _copies(self, batch: TensorDict, tokens: Tensor, generator: torch.Generator) -> TensorDict:
        """The batch under every policy ``(J, Q, length, 2)``, one after the other, cropped."""
        copies = batch if len(tokens) == 1 else cast("TensorDict", torch.cat([batch] * len(tokens)))
        return Proposal(tokens, self.search.space, self.framing)(copies, generator)

    def _losses(
        self, copies: TensorDict, policies: int, chosen: slice, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Segmentation loss of every policy ``(J,)`` and loss of the domain classifier; adds to the rewards."""
        if self.channels_last:
            copies[IMAGE] = copies[IMAGE].contiguous(memory_format=torch.channels_last)
        outputs, pooled = self._encoding.outputs_and_encoded(copies)
        pooled = pooled.detach()
        size = len(copies) // policies
        parts = [slice(j * size, (j + 1) * size) for j in range(policies)]
        losses = torch.stack([self.objective.loss(outputs[p], copies[p]) for p in parts])
        number = len(self.sources.names)
        domains = self.domains[copies[INDEX]]
        told = F.cross_entropy(self.decoder(pooled).float(), soft_domains(domains, number, generator))
        if self.searching:
            with torch.no_grad(), torch.autocast(pooled.device.type, enabled=False):
                features = self.steady.features(pooled.float())
                spread = diversity(
                    torch.stack([by_domain(features[p], domains[p], number) for p in parts]), self.search.blur
                )
                self.rewards[chosen] += spread - self.search.safety * losses.detach().float()
        self.log("train_domain_loss", told.detach(), on_step=False, on_epoch=True, batch_size=len(copies))
        return losses, told

    def on_train_epoch_end(self) -> None:
        """Let the copy of the domain classifier follow, and the controller learn from the rewards of the epoch."""
        if not self.searching:
            return
        follow(self.steady, self.decoder, self.search.momentum)
        rewards = self.rewards / max(1, self.steps_per_epoch)
        update(self.controller, self.trainer.optimizers[1], self.tokens, rewards, self.search)
        self._note_shares()
        self.log("search_reward", rewards.mean().float(), batch_size=1)
        self.log("search_reward_spread", rewards.std().float(), batch_size=1)
        self.log("search_entropy", self.controller.evaluate(self.tokens)[1].mean().detach(), batch_size=1)

    def configure_optimizers(self) -> Any:
        """Network and domain classifier under one optimiser, with rates of their own; the controller under Adam."""
        optimizer = self.optimizer_settings.build(self.learnable())
        groups = len(optimizer.param_groups)
        optimizer.add_param_group({"params": [*self.decoder.parameters()], "lr": self.decoder_lr, "weight_decay": 0.0})
        last = self.warmup_epochs * self.steps_per_epoch
        factors = [lambda step: self.search_rate if step >= last else 1.0] * groups + [lambda step: 1.0]
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factors)
        return [optimizer, torch.optim.Adam(self.controller.parameters(), lr=self.search.lr)], [scheduler]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the trajectory of the controller, plain numbers."""
        checkpoint["trajectory"] = self.trajectory

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it up again."""
        self.trajectory = list(checkpoint["trajectory"])

    def found(self) -> PolicySpec:
        """The policy that the controller has come to, with its trajectory."""
        chosen = typical(self.controller.probabilities(), self.search.kept).tolist()
        return PolicySpec(
            tuple(tuple((self.search.space[o], int(m)) for o, m in chain) for chain in chosen),
            operations=tuple(self.search.space),
            probabilities={
                "operations": [operations for operations, _ in self.trajectory],
                "magnitudes": [magnitudes for _, magnitudes in self.trajectory],
            },
        )

    def attachments(self) -> Mapping[str, str]:
        """The policy, to lie beside the network in its bundle."""
        return {FILE: self.found().to_text()}

    @property
    def _encoding(self) -> Encoding:
        return cast("Encoding", self.adapter)

    def _note_shares(self) -> None:
        operations, magnitudes = shares(self.controller.probabilities())
        self.trajectory.append((_rounded(operations), _rounded(magnitudes)))


def _rounded(values: Tensor) -> list[float]:
    return [round(v, 5) for v in values.tolist()]
