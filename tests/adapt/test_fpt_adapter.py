"""Properties of FPT and FPT+ as adapters (sheets: fpt, fpt_plus)."""

import copy
import gc

import pytest
import torch
from tensordict import TensorDict
from torch.nn import functional as F

from scantling.adapt.fpt import FPT, FrozenFeatures
from scantling.core.batch import FROZEN_IMAGE, FROZEN_KEYS, FROZEN_VALUES, IMAGE
from scantling.core.errors import DataError, RecipeError
from scantling.core.seams import Inputs
from scantling.nets import frozen as networks

CLASSIC = {"blocks": "all", "prompt_width": "side", "residual": "after"}
SMALL = {"backbone": "test_vit", "weights": "none", "frozen_size": 64, "ratio": 0.5, "prompts": 4}
SIDE = Inputs(size=(32, 48))
KINDS = {"fpt+": {}, "fpt": CLASSIC}


def adapter(kind: str = "fpt+", **settings) -> FPT:
    torch.manual_seed(0)
    return FPT(3, SIDE, **{**SMALL, **KINDS[kind], **settings}).eval()


def settings_of(kind: str, **settings) -> dict:
    return {**SMALL, **KINDS[kind], **settings}


def images(count: int = 4, seed: int = 0) -> TensorDict:
    """Both looks at random images, uint8."""
    g = torch.Generator().manual_seed(seed)
    fields = {
        IMAGE: torch.randint(0, 256, (count, 3, *SIDE.size), dtype=torch.uint8, generator=g),
        FROZEN_IMAGE: torch.randint(0, 256, (count, 3, 64, 64), dtype=torch.uint8, generator=g),
    }
    return TensorDict({k: v.float().div_(255) for k, v in fields.items()} | {"raw": fields[FROZEN_IMAGE]}, [count])


def preloaded(batch: TensorDict, kind: str = "fpt+", **settings) -> TensorDict:
    """The batch as a loader gives it: one stored form in the place of the large image."""
    (view,) = FPT.views(settings_of(kind, **settings), SIDE)
    rows = {name: rows[:, 0] for name, rows in view.derivation(batch["raw"]).items()}
    return TensorDict({IMAGE: batch[IMAGE], **rows}, [len(batch)])


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("classes", "plus", "classic"),
    [(5, 900_965, 1_602_341), (2, 900_674, None), (3, 900_771, None), (7, 901_159, None)],
)
def test_parameter_counts_and_shares_of_the_sheets(classes, plus, classic):
    small, large = Inputs(size=(128, 128)), Inputs(size=(224, 224))
    net = FPT(classes, small)
    assert parameters(net) == plus
    assert net.share() == plus / (plus + 86_859_496)
    assert round(100 * net.share(), 2) == 1.03
    first = FPT(classes, large, **CLASSIC)
    assert round(100 * first.share(), 2) == 1.81
    if classes == 5:
        assert parameters(first) == 1_602_341
        assert parameters(first.side) == 1_435_589 and parameters(first.fusion) == 166_752
        assert parameters(net.side) == 751_877 and parameters(net.fusion) == 149_088


def test_parameter_counts_on_the_large_transformer():
    net = FPT(5, Inputs(size=(128, 128)), backbone="vit_large_patch16_384")
    assert parameters(net) == 2_816_901
    assert 100 * net.share() == pytest.approx(0.916, abs=5e-4)
    first = FPT(5, Inputs(size=(224, 224)), backbone="vit_large_patch16_384", **CLASSIC)
    assert parameters(first) == 5_195_653
    assert 100 * first.share() == pytest.approx(1.6765, abs=5e-5)


def test_one_module_makes_both():
    net = FPT(5, Inputs(size=(128, 128)), blocks=[6, 7, 8, 9, 10, 11], prompt_width="frozen", residual="before")
    assert parameters(net) == 900_965
    assert parameters(FPT(5, Inputs(size=(128, 128)), prompts=0)) == 751_877


