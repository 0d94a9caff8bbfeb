"""``scantling predict``: a trained model applied to images."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from scantling.faces.docs import arguments_of
from scantling.faces.evaluate import AUGMENTATIONS
from scantling.faces.parser import Parser
from scantling.run.telling import counting

FORMULAS = ("exact", "ramanujan_1", "ramanujan_2", "two_diameters")


def configure(parser: Parser, words: Sequence[str]) -> None:
    """Options of :func:`scantling.run.predict.predict`."""
    docs = arguments_of("scantling.run.predict", "predict")
    parser.add("bundle", metavar="MODEL", doc=docs["bundle"])
    parser.add(
        "images", nargs="+", metavar="IMAGES", doc=arguments_of("scantling.run.listing", "list_images")["images"]
    )
    parser.add("-o", "--out", metavar="FOLDER", required=True, doc="folder of the results")
    parser.add("--augmentation", choices=AUGMENTATIONS, doc=docs["augmentation"])
    parser.add("--saliency", doc=docs["saliency"])
    parser.add("--mask-format", choices=("auto", "png", "dicom"), doc=docs["mask_format"])
    parser.add("--uncertainty", doc=docs["uncertainty"])
    parser.add("--pixel-spacing", metavar="MM", doc=docs["pixel_spacing"])
    parser.add("--pixels", doc=docs["pixels"])
    parser.add("--formula", choices=FORMULAS, doc=docs["formula"])
    parser.add("--quality-gate", metavar="MODEL", doc=docs["quality_gate"])
    parser.add("--quality-gate-level", choices=("ungradable", "outstanding"), doc=docs["quality_gate_level"])
    parser.add("--split", choices=("train", "val", "test"), doc=docs["split"])
    parser.add("--device", metavar="DEVICE", doc=docs["device"], suggest=("auto", "cpu", "cuda"))
    parser.add("--batch-size", doc=docs["batch_size"])
    parser.add("--workers", doc=docs["workers"])


def run(arguments: argparse.Namespace) -> None:
    """Predict, and say where the table is."""
    from scantling.run.predict import predict

    images = arguments.images if len(arguments.images) > 1 else arguments.images[0]
    with counting("predicting images") as told:
        result = predict(
            arguments.bundle,
            images,
            arguments.out,
            batch_size=arguments.batch_size,
            device=arguments.device,
            augmentation=arguments.augmentation,
            saliency=arguments.saliency,
            split=arguments.split,
            workers=arguments.workers,
            progress=told,
            mask_format=arguments.mask_format,
            uncertainty=arguments.uncertainty,
            pixel_spacing=arguments.pixel_spacing,
            pixels=arguments.pixels,
            formula=arguments.formula,
            quality_gate=arguments.quality_gate,
            quality_gate_level=arguments.quality_gate_level,
        )
    print(f"{result.rows} images")
    if result.rule is not None:
        print(f"{result.withheld} withheld for their quality: {result.rule}")
    print(f"predictions: {result.path}")
    if result.examinations is not None:
        print(f"examinations: {result.examinations}")
