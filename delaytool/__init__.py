"""delaytool: delay patterns and loss weights for speech-text models of the Moshi kind.

from delaytool import delay, load_preset, loss_weights, undelay

recipe = load_preset("moshi")         # 17 streams: text, 8 codebooks of Moshi, 8 of the user
shifted = delay(codes, recipe)        # [..., 17, T] -> [..., 17, T + 1]
weights = loss_weights(shifted, recipe)
assert (undelay(shifted, recipe) == codes).all()
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from delaytool.api.align import align as align
    from delaytool.api.apply import apply as apply
    from delaytool.api.grid import read_grid as read_grid
    from delaytool.api.revert import revert as revert
    from delaytool.api.stats import stats as stats
    from delaytool.api.verify import verify as verify
    from delaytool.batches.map_batch import map_batch as map_batch
    from delaytool.errors import DataError as DataError
    from delaytool.errors import RecipeError as RecipeError
    from delaytool.pattern.delay import delay as delay
    from delaytool.pattern.delay import undelay as undelay
    from delaytool.pattern.weights import loss_weights as loss_weights
    from delaytool.pattern.words import align_words as align_words
    from delaytool.recipes.presets import load_preset as load_preset
    from delaytool.recipes.recipe import Recipe as Recipe
    from delaytool.recipes.recipe import Stream as Stream

_ROOMS = {
    "DataError": "errors",
    "Recipe": "recipes.recipe",
    "RecipeError": "errors",
    "Stream": "recipes.recipe",
    "align": "api.align",
    "align_words": "pattern.words",
    "apply": "api.apply",
    "delay": "pattern.delay",
    "load_preset": "recipes.presets",
    "loss_weights": "pattern.weights",
    "map_batch": "batches.map_batch",
    "read_grid": "api.grid",
    "revert": "api.revert",
    "stats": "api.stats",
    "undelay": "pattern.delay",
    "verify": "api.verify",
}
__all__ = ["__version__", *_ROOMS]  # noqa: PLE0604 - the names below, by their rooms


def __getattr__(name: str) -> object:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
