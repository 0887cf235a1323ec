"""Which shard goes where."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from delaytool.errors import DataError, Place, RecipeError
from delaytool.jobs.notes import Note
from delaytool.shards.commit import State, file_states
from delaytool.shards.find import Shard, by_output, renamed
from delaytool.shards.pairs import Pair
from delaytool.shards.quarantine import is_quarantine

if TYPE_CHECKING:
    from delaytool.jobs.mismatches import Mismatch


@dataclass(frozen=True, slots=True)
class Item:
    """A shard, the shard of its codes if they are in one of their own, and where it goes.

    target:               the output; empty where nothing is to be written
    quarantine:           where its bad rows go; None where the first one is an error
    from_quarantine: whether rows are taken that are in quarantine, since no others were given
    began_with:      what was at both targets when the run began; None where nobody looked
    """

    shard: Shard
    codes: Shard | None
    target: str
    quarantine: str | None = None
    from_quarantine: bool = False
    began_with: tuple[State | None, State | None] | None = None


def as_found(items: Sequence[Item], output: str, quarantine: str | None) -> list[Item]:
    """The items with what is there now, which is all that a run that begins now may replace."""
    targets = file_states((item.target for item in items), output)
    bad = file_states((item.quarantine for item in items), quarantine)
    both = zip(targets, bad, strict=True)
    return [replace(item, began_with=pair) for item, pair in zip(items, both, strict=True)]


def pairs_of_data(items: Sequence[Item]) -> Iterator[Pair]:
    """The shards whose rows are to be taken, as far as somebody asks for them."""
    for item in items:
        if item.from_quarantine or not is_quarantine(item.shard):
            yield item.shard, item.codes


@dataclass(frozen=True)
class Items:
    """Shards and where they go.

    left_out: how many shards of quarantined rows have been left out
    """

    items: list[Item]
    notes: list[Note]
    left_out: int


@dataclass(frozen=True)
class Paired:
    """Shards of text, and the shard of codes of each by the former's name.

    left_out: how many shards of quarantined rows without a counterpart have been left out
    """

    shards: list[Shard]
    codes: dict[str, Shard]
    notes: list[Note]
    left_out: int = 0


@dataclass(frozen=True)
class Originals:
    """The shards of an output, each with its originals.

    mismatches: what is missing or too many
    left_out:   how many shards of quarantined rows among the originals have been left out
    """

    triples: list[tuple[Shard, Shard | None, Shard | None]]
    mismatches: list[Mismatch]
    notes: list[Note]
    left_out: int = 0


def find(path: str, what: str, outside: Sequence[str] = ()) -> tuple[list[Shard], list[Note]]:
    """The shards of a path, and what there is to say of how they were found.

    what: the argument that names the path
    Raises RecipeError where there is nothing under it.
    """
    from delaytool.shards import stores
    from delaytool.shards.find import find_shards

    try:
        found = find_shards(path, outside=outside)
        return found.shards, [Note(f"`{what}`: {note}", "found") for note in found.notes]
    except FileNotFoundError:
        raise RecipeError(f"`{what}` {stores.shown(path)} does not exist") from None


def items_of(
    input: str,
    output: str,
    audio_input: str | None = None,
    quarantine: str | None = None,
    names: tuple[str, str] = ("input", "output"),
) -> Items:
    """Each shard of the input, that of its codes, and the files it goes to.

    names:  the arguments that name the two
    raises: RecipeError for paths that do not go together, DataError where outputs would be one file
    """
    from delaytool.shards import stores, tables

    kind = stores.kind_of(output)
    one_file = stores.base_name(output).endswith(".parquet") and kind != "folder"
    if one_file and stores.kind_of(input) != "file":
        raise RecipeError(
            f"`{names[1]}` {stores.shown(output)} is one file, so `{names[0]}` must be one too, "
            f"not {stores.shown(input)}"
        )
    if kind not in (None, "folder") and not one_file:
        raise RecipeError(
            f"`{names[1]}` {stores.shown(output)} is a file, "
            "expected a folder or a name in .parquet"
        )
    folders = {names[0]: input, "audio_input": audio_input, names[1]: output}
    _check_apart(folders, output, names[1])
    if quarantine is not None:
        _check_quarantine(quarantine, folders)
    for folder in (output, *([] if quarantine is None else [quarantine])):
        tables.check_output(folder)
    found, notes = find(input, names[0], [output])
    shards = not_in_quarantine(found, quarantine)
    left_out = len(found) - len(shards)
    codes: dict[str, Shard] = {}
    if audio_input is not None:
        others, more = find(audio_input, "audio_input", [output])
        pairs = paired(shards, not_in_quarantine(others, quarantine))
        shards, codes = pairs.shards, pairs.codes
        notes, left_out = pairs.notes + notes + more, left_out + pairs.left_out
    items = []
    for shard in shards:
        target = output if one_file else stores.join(output, shard.output_name)
        bad = None if quarantine is None else stores.join(quarantine, shard.output_name)
        items.append(Item(shard, codes.get(shard.name), target, bad))
    for item in items:
        for source in (item.shard, item.codes):
            if source and stores.same(source.path, item.target):
                raise RecipeError(
                    f"`{names[0]}` and `{names[1]}` are the same file: "
                    f"{stores.shown(item.target)}; choose another `{names[1]}`"
                )
    _check_places(items, os.path.dirname(output) if one_file else output, quarantine)
    notes += [] if one_file else [Note(text) for text in renamed(shards)]
    return Items(items, notes, left_out)


def items_to_check(input: str, audio_input: str | None) -> Items:
    """Each shard of the input and that of its codes, of which nothing is to be written."""
    shards, notes = find(input, "input")
    left_out, codes = 0, {}
    if audio_input is not None:
        others, more = find(audio_input, "audio_input")
        pairs = paired(shards, others)
        shards, codes, left_out = pairs.shards, pairs.codes, pairs.left_out
        notes = pairs.notes + notes + more
    items = [Item(shard, codes.get(shard.name), "") for shard in shards]
    return Items(items, notes, left_out)


def _check_apart(folders: dict[str, str | None], output: str, its_name: str) -> None:
    """Raise RecipeError for an input that is the output, or would be taken for one."""
    from delaytool.shards import stores

    for name, path in folders.items():
        if path is None or name == its_name:
            continue
        if stores.same(path, output):
            raise RecipeError(f"`{name}` and `{its_name}` are the same: {stores.shown(path)}")
        if stores.is_within(path, output) and stores.kind_of(path) != "file":
            raise RecipeError(
                f"`{name}` {stores.shown(path)} lies within `{its_name}` {stores.shown(output)}, "
                f"whose shards are taken for outputs; choose another `{its_name}`"
            )


def _check_places(items: Sequence[Item], output: str, quarantine: str | None) -> None:
    """Raise DataError where links in OUTPUT lead elsewhere, or two files would be one."""
    import functools

    from delaytool.shards import stores

    real_folder = functools.cache(os.path.realpath)

    def place_of(path: str) -> str:
        """Where a file is written: a link in its place is replaced, not followed."""
        if stores.is_remote(path):
            return stores.resolved(path)
        return os.path.join(real_folder(os.path.dirname(path)), os.path.basename(path))

    sources = [source.path for item in items for source in (item.shard, item.codes) if source]
    read = {*map(place_of, sources), *(os.path.realpath(p) for p in sources if os.path.islink(p))}
    taken: dict[str, str] = {}
    for item in items:
        for path, root in ((item.target, output), (item.quarantine, quarantine)):
            if path is None or root is None:
                continue
            place = place_of(path)
            if not stores.is_remote(path):
                top = real_folder(root)
                if os.path.commonpath([os.path.dirname(place), top]) != top:
                    raise DataError(
                        "outside-output",
                        f"a link leads its output {path} out of {root}",
                        expected="a folder within it",
                        advice="remove the link, or choose another output",
                        place=Place(shard=item.shard.name),
                    )
            if place in taken or place in read:
                other = taken.get(place)
                what = f"that of {other}" if other else "a shard that is read"
                raise DataError(
                    "output-twice",
                    f"its output is {what} too: {stores.shown(place)}",
                    expected="an output for each shard",
                    advice="remove the link, or choose another output",
                    place=Place(shard=item.shard.name),
                )
            taken[place] = item.shard.name


def _check_quarantine(quarantine: str, folders: dict[str, str | None]) -> None:
    """Its shards have the names of the output's, and are not to be taken for them."""
    from delaytool.shards import stores

    if stores.kind_of(quarantine) not in (None, "folder"):
        raise RecipeError(f"`quarantine` {quarantine} is a file, expected a folder")
    name_of = stores.shown(quarantine)
    for name, path in folders.items():
        if path is None:
            continue
        if stores.same(path, quarantine):
            raise RecipeError(f"`{name}` and `quarantine` are the same: {name_of}")
        if name == "output" and stores.is_within(path, quarantine):
            raise RecipeError(f"`output` {stores.shown(path)} lies within `quarantine` {name_of}")


