"""Source domains: from a column, or from how the images look."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from tensordict import TensorDict

from scantling.augment.aadg.clusters import clusters, image_statistics
from scantling.augment.aadg.domains import source_domains
from scantling.core.errors import DataError
from scantling.data.images import Held
from scantling.data.manifest import Manifest


def looks(per_style: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of three styles (dark, bright, noisy) in a mixed order, and their styles."""
    generator = torch.Generator().manual_seed(0)
    styles = torch.arange(3).repeat(per_style)[torch.randperm(3 * per_style, generator=generator)]
    smooth = torch.rand(len(styles), 3, 1, 1, generator=generator) * 10
    level = torch.tensor([40.0, 180.0, 110.0])[styles].view(-1, 1, 1, 1)
    noise = torch.tensor([2.0, 2.0, 40.0])[styles].view(-1, 1, 1, 1)
    pixels = level + smooth + noise * torch.randn(len(styles), 3, 16, 16, generator=generator)
    return pixels.clamp(0, 255).to(torch.uint8), styles


def source(images: torch.Tensor) -> Held:
    return Held(TensorDict({"image": images}, batch_size=[len(images)]))


def manifest(sites: list[object]) -> Manifest:
    return Manifest(pd.DataFrame({"image": [f"{i}.png" for i in range(len(sites))], "site": sites}), Path("."))


def test_sites_are_numbered_in_order_and_only_training_rows_belong_to_any():
    found = source_domains(
        manifest(["b", "a", "c", "b", "a"]), source(torch.zeros(5, 3, 2, 2)), torch.tensor([0, 1, 3]), "site"
    )
    assert found.names == ("a", "b")
    assert found.codes.tolist() == [1, 0, -1, 1, -1]


def test_clusters_find_the_styles_and_are_the_same_each_time():
    images, styles = looks()
    table = manifest(["one"] * len(images))
    found = source_domains(table, source(images), torch.arange(len(images)), "clusters:3")
    assert torch.unique(torch.stack([found.codes, styles]), dim=1).shape[1] == 3
    assert torch.equal(
        found.codes, source_domains(table, source(images), torch.arange(len(images)), "clusters:3").codes
    )
    assert found.codes[0] == 0 and len(found.names) == 3


def test_clusters_ignore_units_and_images_that_are_not_trained_on():
    images, _ = looks()
    points = image_statistics(images)
    scaled = points * torch.linspace(0.01, 100, points.shape[1]) + 7
    expected = clusters(points, 3, torch.Generator().manual_seed(0))
    assert torch.equal(clusters(scaled, 3, torch.Generator().manual_seed(0)), expected)
    rows = torch.arange(0, len(images), 2)
    found = source_domains(manifest(["one"] * len(images)), source(images), rows, "clusters:3")
    assert (found.codes[1::2] == -1).all() and (found.codes[::2] >= 0).all()


@pytest.mark.parametrize(
    ("sites", "domain", "message"),
    [
        (["a", "b"], "sites", "no column 'sites' .did you mean 'site'"),
        (["a", None], "site", "row 3"),
        (["a", "a"], "site", "same site, 'a'.*clusters:3"),
        (["a", "b"], "clusters:3", "3 clusters of 2"),
        (["a", "b"], "clusters:2", "do not make 2 groups"),
    ],
)
def test_data_without_domains_are_refused_with_a_way_out(sites, domain, message):
    with pytest.raises(DataError, match=message):
        source_domains(manifest(sites), source(torch.zeros(2, 3, 4, 4, dtype=torch.uint8)), torch.arange(2), domain)
