"""Judging images: are synthetic ones as diverse as real ones, are they copies, and how good is their quality?"""

from typing import TYPE_CHECKING, Any

from scantling.assess.distances import DISTANCES
from scantling.assess.index import sdice
from scantling.assess.moments import PairAccumulator
from scantling.assess.result import SDICEResult
from scantling.nets import torchvision_ops  # noqa: F401  (must run before torchmetrics imports torchvision)

if TYPE_CHECKING:
    from scantling.assess.metric import SDICE

__all__ = ["DISTANCES", "SDICE", "PairAccumulator", "SDICEResult", "sdice"]


def __getattr__(name: str) -> Any:
    """The metric is imported when used: torchmetrics takes seconds."""
    if name == "SDICE":
        from scantling.assess.metric import SDICE

        return SDICE
    raise AttributeError(f"module 'scantling.assess' has no attribute '{name}'")
