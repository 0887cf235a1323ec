"""Words as text tokens, by a SentencePiece model."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any

from delaytool.errors import DataError, RecipeError

Encode = Callable[[Sequence[str]], Sequence[Sequence[int] | None]]
"""Makes token ids of each of several words, None of one that it cannot spell."""


_KNOWN_WORDS = 1 << 17
"""Words whose tokens are remembered: most of a text are a few that come again and again."""


def load_model(path: str, content: bytes | None = None) -> Any:
    """A SentencePiece model.

    path:    of its file; content: what is in it, where that has been read already
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
        if content is None:
            with open(path, "rb") as file:
                content = file.read()
        model = sentencepiece.SentencePieceProcessor()
        model.LoadFromSerializedProto(content)
        model.get_piece_size()
    except (OSError, RuntimeError, TypeError) as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise RecipeError(f"{path} is not a SentencePiece model: {why[:200]}") from None
    return model


def encoder(model: Any) -> Encode:
    """What makes token ids of words: each alone and stripped, without BOS, as moshi-finetune does.

    Lines of a word are encoded one by one, with the last piece of a line break between them; a
    word with one that the model has no piece for cannot be spelled. The peer's code is `tokenize`
    in finetune/data/interleaver.py.
    """

    known: dict[str, list[int] | None] = {}

    def encode(words: Sequence[str]) -> list[list[int] | None]:
        if len(known) > _KNOWN_WORDS:
            known.clear()
        new = [word for word in words if word not in known]
        texts = [word.strip() for word in new]
        known.update(zip(new, model.encode(texts, num_threads=1), strict=True))
        known.update((x, lines(text)) for x, text in zip(new, texts, strict=True) if "\n" in text)
        return [known[word] for word in words]

    def lines(text: str) -> list[int] | None:
        line_break = model.encode("\n")
        if not line_break:
            return None
        first, *others = model.encode(text.split("\n"), num_threads=1)
        return [*first, *itertools.chain.from_iterable([line_break[-1], *x] for x in others)]

    return encode


def encoder_of(tokenizer: str | os.PathLike[str] | Callable[[str], Sequence[int]]) -> Encode:
    """The same of a model's file, or of a function that makes token ids of one word."""
    if callable(tokenizer):
        return lambda words: [[int(token) for token in tokenizer(word.strip())] for word in words]
    path = os.fspath(tokenizer)
    try:
        state = os.stat(path)
    except OSError as error:
        raise RecipeError(f"{path} cannot be read: {error.strerror}") from None
    return _encoder_at(path, (state.st_mtime_ns, state.st_size))


@functools.lru_cache(maxsize=4)
def _encoder_at(path: str, state: tuple[int, int]) -> Encode:
    """The encoder of a file in this state, which is loaded once."""
    return encoder(load_model(path))
