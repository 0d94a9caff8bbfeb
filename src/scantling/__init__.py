"""Scantling: train, adapt, merge, generate and judge medical-image models when labels, machines and images are scant.

>>> import scantling
>>> scantling.__version__.count(".")
2
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scantling.run.assess_diversity import assess_diversity
    from scantling.run.evaluate import evaluate
    from scantling.run.model import load
    from scantling.run.predict import predict
    from scantling.run.train import train

__version__ = "0.1.0"
__all__ = ["assess_diversity", "evaluate", "load", "predict", "train"]

_HOMES = {name: f"scantling.run.{'model' if name == 'load' else name}" for name in __all__}


def __getattr__(name: str) -> Any:
    """Verbs are imported when used, so that ``import scantling`` costs nothing."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'scantling' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
