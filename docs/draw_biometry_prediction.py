"""Draws docs/images/fetal_biometry_predicted.png: phantoms of three planes, and what a small network measures on them.

Use: ``python docs/draw_biometry_prediction.py``; it trains for some minutes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from scantling.data.phantoms import write_ultrasound
from scantling.run.predict import predict
from scantling.run.train import train

OUT = Path(__file__).resolve().parent / "images" / "fetal_biometry_predicted.png"
SETTINGS = {
    "task.adapter.base": 8,
    "task.optimizer.lr": 3e-3,
    "data.image_size": 128,
    "data.batch_size": 8,
    "data.workers": 1,
    "trainer.max_epochs": 20,
    "trainer.precision": "bf16-mixed",
    "trainer.channels_last": True,
    "trainer.accelerator": "cpu",
}
COLUMNS = 420
"""Width of each picture."""


def main() -> None:
    """Train on phantoms, predict those of the test split, put one of each plane side by side."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        manifest = write_ultrasound(folder / "set", n=240, size=480, seed=4)
        bundle = train("fetal_biometry", manifest, folder / "run", overrides=SETTINGS).bundle
        found = predict(bundle, manifest, folder / "out", split="test", augmentation="flips", device="cpu").table
        truth = pd.read_csv(manifest).set_index("image")
        rows = []
        for plane in ("head", "abdomen", "femur"):
            mine = found[(found["prediction"] == plane) & (found["quality"] == "good")]
            image = mine["image"].iloc[0]
            print(plane, image, mine.iloc[0].dropna().to_dict(), truth.loc[image].dropna().to_dict())
            original = Image.open(folder / "set" / image).convert("RGB")
            rows.append([original, Image.open(folder / "out" / "overlays" / f"{image}.png")])
        height = round(COLUMNS * rows[0][0].height / rows[0][0].width)
        sized = [[np.asarray(p.resize((COLUMNS, height), Image.Resampling.LANCZOS)) for p in row] for row in rows]
        whole = np.concatenate([np.concatenate(column, axis=0) for column in sized], axis=1)
        Image.fromarray(whole).quantize(128, dither=Image.Dither.NONE).save(OUT, optimize=True)
        print(OUT, OUT.stat().st_size)


if __name__ == "__main__":
    main()