def not_in_quarantine(shards: list[Shard], quarantine: str | None) -> list[Shard]:
    """The shards without those that are where the others' bad rows go."""
    from delaytool.shards.quarantine import without_quarantine_in

    return shards if quarantine is None else without_quarantine_in(quarantine, shards)


def paired(shards: list[Shard], codes: list[Shard]) -> Paired:
    """The shards of text with those of codes; raises DataError for one without a counterpart."""
    from delaytool.shards.quarantine import without_quarantine

    if len(shards) == len(codes) == 1:
        notes = names_differ(shards[0], codes[0])
        return Paired(shards, {shards[0].name: codes[0]}, notes)
    # One of each may be a pair of different names; more are an error.
    texts = without_quarantine(shards, codes, enough=2) or shards
    others = without_quarantine(codes, shards, enough=2)
    left_out = len(shards) - len(texts) + len(codes) - len(others)
    if len(texts) == len(others) == 1:
        return replace(paired(texts, others), left_out=left_out)
    return Paired(texts, _by_names(texts, others), [], left_out)


def names_differ(text: Shard, codes: Shard) -> list[Note]:
    """A note that the only two shards belong together whatever they are called."""
    if text.name == codes.name:
        return []
    what = f"{text.name} is paired with {codes.name}, of another name: there is no other"
    return [Note(what)]


