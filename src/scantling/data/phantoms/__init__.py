"""Synthetic images with exact truth, for trials, tests and measurements where no data may be shared."""

from collections.abc import Callable
from pathlib import Path

from scantling.data.phantoms.anomaly import AnomalyBatch, draw_anomalies, draw_donors, write_anomaly
from scantling.data.phantoms.fundus import FundusBatch, draw_fundus
from scantling.data.phantoms.octa import OctaBatch, draw_octa, write_octa
from scantling.data.phantoms.skin import SkinBatch, draw_skin, write_skin
from scantling.data.phantoms.ultrasound import UltrasoundBatch, draw_ultrasound, write_ultrasound
from scantling.data.phantoms.write import write_fundus

WRITERS: dict[str, Callable[..., Path]] = {
    "anomaly": write_anomaly,
    "fundus": write_fundus,
    "octa": write_octa,
    "skin": write_skin,
    "ultrasound": write_ultrasound,
}
"""What writes a set of each kind, by the name of the kind."""

__all__ = [
    "WRITERS",
    "AnomalyBatch",
    "FundusBatch",
    "OctaBatch",
    "SkinBatch",
    "UltrasoundBatch",
    "draw_anomalies",
    "draw_donors",
    "draw_fundus",
    "draw_octa",
    "draw_skin",
    "draw_ultrasound",
    "write_anomaly",
    "write_fundus",
    "write_octa",
    "write_skin",
    "write_ultrasound",
]
