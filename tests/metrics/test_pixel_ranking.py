"""The area under the ROC curve of pixels from counts, against scikit-learn on the probabilities themselves."""

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from scantling.metrics.pixel_ranking import pixel_auroc, score_counts


def made(seed=0, b=3, s=2, size=40):
    g = torch.Generator().manual_seed(seed)
    drawn = torch.rand(b, s, size, size, generator=g) < 0.2
    likely = (torch.randn(b, s, size, size, generator=g) + 1.3 * drawn - 2).sigmoid()
    known = torch.rand(b, 1, size, size, generator=g) < 0.7
    return likely, drawn, known


def test_it_is_the_area_over_known_pixels():
    likely, drawn, known = made()
    found = pixel_auroc(score_counts(likely, drawn, known).numpy())
    for i in range(3):
        for k in range(2):
            keep = known[i, 0]
            assert abs(found[i, k] - roc_auc_score(drawn[i, k][keep], likely[i, k][keep])) < 2e-3


def test_counts_of_slices_add_up_to_those_of_the_volume():
    likely, drawn, known = made(1)
    apart = score_counts(likely, drawn, known).numpy().sum(0)
    keep = known.expand_as(drawn)[:, 0]
    assert abs(pixel_auroc(apart)[0] - roc_auc_score(drawn[:, 0][keep], likely[:, 0][keep])) < 2e-3


def test_perfect_inverted_and_constant_scores():
    drawn = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    drawn[..., :2] = True
    known = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    for likely, wanted in ((drawn.float(), 1.0), (1 - drawn.float(), 0.0), (torch.full((1, 1, 4, 4), 0.3), 0.5)):
        assert pixel_auroc(score_counts(likely, drawn, known).numpy())[0, 0] == wanted
    assert np.isnan(pixel_auroc(score_counts(drawn.float(), known, known).numpy())[0, 0])
