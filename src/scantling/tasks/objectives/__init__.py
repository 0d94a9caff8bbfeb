"""Objectives: a loss together with the way back from a network's outputs to probabilities.

Construct one with its settings, call ``configure(target, class_counts)`` once, then use it.
"""

from scantling.tasks.objectives.anomaly import AnomalyScore
from scantling.tasks.objectives.balanced_softmax import BalancedSoftmax
from scantling.tasks.objectives.base import TargetObjective
from scantling.tasks.objectives.class_weights import count_classes
from scantling.tasks.objectives.contrast import Contrast
from scantling.tasks.objectives.coral import Coral
from scantling.tasks.objectives.cross_entropy import CrossEntropy
from scantling.tasks.objectives.cumulative_link import CumulativeLink
from scantling.tasks.objectives.dice import DiceBinaryCrossEntropy, DiceCrossEntropy
from scantling.tasks.objectives.focal import Focal
from scantling.tasks.objectives.gpaco import GPaCo
from scantling.tasks.objectives.kappa import KappaLoss
from scantling.tasks.objectives.ldam import LDAM
from scantling.tasks.objectives.logit_adjustment import LogitAdjustment
from scantling.tasks.objectives.multi_label import MultiLabel
from scantling.tasks.objectives.plane_and_mask import PlaneAndMask
from scantling.tasks.objectives.regression import MAEGrade, MSEGrade, SmoothL1Grade
from scantling.tasks.objectives.supcon import SupervisedContrast

__all__ = [
    "LDAM",
    "AnomalyScore",
    "BalancedSoftmax",
    "Contrast",
    "GPaCo",
    "LogitAdjustment",
    "SupervisedContrast",
    "Coral",
    "CrossEntropy",
    "CumulativeLink",
    "DiceBinaryCrossEntropy",
    "DiceCrossEntropy",
    "Focal",
    "KappaLoss",
    "MAEGrade",
    "MSEGrade",
    "MultiLabel",
    "PlaneAndMask",
    "SmoothL1Grade",
    "TargetObjective",
    "count_classes",
]
