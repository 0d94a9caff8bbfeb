"""A bundle becomes the model that was saved, in any process, and only that; test-time augmentation is symmetric."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tensordict import TensorDict

from scantling.adapt import PairedEyes
from scantling.core.errors import BundleError, DataError, RecipeError, TrainingError
from scantling.core.seams import Adapter, Inputs
from scantling.core.target import Grade, Mask
from scantling.data.preprocess import Preprocess
from scantling.run.model import Model, load, pick_device
from scantling.tasks.objectives import DiceCrossEntropy, MSEGrade

save = runpy.run_path(str(Path(__file__).with_name("bundles.py")))["save"]

FRESH = """
import json, sys
from scantling import load
result = load(sys.argv[1]).predict([sys.argv[2]])
heavy = [m for m in ("lightning", "monai", "torchmetrics", "transformers", "matplotlib", "onnx") if m in sys.modules]
print(json.dumps([heavy, result.probabilities.tolist(), result.scores.tolist(), result.labels]))
"""


def pixels(n: int = 4, size: tuple[int, int] = (32, 32)) -> torch.Tensor:
    return torch.rand(n, 3, *size, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("model") / "bundle")


@pytest.fixture
def broken(bundle, tmp_path):
    """A copy of the bundle whose description is changed by a function."""

    def change(edit) -> Path:
        folder = tmp_path / "broken"
        shutil.copytree(bundle, folder)
        meta = json.loads((folder / "bundle.json").read_text())
        edit(meta)
        (folder / "bundle.json").write_text(json.dumps(meta))
        return folder

    return change


@pytest.mark.parametrize("kind", ["grade", "cumulative", "coral", "class", "findings", "mask"])
def test_a_loaded_model_is_the_one_that_was_saved(tmp_path, kind):
    kept = {}

    def remember(adapter: Adapter) -> None:
        kept["adapter"] = adapter.eval()

    model = load(save(tmp_path / "b", kind, edit=remember))
    batch = TensorDict({"image": pixels()}, batch_size=[4])
    outputs = kept["adapter"](batch)
    torch.testing.assert_close(model.outputs(batch), outputs)
    assert model.objective.temperature == 1.5 and not model.training
    assert outputs.std() > 1e-3, "a model whose outputs are all alike would prove nothing"
    torch.testing.assert_close(model(batch["image"]), model.decide(outputs).probabilities)


def test_thresholds_that_were_fitted_come_back(bundle, tmp_path):
    folder = tmp_path / "b"
    shutil.copytree(bundle, folder)
    state = load_file(folder / "model.safetensors")
    state["objective.thresholds"] = torch.tensor([-0.2, 0.1])
    save_file(state, folder / "model.safetensors")
    scores = torch.tensor([[-0.3], [0.0], [0.2]])
    assert load(folder).decide(scores).labels == ["none", "mild", "severe"]
    assert load(bundle).decide(scores).labels == ["none", "none", "none"]


def test_a_fresh_process_loads_it_without_a_recipe_and_without_a_trainer(bundle, tmp_path):
    Image.fromarray((pixels(1)[0] * 255).byte().permute(1, 2, 0).numpy()).save(tmp_path / "a.png")
    answer = subprocess.run(
        [sys.executable, "-c", FRESH, str(bundle), str(tmp_path / "a.png")], capture_output=True, text=True, check=True
    )
    heavy, probabilities, scores, labels = json.loads(answer.stdout)
    assert heavy == []
    here = load(bundle).predict(tmp_path / "a.png")
    np.testing.assert_allclose(probabilities, here.probabilities, atol=1e-6)
    np.testing.assert_allclose(scores, here.scores, atol=1e-6)
    assert labels == here.labels


@pytest.mark.parametrize(
    "class_path",
    [
        "os.system",
        "torch.nn.Linear",
        "subprocess.Popen",
        "scantling.core.files.os.system",
        "scantling.adapt.full.nn.Linear",
    ],
)
@pytest.mark.parametrize("part", ["adapter", "objective"])
def test_classes_from_elsewhere_are_refused(broken, part, class_path):
    folder = broken(lambda meta: meta[part].update(class_path=class_path, init_args={}))
    with pytest.raises(RecipeError):
        load(folder)


def test_a_class_in_the_wrong_place_is_refused(broken):
    path = "scantling.tasks.objectives.MSEGrade"
    with pytest.raises(RecipeError, match="is no Adapter"):
        load(broken(lambda meta: meta["adapter"].update(class_path=path, init_args={})))


@pytest.mark.parametrize("setting", [{"weights": "hub"}, {"weights": "/somewhere/else"}, {}])
def test_weights_come_from_the_bundle_and_nowhere_else(broken, bundle, monkeypatch, setting):
    import timm

    create = timm.create_model

    def offline(*args, pretrained=False, **options):
        assert not pretrained
        return create(*args, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    folder = broken(lambda meta: meta["adapter"].update(init_args={"backbone": "resnet18", **setting}))
    torch.testing.assert_close(load(folder)(pixels()), load(bundle)(pixels()))


@pytest.mark.parametrize("length", [0, 4, 1000, -1])
def test_cut_off_weights_are_a_bundle_error(broken, length):
    folder = broken(lambda meta: None)
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(BundleError, match="damaged"):
        load(folder)


def test_damage_is_named(broken, bundle, tmp_path):
    for key in ("adapter", "objective", "target", "inputs", "preprocess"):
        with pytest.raises(BundleError, match="incomplete"):
            load(broken(lambda meta, key=key: meta.pop(key)))
        shutil.rmtree(tmp_path / "broken")
    with pytest.raises(BundleError, match="do not fit"):
        load(broken(lambda meta: meta["adapter"]["init_args"].update(backbone="resnet10t")))
    (tmp_path / "broken" / "bundle.json").write_text('{"format": 1, "adap')
    with pytest.raises(BundleError, match="not valid JSON"):
        load(tmp_path / "broken")
    with pytest.raises(BundleError, match="no finished bundle"):
        load(tmp_path)
    with pytest.raises(BundleError, match="no such folder"):
        load(tmp_path / "nowhere")


def test_a_run_folder_stands_for_its_last_stage(bundle, tmp_path):
    shutil.copytree(bundle, tmp_path / "run" / "train" / "bundle")
    torch.testing.assert_close(load(tmp_path / "run")(pixels()), load(bundle)(pixels()))


def test_images_come_as_files_or_as_pixels(bundle, tmp_path):
    model = load(bundle)
    levels = (pixels() * 255).byte()
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for path, image in zip(paths, levels, strict=True):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    wanted = model.predict(levels).probabilities
    for images in (paths, [str(p) for p in paths], levels.numpy(), levels.float() / 255):
        torch.testing.assert_close(model.predict(images).probabilities, wanted)
    torch.testing.assert_close(model.predict(str(paths[2])).probabilities, wanted[2:3])
    with pytest.raises(DataError, match="no images"):
        model.predict([])
    with pytest.raises(DataError, match="no such file"):
        model.predict(tmp_path / "none.png")


def test_an_unknown_device_is_an_error_of_ours():
    assert pick_device("cpu").type == "cpu" and pick_device("auto").type in {"cpu", "cuda"}
    for name in ("gpu!", "cuda:99"):
        with pytest.raises(TrainingError, match="no device"):
            pick_device(name)


class Mean(Adapter):
    """The mean of the image: no turn and no mirror changes it. With ``place``, where the light lies counts as well."""

    def __init__(self, place: bool = False) -> None:
        super().__init__(1, Inputs((16, 16)))
        self.place = place
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, batch: TensorDict) -> torch.Tensor:
        image = batch["image"].mean(1)
        height, width = image.shape[-2:]
        ramp = torch.linspace(0, 1, height)[:, None] ** 2 + 3 * torch.linspace(0, 1, width)
        return self.scale * (image * (ramp if self.place else 1)).mean((1, 2))[:, None]


def model_of(adapter: Adapter) -> Model:
    objective = MSEGrade()
    target = Grade(("0", "1", "2"))
    objective.configure(target)
    return Model(adapter, objective, target, Preprocess(16), {})


@pytest.mark.parametrize("augmentation", ["flips", "rotations"])
def test_augmentation_leaves_a_symmetric_function_alone(augmentation):
    batch = TensorDict({"image": pixels(3, (16, 16))}, batch_size=[3])
    model = model_of(Mean())
    torch.testing.assert_close(model.outputs(batch, augmentation), model.outputs(batch), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("augmentation", "size", "turns"),
    [("flips", (16, 16), (0, 2)), ("flips", (12, 16), (0, 2)), ("rotations", (16, 16), (0, 1, 2, 3)),
     ("rotations", (12, 16), (0, 2))],
)  # fmt: skip
def test_the_average_does_not_change_when_the_image_is_turned(augmentation, size, turns):
    image = pixels(3, size)
    model = model_of(Mean(place=True))
    batch = TensorDict({"image": image}, batch_size=[3])
    wanted = model.outputs(batch, augmentation)
    assert (model.outputs(batch) - wanted).abs().max() > 1e-3
    for quarter in turns:
        for mirror in (False, True):
            seen = torch.rot90(image.flip(-1) if mirror else image, quarter, (-2, -1))
            found = model.outputs(TensorDict({"image": seen}, batch_size=[3]), augmentation)
            torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize("augmentation", ["flips", "rotations"])
def test_masks_of_a_turned_image_are_the_turned_masks(augmentation):
    class Ramp(Mean):
        def forward(self, batch: TensorDict) -> torch.Tensor:
            image = batch["image"]
            return self.scale * torch.cat([image[:, :1].roll(2, -1), image[:, 1:2] * torch.linspace(0, 1, 16)], 1)

    objective, target = DiceCrossEntropy(), Mask(("background", "vessel"))
    objective.configure(target)
    model = Model(Ramp(), objective, target, Preprocess(16), {})
    image = pixels(2, (16, 16))
    batch = TensorDict({"image": image}, batch_size=[2])
    wanted = model.segment(batch, augmentation)
    found = model.segment(TensorDict({"image": image.flip(-1)}, batch_size=[2]), augmentation)
    torch.testing.assert_close(found.probabilities.flip(-1), wanted.probabilities)
    torch.testing.assert_close(found.deviation.flip(-1), wanted.deviation)
    assert (model.segment(batch).probabilities - wanted.probabilities).abs().max() > 1e-2


def test_both_eyes_are_turned_alike(tmp_path):
    model = load(save(tmp_path / "b", adapter=PairedEyes, backbone="resnet18"))
    image, fellow = pixels(2), pixels(4)[2:]

    def outputs(there):
        fields = {"image": there(image), "fellow_image": there(fellow), "fellow_present": torch.ones(2).bool()}
        return model.outputs(TensorDict(fields, batch_size=[2]), "flips")

    torch.testing.assert_close(outputs(lambda x: x.flip(-1)), outputs(lambda x: x), atol=1e-5, rtol=1e-5)
    swapped = {"image": fellow, "fellow_image": image, "fellow_present": torch.ones(2).bool()}
    assert (model.outputs(TensorDict(swapped, batch_size=[2])) - outputs(lambda x: x)).abs().max() > 1e-4


def test_an_unknown_augmentation_is_refused(bundle):
    with pytest.raises(RecipeError, match="did you mean 'flips'"):
        load(bundle).predict(pixels(), "flip")  # type: ignore[arg-type]
