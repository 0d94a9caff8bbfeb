"""Fields from several sources in one batch, and mirrored forms that agree with the image."""

import pytest
import torch
from tensordict import TensorDict

from scantling.core.errors import DataError
from scantling.data.images import Held
from scantling.data.joined import Joined, Part, mirrored, pixels_of
from scantling.data.loader import Loader

N, CODES = 7, (0, 1, 2, 3)


def images(size=4, seed=0):
    return torch.randint(0, 255, (N, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def joined():
    small = images()
    forms = torch.stack([torch.stack([mirrored(i[None], torch.tensor([c]))[0] for c in CODES]) for i in small])
    other = Held(TensorDict({"image": images(8, 1), "kept": forms}, batch_size=[N]))
    return Joined(Held(TensorDict({"image": small}, batch_size=[N])), [Part(other, {"kept": "kept"}, CODES)])


def test_each_code_mirrors_as_it_says():
    x = torch.arange(12).view(1, 1, 3, 4)
    found = mirrored(x.repeat(4, 1, 1, 1), torch.tensor(CODES))
    expected = [x[0], x[0].flip(-1), x[0].flip(-2), x[0].flip(-1, -2)]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_mirroring_leaves_what_was_given_alone():
    x = images()
    before = x.clone()
    mirrored(x, torch.ones(N, dtype=torch.int64))
    assert torch.equal(x, before)


def test_rows_take_their_fields_from_their_own_source():
    source = joined()
    rows = torch.tensor([5, 0, 3])
    batch = source.gather(rows)
    assert set(batch.keys()) == {"image", "kept"}
    assert torch.equal(batch["kept"], batch["image"])
    assert torch.equal(batch["image"], images()[rows])


def test_only_the_form_asked_for_is_given():
    source = joined()
    rows, forms = torch.tensor([1, 1, 6]), torch.tensor([0, 3, 2])
    batch = source.gather(rows, forms=forms)
    assert torch.equal(batch["kept"], mirrored(images()[rows], forms))


def test_pixels_come_under_another_name():
    source = Joined(Held(TensorDict({"image": images()}, batch_size=[N])), [
        pixels_of(Held(TensorDict({"image": images(8, 1)}, batch_size=[N])), "frozen_image")
    ])  # fmt: skip
    batch = source.gather(torch.tensor([2, 4]))
    assert batch["image"].shape[-1] == 4
    assert torch.equal(batch["frozen_image"], images(8, 1)[[2, 4]])


def test_a_field_that_nobody_has_is_refused():
    with pytest.raises(DataError, match="no field 'keptt'"):
        joined().gather(torch.tensor([0]), ["keptt"])


@pytest.mark.parametrize("sampler", ["instance", "class_balanced"])
def test_in_training_both_looks_are_mirrored_alike_and_differently_in_every_epoch(sampler):
    labels = torch.arange(N) % 2
    loader = Loader(joined(), torch.arange(N), 3, sampler=sampler, labels=labels, seed=1)
    seen = []
    for epoch in range(6):
        loader.set_epoch(epoch)
        for batch in loader:
            assert torch.equal(batch["kept"], batch["image"])
            plain = (batch["image"] == images()[batch["index"]]).flatten(1).all(1)
            seen += plain.tolist()
    assert 0.05 < sum(seen) / len(seen) < 0.55


def test_forms_depend_on_seed_and_epoch_alone():
    first, again, other = (Loader(joined(), torch.arange(N), 2, seed=s, prefetch=0) for s in (4, 4, 5))
    again.set_epoch(1)
    again.set_epoch(0)
    again.start_at(2)
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(list(first)[2:], again, strict=True))
    assert torch.equal(first.order(), again.order())
    rows = torch.arange(N)
    assert not torch.equal(first.batch(rows)["image"], other.batch(rows)["image"])


def test_evaluation_shows_every_image_as_it_is():
    loader = Loader(joined(), torch.arange(N), 3, sampler="sequential")
    found = torch.cat([batch["kept"] for batch in loader])
    assert torch.equal(found, images())
