"""``scantling export``: a trained model as ONNX."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from scantling.faces.docs import arguments_of
from scantling.faces.parser import Parser
from scantling.faces.wording import size


def configure(parser: Parser, words: Sequence[str]) -> None:
    """Options of :func:`scantling.run.export.export`."""
    docs = arguments_of("scantling.run.export", "export")
    parser.add("bundle", metavar="MODEL", doc=docs["bundle"])
    parser.add("-o", "--out", metavar="FILE", doc=docs["out"])
    parser.add("--check-images", doc=docs["check_images"])
    parser.add("--tolerance", doc=docs["tolerance"])
    parser.add("--opset", doc=docs["opset"])
    parser.add("--dynamic-batch", doc=docs["dynamic_batch"])


def run(arguments: argparse.Namespace) -> None:
    """Write the file, and say how near its results are to PyTorch's."""
    from scantling.run.export import export

    result = export(
        arguments.bundle,
        arguments.out,
        check_images=arguments.check_images,
        tolerance=arguments.tolerance,
        opset=arguments.opset,
        dynamic_batch=arguments.dynamic_batch,
    )
    print(f"largest difference from PyTorch {result.max_difference:.2g}, {size(result.bytes)}")
    print(f"model: {result.path}")