def _by_names(shards: list[Shard], codes: list[Shard]) -> dict[str, Shard]:
    """The shard of codes of each shard of text, by the latter's name."""
    by_name, texts = by_output(codes), by_output(shards)
    names = set(texts)
    for name in [*sorted(names - set(by_name)), *sorted(set(by_name) - names)]:
        missing = "codes" if name in names else "text"
        raise DataError(
            "unpaired-shard",
            f"there is no shard of {missing} of this name",
            expected="one of text and one of codes for each relative path",
            advice="bring both folders to the same file names",
            place=Place(shard=name),
        )
    return {text.name: by_name[name] for name, text in texts.items()}


def sources_of(
    shards: list[Shard], output: str, source: str | None, audio_input: str | None
) -> Originals:
    """Each shard of the output with its originals; raises RecipeError as `items_of` does."""
    from delaytool.jobs.mismatches import Mismatch
    from delaytool.shards import stores
    from delaytool.shards.quarantine import first_of_data, without_quarantine

    if source is None:
        if audio_input is not None:
            raise RecipeError("`audio_input` goes with `source`")
        return Originals([(shard, None, None) for shard in shards], [], [])
    if stores.same(source, output):
        raise RecipeError(f"`output` and `source` are the same: {stores.shown(output)}")
    originals, notes = find(source, "source", [output])
    left_out = 0
    codes: dict[str, Shard] = {}
    if audio_input is not None:
        others, more = find(audio_input, "audio_input", [output])
        pairs = paired(originals, others)
        originals, codes, left_out = pairs.shards, pairs.codes, pairs.left_out
        notes = pairs.notes + notes + more
    one_file = stores.kind_of(output) == "file"
    # A shard that has a counterpart is compared with it, whatever it holds.
    found = len(originals) + len(shards)
    outputs = shards if one_file else without_quarantine(shards, originals)
    if first_of_data(originals) is not None:
        originals = without_quarantine(originals, [] if one_file else shards)
    shards = outputs
    left_out += found - len(originals) - len(shards)
    if one_file and len(originals) == 1:
        only = originals[0]
        return Originals([(shards[0], only, codes.get(only.name))], [], notes, left_out)
    by_name, ours = by_output(originals), by_output(shards)
    mismatches = [
        Mismatch(Place(shard=shard.name), "shard", "a shard made from this source", "none")
        for name, shard in by_name.items()
        if name not in ours
    ]
    mismatches += [
        Mismatch(Place(shard=shard.name), "shard", "a source of this name", "none")
        for name, shard in sorted(ours.items())
        if name not in by_name
    ]
    triples: list[tuple[Shard, Shard | None, Shard | None]] = [
        (shard, by_name[name], codes.get(by_name[name].name))
        for name, shard in ours.items()
        if name in by_name
    ]
    return Originals(triples, mismatches, notes, left_out)


def quarantines_of(
    shards: list[Shard], output: str, quarantine: str, source: str | None, audio_input: str | None
) -> tuple[dict[str, str], list[Mismatch]]:
    """Where the quarantined rows of each shard of the output are, and what is too much there."""
    from delaytool.jobs.mismatches import Mismatch
    from delaytool.shards import stores
    from delaytool.shards.quarantine import counterpart, strays_among

    folders = {"output": output, "source": source, "audio_input": audio_input}
    _check_quarantine(quarantine, folders)
    found: list[Shard] = []
    if stores.kind_of(quarantine) is not None:
        with contextlib.suppress(DataError):
            found, _ = find(quarantine, "quarantine")
    if stores.kind_of(output) == "file":
        # Its quarantined rows have the name of its source, which may be another one.
        there = counterpart(shards[0], found)
        path = there.path if there else stores.join(quarantine, shards[0].name)
        return {shards[0].name: path}, []
    places = {shard.name: stores.join(quarantine, shard.name) for shard in shards}
    strays = strays_among(shard for shard in found if shard.name not in places)
    mismatches = [
        Mismatch(Place(shard=shard.name), "quarantine", "an output of this name", "none")
        for shard in strays
    ]
    return places, mismatches


def plain_path(path: str | os.PathLike[str], elsewhere: bool = False) -> str:
    """A path as the stores take it.

    elsewhere: whether others have to find it too, who may be in another folder
    """
    from delaytool.shards import stores

    plain = stores.plain(os.fspath(path))
    return os.path.abspath(plain) if elsewhere and not stores.is_remote(plain) else plain
