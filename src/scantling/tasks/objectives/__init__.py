"""Objectives: a loss together with the way back from a network's outputs to probabilities.

Construct one with its settings, call ``configure(target, class_counts)`` once, then use it.
"""

from scantling.tasks.objectives.base import TargetObjective
from scantling.tasks.objectives.class_weights import count_classes
from scantling.tasks.objectives.coral import Coral
from scantling.tasks.objectives.cross_entropy import CrossEntropy
from scantling.tasks.objectives.cumulative_link import CumulativeLink
from scantling.tasks.objectives.dice import DiceCrossEntropy
from scantling.tasks.objectives.focal import Focal
from scantling.tasks.objectives.kappa import KappaLoss
from scantling.tasks.objectives.multi_label import MultiLabel
from scantling.tasks.objectives.regression import MAEGrade, MSEGrade, SmoothL1Grade

__all__ = [
    "Coral",
    "CrossEntropy",
    "CumulativeLink",
    "DiceCrossEntropy",
    "Focal",
    "KappaLoss",
    "MAEGrade",
    "MSEGrade",
    "MultiLabel",
    "SmoothL1Grade",
    "TargetObjective",
    "count_classes",
]
