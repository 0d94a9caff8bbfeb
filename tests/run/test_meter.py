"""The meter against figures measured in other ways, against real runs, and against sums by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from itertools import accumulate

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from scantling.core.errors import RecipeError, TrainingError
from scantling.nets.torchvision_ops import declare_missing_operators
from scantling.run.flops import FlopCount
from scantling.run.memory_mode import LiveBytes
from scantling.run.meter import Metering, measure_training, render_table
from scantling.run.optimizer_state import state_bytes

MIB = 2**20


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def timm_network(name: str, frozen_trunk: bool = False, **settings) -> nn.Module:
    declare_missing_operators()
    import timm

    module = timm.create_model(name, num_classes=5, **settings)
    if frozen_trunk:
        module.requires_grad_(False)
        module.get_classifier().requires_grad_(True)
    return module


def images(count: int, size: int) -> TensorDict:
    return TensorDict(
        {"image": torch.rand(count, 3, size, size), "label": torch.zeros(count, dtype=torch.long)}, batch_size=[count]
    )


def cross_entropy(module: nn.Module, batch: TensorDict) -> Tensor:
    return F.cross_entropy(module(batch["image"]), batch["label"])


def squares(module: nn.Module, batch: Tensor) -> Tensor:
    return module(batch).square().mean()


def vit_base(size: int = 512, **settings) -> Callable[[], nn.Module]:
    return partial(timm_network, "vit_base_patch16_224", img_size=size, **settings)


def vit_tiny(**settings) -> nn.Module:
    return timm_network("vit_tiny_patch16_224", img_size=32, depth=2, **settings)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


def costs(metering: Metering) -> dict[str, object]:
    return {k: v for k, v in asdict(metering).items() if k not in {"seconds", "method", "step_seconds"}}


# --- figures that MemTracker, the profiler and a hand-written counter gave for the same networks ----------------------

CHECKPOINTED = {"checkpointing": lambda m: m.set_grad_checkpointing()}


@pytest.mark.parametrize(
    ("build", "size", "options", "alive", "peak", "gflop"),
    [
        (vit_base(), 512, {}, 9333, 9486, 660),
        (vit_base(), 512, {"attention": "unfused"}, 18558, 19541, 641),
        (vit_base(), 512, {"precision": "bf16"}, 5436, 5561, 660),
        (vit_base(), 512, CHECKPOINTED, 673, 1548, 815),
        (vit_base(frozen_trunk=True), 512, {}, 48, 577, 214),
        (vit_base(224), 224, {}, None, 1831, None),
    ],
    ids=["full", "unfused", "bf16", "checkpointed", "probe", "224"],
)
def test_vit_base_costs_what_other_tools_measured(build, size, options, alive, peak, gflop):
    metering = measure_training(build, lambda: images(16, size), cross_entropy, **options)
    assert metering.peak_step_bytes / MIB == pytest.approx(peak, rel=0.01)
    if alive is not None:
        assert metering.activation_bytes / MIB == pytest.approx(alive, rel=0.01)
        assert metering.training_flops_per_image / 1e9 == pytest.approx(gflop, rel=0.01)
    assert metering.seconds < 60
    assert metering.input_bytes == 16 * 3 * size**2 * 4 + 16 * 8
    assert metering.images == 16


def test_vit_base_parameters_weights_gradients_and_state():
    metering = measure_training(vit_base(), lambda: images(16, 512), cross_entropy)
    assert metering.learnable == metering.total == 86_438_405
    assert metering.weights_bytes == metering.gradient_bytes == 4 * 86_438_405
    assert metering.optimizer_bytes / MIB == pytest.approx(659, rel=0.01)
    assert metering.forward_flops_per_image / 1e9 == pytest.approx(214.1, rel=0.001)
    assert metering.peak_bytes == (
        metering.peak_step_bytes + metering.weights_bytes + metering.optimizer_bytes + metering.input_bytes
    )


# --- fake steps against real ones, and the counter against the profiler -----------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"attention": "unfused"},
        {"precision": "bf16"},
        {"zero_grad": "before_backward", "extra_copies": 2},
        {"optimizer": "sgd"},
        {"optimizer": partial(torch.optim.AdamW, foreach=True)},
        {"optimizer": torch.optim.RMSprop},
        CHECKPOINTED,
    ],
    ids=["plain", "unfused", "bf16", "old gradients", "sgd", "foreach", "rmsprop", "checkpointed"],
)
def test_a_fake_step_costs_what_a_real_one_costs(options):
    build = partial(vit_tiny, drop_path_rate=0.2, proj_drop_rate=0.1)
    fake, real = (
        measure_training(build, lambda: images(2, 32), cross_entropy, device=device, **options)
        for device in ("fake", "cpu")
    )
    assert costs(fake) == costs(real)


def test_convolutions_and_batch_norm_cost_the_same_fake_and_real():
    build = partial(timm_network, "resnet18")
    fake, real = (measure_training(build, lambda: images(2, 32), cross_entropy, device=d) for d in ("fake", "cpu"))
    assert costs(fake) == costs(real)
    assert fake.buffers > 0
    assert fake.weights_bytes == 4 * fake.total + 4 * (fake.buffers - 20) + 8 * 20


def test_the_peak_is_the_one_that_the_profiler_sees():
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.norm = nn.Linear(64, 3 * 64), nn.LayerNorm(64)
            self.mlp = nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64))

        def forward(self, x: Tensor) -> Tensor:
            q, k, v = self.qkv(x).chunk(3, dim=-1)
            return self.mlp(self.norm(x + (q @ k.mT).softmax(-1) @ v))

    module, data = nn.Sequential(Block(), Block()), torch.rand(4, 50, 64)
    metering = measure_training(lambda: module, lambda: data, squares, torch.optim.SGD)
    with torch.profiler.profile(profile_memory=True) as profile:
        squares(module, data).backward()
    sizes = [e.nbytes() for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    assert metering.peak_step_bytes == max(accumulate(sizes))


def test_flops_agree_with_those_of_pytorch():
    aten = torch.ops.aten
    extra = {
        aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v),
        aten._scaled_dot_product_flash_attention_for_cpu_backward: lambda g, q, k, v, *_, **__: (
            sdpa_backward_flop_count(g, q, k, v)
        ),
    }
    for build in (vit_tiny, partial(timm_network, "resnet18")):
        module, data = build(), images(2, 32)
        with FlopCounterMode(display=False, custom_mapping=extra) as theirs:
            cross_entropy(module, data).backward()
        assert measure_training(build, lambda: images(2, 32), cross_entropy).training_flops == theirs.get_total_flops()


@pytest.mark.parametrize("block", [nn.TransformerEncoderLayer, nn.MultiheadAttention])
def test_fused_layers_of_a_frozen_transformer_count_their_flops(block):
    layer = block(16, 2, batch_first=True).eval().requires_grad_(False)
    tokens = torch.rand(3, 5, 16)
    found = []
    for fast in (True, False):
        before = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(fast)
        try:
            with FlopCount() as flops:
                layer(tokens) if block is nn.TransformerEncoderLayer else layer(tokens, tokens, tokens)
        finally:
            torch.backends.mha.set_fastpath_enabled(before)
        found.append(flops.total)
    assert found[0] == found[1] > 0


@pytest.mark.parametrize("context", [torch.inference_mode, torch.no_grad])
def test_a_trunk_that_records_nothing_keeps_its_flops(context):
    class Probe(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.head = mlp().requires_grad_(False), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            with context():
                features = self.trunk(x)
            return self.head(features.clone())

    metering = measure_training(Probe, lambda: torch.rand(3, 8), squares)
    assert metering.forward_flops_per_image == 2 * (8 * 16 + 16 * 4 + 4 * 2)
    # Features, output and loss of three images; nothing of the trunk's inside.
    assert metering.activation_bytes == 4 * (3 * 4 + 3 * 2 + 1)


# --- sums by hand -----------------------------------------------------------------------------------------------------


def test_a_two_layer_mlp_by_hand():
    metering = measure_training(mlp, lambda: torch.rand(32, 8), squares, "sgd")
    parameters = 8 * 16 + 16 + 16 * 4 + 4
    assert metering.total == metering.learnable == parameters
    assert metering.optimizer_bytes == metering.gradient_bytes == metering.weights_bytes == 4 * parameters
    # Kept for the backward pass: what the ReLU and the second layer give; and the loss.
    assert metering.activation_bytes == 4 * (32 * 16 + 32 * 4 + 1)
    assert metering.input_bytes == 4 * 32 * 8
    assert metering.forward_flops_per_image == 2 * (8 * 16 + 16 * 4)
    # Backward: gradients of both weights and of the hidden layer, but not of the input.
    assert metering.training_flops_per_image == 2 * (8 * 16 + 16 * 4) * 2 + 2 * 16 * 4


def test_checkpointing_by_hand_keeps_the_borders_only():
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList(mlp_block() for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            for block in self.blocks:
                x = checkpoint(block, x, use_reentrant=False)
            return x

    def mlp_block() -> nn.Module:
        return nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 8))

    metering = measure_training(Checkpointed, lambda: torch.rand(32, 8), squares)
    assert metering.activation_bytes == 4 * (3 * 32 * 8 + 1)
    plain = measure_training(
        lambda: nn.Sequential(*(mlp_block() for _ in range(3))), lambda: torch.rand(32, 8), squares
    )
    assert plain.activation_bytes == 4 * (3 * 32 * (64 + 8) + 1)
    assert metering.training_flops > plain.training_flops


def test_tied_parameters_count_once():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
            self.two.weight = self.one.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.two(self.one(x))

    for device in ("fake", "cpu"):
        metering = measure_training(Tied, lambda: torch.rand(2, 6), squares, "sgd", device=device)
        assert metering.total == metering.learnable == 36
        assert metering.weights_bytes == metering.gradient_bytes == metering.optimizer_bytes == 4 * 36


def test_a_frozen_trunk_has_no_gradients_and_no_state():
    metering = measure_training(
        partial(timm_network, "resnet18", frozen_trunk=True), lambda: images(2, 32), cross_entropy
    )
    head = 512 * 5 + 5
    assert metering.learnable == head < metering.total
    assert metering.share == head / metering.total
    assert metering.gradient_bytes == 4 * head
    assert metering.optimizer_bytes == 2 * 4 * head + 2 * 4
    # In training mode each batch norm gives its output, and nothing below the head keeps it.
    assert metering.activation_bytes < 20 * 512 * 2 * 4


def test_views_of_weights_and_inputs_are_not_counted():
    weight, data = torch.ones(10, 10), torch.ones(50)
    with LiveBytes() as memory:
        memory.ignore([weight, data])
        kept = [weight.t(), weight.view(100)[3:], data.expand(7, 50), weight.mul_(2)]
        assert memory.live == memory.peak == 0
        kept.append(weight + 1)
        assert memory.live == 400
        kept.append(kept[-1].view(100))
        assert memory.live == 400
        kept.clear()
        assert (memory.live, memory.peak) == (0, 400)


def test_copies_of_the_weights_and_old_gradients_add_up():
    plain = measure_training(mlp, lambda: torch.rand(4, 8), squares)
    averaged = measure_training(mlp, lambda: torch.rand(4, 8), squares, extra_copies=1)
    assert averaged.copies_bytes == averaged.weights_bytes == plain.weights_bytes
    assert averaged.peak_bytes == plain.peak_bytes + plain.weights_bytes

    early, late = (
        measure_training(vit_tiny, lambda: images(2, 32), cross_entropy, zero_grad=z)
        for z in ("before_forward", "before_backward")
    )
    assert late.activation_bytes == early.activation_bytes
    assert 0 < late.peak_step_bytes - early.peak_step_bytes <= early.gradient_bytes


@pytest.mark.parametrize(
    ("make", "per_value", "per_tensor"),
    [
        (partial(torch.optim.AdamW, fused=True), 8, 4),
        (partial(torch.optim.AdamW, amsgrad=True), 12, 4),
        (partial(torch.optim.SGD, momentum=0.9), 4, 0),
        (torch.optim.SGD, 0, 0),
    ],
)
def test_state_of_the_optimiser_stepped_computed_and_by_formula(make, per_value, per_tensor):
    metering = measure_training(mlp, lambda: torch.rand(4, 8), squares, make)
    assert metering.optimizer_bytes == per_value * metering.learnable + per_tensor * 4
    assert metering.optimizer_bytes == state_bytes(make, mlp().parameters())


def test_an_optimiser_that_cannot_step_without_numbers_gets_its_state_computed():
    fake, real = (
        measure_training(mlp, lambda: torch.rand(4, 8), squares, torch.optim.Adafactor, device=d)
        for d in ("fake", "cpu")
    )
    assert fake.optimizer_bytes == real.optimizer_bytes > 0
    assert fake.training_flops == real.training_flops
    # Its own temporaries, which decide the peak of so small a network, are all that is missing.
    assert fake.peak_bytes == fake.peak_step_bytes + fake.weights_bytes + fake.input_bytes + fake.optimizer_bytes
    assert fake.peak_bytes <= real.peak_bytes


# --- manners ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["fake", "cpu"])
def test_nothing_outside_is_changed(device):
    module, data = vit_tiny(drop_path_rate=0.5), images(2, 32)
    module.eval()
    before = {name: t.clone() for name, t in module.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    switches = (torch.backends.cuda.math_sdp_enabled(), torch.backends.cuda.flash_sdp_enabled())
    with torch.no_grad():
        measure_training(
            lambda: module, lambda: data, cross_entropy, precision="bf16", attention="unfused", device=device
        )
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.rand(3), expected)
    assert (torch.backends.cuda.math_sdp_enabled(), torch.backends.cuda.flash_sdp_enabled()) == switches
    assert not torch.is_autocast_enabled("cpu")
    assert not module.training
    assert all(type(p) is nn.Parameter and p.grad is None for p in module.parameters())
    assert all(torch.equal(t, before[name]) for name, t in module.state_dict().items())
    assert type(data["image"]) is Tensor


def test_a_network_that_reads_values_while_it_is_built():
    class Curious(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths = torch.linspace(4, 8, 3).tolist()
            self.layers = nn.Sequential(nn.Linear(8, int(widths[1])), nn.Linear(6, 2))
            self.scale = torch.ones(2)

        def forward(self, x: Tensor) -> Tensor:
            return self.layers(x) * self.scale

    fake, real = (measure_training(Curious, lambda: torch.rand(4, 8), squares, device=d) for d in ("fake", "cpu"))
    assert costs(fake) == costs(real)


def test_plain_tensor_attributes_follow_the_network():
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.scale = nn.Linear(8, 2), torch.ones(2)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) * self.scale

    assert measure_training(Scaled, lambda: {"image": torch.rand(4, 8)}, lambda m, b: m(b["image"]).sum()).images == 4


@pytest.mark.parametrize("device", ["fake", "cpu"])
@pytest.mark.parametrize("made", ["before", "on demand"])
def test_tensors_that_a_network_knows_but_does_not_compute_with_are_not_counted(device, made):
    class Standing(nn.Linear):
        def __init__(self) -> None:
            super().__init__(8, 2)
            with torch.device("cpu"):
                self.below = [{"weight": torch.ones(1000)}]

    module = Standing()
    build = (lambda: module) if made == "before" else Standing
    alone, standing = (
        measure_training(b, lambda: torch.rand(4, 8), squares, device=device) for b in (lambda: nn.Linear(8, 2), build)
    )
    assert costs(standing) == costs(alone)


def test_a_step_that_needs_values_says_so():
    def labelled_only(module: nn.Module, batch: TensorDict) -> Tensor:
        known = batch["label"] >= 0
        return F.cross_entropy(module(batch["image"])[known], batch["label"][known])

    with pytest.raises(TrainingError, match=r"values of its tensors.*'cpu'"):
        measure_training(vit_tiny, lambda: images(2, 32), labelled_only)
    assert measure_training(vit_tiny, lambda: images(2, 32), labelled_only, device="cpu").peak_bytes > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, "unknown device 'tpu'"),
        ({"precision": "fp8"}, "unknown precision 'fp8'"),
        ({"attention": "flash"}, "unknown attention"),
        ({"optimizer": "lion"}, "unknown optimizer 'lion'"),
        ({"precision": "fp16", "device": "cpu"}, "fp16 does not train on a CPU"),
        ({"build": lambda: mlp().requires_grad_(False)}, "no parameter learns"),
    ],
)
def test_options_that_cannot_be_used(options, message):
    arguments = {"build": mlp, "batch": lambda: torch.rand(4, 8), "loss": squares} | options
    with pytest.raises(RecipeError, match=message):
        measure_training(**arguments)


def test_a_loss_that_is_no_scalar():
    with pytest.raises(TrainingError, match="not a scalar"):
        measure_training(mlp, lambda: torch.rand(4, 8), lambda m, x: m(x))


def test_fp16_costs_what_bf16_costs():
    half, brain = (
        measure_training(vit_tiny, lambda: images(2, 32), cross_entropy, precision=p) for p in ("fp16", "bf16")
    )
    assert half.peak_bytes == brain.peak_bytes
    assert half.training_flops == brain.training_flops


def test_table_and_json():
    metering = measure_training(mlp, lambda: torch.rand(4, 8), squares)
    probe = measure_training(partial(timm_network, "resnet18", frozen_trunk=True), lambda: images(2, 32), cross_entropy)
    lines = render_table({"small": metering, "probe": probe}).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[0].split("  ")[0] == "recipe"
    assert "allocator" not in lines[0]
    assert "GFLOP/image" in lines[0]
    assert "11,179,077" in lines[2]
    on_gpu = Metering(**{**asdict(metering), "allocator_peak_bytes": 3 * MIB})
    lines = render_table({"gpu": on_gpu, "fake": metering}).splitlines()
    assert "allocator MiB" in lines[0]
    assert " 3.0 " in lines[1]
    assert " - " in lines[2]
    content = json.loads(json.dumps(metering.to_json()))
    assert content["training_flops_per_image"] == metering.training_flops / 4
    assert content["share"] == 1.0
    assert content["method"] == "fake"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_allocator_of_a_gpu_agrees():
    def build() -> nn.Module:
        return timm_network("vit_small_patch16_224", img_size=224)

    metering = measure_training(build, lambda: images(16, 224), cross_entropy, device="cuda")
    assert metering.allocator_peak_bytes == pytest.approx(metering.peak_bytes, rel=0.15)
    assert metering.peak_bytes == pytest.approx(
        measure_training(build, lambda: images(16, 224), cross_entropy).peak_bytes, rel=0.15
    )


def test_without_a_gpu_cuda_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainingError, match="no usable GPU"):
        measure_training(mlp, lambda: torch.rand(4, 8), squares, device="cuda")
