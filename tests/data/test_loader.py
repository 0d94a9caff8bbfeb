"""Properties of the loader: which rows, in which batch, and what a batch holds."""

import threading
import time

import pandas as pd
import pytest
import torch
from tensordict import TensorDict

from scantling.core.errors import RecipeError
from scantling.data.fellows import fellow_rows
from scantling.data.loader import Loader
from scantling.data.manifest import Manifest

N = 60
LABELS = torch.tensor([0] * 45 + [1] * 12 + [2] * 3)


def data(masks: bool = False) -> TensorDict:
    image = torch.arange(N, dtype=torch.uint8).view(N, 1, 1, 1).expand(N, 3, 4, 4).contiguous()
    fields = {"image": image, "depth": torch.arange(N).float()}
    if masks:
        fields["mask"] = torch.tensor([0, 1, 255, 200], dtype=torch.uint8).view(1, 2, 2).expand(N, 2, 2).contiguous()
    return TensorDict(fields, batch_size=[N])


def rows_of(loader) -> list[list[int]]:
    return [b["index"].tolist() for b in loader]


def flat(lists) -> list[int]:
    return [i for each in lists for i in each]


ROWS = torch.arange(5, 55)


@pytest.mark.parametrize("sampler", ["sequential", "instance", "class_balanced", "progressive"])
@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_batches_hold_the_rows_they_say_and_depend_on_seed_and_epoch_alone(sampler, prefetch):
    loader = Loader(data(), ROWS, 8, sampler, seed=1, labels=LABELS, prefetch=prefetch)
    loader.set_epoch(2)
    seen = list(loader)
    assert len(seen) == len(loader) == 7
    assert [len(b) for b in seen] == [8] * 6 + [2]
    for b in seen:
        assert torch.equal(b["image"][:, 0, 0, 0].long(), b["index"])
        assert torch.equal(b["label"], LABELS[b["index"]])
        assert torch.equal(b["depth"], b["index"].float())
        assert b["image"].dtype == torch.uint8
        assert b["index"].min() >= 5
        assert b["index"].max() < 55
    same = Loader(data(), ROWS, 8, sampler, seed=1, labels=LABELS, prefetch=0)
    assert rows_of(same) != rows_of(loader) or sampler == "sequential"
    same.set_epoch(2)
    assert rows_of(same) == rows_of(loader) == [b["index"].tolist() for b in seen]


@pytest.mark.parametrize("prefetch", [0, 1])
@pytest.mark.parametrize("step", [0, 1, 4, 7])
def test_starting_at_a_step_gives_the_tail_once(prefetch, step):
    loader = Loader(data(), ROWS, 8, "progressive", seed=1, labels=LABELS, prefetch=prefetch)
    whole = rows_of(loader)
    loader.start_at(step)
    assert rows_of(loader) == whole[step:]
    assert len(loader) == 7
    assert rows_of(loader) == whole


def test_an_epoch_visits_every_row_once_and_drop_last_leaves_out_the_rest():
    assert sorted(flat(rows_of(Loader(data(), ROWS, 8, "instance")))) == ROWS.tolist()
    dropped = rows_of(Loader(data(), ROWS, 8, "instance", drop_last=True))
    assert [len(r) for r in dropped] == [8] * 6
    assert rows_of(Loader(data(), ROWS, 8, "sequential")) == [r.tolist() for r in ROWS.split(8)]


def test_balanced_sampling_makes_rare_classes_frequent():
    loader = Loader(data(), torch.arange(N), N, "class_balanced", labels=LABELS)
    counts = torch.zeros(3)
    for epoch in range(40):
        loader.set_epoch(epoch)
        counts += torch.cat([b["label"] for b in loader]).bincount(minlength=3)
    assert ((counts / counts.sum() - 1 / 3).abs() < 0.05).all()


def test_partners_follow_the_rows_of_a_batch_in_an_order_of_their_own():
    alone = Loader(data(), ROWS, 8, "class_balanced", 1, LABELS, drop_last=True)
    paired = Loader(data(), ROWS, 8, "class_balanced", 1, LABELS, drop_last=True, partners="instance")
    both = rows_of(paired)
    assert len(both) == len(paired) == 6
    assert [rows[:8] for rows in both] == rows_of(alone)
    others = flat(rows[8:] for rows in both)
    assert len(set(others)) == 48
    assert set(others) <= set(ROWS.tolist())
    same_order = Loader(data(), ROWS, 8, "instance", 1, LABELS, drop_last=True, partners="instance")
    assert all(rows[:8] != rows[8:] for rows in rows_of(same_order))
    paired.start_at(4)
    assert rows_of(paired) == both[4:]


