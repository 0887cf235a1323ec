"""The delay pattern again, slow and obvious: what the package is compared with.

Python lists and a loop over every cell, written from the description of the pattern and not from
the package.
"""


def content_of(tokens, stream, recipe):
    """One stream of one row, moved by its offset: a list as that of `cells_of`."""
    offsets = [other.offset for other in recipe.streams]
    begin, end = 0, len(tokens)
    if (recipe.offset_length or recipe.length) == "extend":
        begin, end = min([0, *offsets]), len(tokens) + max([0, *offsets])
    cells = []
    for frame in range(begin, end):
        timestep = frame - stream.offset
        if timestep < 0:
            cells.append(("lead", stream.lead, None))
        elif timestep < len(tokens):
            cells.append(("token", tokens[timestep], timestep))
        else:
            cells.append(("trail", stream.trail, None))
    return cells


def cells_of(tokens, stream, recipe):
    """One stream of one row, shifted: a list of (what, token, timestep it came from)."""
    largest = max(other.delay for other in recipe.streams)
    content = content_of(tokens, stream, recipe)
    middle = [("initial", stream.initial, None)] * stream.delay + content
    if recipe.length == "truncate":
        middle = middle[: len(content)]
    else:
        middle += [("behind", None, None)] * (largest - stream.delay)
    if recipe.initial_step:
        middle = [("initial", stream.initial, None), *middle]
    if recipe.final_step:
        middle = [*middle, ("behind", None, None)]
    trailing = [cell for cell in middle if cell[0] == "behind"]
    kept = [cell for cell in middle if cell[0] != "behind"]
    for place in range(len(trailing)):
        if place == 0:
            kept.append(("final", stream.final, None))
        elif place == len(trailing) - 1:
            kept.append(("last", stream.last, None))
        else:
            kept.append(("padding", stream.padding, None))
    return kept


def delay(row, recipe):
    """Codes [K][T] of one row -> [K][S]."""
    return [
        [token for _, token, _ in cells_of(tokens, stream, recipe)]
        for tokens, stream in zip(row, recipe.streams, strict=True)
    ]


def filled(row, recipe):
    """Which cells of [K][S] hold no token: None, or "initial", "lead", "trail", "final" ..."""
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
    absolute = {
        "initial": stream.initial_weight,
        "final": stream.final_weight,
        "padding": stream.padding_weight,
        "last": stream.last_weight,
    }
    if not trained:
        return 0.0
    if what in absolute:
        return absolute[what]
    if not 0 <= token < stream.cardinality:
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


def windows_of(length, size=None, split="fixed", minimum=None):
    """Where a row is cut: (start, size) of each window that is kept, one after the other."""
    if size is None or length == 0:
        parts = [length]
    elif split == "fixed":
        parts = [min(size, length - start) for start in range(0, length, size)]
    else:
        count = -(-length // size)
        parts = [length // count + (part < length % count) for part in range(count)]
    found, start = [], 0
    for part in parts:
        if minimum is None or part >= minimum:
            found.append((start, part))
        start += part
    return found


def cut_row(row, recipe, windows):
    """The shifted windows of one row: a list of [K][S]."""
    grid = delay(row, recipe) if windows.cut == "after" else row
    how = windows.size, windows.split, windows.minimum
    parts = [
        [line[start : start + size] for line in grid]
        for start, size in windows_of(len(grid[0]), *how)
    ]
    if windows.cut == "after":
        return parts
    if windows.pad:
        parts = [
            [
                line + [stream.trail] * (windows.size - len(line))
                for line, stream in zip(part, recipe.streams, strict=True)
            ]
            for part in parts
        ]
    return [delay(part, recipe) for part in parts]
