"""All verbs with a line about each: what ``--help`` shows without importing any of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Command(NamedTuple):
    """A verb, or a group of verbs.

    Args:
        summary: one line.
        module: of ``scantling.faces``; None for a group.
        verbs: of a group.
    """

    summary: str
    module: str | None = None
    verbs: Mapping[str, Command] = {}


COMMANDS = Command(
    "Train, adapt and judge medical-image models when labels, machines and images are scant.",
    verbs={
        "data": Command(
            "Make, check, divide and describe manifests.",
            verbs={
                "import": Command("Make a manifest from a data set in a known layout.", "data_import"),
                "check": Command("Look at every image and label for what would spoil an experiment.", "data_check"),
                "split": Command("Divide a manifest into train, val and test.", "data_split"),
                "stats": Command("Count and measure the images of a manifest.", "data_stats"),
                "phantom": Command("Draw synthetic images with exact truth.", "data_phantom"),
                "contact-sheet": Command("Draw what a policy makes of a few images.", "data_contact_sheet"),
                "stores": Command("List or remove decoded images that are kept on disk.", "data_stores"),
            },
        ),
        "recipes": Command("List the recipes, or show one.", "recipes"),
        "train": Command("Train a recipe on a manifest.", "train"),
        "evaluate": Command("Measure a trained model on a split, with intervals and a report.", "evaluate"),
        "predict": Command("Apply a trained model to images.", "predict"),
        "generate": Command("Write synthetic images with their masks.", "generate"),
        "assess": Command(
            "Judge images: their diversity, their quality.",
            verbs={
                "diversity": Command(
                    "Compare the diversity of synthetic images with that of real ones.", "assess_diversity"
                ),
                "quality": Command("Score and grade the quality of images.", "assess_quality"),
            },
        ),
        "meter": Command("What a training step of a recipe costs: parameters, memory, operations.", "meter"),
        "export": Command("Write a trained model as ONNX.", "export"),
        "bench": Command("Compare recipes and settings over data sets and seeds, as a plan says.", "bench"),
        "completion": Command("Print a completion script for bash or zsh.", "completion"),
    },
)
