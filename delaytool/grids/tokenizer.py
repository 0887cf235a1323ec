"""Text tokens as words, by a SentencePiece model."""

from __future__ import annotations

from collections.abc import Callable

from delaytool.pattern.pieces import load_model


def load_words(path: str) -> Callable[[int], str]:
    """What a SentencePiece model calls a token; ids that it does not know stay numbers.

    Raises DataError when the package is missing, RecipeError when the file is no such model.
    """
    model = load_model(path)
    pieces = int(model.get_piece_size())

    def word(token: int) -> str:
        return str(model.id_to_piece(token)) if 0 <= token < pieces else str(token)

    return word
