"""An exported file gives what PyTorch gives, or does not come into being."""

from __future__ import annotations

import importlib.util
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from scantling import __version__
from scantling.adapt import PairedEyes
from scantling.core.errors import BundleError, MissingExtraError, ScantlingError
from scantling.run import export as module
from scantling.run.model import Model, load

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

save = runpy.run_path(str(Path(__file__).with_name("bundles.py")))["save"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, module.Export]:
    folder = tmp_path_factory.mktemp("export")
    bundle = save(folder / "bundle")
    return bundle, module.export(bundle, folder / "new" / "model.onnx", check_images=2)


def run(path: Path, **inputs: torch.Tensor) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {name: value.numpy() for name, value in inputs.items()})


def images(n: int, size: tuple[int, int] = (32, 32), seed: int = 4) -> torch.Tensor:
    return torch.rand(n, 3, *size, generator=torch.Generator().manual_seed(seed))


def test_grades_and_severities_agree_for_batches_of_any_size(made):
    bundle, exported = made
    model = load(bundle)
    assert exported.max_difference <= 1e-4 and exported.bytes == exported.path.stat().st_size
    assert [p.name for p in exported.path.parent.iterdir()] == ["model.onnx"]
    for n in (1, 2, 5):
        probabilities, score = run(exported.path, image=images(n))
        result = model.predict(images(n))
        np.testing.assert_allclose(probabilities, result.probabilities, atol=1e-4)
        np.testing.assert_allclose(score, result.scores, atol=1e-4)
        assert model.target.decode(probabilities) == result.labels
    assert result.scores.std() > 1e-3


def test_the_file_says_what_it_is_and_nothing_of_the_machine(made):
    bundle, exported = made
    meta = json.loads((bundle / "bundle.json").read_text())
    content = onnx.load(exported.path)
    onnx.checker.check_model(content)
    notes = {p.key: p.value for p in content.metadata_props}
    for name in ("target", "inputs", "preprocess"):
        assert json.loads(notes[name]) == meta[name]
    assert notes["scantling"] == __version__ and "not a medical device" in notes["notice"]
    raw = exported.path.read_bytes()
    assert not any(word.encode() in raw for word in ("site-packages", str(Path(__file__).parents[2]), str(Path.home())))
    shapes = {v.name: [d.dim_value or d.dim_param for d in v.type.tensor_type.shape.dim] for v in content.graph.input}
    assert list(shapes) == ["image"] and shapes["image"][1:] == [3, 32, 32] and isinstance(shapes["image"][0], str)
    assert [v.name for v in content.graph.output] == ["probabilities", "score"]


def test_a_file_that_differs_from_pytorch_is_refused_and_an_older_one_stays(made, tmp_path, monkeypatch):
    bundle, exported = made
    content = onnx.load(exported.path)

    def wrong(graph, model: Model, path: Path, *rest) -> None:
        head = next(t for t in content.graph.initializer if t.name.endswith("head.weight"))
        values = onnx.numpy_helper.to_array(head) * np.float32(1.05)
        head.CopyFrom(onnx.numpy_helper.from_array(values, head.name))
        onnx.save_model(content, path)

    monkeypatch.setattr(module, "_write", wrong)
    with pytest.raises(ScantlingError, match="differs from PyTorch by"):
        module.export(bundle, tmp_path / "new.onnx")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "old.onnx").write_bytes(b"older")
    with pytest.raises(ScantlingError, match="more than"):
        module.export(bundle, tmp_path / "old.onnx")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("old.onnx", b"older")]
    assert module.export(bundle, tmp_path / "old.onnx", tolerance=1e6).max_difference > 1e-4


def test_outputs_that_are_no_numbers_are_refused_whatever_the_tolerance(made, tmp_path, monkeypatch):
    bundle, exported = made
    monkeypatch.setattr(
        module, "_write", lambda graph, model, path, *rest: path.write_bytes(exported.path.read_bytes())
    )

    def spoiled(self, *values):
        return torch.full((len(values[0]), 3), torch.nan), torch.full((len(values[0]),), torch.nan)

    monkeypatch.setattr(module.Exported, "forward", spoiled)
    with pytest.raises(ScantlingError, match="by inf"):
        module.export(bundle, tmp_path / "model.onnx", tolerance=1e9)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("class", {"backbone": "vit_tiny_patch16_224", "size": 64}),
        ("mask", {"width": 2}),
        ("findings", {"adapter": PairedEyes, "backbone": "resnet10t", "missing": "learned"}),
    ],
    ids=["vit", "unet", "pair"],
)
def test_transformers_masks_and_pairs_of_eyes(tmp_path, capfd, kind, options):
    bundle = save(tmp_path / "bundle", kind, **options)
    exported = module.export(bundle, tmp_path / "model.onnx", check_images=2)
    assert capfd.readouterr() == ("", "")
    model = load(bundle)
    pixels = images(2, model.adapter.inputs.size)
    if model.adapter.wants:
        fellow, present = images(2, seed=9), torch.tensor([True, False])
        found = run(exported.path, image=pixels, fellow_image=fellow, fellow_present=present)
        outputs = model.adapter({"image": pixels, "fellow_image": fellow, "fellow_present": present})
        wanted = model.objective.decode(outputs).detach()
        assert (model.objective.logits(outputs) - model.adapter({"image": pixels})).abs().max() > 1e-2
    else:
        found, wanted = run(exported.path, image=pixels), model(pixels).detach()
    assert len(found) == 1
    np.testing.assert_allclose(found[0], wanted, atol=1e-4)


def test_a_fixed_batch_and_an_opset(tmp_path):
    bundle = save(tmp_path / "bundle", "class", backbone="resnet10t")
    exported = module.export(bundle, tmp_path / "m.onnx", check_images=1, opset=18, dynamic_batch=False)
    content = onnx.load(exported.path)
    assert content.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1
    assert {o.domain: o.version for o in content.opset_import}[""] == 18


def test_weights_too_large_for_one_file_lie_beside_it(made, tmp_path, monkeypatch):
    bundle, exported = made
    content = onnx.load(exported.path)
    monkeypatch.setattr(module, "LARGEST_FILE", 1000)
    monkeypatch.setattr(
        module,
        "_write",
        lambda graph, model, path, *rest: module.save_onnx(content, path),
    )
    found = module.export(bundle, tmp_path / "m.onnx", check_images=1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]
    assert found.bytes == sum(p.stat().st_size for p in tmp_path.iterdir())
    assert (tmp_path / "m.onnx").stat().st_size < 2_000_000
    np.testing.assert_allclose(run(tmp_path / "m.onnx", image=images(2))[0], run(exported.path, image=images(2))[0])


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_missing_packages_are_named_with_their_extra(made, tmp_path, monkeypatch, package):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == package else find(name, *a))
    with pytest.raises(MissingExtraError, match=rf"'{package}'; pip install 'scantling\[export\]'"):
        module.export(made[0], tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_is_said(made, tmp_path, monkeypatch):
    with pytest.raises(ScantlingError, match=r"does not end in \.onnx"):
        module.export(made[0], tmp_path / "m.pt")
    with pytest.raises(BundleError, match="no such folder"):
        module.export(tmp_path / "none", tmp_path / "m.onnx")

    def fails(*args, **options):
        raise RuntimeError("\nUnsupported: aten::magic\nmore for developers")

    monkeypatch.setattr(torch.onnx, "export", fails)
    with pytest.raises(ScantlingError, match=r"cannot be exported \(Unsupported: aten::magic\)"):
        module.export(made[0], tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []
