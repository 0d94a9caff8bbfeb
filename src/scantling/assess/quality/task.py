"""Training of a quality scorer on good images, and what follows from held-out ones."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from scantling.assess.quality.degradations import gaussian
from scantling.assess.quality.degrade import Degrade
from scantling.assess.quality.grading import fit_clusters
from scantling.core.anomaly import two_outputs
from scantling.core.batch import IMAGE, INDEX, LABEL, as_float
from scantling.core.errors import RecipeError
from scantling.core.quality import Measured, QualityScorer, SeverityScorer
from scantling.core.seams import Inputs, Objective
from scantling.metrics.ranking import binary_areas
from scantling.tasks.detect_anomaly import HELD_OUT, DetectAnomaly
from scantling.tasks.objectives.anomaly import AnomalyScore
from scantling.tasks.optim import OptimizerSettings, ScheduleSettings
from scantling.tasks.task import AdapterFactory

if TYPE_CHECKING:
    from tensordict import TensorDict

    from scantling.core.target import Target
    from scantling.data.images import ImageSource
    from scantling.data.manifest import Manifest

RECORD = "quality.json"
"""File of a bundle: what was found on held-out images."""

WANTED_COPIES = 200
"""Degraded copies of held-out images that the groups of a bundle are made of, if a few rounds give as many."""

MOST_ROUNDS = 10
CHECK_BLUR = 2.0
"""Standard deviation, in pixels, of the blur by which the direction of the score is checked."""

_CHUNK = 64
_TOLD = ("label", "target", "mask", "grade", "severity", "organ")


class AssessQuality(DetectAnomaly):
    """Learns good images alone, puts a threshold on held-out ones, and checks that worse images score higher.

    Every image of the training and validation splits counts as good: labels, grades and masks are dropped before
    anything is divided or read, so that they can change nothing.

    Args:
        adapter: the scorer, by class and settings; how large its images are is told later.
        objective: the loss; left out, :class:`scantling.tasks.objectives.anomaly.AnomalyScore`.
        optimizer: the optimiser.
        schedule: the learning rate over time.
        ema_decay: keep an exponential moving average of the weights with this decay, and evaluate it; 0 for none.
        synthesizer: degrades images; left out, :class:`scantling.assess.quality.Degrade` with all kinds. Scorers that
            learn severity are trained with it; for all of them its copies of held-out images give the groups by which
            single images are called gradable or ungradable.
        specificity: share of held-out good images at or below the threshold, in (0, 1).

    Source: Chen et al. 2022 (UNO-QA), arXiv 2212.10541, of which the abstract was available: training on good images,
    features, a score, clusters at test time. The rest is our design.
    """

    def __init__(
        self,
        adapter: AdapterFactory,
        objective: Objective | None = None,
        optimizer: OptimizerSettings | None = None,
        schedule: ScheduleSettings | None = None,
        ema_decay: float = 0.0,
        synthesizer: Degrade | None = None,
        specificity: float = 0.95,
    ) -> None:
        degrade = synthesizer or Degrade()
        super().__init__(
            adapter, objective, None, optimizer, schedule, ema_decay, degrade, map_weight=0.0, specificity=specificity
        )
        self.degrade = degrade
        self._images: ImageSource | None = None
        self._rows = torch.empty(0, dtype=torch.int64)
        self._record: dict[str, Any] = {}
        self._remarks: list[str] = []

    def manifest_to_use(self, manifest: Manifest) -> Manifest:
        """The images, without what is said of them."""
        told = [c for c in manifest.table.columns if c in _TOLD or str(c).startswith(("label:", "mask:"))]
        return manifest.with_table(manifest.table.drop(columns=told))

    def survey(self, manifest: Manifest, images: ImageSource, rows: Tensor, seed: int = 0) -> None:
        """Remember where the training images are: scorers look at them in one pass."""
        self._images, self._rows = images, rows

    def build(self, target: Target, inputs: Inputs, class_counts: Tensor | None = None, seed: int = 0) -> None:
        """Make the scorer.

        Raises:
            RecipeError: a network that is no scorer of quality.
        """
        super().build(target, inputs, class_counts, seed)
        if not isinstance(self.adapter, QualityScorer):
            raise RecipeError(
                f"{type(self.adapter).__name__} scores no quality", where="task.adapter", do="use QualityContrast"
            )

    @property
    def scorer(self) -> QualityScorer:
        """The network to evaluate and to keep."""
        serving = self.serving
        assert isinstance(serving, QualityScorer)
        return serving

    def rows_to_use(self, labels: Tensor) -> Tensor:
        """All of them: every image is good."""
        return torch.ones(len(labels), dtype=torch.bool)

    def on_train_start(self) -> None:
        """Features are standardised before anything learns from them."""
        super().on_train_start()
        if not self.detector.fitted_at_once:
            self._fit(self.adapter)

    def on_validation_start(self) -> None:
        """Fit what belongs to good images to the weights of now."""
        if self.trainer.sanity_checking or (self.detector.fitted_at_once and self._fitted):
            return
        self._fit(self.serving)
        self._fitted = True

    def _fit(self, scorer: Any) -> None:
        training = scorer.training
        scorer.eval()
        scorer.fit(self._training_images(), torch.Generator().manual_seed(self.seed))
        scorer.train(training)

    def _training_images(self) -> Iterator[TensorDict]:
        """One pass over the training images in their own order, float in [0, 1] on the device."""
        assert self._images is not None
        for rows in self._rows.split(_CHUNK):
            yield as_float(self._images.gather(rows, [IMAGE]).to(self.device))

    def step_loss(self, batch: TensorDict, generator: torch.Generator) -> Tensor:
        """Loss of a batch of good images and, where severity is learned, of two degraded copies of each."""
        if not isinstance(self.adapter, SeverityScorer):
            return super().step_loss(batch, generator)
        batch = self.augment(batch, generator)
        worse, severity = self.degrade.ladder(batch[IMAGE], generator)
        return self.adapter.severity_loss(torch.cat([batch[IMAGE][None], worse]), severity.to(worse.device))

    def collect(self, outputs: Tensor, batch: TensorDict) -> dict[str, Tensor]:
        """Outputs, labels and indices."""
        return {"outputs": outputs.float(), LABEL: batch[LABEL], INDEX: batch[INDEX]}

    @torch.no_grad()
    def conclude(self, batches: Iterable[TensorDict]) -> tuple[Tensor, Tensor]:
        """Check the direction of the score, set the threshold, and make the groups of the bundle, on held-out images.

        Args:
            batches: of good images that were not trained on; gone through several times.

        Returns:
            Outputs ``(n, 2)`` and labels ``(n,)`` of the good images and of one degraded copy of each.
        """
        held = _Repeated(batches, self.device)
        objective = self.objective
        assert isinstance(objective, AnomalyScore)
        good, blurred = (self._scores(held, blur) for blur in (0.0, CHECK_BLUR))
        record: dict[str, Any] = {"direction": {"blur": CHECK_BLUR, "auroc": _area(good, blurred), "two_sided": False}}
        if record["direction"]["auroc"] <= 0.5:
            self.scorer.use_both_sides()
            good, blurred = (self._scores(held, blur) for blur in (0.0, CHECK_BLUR))
            area = _area(good, blurred)
            record["direction"] |= {"two_sided": True, "auroc_two_sided": area}
            self._remarks.append(
                f"blurred images score lower than sharp ones (AUROC {record['direction']['auroc']:.2f}): the score is "
                f"taken on both sides of its median (AUROC {area:.2f})"
            )
        copies = self._copies(held, len(good))
        first = copies[0]
        objective.calibrate(good, first.score, self.specificity)
        threshold = float(objective.threshold)
        scores, features = (torch.cat([getattr(c, name) for c in copies]) for name in ("score", "features"))
        worse = scores > threshold
        model = fit_clusters(
            scores[worse], features[worse], self.seed,
            origin=f"degraded copies of {len(good)} held-out good images",
        )  # fmt: skip
        self._calibrate_parts(held)
        self._remarks += [f"groups of the bundle: {guard}" for guard in model.guards]
        self._record = record | {
            "threshold": threshold, "specificity": self.specificity, "held_out": len(good),
            "degradations": list(self.degrade.kinds), "clusters": model.to_json(),
        }  # fmt: skip
        labels = torch.cat([torch.zeros(len(good)), torch.ones(len(first.score))]).long()
        return two_outputs(torch.cat([good, first.score])), labels

    def remarks(self) -> Sequence[str]:
        """What the user should know of the direction of the score and of the groups."""
        return tuple(self._remarks)

    def attachments(self) -> Mapping[str, str]:
        """What was found on held-out images."""
        return {RECORD: json.dumps(self._record, indent=1) + "\n"}

    def _scores(self, held: _Repeated, sigma: float) -> Tensor:
        found = []
        for batch in held:
            images = batch[IMAGE]
            if sigma:
                batch = batch.clone(recurse=False)
                batch[IMAGE] = gaussian(images, torch.full((len(images),), sigma, device=images.device))
            found.append(self.scorer.measured(batch).score.float().cpu())
        return torch.cat(found)

    def _copies(self, held: _Repeated, count: int) -> list[Measured]:
        """Rounds of one degraded copy of every held-out image."""
        rounds = min(MOST_ROUNDS, max(1, -(-WANTED_COPIES // max(1, count))))
        found = []
        for number in range(rounds):
            parts = [self.scorer.measured(self.degrade.by_row(b, self.seed + HELD_OUT + number)) for b in held]
            found.append(
                Measured(
                    torch.cat([p.score.float().cpu() for p in parts]),
                    torch.cat([p.features.float().cpu() for p in parts]),
                )
            )
        return found

    def _calibrate_parts(self, held: _Repeated) -> None:
        parts = [found.parts for found in map(self.scorer.measured, held)]
        known = [p.float().cpu().flatten() for p in parts if p is not None]
        if known:
            values = torch.cat(known)
            middle = values.kthvalue(max(1, int(0.99 * len(values)))).values
            self.scorer.calibrate_map(float(middle), float(values.std()))


class _Repeated:
    """Batches, float in [0, 1] on a device, as often as they are asked for."""

    def __init__(self, batches: Iterable[TensorDict], device: torch.device) -> None:
        self.batches, self.device = batches, device

    def __iter__(self) -> Iterator[TensorDict]:
        return (as_float(batch.to(self.device)) for batch in self.batches)


def _area(good: Tensor, worse: Tensor) -> float:
    labels = torch.cat([torch.zeros(len(good)), torch.ones(len(worse))]).long().numpy()
    return float(binary_areas(labels, torch.cat([good, worse]).numpy())[0])
