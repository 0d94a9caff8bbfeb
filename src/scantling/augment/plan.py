"""How a list of operations is carried out with as few resamplings as possible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Operation = Literal["flip", "colour", "grayscale", "blur", "crop", "rotate", "translate"]

OPERATIONS: tuple[Operation, ...] = get_args(Operation)

GEOMETRIC = frozenset({"flip", "crop", "rotate", "translate"})

FILLING = frozenset({"rotate", "translate"})
"""Operations that move content out of the frame and leave pixels that show nothing."""

_PASSES = {
    "colour": frozenset({"flip", "crop"}),
    "grayscale": frozenset({"flip", "crop"}),
    "blur": frozenset({"flip"}),
}


@dataclass(frozen=True)
class Step:
    """One pass over the pixels.

    Args:
        name: ``warp``, or the operation that changes pixels where they are.
        geometry: for a warp the operations it carries out; otherwise those that should have come before this one, and
            come after it in one resampling with the others.
    """

    name: str
    geometry: tuple[Operation, ...] = ()


def plan(order: Sequence[Operation]) -> tuple[Step, ...]:
    """Group neighbouring geometric operations; colour moves in front of flips and crops, which do not change colours.

    >>> [step.name for step in plan(("flip", "crop", "colour", "rotate", "translate"))]
    ['colour', 'warp']
    >>> [step.name for step in plan(("rotate", "colour", "translate"))]
    ['warp', 'colour', 'warp']
    """
    steps: list[Step] = []
    run: list[Operation] = []
    for operation in order:
        if operation in GEOMETRIC:
            run.append(operation)
            continue
        if not _PASSES[operation].issuperset(run):
            steps.append(Step("warp", tuple(run)))
            run = []
        steps.append(Step(operation, tuple(run)))
    if run:
        steps.append(Step("warp", tuple(run)))
    return tuple(steps)