@pytest.mark.parametrize("kind", ["fpt", "fpt+"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8"])
def test_stored_features_and_those_computed_on_the_way_give_the_same_outputs(kind, dtype):
    net, batch = adapter(kind, stored_dtype=dtype), images()
    computed = net(batch.select(IMAGE, FROZEN_IMAGE))
    assert torch.equal(net(preloaded(batch, kind, stored_dtype=dtype)), computed)
    other = images()
    other[FROZEN_IMAGE] = images(seed=5)[FROZEN_IMAGE]
    assert not torch.equal(net(other), computed)


def test_training_on_stored_features_never_touches_the_frozen_network(monkeypatch):
    batch = preloaded(images())
    gc.collect()

    def absent(*_):
        raise AssertionError("the frozen network was asked for")

    monkeypatch.setattr(networks, "find_frozen", absent)
    net = adapter().train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
    F.cross_entropy(net(batch), torch.tensor([0, 1, 2, 0])).backward()
    optimizer.step()
    state = net.learned_state()
    assert state.keys() == before.keys() == dict(net.learnable()).keys()
    assert all(not torch.equal(before[name], state[name]) for name in state)
    assert sum(t.numel() for t in state.values()) == parameters(net)
    with pytest.raises(AssertionError, match="asked for"):
        net(images())


@pytest.mark.parametrize("kind", ["fpt", "fpt+"])
def test_every_learnable_tensor_gets_a_gradient_at_step_one_and_the_frozen_network_none(kind):
    net = adapter(kind).train()
    F.cross_entropy(net(images()), torch.tensor([0, 1, 2, 0])).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())
    body = net.features._network[2]
    assert parameters(body) > 0 and all(p.grad is None and not p.requires_grad for p in body.parameters())
    names = set(net.state_dict())
    assert names and not names & set(net.frozen.state) and not any("features" in name for name in names)


def test_a_block_of_the_side_network_hears_of_its_own_features_and_of_earlier_ones_only():
    net, batch = adapter("fpt"), preloaded(images(), "fpt")
    depth = len(net.side.blocks)
    assert depth == 6

    def states(given: TensorDict) -> list[torch.Tensor]:
        seen = []
        handles = [b.register_forward_hook(lambda m, g, out: seen.append(out.detach()[:, :7])) for b in net.side.blocks]
        net(given)
        for handle in handles:
            handle.remove()
        return seen

    plain = states(batch)
    changed = batch.clone()
    changed[FROZEN_KEYS][:, 3] += 1.0
    changed[FROZEN_VALUES][:, 3] *= 2.0
    differ = [not torch.equal(a, b) for a, b in zip(plain, states(changed), strict=True)]
    assert differ == [False] * 3 + [True] * 3


def test_prompts_are_dropped_behind_every_block():
    net, batch = adapter(), preloaded(images())
    seen = []
    for block in net.side.blocks:
        block.register_forward_hook(lambda m, given, out: seen.append((given[0].shape[1], out.shape[1])))
    net(batch)
    assert seen == [(1 + 2 * 3 + 4, 1 + 2 * 3 + 4)] * 3


def test_without_prompts_it_is_a_plain_transformer_on_the_small_image():
    net, batch = adapter(prompts=0), images()
    assert FPT.views(settings_of("fpt+", prompts=0), SIDE) == ()
    assert net.frozen is None and net.features is None and net.share() == 1.0
    plain = net(batch.select(IMAGE))
    other = images()
    other[FROZEN_IMAGE] = images(seed=5)[FROZEN_IMAGE]
    assert torch.equal(net(other), plain)
    tokens = net.side.embed(net.standardise(batch[IMAGE]))
    for block in net.side.blocks:
        tokens = block(tokens)
    torch.testing.assert_close(net.side.head(net.side.norm(tokens)[:, 0]), plain)


def test_rows_are_independent_of_each_other():
    net, batch = adapter(), preloaded(images())
    torch.testing.assert_close(net(batch[1:2]), net(batch)[1:2], atol=1e-6, rtol=1e-5)


def test_views_follow_the_settings():
    (view,) = FPT.views(settings_of("fpt+", stored_views=["identity", "horizontal"]), SIDE)
    assert (view.field, view.size, view.codes) == (FROZEN_IMAGE, (64, 64), (0, 1))
    assert isinstance(view.derivation, FrozenFeatures)
    assert view.derivation.settings == adapter(stored_views=["identity", "horizontal"]).features.settings
    (view,) = FPT.views(settings_of("fpt+", preload=False, frozen_size=[32, 64]), SIDE)
    assert view.derivation is None and view.size == (32, 64) and view.codes == (0,)
    (view,) = FPT.views({}, SIDE)
    assert view.derivation.row == (6, 12, 205, 64)


def test_the_frozen_network_sees_images_by_the_data_or_by_its_own_mean():
    own = Inputs(size=SIDE.size, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    of_data = FPT(3, own, **SMALL).features.inputs
    of_backbone = FPT(3, own, **SMALL, normalize="backbone").features.inputs
    assert (of_data.mean, of_data.std) == (own.mean, own.std)
    assert (of_backbone.mean, of_backbone.std) == ((0.5,) * 3, (0.5,) * 3)
    grey = Inputs(size=SIDE.size, channels=1, mean=(0.1,), std=(0.2,))
    assert FPT(3, grey, **SMALL, normalize="backbone").features.inputs.mean == (0.5,)


def test_grey_images():
    net = FPT(2, Inputs(size=SIDE.size, channels=1, mean=(0.5,), std=(0.2,)), **SMALL)
    batch = TensorDict({IMAGE: torch.rand(2, 1, *SIDE.size), FROZEN_IMAGE: torch.rand(2, 1, 64, 64)}, [2])
    assert net(batch).shape == (2, 2)


def test_large_images_may_be_uint8():
    net, batch = adapter(), images()
    raw = TensorDict({IMAGE: batch[IMAGE], FROZEN_IMAGE: batch["raw"]}, [4])
    assert torch.equal(net(raw), net(batch))


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b.exclude(FROZEN_KEYS),
        lambda b: b.exclude(FROZEN_VALUES),
        lambda b: b.set(FROZEN_KEYS, b[FROZEN_KEYS][:, 1:]),
        lambda b: b.set(FROZEN_VALUES, b[FROZEN_VALUES][:, :, :, :-1]),
        lambda b: b.set(FROZEN_KEYS, b[FROZEN_KEYS].to(torch.int8)),
        lambda b: b.exclude(FROZEN_KEYS, FROZEN_VALUES).set(FROZEN_IMAGE, torch.rand(4, 3, 64, 48)),
        lambda b: b.set(IMAGE, torch.rand(4, 3, 32, 32)),
    ],
)
def test_batches_that_do_not_fit_say_so(change):
    net, batch = adapter(), preloaded(images())
    with pytest.raises(DataError) as caught:
        net(change(batch))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 220


