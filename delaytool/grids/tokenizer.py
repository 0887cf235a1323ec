"""Text tokens as words, by a SentencePiece model."""

from __future__ import annotations

from collections.abc import Callable

from delaytool.errors import DataError, RecipeError


def load_words(path: str) -> Callable[[int], str]:
    """What a SentencePiece model calls a token; ids that it does not know stay numbers.

    Raises DataError when the package is missing, RecipeError when the file is no such model.
    """
    try:
        import sentencepiece
    except ImportError:
        raise DataError(
            "not-installed",
            "SentencePiece is not installed",
            expected="the package sentencepiece beside delaytool",
            advice="install it with: pip install 'delaytool[sentencepiece]'",
        ) from None
    try:
        model = sentencepiece.SentencePieceProcessor(model_file=path)
        pieces = int(model.get_piece_size())
    except (OSError, RuntimeError, TypeError) as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise RecipeError(f"{path} is not a SentencePiece model: {why[:200]}") from None

    def word(token: int) -> str:
        return str(model.id_to_piece(token)) if 0 <= token < pieces else str(token)

    return word
