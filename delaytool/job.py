"""A job, and what a finished shard says of itself.

`Job` is all that decides an output's bytes: the recipe, the columns that hold its streams, what
to write. `Record` is the JSON entry in the footer of a finished shard: the job, the source it was
made from, counts, and digests of what reverting the shard must give. There is no manifest beside
the shards: resuming, verifying and refusing to overwrite all read the record.

A record comes from a file that anyone may have changed, so parsing it believes nothing: each
field is checked, and the entry as a whole against its own checksum.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, TypeVar

from delaytool.errors import KINDS, DataError, RecipeError
from delaytool.recipe import MAX_STREAMS, Recipe, Stream

T = TypeVar("T")

ENTRY = "delaytool"
"""The key of the record in a shard's key-value metadata."""
ASIDE = "delaytool-quarantine"
"""The same in a shard of quarantined rows, which holds the record of the shard they are not in."""
REASON = "reason"
"""The column that says why a row is in quarantine."""
FORMAT = 3
"""Of the record. 2 has figures and reasons, 3 tells reasons by kind; none of them was released."""
MAX_ENTRY = 32 << 20
"""Bytes of an entry that are still written and parsed: enough for 4096 columns, whose schema takes
about one, and for 2 million rows that were padded."""

Layout = Literal["list", "codebook", "frame", "flat-codebook", "flat-frame"]
LAYOUTS = ("list", "codebook", "frame", "flat-codebook", "flat-frame")
Align = Literal["error", "pad", "trim"]
ALIGNS = ("error", "pad", "trim")


@dataclass(frozen=True)
class Column:
    """A column of a source that holds tokens: which of the recipe's streams, and how.

    first, count: the streams first ... first + count - 1 of the recipe
    layout:       "list" [T] of one stream; n codebooks as "codebook" [n][T], "frame" [T][n], or as
                  one list, "flat-codebook" with T tokens of each in turn or "flat-frame" with n of
                  each frame
    size:         n, how many codebooks the column holds; all but `count` of them, from `start` on,
                  are none of the recipe's streams
    """

    name: str
    first: int
    count: int
    layout: Layout
    size: int
    start: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether every codebook of the column is one of the recipe's streams."""
        return self.size == self.count

    def streams(self, recipe: Recipe) -> tuple[Stream, ...]:
        """The streams this column holds."""
        return recipe.streams[self.first : self.first + self.count]


@dataclass(frozen=True)
class Output:
    """A column of shifted tokens, and the names of those of their loss weights and labels."""

    name: str
    first: int
    count: int
    layout: Layout
    weights: str | None = None
    labels: str | None = None

    def streams(self, recipe: Recipe) -> tuple[Stream, ...]:
        """The streams this column holds."""
        return recipe.streams[self.first : self.first + self.count]


def is_by_stream(layout: Layout) -> bool:
    """Whether tokens of this layout become flat arrays stream after stream, not row after row."""
    return layout in ("frame", "flat-frame")


