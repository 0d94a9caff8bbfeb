"""Tasks: LightningModules that own a model, its objective and its metrics. Imported when used: Lightning is heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scantling.tasks.classify import Classify
    from scantling.tasks.classify_two_views import ClassifyTwoViews
    from scantling.tasks.detect_anomaly import DetectAnomaly
    from scantling.tasks.segment import Segment

__all__ = ["Classify", "ClassifyTwoViews", "DetectAnomaly", "Segment"]

_MODULES = {
    "Classify": "classify",
    "ClassifyTwoViews": "classify_two_views",
    "DetectAnomaly": "detect_anomaly",
    "Segment": "segment",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        from importlib import import_module

        return getattr(import_module(f"scantling.tasks.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'scantling.tasks' has no attribute '{name}'")
