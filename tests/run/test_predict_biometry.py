"""Predictions of biometry: millimetres from every source of pixel sizes, callipers, examinations, resumption.

The network is wired by hand to give back what is bright in an image, so that the truth is what was drawn.
"""

import json
import runpy
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from scantling.core.errors import DataError, RecipeError
from scantling.faces.predict import FORMULAS
from scantling.measure.perimeter import FORMULAS as KNOWN
from scantling.measure.perimeter import circumference
from scantling.run.biometry_overlay import COLOURS, draw_callipers
from scantling.run.evaluate import evaluate
from scantling.run.examinations import examine
from scantling.run.model import load
from scantling.run.predict import predict

bundles = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("bundles.py"))))
SIZE, AXES = (120, 160), (46.0, 36.0)
QUIET = {"device": "cpu", "saliency": False, "workers": 1}


def wired(plane=0, sure=9.0):
    """Weights with which the mask's logit is 40 (x - 1/2) of the pixel's grey value x, and one plane is seen."""

    def edit(network):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.zero_()
            centre = (slice(None), slice(None), 1, 1)
            network.net.down[0][0].weight[centre] = 1 / 3
            for convolution in (network.net.down[0][2], network.net.up[0][0], network.net.up[0][2]):
                convolution.weight[0, 0, 1, 1] = 1
            network.net.head.weight.fill_(40)
            network.net.head.bias.fill_(-20)
            network.head.bias[plane] = sure

    return edit


def bundle(folder, plane=0, sure=9.0, size=96, fit="pad"):
    settings = {"base": 1, "depth": 1, "norm": "none", "standardise": False}
    return bundles.save(folder, "biometry", size=size, edit=wired(plane, sure), preprocess={"fit": fit}, **settings)


def filled(axes=AXES, turn=0.5, size=SIZE, bar=False):
    y, x = np.mgrid[: size[0], : size[1]]
    x, y = x - size[1] / 2, y - size[0] / 2
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    inside = (abs(u) <= axes[0]) & (abs(v) <= axes[1]) if bar else np.hypot(u / axes[0], v / axes[1]) <= 1
    return (220 * inside).astype(np.uint8)


def images(folder, count=2, **settings):
    folder.mkdir(exist_ok=True)
    for i in range(count):
        Image.fromarray(filled(turn=0.5 + i, **settings)).save(folder / f"{i}.png")
    return folder


def manifest(folder, **columns):
    images(folder)
    pd.DataFrame({"image": ["0.png", "1.png"], **columns}).to_csv(folder / "m.csv", index=False)
    return folder / "m.csv"