@dataclass(frozen=True)
class Job:
    """What is to be done to every shard of a dataset.

    columns: where the tokens are; outputs: what they become; each holds every stream once, in order
    align:   what becomes of text that is shorter ("pad") or longer ("trim") than the audio
    factors: name of a column of factors on the loss weights
    key:     column that names a row in messages; it decides no byte of the tokens, so two jobs that
             differ in it alone are equal
    """

    recipe: Recipe
    columns: tuple[Column, ...]
    outputs: tuple[Output, ...]
    align: Align = "error"
    factors: str | None = None
    key: str | None = dataclasses.field(default=None, compare=False)

    def __post_init__(self) -> None:
        for held in (self.columns, self.outputs):
            ends = [0, *(c.first + c.count for c in held)]
            in_turn = [c.first for c in held] == ends[:-1] and all(c.count > 0 for c in held)
            if not in_turn or ends[-1] != len(self.recipe.streams):
                raise RecipeError("the columns do not hold each of the recipe's streams once")
            if any(c.layout == "list" and c.count != 1 for c in held):
                raise RecipeError("a column of layout list holds more than one stream")
        for column in self.columns:
            fits = 0 <= column.start <= column.start + column.count <= column.size
            if (
                not fits
                or column.size > MAX_STREAMS
                or (column.layout == "list" and column.size != 1)
            ):
                raise RecipeError(f"the column {column.name!r} has not the codebooks that are used")
        _no_name_twice([column.name for column in self.columns])
        _no_name_twice([name for output in self.outputs for name in self.names_of(output)])
        if self.align != "error" and not (self.recipe.has_text and self.recipe.n_q):
            raise RecipeError("there are no text and audio streams to align")
        if self.align != "error" and self.columns[0].count != 1:
            raise RecipeError("text and codes in one column are aligned already")
        text = self.recipe.streams[0]
        if self.align == "pad" and not -1 <= text.padding < text.cardinality:
            raise RecipeError(
                f"text cannot be padded with {text.padding}, "
                f"expected a text padding from 0 to {text.cardinality - 1}, or -1"
            )
        for number, stream in enumerate(self.recipe.streams):
            self._check_labels(number, stream)

    def _check_labels(self, number: int, stream: Stream) -> None:
        """A label must be within what the stream's output predicts."""
        if not any(output.labels for output in self.outputs) or not self.recipe.carries_loss(
            number
        ):
            return
        for name, weight, token in (
            ("final", stream.final_weight, stream.fills[1]),
            ("padding", stream.padding_weight, stream.fills[2]),
        ):
            if weight and not 0 <= token < stream.cardinality:
                raise RecipeError(
                    f"stream {stream.name}: the {name} token {token} would be a label, "
                    f"expected one from 0 to {stream.cardinality - 1}, or {name}_weight 0"
                )

    @staticmethod
    def names_of(output: Output) -> list[str]:
        """The names of the columns that an output makes: tokens, weights, labels."""
        return [name for name in (output.name, output.weights, output.labels) if name]

    @property
    def weighs(self) -> bool:
        """Whether every output has a column of loss weights."""
        return all(output.weights for output in self.outputs)

    def twin(self, output: Output) -> Column | None:
        """The source's column with just the streams of an output, in the same layout."""
        for column in self.columns:
            alike = (column.first, column.count) == (output.first, output.count)
            if alike and column.is_whole and column.layout == output.layout:
                return column
        return None

    def to_dict(self) -> dict[str, Any]:
        """Every field, with JSON's types."""
        return {
            "recipe": self.recipe.to_dict(),
            "columns": [dataclasses.asdict(column) for column in self.columns],
            "outputs": [dataclasses.asdict(output) for output in self.outputs],
            "align": self.align,
            "factors": self.factors,
            "key": self.key,
        }


def _no_name_twice(names: list[str]) -> None:
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise RecipeError(f"the column {twice!r} is named twice")


@dataclass(frozen=True)
class Where:
    """Where a user says that the tokens are, and what should come out of them.

    text:    column of T text tokens
    audio:   columns of codes, to be stacked: a name, a name with a slice of its codebooks
             ("codes[0:8]"), or "codes_{q}" for a column per codebook
    grid:    columns of text and codes together, instead of `text` and `audio`
    layout:  layout of the codes, or "auto"
    result:  "split" or "grid", else as the tokens came
    """

    text: str = "text_tokens"
    audio: tuple[str, ...] = ("audio_codes",)
    grid: tuple[str, ...] = ()
    layout: str = "auto"
    result: str | None = None
    weights: bool = True
    labels: bool = False
    align: Align = "error"
    factors: str | None = None
    key: str | None = None


