"""A trained scorer of quality, ready for use."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from scantling.assess.quality.grading import ClusterModel
from scantling.assess.quality.task import RECORD
from scantling.core.batch import as_float
from scantling.core.bundle import WEIGHTS, find_bundle
from scantling.core.errors import BundleError
from scantling.core.quality import QualityScorer
from scantling.run.model import Model, load
from scantling.tasks.objectives.anomaly import AnomalyScore

if TYPE_CHECKING:
    from tensordict import TensorDict


@dataclass(frozen=True)
class QualityModel:
    """A scorer with its threshold and the groups of its bundle.

    Args:
        model: the network.
        path: of the bundle.
        record: what was found on held-out images in training.
        clusters: the groups of the bundle; None where it has none.
        identity: a hash of the weights.
    """

    model: Model
    path: Path
    record: dict[str, Any]
    clusters: ClusterModel | None
    identity: str

    @property
    def threshold(self) -> float:
        """Scores at or below it are outstanding."""
        return float(self._objective.threshold)

    @torch.inference_mode()
    def measure(self, batch: TensorDict) -> tuple[Tensor, Tensor]:
        """Scores ``(B,)`` and features ``(B, D)``, float32 on the CPU, of a batch of uint8 or float images."""
        scorer = self.model.adapter
        assert isinstance(scorer, QualityScorer)
        found = scorer.measured(as_float(batch.to(self.model.device)))
        return found.score.float().cpu(), found.features.float().cpu()

    def quantiles(self, scores: Tensor) -> Tensor:
        """Share of held-out good images with a lower score, ``(n,)`` in [0, 1]."""
        return self._objective.normal_quantile(scores)

    def good_scores(self) -> Tensor:
        """Evenly spaced quantiles of the scores of held-out good images."""
        return self._objective.normal_scores.double().cpu()

    @property
    def _objective(self) -> AnomalyScore:
        assert isinstance(self.model.objective, AnomalyScore)
        return self.model.objective


def load_quality(bundle: str | Path, device: str | torch.device = "auto") -> QualityModel:
    """A scorer from its bundle or run folder.

    Raises:
        BundleError: see :func:`scantling.run.model.load`; also a bundle of another kind of model.
    """
    path = find_bundle(bundle)
    model = load(path, device)
    if not isinstance(model.adapter, QualityScorer) or not isinstance(model.objective, AnomalyScore):
        name = type(model.adapter).__name__
        raise BundleError(
            f"its network {name} scores no quality",
            where=bundle,
            do="train one: scantling train uno_qa --data GOOD.csv",
        )
    record: dict[str, Any] = {}
    file = path / RECORD
    if file.is_file():
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise BundleError("is not valid JSON", where=file, do="train the bundle again") from error
    clusters = ClusterModel.from_json(record["clusters"], file) if record.get("clusters") else None
    with (path / WEIGHTS).open("rb") as stream:
        identity = hashlib.file_digest(stream, "sha256").hexdigest()[:16]
    return QualityModel(model, path, record, clusters, identity)
