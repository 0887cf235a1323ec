"""What the scripts beside this one share: steps of training, and their command line."""

import argparse
import inspect

import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
NO_LABEL = -100
"""What a label is where nothing is predicted."""


def descend(model, losses, batches, steps, lr):
    """Take steps of training and print the losses as they fall; the loss of each step.

    losses: makes losses by their names of a batch; what is trained is their sum
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    history = []
    for step in range(steps):
        parts = losses(next(batches))
        loss = sum(parts.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
        if step % 10 == 0 or step == steps - 1:
            shown = "".join(f"   {name} {part.item():.3f}" for name, part in parts.items())
            print(f"step {step:4}   loss {loss.item():.3f}{shown}", flush=True)
    return history


def run(train, description):
    """Call `train` with what the command line says: a path, and its other arguments as options."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("path", help="the shards that `delaytool apply` has made")
    for name, given in inspect.signature(train).parameters.items():
        if given.default is not given.empty:
            option = "--" + name.replace("_", "-")
            text = f"default: {given.default}"
            parser.add_argument(option, type=type(given.default), default=given.default, help=text)
    torch.set_num_threads(1)  # threads of so small a model wait longer than they work
    train(**vars(parser.parse_args()))