def make_job(recipe: Recipe, where: Where, columns: tuple[Column, ...]) -> Job:
    """The job on these columns, with outputs named as the command line's contract says."""
    result = where.result or ("grid" if where.grid else "split")
    if result == "grid":
        outputs = [_named("codes", 0, len(recipe.streams), "codebook", "", where)]
    elif where.grid:
        outputs = []
        if recipe.has_text:
            outputs.append(_named("text_tokens", 0, 1, "list", "text_", where))
        if recipe.n_q:
            outputs.append(
                _named("audio_codes", len(outputs), recipe.n_q, "codebook", "audio_", where)
            )
    else:
        audio = [column for column in columns if column.first >= recipe.has_text]
        outputs = []
        for column in columns:
            if recipe.has_text and column.first == 0:
                prefix = "text_"
            else:
                prefix = "audio_" if len(audio) == 1 else f"{column.name}_"
            place = (column.first, column.count, column.layout)
            outputs.append(_named(column.name, *place, prefix, where))
    return Job(recipe, columns, tuple(outputs), where.align, where.factors, where.key)


def _named(name: str, first: int, count: int, layout: Layout, prefix: str, where: Where) -> Output:
    return Output(
        name,
        first,
        count,
        layout,
        f"{prefix}loss_weights" if where.weights else None,
        f"{prefix}labels" if where.labels else None,
    )


@dataclass(frozen=True)
class Source:
    """What a shard was made from: its size in bytes, its footer's sha256, its Arrow schema.

    schema: the IPC message of the schema, base64
    """

    size: int
    footer: str
    schema: str


@dataclass(frozen=True)
class Counts:
    """What went in and came out.

    lost:        tokens that truncation cut off
    padded:      text tokens that alignment added; trimmed: those that it cut off
    quarantined: rows that were put aside, so that rows_in = rows_out + quarantined
    """

    rows_in: int = 0
    rows_out: int = 0
    frames: int = 0
    tokens: int = 0
    lost: int = 0
    padded: int = 0
    trimmed: int = 0
    quarantined: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            *(
                getattr(self, field.name) + getattr(other, field.name)
                for field in dataclasses.fields(self)
            )
        )


@dataclass(frozen=True)
class Figures:
    """What the cells of an output hold.

    cells:   all of them; filled: those that the pattern filled
    zero:    zero tokens among the others
    text:    text tokens among the others; padding: how many of those count as padding
    weights: the sum of each stream's loss weights; none unless the job weighs every stream
    """

    cells: int = 0
    filled: int = 0
    zero: int = 0
    text: int = 0
    padding: int = 0
    weights: tuple[Fraction, ...] = ()

    def __add__(self, other: Figures) -> Figures:
        pairs = itertools.zip_longest(self.weights, other.weights, fillvalue=Fraction(0))
        return Figures(
            self.cells + other.cells,
            self.filled + other.filled,
            self.zero + other.zero,
            self.text + other.text,
            self.padding + other.padding,
            tuple(one + another for one, another in pairs),
        )

    def rounded(self) -> Figures:
        """The same with sums of weights that 64-bit floats hold, as a record does."""
        return dataclasses.replace(self, weights=tuple(Fraction(float(x)) for x in self.weights))

    def to_dict(self) -> dict[str, Any]:
        """Every field, with JSON's types."""
        weights = [float(weight) for weight in self.weights]
        return {**dataclasses.asdict(self), "weights": weights}


MAX_REASONS = 20
"""Reasons that a record tells apart."""


@dataclass(frozen=True)
class Reason:
    """Why rows are in quarantine, and how many.

    kind:   that of their errors, one of errors.KINDS, or "other" for all kinds that few rows are of
    column: the column that is wrong, if it is one
    """

    kind: str
    column: str | None
    rows: int

    def __str__(self) -> str:
        """The reason in words: column audio_codes: a token outside its vocabulary"""
        what = KINDS.get(self.kind, self.kind)
        return what if self.column is None else f"column {self.column}: {what}"


OTHER = "other"
"""The kind of reasons that are not told apart."""


def reasons_of(rows: Mapping[tuple[str, str | None], int]) -> tuple[Reason, ...]:
    """The reasons of most rows, as a record has them, and all others as one.

    rows: how many rows there are of each kind and column
    """
    reasons = [Reason(kind, column, count) for (kind, column), count in rows.items()]
    reasons.sort(key=lambda reason: (-reason.rows, reason.kind, reason.column or ""))
    others = sum(reason.rows for reason in reasons[MAX_REASONS:])
    return (*reasons[:MAX_REASONS], *([Reason(OTHER, None, others)] if others else []))


