"""Watch for collapse while a network trains, without keeping its features: python examples/watch_training.py.

Two linear layers learn to reconstruct digits through a bottleneck. After each epoch the moments of the hidden features
are merged batch by batch; effective rank and RankMe follow from them.
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits

import featdiv

torch.manual_seed(0)
x = torch.tensor(load_digits().data, dtype=torch.float32) / 16.0
encoder = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU())
decoder = torch.nn.Linear(32, 64)
optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-2)

for epoch in range(5):
    moments = featdiv.Moments.empty(32)
    for batch in x.split(256):
        hidden = encoder(batch)
        loss = torch.nn.functional.mse_loss(decoder(hidden), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        moments += featdiv.Moments.of(hidden.detach())
    spectrum = featdiv.spectrum(moments)
    print(
        f"epoch {epoch}: loss {loss.item():.4f}, effective rank {spectrum.effective_rank:.1f}, "
        f"RankMe {spectrum.rankme:.1f} of 32"
    )
