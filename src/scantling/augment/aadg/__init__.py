"""AADG: searches the augmentation that makes a segmentation hold on sites never seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scantling.augment.aadg.search_policy import SearchPolicy
    from scantling.augment.aadg.settings import SearchSettings

__all__ = ["SearchPolicy", "SearchSettings"]

_MODULES = {"SearchPolicy": "search_policy", "SearchSettings": "settings"}


def __getattr__(name: str) -> Any:
    """The class of this name; its module brings the trainer with it, which the mathematics beside it does not need."""
    if name in _MODULES:
        from importlib import import_module

        return getattr(import_module(f"scantling.augment.aadg.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'scantling.augment.aadg' has no attribute '{name}'")
