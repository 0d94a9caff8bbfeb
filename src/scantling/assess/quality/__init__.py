"""Quality of images after training on good ones alone: degradations, groups, streams and the task."""

from scantling.assess.quality.degrade import Degrade
from scantling.assess.quality.grading import ClusterModel, fit_clusters
from scantling.assess.quality.stream import QualityStream
from scantling.assess.quality.task import AssessQuality

__all__ = ["AssessQuality", "ClusterModel", "Degrade", "QualityStream", "fit_clusters"]
