"""How texts that may come from data are printed: as one line, and as JSON.

A file's name, a column's or a key may hold anything: an escape sequence that drives a terminal, a
newline behind which a line of its own begins, marks that turn the reading direction around, bytes
that are no UTF-8.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's categories of what is obeyed, not seen: controls, formats, surrogates, line ends."""
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_COMMAND = re.compile(r"^(\s*):(?=:)|#(?=#\[)")
"""What GitHub's log takes for a command: a line that begins with ::, and ##[ anywhere."""


def printable(text: object) -> str:
    r"""A text as one line that neither a terminal nor a log of CI obeys.

    Escapes are those of $'...' in a shell, so that a name can be copied from a message; a byte that
    is no UTF-8, which Python keeps as a surrogate, is \xff.

    'a\n\x1b[2J.parquet' -> r'a\n\x1b[2J.parquet'
    """
    line = str(text)
    if not line.isprintable():
        line = "".join(map(_seen, line))
    if "::" in line or "##[" in line:
        line = _COMMAND.sub(_as_code, line)
    return line


def _seen(letter: str) -> str:
    if letter in _SHORT or unicodedata.category(letter) not in _UNSEEN:
        return _SHORT.get(letter, letter)
    code = ord(letter)
    if code < 0x80 or 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code & 0xFF:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _as_code(found: re.Match[str]) -> str:
    return f"{found[1] or ''}\\x{ord(found[0][-1]):02x}"


def to_json(value: Any) -> str:
    r"""A value as JSON that every parser takes, in ASCII.

    Lone surrogates, which JSON has no place for, become \xff as in messages; NaN and infinities
    become their names; what JSON does not know becomes text.
    """
    import json

    try:
        text = json.dumps(value, default=str, allow_nan=False)
    except ValueError:
        text = "\\ud"
    if "\\ud" in text:
        text = json.dumps(_plain(value), default=lambda each: _plain(str(each)))
    # The same values, written so that nothing is obeyed on its way into a log.
    return text.replace("\x7f", "\\u007f").replace("##[", "#\\u0023[")


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else re.sub("[\ud800-\udfff]", _surrogate, value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {_plain(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value


def _surrogate(found: re.Match[str]) -> str:
    return _seen(found[0])


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The names that one with a typo may mean, as a question; nothing where none is near.

    did_you_mean("moshi-pretain", preset_names()) -> "did you mean moshi-pretrain?"
    """
    import difflib

    near = difflib.get_close_matches(name.lower().replace("_", "-"), list(names))
    return f"did you mean {' or '.join(near)}?" if near else ""