@dataclass(frozen=True)
class Digests:
    """What reverting the shard must give: a digest of each column, and of the schema.

    quarantined: what its shard of quarantined rows must hold: a digest of each column, the reasons'
                 too; none where there are no such rows
    """

    columns: Mapping[str, str]
    schema: str
    quarantined: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """What a finished shard says of itself.

    sources:     the shard it was made from; two where text and codes came in shards of their own
    padded:      (row, tokens) for each row whose text alignment has made longer
    quarantined: (row of the source, how many from there on) that were put aside
    reasons:     what is wrong with the rows that were put aside
    """

    version: str
    job: Job
    sources: tuple[Source, ...]
    counts: Counts
    figures: Figures
    digests: Digests
    padded: tuple[tuple[int, int], ...] = ()
    quarantined: tuple[tuple[int, int], ...] = ()
    reasons: tuple[Reason, ...] = ()

    def to_json(self) -> str:
        """The entry, its checksum last; raises DataError when it would be too long to read."""
        fields: dict[str, Any] = {"format": FORMAT, "version": self.version, **self.job.to_dict()}
        fields["sources"] = [dataclasses.asdict(source) for source in self.sources]
        for name in ("counts", "digests"):
            fields[name] = dataclasses.asdict(getattr(self, name))
        fields["figures"] = self.figures.rounded().to_dict()
        fields |= {"padded": self.padded, "quarantined": self.quarantined}
        fields["reasons"] = [dataclasses.asdict(reason) for reason in self.reasons]
        entry = _dump({**fields, "checksum": _checksum(fields)})
        if len(entry) > MAX_ENTRY:
            raise DataError(
                "record-too-long",
                f"what there is to record of it takes {len(entry)} bytes",
                expected=f"at most {MAX_ENTRY}",
                advice="split the shard",
            )
        return entry

    @classmethod
    def from_json(cls, text: bytes) -> Record:
        """Parse an entry; raises DataError that says what is wrong with it."""
        if len(text) > MAX_ENTRY:
            raise _bad(f"has {len(text)} bytes, expected at most {MAX_ENTRY}")
        try:
            fields = json.loads(
                text, parse_constant=_no_constant, object_pairs_hook=_no_field_twice
            )
        except (ValueError, RecursionError):
            raise _bad("is not JSON") from None
        if not isinstance(fields, dict):
            raise _bad("is not a JSON object")
        if fields.get("format") != FORMAT:
            raise _other_format(fields)
        checksum = fields.pop("checksum", None)
        # What cannot be written, such as 1e999, has no checksum that an entry could match.
        if checksum is None or checksum != _checksum(fields):
            raise _bad("does not match its own checksum")
        try:
            return cls._parse(fields)
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise _bad(f"cannot be: {type(error).__name__}: {error}") from None

    @classmethod
    def _parse(cls, fields: Mapping[str, Any]) -> Record:
        digests = fields["digests"]
        sources = tuple(_plain(Source, source) for source in _list(fields["sources"]))
        if len(sources) not in (1, 2):
            raise ValueError(f"{len(sources)} sources")
        job = Job(
            recipe=Recipe.from_dict(fields["recipe"]),
            columns=tuple(_plain(Column, column) for column in _list(fields["columns"])),
            outputs=tuple(_plain(Output, output) for output in _list(fields["outputs"])),
            align=_one_of(fields["align"], ALIGNS),  # type: ignore[arg-type]
            factors=_name(fields["factors"]),
            key=_name(fields["key"]),
        )
        figures = _plain(Figures, fields["figures"])
        if len(figures.weights) != len(job.recipe.streams) * job.weighs:
            raise ValueError(f"{len(figures.weights)} sums of weights")
        return cls(
            version=_text(fields["version"]),
            job=job,
            sources=sources,
            counts=_plain(Counts, fields["counts"]),
            digests=Digests(
                _texts(digests["columns"]),
                _text(digests["schema"]),
                _texts(digests["quarantined"]),
            ),
            figures=figures,
            padded=_pairs(fields["padded"]),
            quarantined=_pairs(fields["quarantined"]),
            reasons=_reasons(fields["reasons"]),
        )