def ultrasound(path, pixels, **tags):
    """A DICOM file of an ultrasound frame."""
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.sequence import Sequence
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.6.1"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.Modality, data.PhotometricInterpretation = "US", "MONOCHROME2"
    data.PatientName, data.PatientID = "Doe^Jane", "12345"
    data.SamplesPerPixel, data.BitsAllocated, data.BitsStored, data.HighBit = 1, 8, 8, 7
    data.PixelRepresentation = 0
    data.Rows, data.Columns = pixels.shape
    data.PixelData = pixels.tobytes()
    regions = []
    for region in tags.pop("regions", ()):
        item = Dataset()
        for name, value in region.items():
            setattr(item, name, value)
        regions.append(item)
    if regions:
        data.SequenceOfUltrasoundRegions = Sequence(regions)
    for name, value in tags.items():
        setattr(data, name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.save_as(path)
    return path


TISSUE = {
    "RegionSpatialFormat": 1, "PhysicalUnitsXDirection": 3, "PhysicalUnitsYDirection": 3, "PhysicalDeltaX": 0.02,
    "PhysicalDeltaY": 0.02,
}  # fmt: skip
M_MODE = {**TISSUE, "RegionSpatialFormat": 2, "PhysicalUnitsXDirection": 4, "PhysicalDeltaX": 0.5}
HC = float(circumference(*AXES))


@pytest.mark.parametrize(("size", "fit"), [(96, "pad"), ((64, 96), "stretch"), ((96, 64), "stretch")])
def test_lengths_are_those_of_the_original_whatever_the_network_sees(tmp_path, size, fit):
    found = predict(bundle(tmp_path / "b", size=size, fit=fit), manifest(tmp_path / "i", pixel_spacing="0.5"), **QUIET)
    row = found.table.iloc[0]
    assert row["prediction"] == "head" and row["quality"] == "good", row["reason"]
    np.testing.assert_allclose(row["hc_mm"], 0.5 * HC, rtol=0.01)
    np.testing.assert_allclose(row["bpd_mm"], AXES[1], rtol=0.015)
    np.testing.assert_allclose(row["ofd_mm"], AXES[0], rtol=0.015)
    np.testing.assert_allclose(row["cephalic_index"], 100 * AXES[1] / AXES[0], rtol=0.015)
    assert row["gestational_age_formula"] == "hadlock_1984_H" and np.isnan(row["ac_mm"]) and np.isnan(row["fl_mm"])


def test_lengths_scale_with_the_pixel_and_unequal_pixels_make_no_ellipse_of_a_circle(tmp_path):
    model = bundle(tmp_path / "b", size=120)
    y, x = np.mgrid[:120, :160]
    (tmp_path / "i").mkdir()
    Image.fromarray((220 * (np.hypot((x - 80) / 60, (y - 60) / 40) <= 1)).astype(np.uint8)).save(
        tmp_path / "i" / "c.png"
    )
    table = pd.DataFrame({"image": ["c.png"] * 2, "pixel_spacing": ["0.6\\0.4", "1.2\\0.8"]})
    table.to_csv(tmp_path / "i" / "m.csv", index=False)
    found = predict(model, tmp_path / "i" / "m.csv", **QUIET).table
    np.testing.assert_allclose(found["hc_mm"], [48 * np.pi, 96 * np.pi], rtol=0.01)
    np.testing.assert_allclose(found["cephalic_index"], 100, rtol=0.02)


def test_the_size_of_a_pixel_comes_from_the_manifest_then_the_file_then_the_option(tmp_path):
    model, folder = bundle(tmp_path / "b"), tmp_path / "i"
    images(folder, 1)
    ultrasound(folder / "a.dcm", filled(), regions=[M_MODE, TISSUE])
    ultrasound(folder / "b.dcm", filled(), PixelSpacing=["0.3", "0.3"])
    rows = {"image": ["a.dcm", "b.dcm", "a.dcm", "0.png"], "pixel_spacing": [None, None, "0.7", None]}
    pd.DataFrame(rows).to_csv(folder / "m.csv", index=False)
    found = predict(model, folder / "m.csv", pixel_spacing="0.4", **QUIET).table
    np.testing.assert_allclose(found["hc_mm"], [0.2 * HC, 0.3 * HC, 0.7 * HC, 0.4 * HC], rtol=0.01)


@pytest.mark.parametrize(
    "regions",
    [
        [],
        [{**TISSUE, "PhysicalUnitsXDirection": 4}],
        [{**TISSUE, "PhysicalUnitsYDirection": 4}],
        [TISSUE, {**TISSUE, "PhysicalDeltaX": 0.03}],
        [{**TISSUE, "PhysicalDeltaX": 0.0}],
        [M_MODE],
    ],
)
def test_a_file_that_does_not_tell_its_pixels_or_tells_two_sizes_is_refused(tmp_path, regions):
    folder = tmp_path / "i"
    folder.mkdir()
    ultrasound(folder / "a.dcm", filled(), regions=regions)
    with pytest.raises(DataError, match=r"a\.dcm: the size of its pixels is not known; .*--pixel-spacing MM.*--pixels"):
        predict(bundle(tmp_path / "b"), folder, tmp_path / "out", **QUIET)
    assert not (tmp_path / "out" / "predictions.csv").exists()


def test_pictures_without_a_size_are_refused_before_any_work_or_told_in_pixels(tmp_path):
    model, folder = bundle(tmp_path / "b"), images(tmp_path / "i", 3)
    with pytest.raises(DataError, match=r"0\.png: the size of its pixels is not known, nor that of 2 others"):
        predict(model, folder, tmp_path / "out", **QUIET)
    found = predict(model, folder, tmp_path / "out", pixels=True, **QUIET).table
    np.testing.assert_allclose(found["hc_px"], HC, rtol=0.01)
    assert not any(column.endswith("_mm") or "gestational" in column for column in found.columns)
    with pytest.raises(DataError, match="pixel_spacing: pixel spacing 'x'"):
        predict(model, folder, pixel_spacing="x", **QUIET)


def test_files_of_a_prediction(tmp_path):
    source = manifest(tmp_path / "i", pixel_spacing="0.5")
    found = predict(
        bundle(tmp_path / "b"), source, tmp_path / "out", device="cpu", uncertainty=True, augmentation="flips"
    )
    written = pd.read_csv(found.path)
    assert written.columns.tolist() == found.table.columns.tolist()
    for row in written.itertuples():
        mask = np.asarray(Image.open(tmp_path / "out" / row.mask))
        drawn = np.asarray(Image.open(tmp_path / "i" / row.image)) > 0
        assert mask.shape == SIZE and set(np.unique(mask)) == {0, 255}
        assert ((mask > 0) ^ drawn).mean() < 0.01
        overlay = np.asarray(Image.open(tmp_path / "out" / "overlays" / f"{row.image}.png"))
        assert overlay.shape == (360, 480, 3), "a small picture is enlarged by a whole factor"
        for kind in ("uncertainty", "deviation"):
            assert Image.open(tmp_path / "out" / kind / f"{row.image}.png").size == SIZE[::-1]
    assert not (tmp_path / "out" / "examinations.csv").exists(), "no patient is named"


def test_flips_of_a_network_without_a_side_agree_and_noise_does_not(tmp_path):
    source = manifest(tmp_path / "i", pixel_spacing="0.5")
    plain = predict(bundle(tmp_path / "b"), source, **QUIET).table
    assert not [c for c in plain.columns if c.endswith("_sd")]
    sure = predict(bundle(tmp_path / "b"), source, augmentation="flips", **QUIET).table
    assert (sure["hc_mm_sd"] < 0.05).all() and (sure["gestational_age_weeks_sd"] < 0.01).all()
    np.testing.assert_allclose(sure["hc_mm"], plain["hc_mm"], rtol=1e-3)

    def lopsided(network):
        wired()(network)
        with torch.no_grad():
            network.net.up[0][2].weight[0, 0, 1] = torch.tensor([1 / 3, 1 / 3, 1 / 3])
            network.net.up[0][2].weight[0, 0, 1, 0] += 0.5

    settings = {"base": 1, "depth": 1, "norm": "none", "standardise": False}
    biased = bundles.save(tmp_path / "l", "biometry", size=96, edit=lopsided, preprocess={"fit": "pad"}, **settings)
    doubtful = predict(biased, source, augmentation="flips", **QUIET).table
    assert (doubtful["hc_mm_sd"] > sure["hc_mm_sd"]).all()


def test_doubtful_images_are_flagged_with_a_reason_and_not_measured(tmp_path):
    source = manifest(tmp_path / "i", pixel_spacing="0.5")
    unsure = predict(bundle(tmp_path / "u", sure=1.0), source, **QUIET).table
    assert (unsure["quality"] == "rejected").all() and unsure["reason"].str.contains("uncertain").all()
    assert unsure["hc_mm"].isna().all() and unsure["gestational_age_weeks"].isna().all()
    corner = filled(axes=(40.0, 40.0), turn=0.0, bar=True)
    corner[:70, 70:] = 0
    for i in range(2):
        Image.fromarray(corner).save(tmp_path / "i" / f"{i}.png")
    bar = predict(bundle(tmp_path / "f", plane=2), source, **QUIET).table
    assert (
        (bar["prediction"] == "femur").all() and bar["reason"].str.contains("bar").all() and bar["fl_mm"].isna().all()
    )
    images(tmp_path / "i")
    Image.fromarray(np.zeros(SIZE, np.uint8)).save(tmp_path / "i" / "0.png")
    empty = predict(bundle(tmp_path / "e"), source, tmp_path / "out", device="cpu").table
    assert empty["quality"].tolist() == ["rejected", "good"] and "nothing was found" in empty["reason"][0]
    assert (tmp_path / "out" / "overlays" / "0.png.png").is_file()


def test_a_femur_is_measured_along_its_bar(tmp_path):
    images(tmp_path / "i", axes=(50.0, 7.0), bar=True)
    found = predict(bundle(tmp_path / "b", plane=2, size=160), tmp_path / "i", pixel_spacing=0.4, **QUIET).table
    np.testing.assert_allclose(found["fl_mm"], 0.4 * 101, rtol=0.02)
    assert (found["gestational_age_formula"] == "hadlock_1984_F").all()


def test_the_formula_is_an_option_and_is_recorded(tmp_path):
    assert FORMULAS == KNOWN, "the command line offers what there is"
    model, source = bundle(tmp_path / "b"), manifest(tmp_path / "i", pixel_spacing="0.5")
    exact, clinical = (predict(model, source, formula=f, **QUIET).table for f in ("exact", "two_diameters"))
    assert (clinical["hc_mm"] < exact["hc_mm"]).all() and (clinical["circumference_formula"] == "two_diameters").all()
    np.testing.assert_allclose(clinical["hc_mm"], np.pi * (clinical["bpd_mm"] + clinical["ofd_mm"]) / 2)


def test_a_stopped_prediction_goes_on_with_the_rows_it_had(tmp_path):
    model, folder = bundle(tmp_path / "b"), images(tmp_path / "i", 5)
    options = {**QUIET, "pixel_spacing": 0.5, "batch_size": 2}
    whole = predict(model, folder, tmp_path / "whole", **options)

    def stop(done, of):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(model, folder, tmp_path / "out", progress=stop, **options)
    journal = (tmp_path / "out" / ".predictions.csv.part").read_text().splitlines()
    assert len(journal) == 3 and json.loads(journal[1])[1]["quality"] == "good"
    again = predict(model, folder, tmp_path / "out", **options)
    assert again.path.read_bytes() == whole.path.read_bytes()
    other = predict(model, folder, tmp_path / "out", **{**options, "pixel_spacing": 1.0}).table
    np.testing.assert_allclose(other["hc_mm"], 2 * again.table["hc_mm"])


def test_an_image_that_cannot_be_read_does_not_stop_the_others(tmp_path):
    folder = images(tmp_path / "i", 2)
    (folder / "bad.png").write_bytes(b"not a picture")
    (folder / "bad.dcm").write_bytes(b"neither")
    with pytest.raises(DataError, match="2 of 4 images could not be read"):
        predict(bundle(tmp_path / "b"), folder, tmp_path / "out", pixel_spacing=0.5, **QUIET)
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert table["error"].notna().tolist() == [False, False, True, True] and table["hc_mm"].notna().sum() == 2


def test_no_name_of_a_patient_is_in_any_result(tmp_path):
    source = manifest(tmp_path / "i", pixel_spacing="0.5", patient=["Doe Jane", "Roe Ann"])
    predict(bundle(tmp_path / "b"), source, tmp_path / "out", device="cpu")
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert table["examination"].tolist() == [1, 2]
    for file in (tmp_path / "out").rglob("*.csv"):
        assert "Doe" not in file.read_text() and "Roe" not in file.read_text()


def test_masks_in_dicom_are_refused_in_one_line(tmp_path):
    with pytest.raises(RecipeError, match="mask_format"):
        predict(bundle(tmp_path / "b"), images(tmp_path / "i"), pixels=True, mask_format="dicom", **QUIET)


def test_a_loaded_model_names_planes(tmp_path):
    found = load(bundle(tmp_path / "b", plane=1)).predict(images(tmp_path / "i") / "0.png")
    assert found.labels == ["abdomen"] and found.probabilities.shape == (1, 4, 96, 96)


def test_callipers_are_crosses_at_the_ends_and_dots_between():
    grey = np.full((600, 800), 40, np.uint8)
    ends = np.array([[200.0, 300.0], [500.0, 300.0]])
    drawn = draw_callipers(grey, None, {"BPD": ends}, ["BPD 1 mm"], "check: something")
    assert drawn.shape == (600, 800, 3)
    yellow = (np.abs(drawn.astype(int) - COLOURS[0]) < 40).all(2)
    for x, y in ends.astype(int):
        assert yellow[y - 5 : y + 6, x].all() and yellow[y, x - 5 : x + 6].all(), "a cross"
    line = yellow[298:303, 230:470].any(0)
    assert 0.1 < line.mean() < 0.9 and np.abs(np.diff(line.astype(int))).sum() > 20, "dots, no line"
    assert (drawn[:80] == 40).all() and (drawn[540:] != 40).any(), "text lies at the bottom"


def test_nothing_found_is_drawn_as_a_picture_with_its_text():
    grey = np.full((300, 500), 40, np.uint8)
    none = np.full((128, 2), np.nan)
    drawn = draw_callipers(grey, none, {"FL": np.full((2, 2), np.nan)}, [], "")
    assert (drawn == 40).all() and drawn.shape == (300, 500, 3)


def test_an_evaluation_tells_errors_in_millimetres_agreement_planes_and_sites(tmp_path):
    folder, rows = tmp_path / "i", []
    folder.mkdir()
    for i in range(6):
        pixels = filled(axes=(30.0 + 3 * i, 24.0 + 2 * i), turn=i)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        Image.fromarray((pixels > 0).astype(np.uint8) * 255).save(folder / f"{i}_mask.png")
        true = 0.5 * float(circumference(30.0 + 3 * i, 24.0 + 2 * i))
        given = {"hc_mm": true + 10.0} if i == 5 else {}
        plane = "head" if i != 4 else "abdomen"
        rows.append({"image": f"{i}.png", "mask": f"{i}_mask.png", "plane": plane, "patient": f"p{i}", **given})
    table = pd.DataFrame(rows).assign(pixel_spacing="0.5", site=["a", "b"] * 3, split="test")
    table.assign(target="biometry:head|abdomen|femur").to_csv(folder / "m.csv", index=False)
    found = evaluate(
        bundle(tmp_path / "b", size=160), folder / "m.csv", out=tmp_path / "e", replicates=50, device="cpu"
    )
    content = json.loads((tmp_path / "e" / "evaluation_test.json").read_text())
    head = content["per_class"][0]
    assert head["name"] == "HC" and head["n"] == 5 and content["unit"] == "mm"
    # The published value of the sixth image, 10 mm more than its mask has, is the truth.
    np.testing.assert_allclose(head["mae"]["value"], 2.0, atol=0.15)
    np.testing.assert_allclose(head["bias"]["value"], -2.0, atol=0.15)
    assert head["median"]["value"] < 0.3 and head["lower_limit"]["value"] < head["bias"]["value"]
    assert content["metrics"]["plane_accuracy"]["value"] == pytest.approx(5 / 6)
    assert content["metrics"]["failure_rate"]["value"] == pytest.approx(1 / 6), "the abdomen was called a head"
    assert content["metrics"]["dice"]["value"] > 0.98 and content["confusion"][1][0] == 1
    assert set(content["by"]["site"]) == {"a", "b"}
    assert len(content["agreement"]["hc"]["truth"]) == 5
    page = (tmp_path / "e" / "report.html").read_text()
    assert "Bland-Altman plot of HC" in page and "By length" in page
    assert "mean absolute error" in found.summary() and "limits" in found.summary()


def test_without_any_size_an_evaluation_is_in_pixels(tmp_path):
    folder = images(tmp_path / "i")
    for i in range(2):
        Image.fromarray((filled(turn=0.5 + i) > 0).astype(np.uint8) * 255).save(folder / f"{i}_mask.png")
    rows = {"image": ["0.png", "1.png"], "mask": ["0_mask.png", "1_mask.png"], "plane": "head", "split": "test"}
    pd.DataFrame(rows).assign(target="biometry:head|abdomen|femur").to_csv(folder / "m.csv", index=False)
    content = evaluate(bundle(tmp_path / "b"), folder / "m.csv", out=tmp_path / "e", replicates=0, device="cpu").content
    assert content["unit"] == "px" and content["metrics"]["mae"]["value"] < 0.01 * HC


def test_an_examination_is_the_mean_of_its_measured_images():
    rows = [
        {"quality": "good", "hc_mm": 180.0, "bpd_mm": 50.0, "ofd_mm": 64.0},
        {"quality": "good", "hc_mm": 184.0, "bpd_mm": 52.0, "ofd_mm": 66.0},
        {"quality": "good", "ac_mm": 160.0},
        {"quality": "rejected", "fl_mm": None},
    ]
    found = examine(rows)
    assert (found["images"], found["rejected"]) == (4, 1)
    assert (found["hc_mm"], found["bpd_mm"], found["ac_mm"], found["fl_mm"]) == (182.0, 51.0, 160.0, None)
    assert found["gestational_age_formula"] == "hadlock_1984_BHA" and 19 < found["gestational_age_weeks"] < 22
    np.testing.assert_allclose(found["hc_mm_sd"], np.sqrt(8))
    assert "ac_mm_sd" not in found and "hc_z" not in found
    assert abs(examine(rows, weeks=20.5)["hc_z"]) < 3


def test_examinations_have_age_weight_and_known_ages(tmp_path):
    folder = tmp_path / "i"
    source = manifest(folder, pixel_spacing="0.5", patient=["a", "a"], examination=[1, 2], weeks=[20.0, None])
    found = predict(bundle(tmp_path / "b"), source, tmp_path / "out", device="cpu", saliency=False)
    table = pd.read_csv(found.examinations)
    assert table["examination"].tolist() == [1, 2] and table["images"].tolist() == [1, 1], "two visits of one patient"
    assert table["gestational_age_weeks"].notna().all() and table["hc_z"].notna().tolist() == [True, False]
    assert predict(bundle(tmp_path / "b"), source, tmp_path / "px", pixels=True, **QUIET).examinations is None
    manifest(folder, pixel_spacing="0.5", patient=["a", "a"], weeks=["20", "soon"])
    with pytest.raises(DataError, match="row 3: 'soon' in column 'weeks'"):
        predict(bundle(tmp_path / "b"), source, **QUIET)
