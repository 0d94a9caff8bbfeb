"""The task Segment: patches hold what they show, structures are found in them, views of a batch undo each other."""

import pytest
import torch
from tensordict import TensorDict

from scantling.core.batch import SALIENCY
from scantling.core.errors import RecipeError
from scantling.core.seams import Adapter, Inputs
from scantling.core.target import Classes, Mask, Masks
from scantling.data.preprocess import Preprocess
from scantling.run.model import Model
from scantling.run.views import VIEWS, views_of
from scantling.tasks.objectives import CrossEntropy, DiceBinaryCrossEntropy, DiceCrossEntropy
from scantling.tasks.segment import Segment, random_patches


def coded(n=3, height=40, width=32):
    """Images, masks and maps that all say where a pixel came from."""
    place = torch.arange(height * width).view(1, height, width).expand(n, -1, -1)
    fields = {"image": place[:, None].float().expand(-1, 3, -1, -1), "mask": place, SALIENCY: place[:, None].float()}
    return TensorDict({k: v.clone() for k, v in fields.items()}, batch_size=[n])


@pytest.mark.parametrize("foreground", [0.0, 0.5])
def test_image_mask_and_map_of_a_patch_are_of_one_place(foreground):
    out = random_patches(coded(), 12, 4, torch.Generator().manual_seed(0), foreground)
    assert out["image"].shape == (12, 3, 12, 12) and out["mask"].shape == (12, 12, 12)
    for field in ("image", SALIENCY):
        assert torch.equal(out[field][:, 0].long(), out["mask"])
    assert (out["mask"].diff(dim=2) == 1).all() and (out["mask"].diff(dim=1) == 32).all()
    assert out["mask"][:, 0, 0].unique().numel() > 6, "patches lie at different places"


def test_patches_of_structures_hold_one_wherever_it_is():
    batch = TensorDict({"image": torch.rand(4, 3, 64, 64), "mask": torch.zeros(4, 64, 64, dtype=torch.int64)}, [4])
    for i, (row, column) in enumerate([(0, 0), (63, 63), (31, 7)]):
        batch["mask"][i, row, column] = 1
    batch["mask"][:, 20:30, 40:] = torch.where(batch["mask"][:, 20:30, 40:] > 0, 1, -1)
    out = random_patches(batch, 8, 20, torch.Generator().manual_seed(1), 1.0)
    held = (out["mask"] == 1).flatten(1).any(1).view(4, 20)
    assert held[:3].all() and not held[3].any()
    few = random_patches(batch, 8, 200, torch.Generator().manual_seed(1), 0.25)
    share = (few["mask"] == 1).flatten(1).any(1).view(4, 200)[:3].float().mean()
    assert 0.17 < share < 0.36


def test_every_pixel_of_a_structure_is_as_likely():
    batch = TensorDict({"image": torch.rand(1, 1, 16, 16), "mask": torch.zeros(1, 16, 16, dtype=torch.int64)}, [1])
    batch["mask"][0, 4, 4:8] = torch.tensor([1, 2, 3, 4])
    out = random_patches(batch, 1, 4000, torch.Generator().manual_seed(2), 1.0)
    assert (torch.bincount(out["mask"].flatten(), minlength=5)[1:] - 1000).abs().max() < 120


class Where(Adapter):
    """The image itself as outputs; or the same everywhere."""

    def __init__(self, constant=False, outputs=2):
        super().__init__(outputs, Inputs((16, 16)))
        self.scale, self.constant = torch.nn.Parameter(torch.ones(1)), constant

    def forward(self, batch):
        image = batch["image"][:, : self.outputs] * 4 - 2
        return self.scale * (torch.full_like(image, 0.7) if self.constant else image)


def model(adapter, target=Masks(("disc", "cup"))):  # noqa: B008
    objective = DiceBinaryCrossEntropy() if target.kind == "masks" else DiceCrossEntropy()
    objective.configure(target)
    return Model(adapter, objective, target, Preprocess(16), {})


def images(height, width, seed=0):
    return TensorDict({"image": torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(seed))}, [2])


