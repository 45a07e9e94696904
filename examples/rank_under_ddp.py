"""Effective rank while a network trains under DDP: python examples/rank_under_ddp.py [PROCESSES].

Each process accumulates the moments of its own batches; once an epoch they are merged over all processes, so that every
rank sees the effective rank of all rows. What travels is one d x d matrix, whatever the number of rows. In a program
of yours `torchrun` starts the processes; here they are started with gloo, on the CPU.
"""

from __future__ import annotations

import os
import sys
import tempfile

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits

import featdiv

DIGITS = 1797
EPOCHS, BATCH, WIDTH = 3, 64, 32


def train(rank: int, processes: int, meeting: str) -> None:
    """What each process does: train on its part of the digits, and tell the rank of all."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=processes)
    x = torch.tensor(load_digits().data, dtype=torch.float32)[rank::processes] / 16.0
    network = torch.nn.Sequential(torch.nn.Linear(64, WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, 64))
    model = torch.nn.parallel.DistributedDataParallel(network)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    hidden: list[torch.Tensor] = []
    network[1].register_forward_hook(lambda module, inputs, output: hidden.append(output.detach()))
    for epoch in range(EPOCHS):
        moments = featdiv.Moments.empty(WIDTH)
        # As many steps on every rank: DDP waits for all of them.
        for batch in x[: DIGITS // processes].split(BATCH):
            loss = torch.nn.functional.mse_loss(model(batch), batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            moments += featdiv.Moments.of(hidden.pop())
        everyone = moments.all_reduce()
        if rank == 0:
            spectrum = featdiv.spectrum(everyone)
            print(
                f"epoch {epoch}: {everyone.n} rows of {processes} processes, effective rank "
                f"{spectrum.effective_rank:.1f}, RankMe {spectrum.rankme:.1f} of {WIDTH}",
                flush=True,
            )
    dist.destroy_process_group()


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(train, args=(count, os.path.join(folder, "meeting")), nprocs=count)
