"""The delay pattern again, slow and obvious: what the package is compared with.

Python lists and a loop over every cell, written from the description of the pattern and not from
the package.
"""


def cells_of(tokens, stream, recipe):
    """One stream of one row, shifted: a list of (what, token, timestep it came from)."""
    largest = max(other.delay for other in recipe.streams)
    middle = [("initial", stream.initial, None)] * stream.delay
    for timestep, token in enumerate(tokens):
        middle.append(("token", token, timestep))
    middle += [("behind", None, None)] * (largest - stream.delay)
    if recipe.length == "truncate":
        middle = middle[: len(tokens)]
    if recipe.initial_step:
        middle = [("initial", stream.initial, None), *middle]
    if recipe.final_step:
        middle = [*middle, ("behind", None, None)]
    cells, first = [], True
    for what, token, timestep in middle:
        if what != "behind":
            cells.append((what, token, timestep))
        elif first:
            cells.append(("final", stream.final, None))
            first = False
        else:
            cells.append(("padding", stream.padding, None))
    return cells


def delay(row, recipe):
    """Codes [K][T] of one row -> [K][S]."""
    return [
        [token for _, token, _ in cells_of(tokens, stream, recipe)]
        for tokens, stream in zip(row, recipe.streams, strict=True)
    ]


def filled(row, recipe):
    """Which cells of [K][S] hold no token: None, or "initial", "final", "padding"."""
    return [
        [None if what == "token" else what for what, _, _ in cells_of(tokens, stream, recipe)]
        for tokens, stream in zip(row, recipe.streams, strict=True)
    ]


def cut(row, recipe, lost_token=None):
    """Codes [K][T] with every token replaced that the shift does not keep."""
    result = []
    for tokens, stream in zip(row, recipe.streams, strict=True):
        kept = {timestep for _, _, timestep in cells_of(tokens, stream, recipe)}
        result.append([x if t in kept else lost_token for t, x in enumerate(tokens)])
    return result


def weight_of(cell, stream, trained):
    what, token, _ = cell
    if not trained or what == "initial":
        return 0.0
    if what == "final":
        return stream.final_weight
    if what == "padding":
        return stream.padding_weight
    if token == -1:
        return 0.0
    return stream.weight * stream.token_weights.get(token, 1.0)


def loss_weights(row, recipe):
    """Loss weights [K][S] of the shifted codes [K][T] of one row."""
    weights, audio_streams = [], 0
    for tokens, stream in zip(row, recipe.streams, strict=True):
        trained = True
        if stream.kind != "text":
            trained = audio_streams < recipe.dep_q
            audio_streams += 1
        cells = cells_of(tokens, stream, recipe)
        weights.append([weight_of(cell, stream, trained) for cell in cells])
    return weights
