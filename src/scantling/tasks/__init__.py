"""Tasks: LightningModules that own a model, its objective and its metrics. Imported when used: Lightning is heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scantling.tasks.classify import Classify
    from scantling.tasks.segment import Segment

__all__ = ["Classify", "Segment"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from importlib import import_module

        return getattr(import_module(f"scantling.tasks.{name.lower()}"), name)
    raise AttributeError(f"module 'scantling.tasks' has no attribute '{name}'")
