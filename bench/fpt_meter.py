"""What a training step of FPT+, FPT and every baseline costs: ViT-B/16, 512 pixels, batch 16, float32, without a GPU.

python bench/fpt_meter.py
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from scantling.core.files import write_json
from scantling.run.bench import machine
from scantling.run.bundle import now, versions
from scantling.run.meter_recipe import meter_recipes
from scantling.run.metering import efficiency

HERE = Path(__file__).resolve().parent
RECIPES = (
    "fpt_plus", "fpt", "side_network", "linear_probe", "bitfit", "layer_norm", "vpt_shallow", "vpt", "adapter",
    "adaptformer", "lora", "lora+checkpointing", "ladder", "last_blocks", "full_finetune",
    "full_finetune+checkpointing",
)  # fmt: skip


def main() -> None:
    """Meter every recipe with fused attention, and with attention matrices kept as older code kept them."""
    started = time.perf_counter()
    rows: dict[str, Any] = {}
    for attention in ("fused", "unfused"):
        found = meter_recipes(RECIPES, backbone="vit_base_patch16_384", size=512, batch=16, attention=attention)
        for name, metering in found.items():
            rows.setdefault(name, {})[attention] = metering.to_json() | efficiency(metering)
    write_json(
        HERE / "results" / "fpt_meter.json",
        {
            "name": "fpt_meter",
            "backbone": "vit_base_patch16_384",
            "size": 512,
            "batch": 16,
            "rows": rows,
            "seconds": round(time.perf_counter() - started, 1),
            "machine": machine(workers=1),
            "versions": versions(),
            "created": now(),
        },
    )


if __name__ == "__main__":
    main()