@pytest.mark.parametrize("augmentation", ["flips", "rotations", "scales"])
@pytest.mark.parametrize("target", [Masks(("disc", "cup")), Mask(("background", "cup"))])
def test_views_leave_a_constant_network_alone(augmentation, target):
    made, seen = model(Where(constant=True), target), images(16, 20)
    alone, averaged = made.segment(seen), made.segment(seen, augmentation)
    torch.testing.assert_close(averaged.probabilities, alone.probabilities)
    torch.testing.assert_close(averaged.entropy, alone.entropy)
    assert averaged.deviation.max() < 1e-3 and alone.deviation is None


@pytest.mark.parametrize("augmentation", ["flips", "rotations"])
def test_views_leave_a_network_alone_that_looks_at_every_pixel_on_its_own(augmentation):
    made, seen = model(Where()), images(16, 16)
    torch.testing.assert_close(made.segment(seen, augmentation).probabilities, made.segment(seen).probabilities)


def test_probabilities_are_averaged_not_outputs():
    class Lopsided(Where):
        def forward(self, batch):
            return self.scale * torch.linspace(-9, 9, 16).expand(len(batch), 2, 16, 16)

    found = model(Lopsided()).segment(images(16, 16), "flips").probabilities
    p = torch.linspace(-9, 9, 16).sigmoid()
    torch.testing.assert_close(found[0, 0, 0], (p + p.flip(0)) / 2)
    deviation = model(Lopsided()).segment(images(16, 16), "flips").deviation
    torch.testing.assert_close(deviation[0, 0], (p - p.flip(0)).abs() / 2, atol=1e-4, rtol=0)


def test_views_put_maps_back_at_their_size():
    batch = images(20, 28)
    for name in VIEWS:
        for view in views_of(name, False, True):
            seen = view.of(batch)["image"]
            assert view.undone(seen, (20, 28)).shape[-2:] == (20, 28)
            if view.scale == 1:
                assert torch.equal(view.undone(seen, (20, 28)), batch["image"])


def test_entropy_is_zero_where_certain_and_one_where_undecided():
    objective = DiceBinaryCrossEntropy()
    objective.configure(Masks(("a", "b")))
    p = torch.tensor([[0.0, 1.0], [0.5, 1.0], [0.5, 0.5]]).view(3, 2, 1, 1)
    torch.testing.assert_close(objective.entropy(p).flatten(), torch.tensor([0.0, 1.0, 1.0]))
    exclusive = DiceCrossEntropy()
    exclusive.configure(Mask(("a", "b", "c")))
    p = torch.tensor([[1.0, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0]]).view(3, 3, 1, 1)
    wanted = torch.tensor([0.0, 1.0, float(torch.tensor(2.0).log() / torch.tensor(3.0).log())])
    torch.testing.assert_close(exclusive.entropy(p).flatten(), wanted)


def test_a_task_of_masks_asks_for_an_objective_of_masks():
    from scantling.adapt import UNet

    def adapter(outputs, inputs):
        return UNet(outputs, inputs, width=2)

    with pytest.raises(RecipeError, match="draws no masks"):
        Segment(adapter, CrossEntropy()).build(Classes(("a", "b")), Inputs((32, 32)))
    with pytest.raises(RecipeError, match="foreground"):
        Segment(adapter, foreground=1.5)


@pytest.mark.parametrize("kind", ["mask", "masks"])
def test_validation_dice_is_that_of_the_metrics(kind):
    from scantling.adapt import UNet
    from scantling.metrics.segmentation import by_structure, dice, mean_over_classes

    target = Mask(("background", "a", "b")) if kind == "mask" else Masks(("a", "b"))
    task = Segment(lambda outputs, inputs: UNet(outputs, inputs, width=2))
    task.build(target, Inputs((32, 32)))
    g = torch.Generator().manual_seed(0)
    mask = torch.randint(-1, 3 if kind == "mask" else 4, (3, 32, 32), generator=g)
    batch = TensorDict({"image": torch.rand(3, 3, 32, 32, generator=g), "mask": mask, "index": torch.arange(3)}, [3])
    with torch.no_grad():
        outputs = task.adapter(batch)
        found = task.summarise(task.collect(outputs, batch))["dice"]
    called = task.objective.encode(task.objective.called(task.objective.decode(outputs))).long().numpy()
    truth = mask.numpy()
    values = dice(truth, called, 3) if kind == "mask" else by_structure(dice, truth, called, 2)
    assert found == pytest.approx(float(mean_over_classes(values)), abs=1e-6)
