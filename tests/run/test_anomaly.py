"""Anomaly detection and generation as a user meets them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from scantling import evaluate, load, train
from scantling.cli import main
from scantling.core.errors import DataError, RecipeError
from scantling.data.anomaly import with_anomaly_labels
from scantling.data.manifest import Manifest
from scantling.run.generate import generate
from scantling.run.predict import predict
from scantling.run.recipe import resolve


@pytest.fixture(scope="module")
def eyes(tmp_path_factory) -> Path:
    """A folder with normal images (no label), graded test images, and one annotated image."""
    home = tmp_path_factory.mktemp("anomaly")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:48, :48]
    disc = ((y - 23.5) ** 2 + (x - 23.5) ** 2 < 22**2)[..., None]

    def picture(lesions: int) -> tuple[np.ndarray, np.ndarray]:
        image = rng.integers(90, 130, (48, 48, 3)) * disc
        mask = np.zeros((48, 48), dtype=np.uint8)
        for _ in range(lesions):
            top, left = rng.integers(12, 32, 2)
            mask[top : top + 4, left : left + 4] = 255
        image[mask > 0] = 230
        return image.astype(np.uint8), mask

    tables: dict[str, list[dict[str, object]]] = {"normals": [], "test": []}
    for number in range(44):
        grade = 0 if number < 34 else 1 + number % 2
        Image.fromarray(picture(2 * grade)[0]).save(home / f"{number}.png")
        row = {"image": f"{number}.png"}
        if number < 24:
            tables["normals"].append(row)
        else:
            tables["test"].append({**row, "label": grade, "target": "grade:3"})
    for name, rows in tables.items():
        pd.DataFrame(rows).to_csv(home / f"{name}.csv", index=False)
    image, mask = picture(3)
    Image.fromarray(image).save(home / "one.png")
    Image.fromarray(mask).save(home / "one_mask.png")
    return home


@pytest.fixture
def quick(eyes, small):
    return {
        **small,
        "trainer.max_epochs": 1,
        "data.image_size": 48,
        "lesion": str(eyes / "one.png"),
        "lesion-mask": str(eyes / "one_mask.png"),
    }


def test_from_normal_images_and_one_annotated_image_to_heat_maps_and_areas_by_grade(eyes, quick, tmp_path):
    result = train("lesion_paste", eyes / "normals.csv", tmp_path / "run", overrides=quick, progress=False)
    figure = result.metrics["values"]["auroc"]
    assert figure["low"] <= figure["value"] <= figure["high"]
    model = load(result.bundle)
    assert not model.objective.normal_scores.isnan().any() and model.target.names == ("normal", "abnormal")
    table = predict(tmp_path / "run", eyes / "test.csv", tmp_path / "out").table
    assert ((table["score"] > float(model.objective.threshold)) == (table["prediction"] == "abnormal")).all()
    assert table["normal_quantile"].between(0, 1).all()
    heat = sorted((tmp_path / "out/heat").rglob("*.png"))
    assert len(heat) == 20 and np.asarray(Image.open(heat[0])).shape == (48, 48)
    found = evaluate(tmp_path / "run", eyes / "test.csv", split="all", replicates=50)
    grades = found.content["by_grade"]
    assert grades["column"] == "grade" and list(grades["grades"]) == ["1", "2"] and grades["normal"] == 10
    assert found.content["n"] == 20 and "AUROC by grade" in found.summary()
    scores = table["score"].to_numpy()
    normal, first = scores[:10], scores[10:][pd.read_csv(eyes / "test.csv")["label"][10:] == 1]
    area = np.mean([[(a > b) + 0.5 * (a == b) for b in normal] for a in first])
    assert grades["grades"]["1"]["auroc"]["value"] == pytest.approx(area, abs=1e-6)
    assert str(eyes) not in (result.bundle / "bundle.json").read_text().replace(str(eyes / "one"), "")


def test_abnormal_images_in_the_training_manifest_change_nothing(eyes, quick, tmp_path):
    table = pd.read_csv(eyes / "normals.csv")
    table["split"] = ["train"] * 16 + ["val"] * 8
    marked = pd.concat([table.assign(label="normal"), table[:3].assign(label="abnormal", image="40.png")])
    weights = []
    for name, rows in {"plain": table, "mixed": marked}.items():
        rows.to_csv(eyes / f"{name}.csv", index=False)
        run = train("lesion_paste", eyes / f"{name}.csv", tmp_path / name, progress=False,
                    overrides=quick)  # fmt: skip
        weights.append((run.bundle / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


@pytest.mark.parametrize("recipe", ["padim", "patchcore", "mahalanobis", "anomaly_autoencoder"])
def test_detectors_of_normal_images_alone_leave_a_bundle(recipe, eyes, small, tmp_path):
    settings = {**small, "data.image_size": 48, "trainer.max_epochs": 1}
    if recipe == "patchcore":
        settings |= {"task.adapter.size": 50, "task.adapter.candidates": 200}
    if recipe == "anomaly_autoencoder":
        settings = {k: v for k, v in settings.items() if "adapter" not in k}
    result = train(recipe, eyes / "normals.csv", tmp_path / "run", overrides=settings, progress=False)
    model = load(result.bundle)
    assert not model.objective.normal_scores.isnan().any()
    table = predict(result.bundle, eyes / "normals.csv", tmp_path / "out").table
    assert table["score"].std() > 0 and table["error"].isna().all()


def pixels(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.png"))}


def test_generated_images_do_not_depend_on_batches_threads_or_their_number(eyes, quick, tmp_path):
    settings = {k: v for k, v in quick.items() if k.startswith(("lesion", "data.image"))}
    whole = generate("lesion_paste", eyes / "normals.csv", tmp_path / "a", n=30, batch_size=32, overrides=settings)
    generate("lesion_paste", eyes / "normals.csv", tmp_path / "b", n=7, batch_size=3, workers=1, overrides=settings)
    a, b = pixels(tmp_path / "a"), pixels(tmp_path / "b")
    assert len(a) == 60 and len(b) == 14 and all(a[name] == data for name, data in b.items())
    assert a["images/000000.png"] != a["images/000024.png"]
    table = pd.read_csv(whole.manifest)
    assert (table["label"] == "abnormal").all() and table["source"].tolist()[:25] == [*range(2, 26), 2]
    for row in (0, 20):
        mask = np.asarray(Image.open(tmp_path / "a" / table["mask"][row]))
        image = np.asarray(Image.open(tmp_path / "a" / table["image"][row])).astype(int)
        source = np.asarray(Image.open(eyes / f"{table['source'][row] - 2}.png")).astype(int)
        assert set(np.unique(mask)) == {0, 255}
        assert (image[mask == 0] == source[mask == 0]).all() and (image[mask > 0] != source[mask > 0]).any()


def test_a_generation_that_was_stopped_goes_on_and_ends_the_same(eyes, quick, tmp_path):
    settings = {k: v for k, v in quick.items() if k.startswith(("lesion", "data.image"))}
    options = {"n": 20, "batch_size": 4, "normals": True, "overrides": settings}

    class Stop(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done >= 8:
            raise Stop

    with pytest.raises(Stop):
        generate("lesion_paste", eyes / "normals.csv", tmp_path / "a", progress=stop, **options)
    assert not (tmp_path / "a/manifest.csv").exists()
    written = {p: p.stat().st_mtime_ns for p in (tmp_path / "a").rglob("*.png")}
    generate("lesion_paste", eyes / "normals.csv", tmp_path / "a", **options)
    generate("lesion_paste", eyes / "normals.csv", tmp_path / "b", **options)
    assert pixels(tmp_path / "a") == pixels(tmp_path / "b")
    assert (tmp_path / "a/manifest.csv").read_text() == (tmp_path / "b/manifest.csv").read_text()
    assert len(written) == 16 and all(p.stat().st_mtime_ns == t for p, t in written.items())
    assert not list((tmp_path / "a").glob(".*"))
    assert pd.read_csv(tmp_path / "a/manifest.csv")["label"].value_counts().to_dict() == {"normal": 24, "abnormal": 20}
    with pytest.raises(DataError, match="a manifest already"):
        generate("lesion_paste", eyes / "normals.csv", tmp_path / "a", **options)


def test_the_command_line_takes_the_recipe_s_own_options(eyes, tmp_path, capsys):
    words = ["--data", str(eyes / "normals.csv"), "-o", str(tmp_path / "out"), "--data.image_size", "48"]
    lesion = ["--lesion", str(eyes / "one.png")]
    assert main(["generate", "lesion_paste", *words, *lesion]) == 2
    assert "--lesion-mask FILE" in capsys.readouterr().err
    assert main(["generate", "lesion_paste", *words]) == 2
    assert "no annotated image" in capsys.readouterr().err
    assert main(["generate", "classify", *words]) == 2
    assert "no synthesizer" in capsys.readouterr().err
    assert main(["train", "classify", "--data", "x.csv", *lesion]) == 2
    assert "unknown option '--lesion'" in capsys.readouterr().err
    found = main(["generate", "lesion_paste", *words, *lesion, f"--lesion-mask={eyes / 'one_mask.png'}", "-n", "3"])
    assert found == 0 and "3 images" in capsys.readouterr().out


def test_short_options_stand_for_their_keys_and_stay_in_the_resolved_recipe(tmp_path):
    recipe = resolve("lesion_paste", {"lesion": "a.png", "task.synthesizer.feather": 2})
    assert recipe.stages[0].plain["task"]["init_args"]["synthesizer"]["init_args"]["lesion"] == "a.png"
    (tmp_path / "again.yaml").write_text(recipe.to_yaml())
    again = resolve(tmp_path / "again.yaml", ["--lesion", "b.png"])
    synthesizer = again.stages[0].plain["task"]["init_args"]["synthesizer"]["init_args"]
    assert synthesizer["lesion"] == "b.png" and synthesizer["feather"] == 2
    (tmp_path / "bad.yaml").write_text(recipe.to_yaml().replace("task.synthesizer.lesion\n", "nowhere.lesion\n"))
    with pytest.raises(RecipeError, match="'options' must map"):
        resolve(tmp_path / "bad.yaml")


def test_labels_become_normal_or_abnormal():
    def labels(**columns) -> dict[str, list[object]]:
        table = pd.DataFrame({"image": ["a.png", "b.png", "c.png"], **columns})
        return with_anomaly_labels(Manifest(table)).table.to_dict("list")

    assert labels()["label"] == ["normal"] * 3
    graded = labels(label=["0", "2", None], target="grade:5")
    assert graded["label"][:2] == ["normal", "abnormal"] and graded["grade"][1] == "2"
    assert pd.isna(graded["label"][2]) and graded["target"] == ["class:normal|abnormal"] * 3
    assert labels(label=["normal", "abnormal", "normal"])["label"] == ["normal", "abnormal", "normal"]
    assert labels(organ=["o.png"] * 3, mask=["m.png"] * 3)["mask"] == ["o.png"] * 3
