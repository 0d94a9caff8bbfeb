"""How good predictions are: pure functions of arrays, with sample weights, so that a bootstrap is one more axis."""

from scantling.metrics.bootstrap import Interval
from scantling.metrics.evaluation import evaluate_masks, evaluate_predictions
from scantling.metrics.predictions import Predictions
from scantling.metrics.table import METRICS

__all__ = ["METRICS", "Interval", "Predictions", "evaluate_masks", "evaluate_predictions"]