@pytest.mark.parametrize("world", [2, 3, 4])
@pytest.mark.parametrize("drop_last", [False, True])
def test_ranks_train_in_step_and_together_follow_the_global_order(world, drop_last):
    one = Loader(data(), ROWS, 12, "progressive", 3, LABELS, drop_last=drop_last)
    many = [
        Loader(data(), ROWS, 12 // world, "progressive", 3, LABELS, rank=r, world_size=world, drop_last=drop_last)
        for r in range(world)
    ]
    batches = [rows_of(m) for m in many]
    assert {len(b) for b in batches} == {len(many[0])}
    for step, whole in enumerate(rows_of(one)):
        if len(whole) == 12:
            assert sorted(flat(b[step] for b in batches)) == sorted(whole)


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_evaluation_sees_every_row_exactly_once_over_all_ranks(world):
    loaders = [Loader(data(), ROWS, 4, "sequential", rank=r, world_size=world) for r in range(world)]
    seen = [flat(rows_of(loader)) for loader in loaders]
    assert sorted(flat(seen)) == ROWS.tolist()
    assert max(map(len, seen)) - min(map(len, seen)) <= 1
    assert all(len(list(loader)) == len(loader) for loader in loaders)


def test_masks_become_classes_with_minus_one_for_unknown():
    batch = next(iter(Loader(data(masks=True), ROWS, 4, "sequential")))
    assert batch["mask"].dtype == torch.int64
    assert batch["mask"][0].tolist() == [[0, 1], [-1, 200]]


def test_companions_are_the_other_eye_or_the_eye_itself():
    fellows = torch.full((N,), -1)
    fellows[5], fellows[7] = 59, 5
    loader = Loader(data(), ROWS, 3, "sequential", fellows=fellows, fields=["image"], weights=torch.arange(N))
    batch = next(iter(loader))
    assert batch["fellow_present"].tolist() == [True, False, True]
    assert batch["fellow_image"][:, 0, 0, 0].tolist() == [59, 6, 5]
    assert batch["weight"].tolist() == [5.0, 6.0, 7.0]
    assert batch["weight"].dtype == torch.float32
    assert set(batch.keys()) == {"image", "index", "weight", "fellow_image", "fellow_present"}


class Slow:
    """A source that counts its reads and can fail at one."""

    fields = ("image",)

    def __init__(self, fail_at: int | None = None) -> None:
        self.reads, self.fail_at = 0, fail_at

    def __len__(self) -> int:
        return N

    def gather(self, rows, fields=None):
        self.reads += 1
        if self.reads == self.fail_at:
            raise OSError("gone")
        time.sleep(0.005)
        return TensorDict({"image": torch.zeros(len(rows), 1, 1, 1)}, batch_size=[len(rows)])


def threads() -> int:
    return sum(t.name.startswith("loader") for t in threading.enumerate())


def test_reading_ahead_is_bounded_and_ends_when_the_loop_is_left():
    source = Slow()
    for i, _ in enumerate(Loader(source, ROWS, 5, "sequential", prefetch=1)):
        time.sleep(0.03)
        assert source.reads <= i + 2
        if i == 2:
            break
    assert threads() == 0
    assert source.reads <= 4


@pytest.mark.parametrize("prefetch", [0, 1])
def test_an_error_comes_out_at_its_batch_and_ends_the_thread(prefetch):
    got = []
    with pytest.raises(OSError, match="gone"):
        got.extend(Loader(Slow(fail_at=4), ROWS, 5, "sequential", prefetch=prefetch))
    assert len(got) in (0, 3)
    assert threads() == 0
    steps = iter(Loader(Slow(fail_at=4), ROWS, 5, "sequential", prefetch=prefetch))
    assert [len(next(steps)) for _ in range(3)] == [5, 5, 5]
    with pytest.raises(OSError, match="gone"):
        next(steps)


def test_the_next_batch_is_read_while_one_is_used():
    source = Slow()
    steps = iter(Loader(source, ROWS, 5, "sequential", prefetch=1))
    next(steps)
    patience = time.monotonic() + 20
    while source.reads < 2 and time.monotonic() < patience:
        time.sleep(0.001)
    assert source.reads == 2, "read without being asked for"


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(RecipeError, match="do not fill one batch"):
        Loader(data(), ROWS, 64, drop_last=True)
    with pytest.raises(RecipeError, match="batch size 0"):
        Loader(data(), ROWS, 0)
    with pytest.raises(RecipeError, match="no image has a label"):
        iter(Loader(data(), ROWS, 4, "class_balanced"))


def eyes(rows: list[tuple], columns: str = "patient laterality visit split") -> Manifest:
    table = pd.DataFrame(rows, columns=columns.split()[: len(rows[0])])
    return Manifest(table.assign(image=[f"{i}.png" for i in range(len(rows))]))


def test_fellows_are_the_other_eye_of_the_same_patient_visit_and_split():
    m = eyes(
        [
            ("a", "L", "1", "train"), ("b", "R", "1", "train"), ("a", "R", "1", "train"), ("a", "R", "1", "train"),
            ("a", "R", "2", "train"), ("b", "L", "1", "test"), (None, "L", "1", "train"), (None, "R", "1", "train"),
            ("c", None, "1", "train"), ("c", "R", "1", "train"), ("d", "OD", None, "val"), ("d", "OS", None, "val"),
        ]
    )  # fmt: skip
    assert fellow_rows(m).tolist() == [2, -1, 0, 0, -1, -1, -1, -1, -1, -1, 11, 10]


def test_fellows_never_cross_patients_and_need_both_columns():
    g = torch.Generator().manual_seed(0)
    patients = torch.randint(0, 40, (200,), generator=g).tolist()
    sides = [("left", "right")[i] for i in torch.randint(0, 2, (200,), generator=g).tolist()]
    m = eyes([(f"p{p}", s) for p, s in zip(patients, sides, strict=True)])
    found = fellow_rows(m)
    for row, other in enumerate(found.tolist()):
        candidates = [i for i in range(200) if patients[i] == patients[row] and sides[i] != sides[row]]
        assert other == min(candidates, default=-1)
    assert (fellow_rows(m.with_table(m.table.drop(columns="patient"))) == -1).all()
    assert (fellow_rows(m.with_table(m.table.drop(columns="laterality"))) == -1).all()