def _bad(what: str) -> DataError:
    return DataError(
        "record", f"the {ENTRY} entry in the footer {what}", advice="make the shard anew"
    )


def _other_format(fields: Mapping[str, Any]) -> DataError:
    """The error for an entry that another version of delaytool wrote."""
    found, version = fields.get("format"), fields.get("version")
    found = found if isinstance(found, int) and abs(found) < 10**9 else _shown(found)
    return DataError(
        "record-format",
        f"the {ENTRY} entry in the footer has the format {found}, of delaytool {_shown(version)}",
        expected=f"the format {FORMAT}, which this version reads and writes",
        advice="make the shard anew with this version, or read it with the one that made it",
    )


def _no_constant(name: str) -> None:
    """NaN and infinities, which Python reads though they are no JSON."""
    raise ValueError(name)


def _no_field_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field is there twice")
    return fields


def _dump(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=True, separators=(",", ":"), allow_nan=False)


def _checksum(fields: Mapping[str, Any]) -> str | None:
    try:
        return hashlib.sha256(_dump(fields).encode()).hexdigest()
    except (ValueError, RecursionError):
        return None


def _shown(value: object) -> str:
    """The beginning of a value's text, or its type where that might be endless."""
    if isinstance(value, (str, bool, float, type(None))):
        return repr(value[:60] if isinstance(value, str) else value)
    return f"a value of type {type(value).__name__}"


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{_shown(value)} is not a string")
    return value


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise TypeError(f"{_shown(value)} is no digests")
    return {_text(name): _text(digest) for name, digest in value.items()}


def _name(value: object) -> str | None:
    return None if value is None else _text(value)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise TypeError(f"{_shown(value)} is not a count")
    return value


def _sums(value: object) -> tuple[Fraction, ...]:
    for number in _list(value):
        # An integer may be too large for a float, and infinity for a fraction.
        if not isinstance(number, float) or not 0 <= number < float("inf"):
            raise TypeError(f"{_shown(number)} is not a sum of weights")
    return tuple(Fraction(number) for number in _list(value))


def _reasons(value: object) -> tuple[Reason, ...]:
    reasons = tuple(_plain(Reason, reason) for reason in _list(value))
    if len({(reason.kind, reason.column) for reason in reasons}) != len(reasons):
        raise ValueError("a reason is there twice")
    if not all(reason.rows for reason in reasons):
        raise ValueError("a reason of no row")
    return reasons


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{_shown(value)} is not a list")
    return value


def _pairs(value: object) -> tuple[tuple[int, int], ...]:
    return tuple((_count(first), _count(second)) for first, second in map(_list, _list(value)))


def _one_of(value: object, valid: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in valid:
        raise TypeError(f"{_shown(value)} is none of {', '.join(valid)}")
    return value


_PARSERS: dict[str, Callable[[object], Any]] = {
    "str": _text,
    "str | None": _name,
    "int": _count,
    "Layout": lambda value: _one_of(value, LAYOUTS),
    "tuple[Fraction, ...]": _sums,
}


def _plain(kind: type[T], fields: object) -> T:
    """A dataclass of strings, counts and layouts from a JSON object with just its fields."""
    if not isinstance(fields, dict):
        raise TypeError(f"{_shown(fields)} is no {kind.__name__}")
    parsers = {field.name: _PARSERS[str(field.type)] for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if set(fields) != set(parsers):
        raise TypeError(f"{_shown(fields)} is no {kind.__name__}")
    return kind(**{name: parse(fields[name]) for name, parse in parsers.items()})
