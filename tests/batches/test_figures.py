"""What a record says of cells: against a slow reference, whatever the batches."""

import dataclasses
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from make import plain_job
from strategies import random_row, recipes, seeds

from delaytool.batches.figures import Figures
from delaytool.batches.schema import shifted_schema
from delaytool.batches.shift import shift_batch
from delaytool.pattern.sums import exact_sum


def slow_figures(rows, recipe, factors):
    """The same with a loop over every cell; factors [K][T] for each row, or None."""
    cells = filled = offset = zero = text = padding = 0
    sums = [Fraction(0)] * len(recipe.streams)
    for number, row in enumerate(rows):
        weights = reference.loss_weights(row, recipe)
        for k, (tokens, stream) in enumerate(zip(row, recipe.streams, strict=True)):
            pairs = zip(reference.cells_of(tokens, stream, recipe), weights[k], strict=True)
            for (what, token, timestep), exact in pairs:
                cells += 1
                offset += what in ("lead", "trail")
                filled += what not in ("lead", "token", "trail")
                zero += what == "token" and token == -1
                if stream.kind == "text" and what == "token":
                    text += 1
                    ids = {stream.padding, *stream.token_weights}
                    padding += token in ids and token >= 0
                factor = 1.0
                if factors is not None and what == "token":
                    factor = float(factors[number][k][timestep])
                sums[k] += Fraction(float(np.float32(exact * factor)))
    return Figures(cells, filled, zero, text, padding, tuple(sums), offset)


def batch_of(rows, recipe, factors):
    columns = {}
    for column in plain_job(recipe).text_columns:
        text = [row[column.numbers[0]].tolist() for row in rows]
        columns[column.name] = pa.array(text, pa.list_(pa.int64()))
    if recipe.n_q:
        codes = [row[list(recipe.audio_numbers)].tolist() for row in rows]
        columns["audio_codes"] = pa.array(codes, pa.list_(pa.list_(pa.int64())))
    if factors is not None:
        kind = pa.from_numpy_dtype(factors[0].dtype)
        columns["mask"] = pa.array([x.tolist() for x in factors], pa.list_(pa.list_(kind)))
    return pa.record_batch(columns)


@settings(max_examples=120)
@given(
    recipes(),
    seeds,
    st.booleans(),
    st.sampled_from([None, np.float32, np.float64]),
    st.sampled_from([None, "grid"]),
)
def test_figures_are_those_of_a_loop_over_cells(recipe, seed, weigh, kind, result):
    random = np.random.default_rng(seed)
    rows = [random_row(random, recipe, frames) for frames in random.integers(0, 12, 5)]
    factors = None if kind is None else [random.random(row.shape, kind) for row in rows]
    mask = None if kind is None else "mask"
    job = plain_job(recipe, weights=weigh, output_layout=result, weight_column=mask)
    batch = batch_of(rows, recipe, factors)
    schema = shifted_schema(batch.schema, job)
    whole = shift_batch(batch, job, schema).figures
    expected = slow_figures(rows, recipe, factors)
    assert whole == (expected if weigh else dataclasses.replace(expected, weights=()))
    middle = int(random.integers(0, 6))
    parts = [batch.slice(0, middle), batch.slice(middle)]
    halves = [shift_batch(part, job, schema).figures for part in parts]
    assert sum(halves, Figures()) == whole


@given(st.lists(st.floats(0, allow_infinity=False, width=32), max_size=50))
def test_sums_are_exact(values):
    array = np.array(values, dtype=np.float32)
    assert exact_sum(array) == sum((Fraction(value) for value in values), Fraction(0))


@pytest.mark.parametrize("low", [-140, -30, -3])
def test_sums_of_many_values_are_exact(low):
    random = np.random.default_rng(4)
    array = (2.0 ** random.uniform(low, 100, 40_000)).astype(np.float32)
    assert exact_sum(array) == sum(map(Fraction, array.tolist()), Fraction(0))
