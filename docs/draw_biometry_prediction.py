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
from scantling.run.biometry_overlay import COLOURS, OUTLINE
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
COLUMNS = 440
"""Width of each picture."""

GREYS = 32


def palette() -> Image.Image:
    """Greys, and the colours of callipers in three strengths: a palette that is found by itself would lose these."""
    greys = np.repeat(np.linspace(0, 255, GREYS)[:, None], 3, axis=1)
    inks = np.array([*COLOURS, OUTLINE], dtype=np.float64)
    colours = np.concatenate([greys, *(share * inks + (1 - share) * 50 for share in (1.0, 0.7, 0.45))])
    out = Image.new("P", (1, 1))
    out.putpalette(np.round(colours).astype(np.uint8).ravel().tolist())
    return out


def main() -> None:
    """Train on phantoms, predict those of the test split, put one of each plane side by side."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        manifest = write_ultrasound(folder / "set", n=240, size=480, seed=4)
        bundle = train("fetal_biometry", manifest, folder / "run", overrides=SETTINGS).bundle
        found = predict(bundle, manifest, folder / "out", split="test", augmentation="flips", device="cpu").table
        truth = pd.read_csv(manifest).set_index("image")
        pictures = []
        for plane in ("head", "abdomen", "femur"):
            mine = found[(found["prediction"] == plane) & (found["quality"] == "good")]
            image = mine["image"].iloc[0]
            print(plane, image, mine.iloc[0].dropna().to_dict(), truth.loc[image].dropna().to_dict())
            picture = Image.open(folder / "out" / "overlays" / f"{image}.png")
            size = COLUMNS, round(COLUMNS * picture.height / picture.width)
            pictures.append(np.asarray(picture.resize(size, Image.Resampling.LANCZOS)))
        whole = Image.fromarray(np.concatenate(pictures, axis=1))
        whole.quantize(palette=palette(), dither=Image.Dither.NONE).save(OUT, optimize=True)
        print(OUT, OUT.stat().st_size)


if __name__ == "__main__":
    main()
