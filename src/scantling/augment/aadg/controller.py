"""AADG's controller: a small recurrent network that proposes augmentation policies.

Source: Lyu et al. 2022, "AADG: Automatic Augmentation for Domain Generalization on Retinal Image Segmentation", IEEE
TMI 41(12), arXiv 2207.13249; the form of the network after Zoph and Le 2017, arXiv 1611.01578.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from scantling.core.errors import RecipeError

LONGEST = 3
"""Operations in a row up to which all sub-policies can be listed: their number is 100 to this power."""

Choose = Callable[[Tensor, int], Tensor]


class Controller(nn.Module):
    """A distribution over sub-policies: ``length`` pairs of an operation and a magnitude, chosen one after the other.

    An LSTM reads each choice before it makes the next one. It begins anew with every sub-policy, so the sub-policies of
    a policy are independent and follow one distribution. Logits are bounded: of ten choices each keeps a probability
    between 0.009 and 0.575.

    Args:
        operations: how many there are.
        magnitudes: how many each operation has.
        length: operations in a sub-policy, 1 to 3.
        embedding: width in which choices are read.
        hidden: width of the LSTM.
        bound: C, see ``temperature``.
        temperature: T; logits are ``C / T tanh(z)``.

    Raises:
        RecipeError: a length outside 1 to 3, or a bound or temperature that is not positive.

    >>> sum(p.numel() for p in Controller().parameters())
    56260
    """

    def __init__(
        self,
        operations: int = 10,
        magnitudes: int = 10,
        length: int = 2,
        embedding: int = 32,
        hidden: int = 100,
        bound: float = 2.5,
        temperature: float = 2.0,
    ) -> None:
        super().__init__()
        if not 1 <= length <= LONGEST:
            raise RecipeError(f"sub-policies of {length} operations", where="search.length", do=f"use 1 to {LONGEST}")
        if bound <= 0 or temperature <= 0:
            raise RecipeError(f"bound {bound:g}, temperature {temperature:g}", where="search", do="use positive ones")
        self.operations, self.magnitudes, self.length = operations, magnitudes, length
        self.bound, self.temperature = bound, temperature
        self.embedding = nn.Embedding(operations + magnitudes, embedding)
        self.cell = nn.LSTMCell(embedding, hidden)
        self.operation = nn.Linear(hidden, operations)
        self.magnitude = nn.Linear(hidden, magnitudes)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -0.1, 0.1)
        for head in (self.operation, self.magnitude):
            nn.init.zeros_(head.bias)

    @torch.no_grad()
    def sample(self, policies: int, subpolicies: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw policies.

        Args:
            policies: M.
            subpolicies: Q of each.
            generator: on the CPU.

        Returns:
            Tokens ``(M, Q, length, 2)`` int64, operation and magnitude, and their log-probabilities ``(M,)``.
        """
        rows = policies * subpolicies
        points = torch.rand(2 * self.length, rows, 1, generator=generator).to(self.device)

        def draw(log_p: Tensor, step: int) -> Tensor:
            below = log_p.exp().cumsum(-1) < points[step]
            return below.sum(-1).clamp_(max=log_p.shape[-1] - 1)

        tokens, log_p, _ = self._walk(rows, draw)
        return tokens.view(policies, subpolicies, self.length, 2), log_p.view(policies, subpolicies).sum(1)

    def evaluate(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """How probable policies are.

        Args:
            tokens: ``(M, Q, length, 2)`` int64.

        Returns:
            Log-probabilities of whole policies ``(M,)``, and the mean entropy of their tokens in nats, ``(M,)``.
        """
        policies, subpolicies = tokens.shape[:2]
        flat = tokens.reshape(policies * subpolicies, -1)
        _, log_p, entropy = self._walk(len(flat), lambda _, step: flat[:, step])
        return log_p.view(policies, -1).sum(1), entropy.view(policies, -1).mean(1) / (2 * self.length)

    @torch.no_grad()
    def probabilities(self) -> Tensor:
        """Of all sub-policies, exact: ``(operations, magnitudes)`` repeated ``length`` times, float64, summing to 1."""
        states = self._start(1)
        read, p = self._nothing(1), torch.ones(1, dtype=torch.float64, device=self.device)
        for step in range(2 * self.length):
            states = self.cell(read, states)
            log_p = self._log_p(states[0], step)
            number = log_p.shape[-1]
            p = (p[:, None] * log_p.double().softmax(-1)).flatten()
            read = self._read(torch.arange(number, device=self.device), step).repeat(len(states[0]), 1)
            states = (states[0].repeat_interleave(number, 0), states[1].repeat_interleave(number, 0))
        return p.view((self.operations, self.magnitudes) * self.length)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.embedding.weight.device

    def _walk(self, rows: int, choose: Choose) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens ``(rows, 2 length)`` as chosen, their summed log-probabilities and summed entropies ``(rows,)``."""
        states, read = self._start(rows), self._nothing(rows)
        tokens, total, entropy = [], torch.zeros(rows, device=self.device), torch.zeros(rows, device=self.device)
        for step in range(2 * self.length):
            states = self.cell(read, states)
            log_p = self._log_p(states[0], step)
            token = choose(log_p, step)
            tokens.append(token)
            total = total + log_p.gather(-1, token[:, None])[:, 0]
            entropy = entropy - (log_p.exp() * log_p).sum(-1)
            read = self._read(token, step)
        return torch.stack(tokens, 1), total, entropy

    def _log_p(self, hidden: Tensor, step: int) -> Tensor:
        head = self.magnitude if step % 2 else self.operation
        return (self.bound / self.temperature * head(hidden).tanh()).log_softmax(-1)

    def _read(self, tokens: Tensor, step: int) -> Tensor:
        return self.embedding(tokens + (self.operations if step % 2 else 0))

    def _start(self, rows: int) -> tuple[Tensor, Tensor]:
        zeros = torch.zeros(rows, self.cell.hidden_size, device=self.device)
        return zeros, zeros

    def _nothing(self, rows: int) -> Tensor:
        return torch.zeros(rows, self.cell.input_size, device=self.device)


def shares(probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """How often operations and magnitudes come, over all places of a sub-policy.

    Args:
        probabilities: of :meth:`Controller.probabilities`.

    Returns:
        ``(operations,)`` and ``(magnitudes,)``, each summing to 1.
    """
    axes = range(probabilities.ndim)
    single = [probabilities.sum([a for a in axes if a != kept]) for kept in axes]
    return torch.stack(single[::2]).mean(0), torch.stack(single[1::2]).mean(0)


def typical(probabilities: Tensor, number: int) -> Tensor:
    """Sub-policies that stand for a whole distribution: its ``number`` quantiles, in the order of the tokens.

    A deterministic sample: equally spaced points below the cumulative probability. Every first operation comes as often
    as its probability says, to within ``1 / number``, and within it every magnitude, and so on.

    Args:
        probabilities: of :meth:`Controller.probabilities`.
        number: how many; some may be alike.

    Returns:
        ``(number, length, 2)`` int64, to be used with equal weights.
    """
    edges = probabilities.flatten().cumsum(0)
    points = (torch.arange(number, dtype=edges.dtype, device=edges.device) + 0.5) / number * edges[-1]
    flat = torch.searchsorted(edges, points).clamp_(max=len(edges) - 1)
    return torch.stack(torch.unravel_index(flat, probabilities.shape), -1).view(number, -1, 2)
