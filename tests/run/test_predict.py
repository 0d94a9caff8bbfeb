"""Predictions of folders, files and manifests: every image once, in order, whatever happens to the others."""

from __future__ import annotations

import hashlib
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tensordict import TensorDict

from scantling.adapt import PairedEyes
from scantling.core.errors import DataError, RecipeError, TrainingError
from scantling.data.manifest import Manifest
from scantling.data.preprocess import Preprocess
from scantling.data.readers import Picture, read_picture
from scantling.run import reading
from scantling.run.listing import list_images
from scantling.run.model import load
from scantling.run.predict import predict
from scantling.run.reading import read_batches

save = runpy.run_path(str(Path(__file__).with_name("bundles.py")))["save"]

NAMES = ("none", "mild", "severe")


def picture(seed: int, size: tuple[int, int] = (40, 50)) -> np.ndarray:
    """Smooth colours, different for every seed."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    return np.asarray(small.resize((size[1], size[0]), Image.Resampling.BICUBIC))


def write(path: Path, seed: int, size: tuple[int, int] = (40, 50)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(seed, size)).save(path)
    return path


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, keep_default_na=False, na_values=[""])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("predict") / "bundle")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven images in three folders, among them one name with two suffixes, and files that are none."""
    root = tmp_path / "images"
    for seed, name in enumerate(["b.png", "a.png", "a.jpg", "sub/a.png", "sub/deep/Z.PNG", "10.bmp", "9.tif"]):
        write(root / name, seed)
    (root / "notes.txt").write_text("no image")
    write(root / ".hidden.png", 9)
    write(root / ".cache" / "x.png", 9)
    return root


ORDER = ["10.bmp", "9.tif", "a.jpg", "a.png", "b.png", "sub/a.png", "sub/deep/Z.PNG"]


def test_a_folder_gives_every_image_once_in_order_with_the_models_own_figures(bundle, folder, tmp_path):
    found = predict(bundle, folder, tmp_path / "out", batch_size=3, device="cpu")
    table = read(found.path)
    assert found.path == tmp_path / "out" / "predictions.csv" and (found.rows, found.failures) == (7, 0)
    assert table.columns.tolist() == [
        "image", "prediction", "score", "distance_to_threshold", *(f"p_{n}" for n in NAMES), "error",
    ]  # fmt: skip
    assert table["image"].tolist() == ORDER and table["error"].isna().all()
    model = load(bundle)
    result = model.predict([folder / name for name in ORDER])
    probabilities = table[[f"p_{n}" for n in NAMES]].to_numpy()
    np.testing.assert_allclose(probabilities, result.probabilities, atol=1e-5)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(table["score"], result.scores, rtol=1e-4)
    assert table["prediction"].tolist() == result.labels
    nearest = np.abs(table["score"].to_numpy()[:, None] - model.objective.thresholds.numpy()).min(1)
    np.testing.assert_allclose(table["distance_to_threshold"], nearest, atol=1e-4)
    assert result.scores.std() > 1e-3
    place = tmp_path / "out" / "saliency"
    maps = sorted(p.relative_to(place).as_posix() for p in place.rglob("*.png"))
    assert maps == sorted(f"{name}.png" for name in ORDER)
    assert all(Image.open(place / m).size == (32, 32) for m in maps)
    assert [p.name for p in (tmp_path / "out").iterdir() if p.name.startswith(".")] == []