@pytest.mark.parametrize(
    "wrong",
    [
        {"reduction": 5}, {"reduction": 0}, {"patch_size": 20}, {"residual": "after"}, {"backbone": "resnet10t"},
        {"normalize": "image"}, {"blocks": "some"}, {"stored_views": ["mirror"]},
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_refused(wrong):
    with pytest.raises(RecipeError):
        adapter(**wrong)


def test_copies_share_no_network_and_compute_alike():
    net, batch = adapter(), images()
    out = net(batch)
    twin = copy.deepcopy(net)
    assert twin.features._network is None
    assert torch.equal(twin(batch), out)


def test_the_saliency_map_lies_in_front_of_the_last_block():
    net, batch = adapter(), images()
    patches, outputs = net.saliency_map(batch)
    assert patches.shape == (4, 8, 2, 3) and patches.requires_grad
    torch.testing.assert_close(outputs, net(batch), atol=1e-6, rtol=1e-5)
    (gradient,) = torch.autograd.grad(outputs[:, 1].sum(), patches)
    assert gradient.abs().sum() > 0


def test_prediction_in_inference_mode_comes_before_training_without_harm():
    net, batch = adapter(), images()
    with torch.inference_mode():
        quiet = net(batch)
    net(batch).sum().backward()
    assert torch.equal(quiet, net(batch))
