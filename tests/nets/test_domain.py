"""The domain classifier and its softened labels."""

from __future__ import annotations

import torch

from scantling.nets.domain import DomainDecoder, soft_domains


def test_it_has_the_published_size():
    assert sum(p.numel() for p in DomainDecoder(1280, 3).parameters()) == 164355


def test_logits_come_from_the_domain_features():
    decoder, pooled = DomainDecoder(12, 4), torch.randn(5, 12)
    features = decoder.features(pooled)
    assert features.shape == (5, 128)
    torch.testing.assert_close(decoder(pooled), decoder.classify(features))
    raw = decoder.project(pooled)
    torch.testing.assert_close(features, torch.where(raw > 0, raw, 0.2 * raw))


def test_soft_labels_sum_to_1_for_every_domain_and_keep_the_truth_on_top():
    domains = torch.arange(4).repeat(500)
    soft = soft_domains(domains, 4, torch.Generator().manual_seed(0))
    torch.testing.assert_close(soft.sum(1), torch.ones(2000))
    true = soft.gather(1, domains[:, None])
    assert (soft >= 0).all() and (true >= 0.8).all() and (true <= 1).all()
    assert abs(true.mean().item() - 0.9) < 0.01
    others = soft[domains == 0].mean(0)[1:]
    assert (others - others.mean()).abs().max() < 0.005