def test_a_corrupt_image_is_reported_when_all_others_are_done(bundle, folder, tmp_path):
    good = predict(bundle, folder, device="cpu").table
    whole = (folder / "b.png").read_bytes()
    (folder / "b.png").write_bytes(whole[: len(whole) // 2])
    (folder / "sub/a.png").write_bytes(b"")
    with pytest.raises(DataError, match="2 of 7 images could not be read; see its column 'error'") as raised:
        predict(bundle, folder, tmp_path / "out", batch_size=2, device="cpu")
    assert raised.value.where == tmp_path / "out" / "predictions.csv"
    table = read(tmp_path / "out" / "predictions.csv")
    bad = table["error"].notna()
    assert table["image"].tolist() == ORDER and table.loc[bad, "image"].tolist() == ["b.png", "sub/a.png"]
    assert table.loc[bad, ["prediction", "score", "p_mild"]].isna().all(axis=None)
    np.testing.assert_allclose(table.loc[~bad, "p_mild"], good.loc[~bad, "p_mild"], atol=1e-5)
    assert "cannot be read" in table.loc[4, "error"]
    assert str(tmp_path) not in (tmp_path / "out" / "predictions.csv").read_text()
    unwritten = predict(bundle, folder, device="cpu")
    assert unwritten.failures == 2 and unwritten.path is None and unwritten.table["error"].notna().sum() == 2


def test_when_no_image_can_be_read_the_table_says_so(bundle, tmp_path):
    (tmp_path / "a.png").write_bytes(b"no png")
    with pytest.raises(DataError, match="1 of 1 images"):
        predict(bundle, tmp_path / "a.png", tmp_path / "out", device="cpu")
    assert read(tmp_path / "out" / "predictions.csv")["error"].notna().all()


@pytest.mark.parametrize("out", ["results", "."])
def test_results_inside_the_images_are_not_read_as_images(bundle, folder, out):
    def inputs() -> dict[str, str]:
        return {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in ORDER}

    before = inputs()
    first = predict(bundle, folder, folder / out, device="cpu").table
    second = predict(bundle, folder, folder / out, device="cpu").table
    pd.testing.assert_frame_equal(first, second)
    assert len(second) == 7 and inputs() == before


def test_a_stopped_prediction_goes_on_where_it_was(bundle, folder, tmp_path, monkeypatch):
    whole = predict(bundle, folder, tmp_path / "whole", batch_size=2, device="cpu")
    opened: list[str] = []

    def counting(path, *rest):
        opened.append(path.name)
        return read_picture(path, *rest)

    monkeypatch.setattr(reading, "read_picture", counting)

    def stop(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        predict(bundle, folder, out, batch_size=2, device="cpu", progress=stop)
    part = out / ".predictions.csv.part"
    assert part.exists() and not (out / "predictions.csv").exists()
    with part.open("ab") as stream:
        stream.write(b'[5, {"predic')
    opened.clear()
    steps: list[tuple[int, int]] = []
    again = predict(bundle, folder, out, batch_size=2, device="cpu", progress=lambda *s: steps.append(s))
    assert sorted(opened) == ["Z.PNG", "a.png", "b.png"] and steps[-1] == (7, 7)
    assert not part.exists() and again.table["image"].tolist() == ORDER
    pd.testing.assert_frame_equal(again.table, whole.table, atol=1e-5)
    assert len(list(out.glob("saliency/**/*.png"))) == 7


@pytest.mark.parametrize("change", ["options", "image", "bundle"])
def test_rows_of_other_images_bundles_or_options_are_not_taken(bundle, folder, tmp_path, monkeypatch, change):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    out, options, used = tmp_path / "out", {"batch_size": 4, "device": "cpu"}, bundle
    with pytest.raises(KeyboardInterrupt):
        predict(bundle, folder, out, progress=stop, **options)
    if change == "options":
        options["augmentation"] = "flips"
    elif change == "image":
        write(folder / ORDER[0], 77, (60, 60))
    else:
        used = save(tmp_path / "other", seed=5)
    found = predict(used, folder, out, **options).table
    pd.testing.assert_frame_equal(found, predict(used, folder, **options).table, atol=1e-5)


def test_images_are_read_ahead_but_not_all_at_once(folder, monkeypatch):
    for i in range(60):
        write(folder / f"more{i:02}.png", i)
    seen = []
    monkeypatch.setattr(reading, "read_picture", lambda path, *rest: seen.append(path) or read_picture(path, *rest))
    listed = list_images(folder)
    batches = read_batches(listed, range(len(listed)), Preprocess(8), 4, workers=2)
    for number, (batch, _) in enumerate(batches):
        assert [s.number for s in batch] == list(range(4 * number, min(4 * number + 4, 67)))
        assert len(seen) <= 4 * (number + 1) + 8


def test_every_frame_is_a_row(bundle, tmp_path):
    frames = np.stack([picture(i) for i in range(3)])
    root = tmp_path / "images"
    root.mkdir()
    np.savez(root / "stack.npz", images=frames)
    pages = [Image.fromarray(f) for f in frames[:2]]
    pages[0].save(root / "pages.tif", save_all=True, append_images=pages[1:])
    write(root / "single.png", 2)
    table = predict(bundle, root, tmp_path / "out", device="cpu").table
    assert table["image"].tolist() == ["pages.tif"] * 2 + ["single.png"] + ["stack.npz"] * 3
    assert table["frame"].fillna(-1).tolist() == [0, 1, -1, 0, 1, 2]
    scores = table["score"].to_numpy()
    np.testing.assert_allclose(scores[[0, 1, 2]], scores[[3, 4, 5]], atol=1e-5)
    assert len(set(scores.round(4))) == 3
    maps = {p.name for p in (tmp_path / "out" / "saliency").iterdir()}
    assert maps == {"pages.tif.0000.png", "pages.tif.0001.png", "single.png.png"} | {
        f"stack.npz.000{i}.png" for i in range(3)
    }
    named = predict(bundle, f"{root}/stack.npz#images", device="cpu").table
    assert named["image"].unique().tolist() == ["stack.npz#images"]
    np.testing.assert_allclose(named["score"], scores[3:], atol=1e-5)


def test_files_keep_their_order_and_are_named_from_their_common_folder(bundle, folder):
    files = [folder / "sub" / "a.png", folder / "a.png", str(folder / "b.png")]
    table = predict(bundle, files, device="cpu").table
    assert table["image"].tolist() == ["sub/a.png", "a.png", "b.png"]
    everything = predict(bundle, folder, device="cpu").table.set_index("image")
    np.testing.assert_allclose(table["score"], everything.loc[table["image"], "score"], atol=1e-5)


def manifest_of(folder: Path) -> Path:
    rows = [
        ("sub/a.png", "test", "7", "left", ""), ("a.png", "train", "7", "right", ""),
        ("b.png", "test", "8", "left", ""),
        ("../stack.npz#images", "test", "9", "left", "1"), ("a.jpg", "test", "7", "R", ""),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["image", "split", "patient", "laterality", "frame"])
    np.savez(folder.parent / "stack.npz", images=np.stack([picture(8), picture(9)]))
    table.to_csv(folder / "list.csv", index=False)
    return folder / "list.csv"


def test_a_manifest_gives_its_rows_in_order_and_no_patient(bundle, folder, tmp_path):
    path = manifest_of(folder)
    test = predict(bundle, path, tmp_path / "out", split="test", device="cpu").table
    assert test["image"].tolist() == ["sub/a.png", "b.png", "../stack.npz#images", "a.jpg"]
    assert "patient" not in test.columns
    everything = predict(bundle, Manifest.read(path), device="cpu").table
    np.testing.assert_allclose(everything.loc[[0, 2, 3, 4], "score"], test["score"], atol=1e-5)
    npz = load(bundle).predict(load(bundle).preprocess.apply(Picture(picture(9), 0, 255))[0][None])
    np.testing.assert_allclose(test["score"][2], npz.scores, atol=1e-5)
    pictures = [p.resolve() for p in tmp_path.glob("out/saliency/**/*.png")]
    assert len(pictures) == 4 and all(p.is_relative_to((tmp_path / "out" / "saliency").resolve()) for p in pictures)


def test_pairs_of_eyes_see_the_fellow_eye_of_the_manifest_or_of_the_names(folder, tmp_path):
    bundle = save(tmp_path / "b", adapter=PairedEyes, backbone="resnet18")
    model = load(bundle)

    def score(eye: str, fellow: str | None) -> float:
        image = model.read([folder / eye])["image"]
        fields = {"image": image, "fellow_image": image, "fellow_present": torch.tensor([fellow is not None])}
        if fellow is not None:
            fields["fellow_image"] = model.read([folder / fellow])["image"]
        return float(model.outputs(TensorDict(fields, batch_size=[1])))

    table = predict(bundle, manifest_of(folder), device="cpu").table
    wanted = [score("sub/a.png", "a.jpg"), score("a.png", None), score("b.png", None)]
    np.testing.assert_allclose(table["score"][:3], wanted, rtol=1e-4)
    assert abs(wanted[0] - score("sub/a.png", None)) > 1e-4
    for seed, name in enumerate(["p/10_left.png", "p/10_right.png", "q/10_left.png", "p/11_left.png"]):
        write(folder / name, 20 + seed)
    rows = predict(bundle, folder, device="cpu").table.set_index("image")["score"]
    pairs = {"p/10_left.png": "p/10_right.png", "p/10_right.png": "p/10_left.png"}
    for eye in ("p/10_left.png", "p/10_right.png", "p/11_left.png", "q/10_left.png", "b.png"):
        assert rows[eye] == pytest.approx(score(eye, pairs.get(eye)), rel=1e-4)
    (folder / "p" / "10_right.png").write_bytes(b"")
    errors = predict(bundle, folder / "p", device="cpu").table["error"]
    assert errors.notna().tolist() == [True, True, False] and errors[0].startswith("the fellow eye")


@pytest.mark.parametrize("kind", ["mask", "mask3"])
@pytest.mark.parametrize(
    "preprocess", [{}, {"fit": "pad"}, {"crop": "center_square"}], ids=["stretch", "pad", "center_square"]
)
def test_masks_have_the_size_of_their_images(tmp_path, kind, preprocess):
    bundle = save(tmp_path / "b", kind, preprocess=preprocess)
    path = write(tmp_path / "images" / "a.jpg", 3, (70, 90))
    found = predict(bundle, path.parent, tmp_path / "out", device="cpu").table
    names = load(bundle).target.names
    mask = np.asarray(Image.open(tmp_path / "out" / found["mask"][0]))
    assert found["mask"][0] == "masks/a.jpg.png" and mask.shape == (70, 90)
    classes = mask // 255 if len(names) == 2 else mask
    assert set(np.unique(mask)) <= ({0, 255} if len(names) == 2 else {0, 1, 2})
    shares = [found[f"share_{n}"][0] for n in names]
    np.testing.assert_allclose(shares, np.bincount(classes.ravel(), minlength=len(names)) / mask.size)
    model = load(bundle)
    original = read_picture(path)
    seen = model.predict([path]).probabilities[0]
    assert np.array_equal(model.preprocess.placement(original).classes(seen), classes)
    assert seen.argmax(0).unique().numel() > 1, "a mask of one class would prove nothing"
    assert Image.open(tmp_path / "out" / "overlays" / "a.jpg.png").size == (32, 32)
    assert not (tmp_path / "out" / "saliency").exists()


@pytest.mark.parametrize(
    ("settings", "size"),
    [({}, (90, 140)), ({"fit": "pad"}, (140, 90)), ({"fit": "pad"}, (20, 30)), ({"crop": "center_square"}, (90, 140)),
     ({"crop": "fundus"}, (90, 140)), ({}, (64, 64))],
)  # fmt: skip
def test_the_way_back_puts_every_pixel_where_it_came_from(settings, size):
    """A disc goes through the preprocessing and comes back in place; at its own size, pixel by pixel."""
    height, width = size
    rows, columns = np.ogrid[:height, :width]
    disc = (rows - 0.5 * height) ** 2 + (columns - 0.45 * width) ** 2 < (0.35 * min(size)) ** 2
    pixels = np.repeat(np.where(disc, 255, 0).astype(np.uint8)[..., None], 3, 2)
    preprocess = Preprocess(64, **settings)
    original = Picture(pixels, 0, 255)
    light = torch.from_numpy(preprocess.apply(original)[0][0]).float() / 255
    found = preprocess.placement(original).classes(torch.stack([1 - light, light]))
    assert found.shape == size and found.dtype == np.uint8
    left, top, right, bottom = preprocess.placement(original).box
    inside = np.zeros(size, bool)
    inside[top:bottom, left:right] = True
    assert not found[~inside].any()
    both, either = (found == 1) & disc & inside, ((found == 1) | disc) & inside
    assert both.sum() / either.sum() > (0.999 if size == (64, 64) else 0.96)
    if size == (64, 64):
        assert np.array_equal(found == 1, disc)


def test_findings_and_classes_have_their_columns(folder, tmp_path):
    table = predict(save(tmp_path / "f", "findings"), folder, device="cpu").table
    assert table.columns.tolist() == ["image", "prediction", "p_nodule", "p_mass", "error"]
    for row in table.itertuples():
        assert row.prediction == "|".join(n for n, p in (("nodule", row.p_nodule), ("mass", row.p_mass)) if p >= 0.5)
    table = predict(save(tmp_path / "c", "class"), folder, device="cpu").table
    assert table.columns.tolist() == ["image", "prediction", "p_cat", "p_dog", "p_owl", "error"]
    ordinal = predict(save(tmp_path / "o", "coral"), folder, device="cpu").table
    assert "score" in ordinal and "distance_to_threshold" not in ordinal


def test_augmentation_reaches_the_network(bundle, folder):
    plain = predict(bundle, folder, device="cpu").table["score"]
    turned = predict(bundle, folder, device="cpu", augmentation="rotations").table["score"]
    assert (plain - turned).abs().max() > 1e-4
    wanted = load(bundle).predict([folder / n for n in ORDER], "rotations").scores
    np.testing.assert_allclose(turned, wanted, atol=1e-5)


def test_what_cannot_be_done_is_said_before_anything_is_written(bundle, folder, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "notes.txt").write_text("no image")
    out = tmp_path / "out"
    for images, options, error, words in [
        (empty, {}, DataError, "no image in this folder"),
        (tmp_path / "nowhere", {}, DataError, "no such file or folder"),
        ([folder / "a.png", folder], {}, DataError, "a folder among files"),
        ([], {}, DataError, "no images given"),
        (folder, {"split": "test"}, DataError, "only a manifest has a split"),
        (manifest_of(folder), {"split": "val"}, DataError, "in the split 'val'"),
        (folder, {"augmentation": "flip"}, RecipeError, "no augmentation"),
        (folder, {"batch_size": 0}, RecipeError, "batch"),
        (folder, {"device": "abacus"}, TrainingError, "no device"),
    ]:
        with pytest.raises(error, match=words):
            predict(bundle, images, out, **{"device": "cpu", **options})
        assert not out.exists()
    predict(bundle, folder / "a.png", out, device="cpu")
    with pytest.raises(DataError, match="among the results"):
        predict(bundle, out / "saliency", out, device="cpu")


def test_pictures_never_share_a_name(tmp_path):
    table = pd.DataFrame({"image": ["../a.png", "a.png", "/a.png", "a.png"]})
    pictures = [one.picture for one in list_images(Manifest(table, tmp_path))]
    assert pictures == ["a.png", "a.png~2", "a.png~3", "a.png~4"]


def test_real_photographs(shared_data, bundle, tmp_path):
    images = sorted((shared_data("vessels_hrf") / "images").iterdir())[:2]
    found = predict(bundle, images, tmp_path / "out", device="cpu")
    assert found.rows == 2 and found.failures == 0 and found.table["score"].notna().all()
