"""Words on frames again, slow and obvious: what the package is compared with.

Python lists and a loop over every frame, written from the rules and not from the package.
"""

import math
from collections import Counter


def interleave(words, frames, how):
    """Tokens of one row, and how many words came to which end.

    words: dicts with tokens, start, end, speaker; None for no transcript
    how:   the keywords of `align_words`, all of them
    """
    if words is None:
        return [how["zero_token"]] * frames, Counter()
    fates = Counter()
    in_word = how["text_padding"] if how["in_word_padding"] is None else how["in_word_padding"]
    spoken = turned(sorted(words, key=lambda word: word["start"]), how)
    kept = []
    for word in spoken:
        start, end = word["start"], word["end"]
        if not start < end:
            fates["NO_DURATION"] += 1
            continue
        if how["audio_delay"] != 0:
            if not end > how["audio_delay"]:
                fates["TOO_EARLY"] += 1
                continue
            start, end = start - how["audio_delay"], end - how["audio_delay"]
        first = max(0, math.floor(start * how["frame_rate"]))
        if first >= frames:
            fates["BEYOND_END"] += 1
            continue
        kept.append((first, int(end * how["frame_rate"]), list(word["tokens"])))
    fates["OTHERS"] = len(words) - len(spoken)
    cells, lost = frame_by_frame(kept, frames, how["keep_words"])
    row = [how["text_padding"]] * frames
    for frame, (token, end) in enumerate(cells):
        if token is not None:
            if frame > 0 and row[frame - 1] in (how["text_padding"], in_word):
                row[frame - 1] = how["text_end_padding"]
            row[frame] = token
        elif frame <= end:
            row[frame] = in_word
    if how["audio_delay"] < 0:
        for frame in range(min(frames, int(how["frame_rate"] * -how["audio_delay"]))):
            row[frame] = how["zero_token"]
    return row, +(fates + lost)


def turned(words, how):
    """The words that are kept, those that begin a turn with its token."""
    main = how["speaker"] or "SPEAKER_MAIN"
    if not how["all_speakers"]:
        if all(word["speaker"] is None for word in words):
            return words
        return [word for word in words if word["speaker"] == main]
    if how["turn_tokens"] is None:
        return words
    last, out = None, []
    for word in words:
        tokens = list(word["tokens"])
        if word["speaker"] != last:
            if word["speaker"] == main:
                tokens = [how["turn_tokens"][0], *tokens]
            elif last == main:
                tokens = [how["turn_tokens"][1], *tokens]
        last = word["speaker"]
        out.append({**word, "tokens": tokens})
    return out


def frame_by_frame(words, frames, keep):
    """For each frame its token, or None, and the last frame of the newest word; which were cut."""
    cells, fates = [], {}
    waiting, end, number = [], -1, 0
    for frame in range(frames):
        while number < len(words) and words[number][0] == frame:
            _, end, tokens = words[number]
            if not keep:
                for other, _ in waiting:
                    fates[other] = "CUT"
                waiting = []
            waiting += [(number, token) for token in tokens]
            number += 1
        cells.append((waiting.pop(0)[1] if waiting else None, end))
    for other, _ in waiting:
        fates[other] = "PAST_END"
    return cells, Counter(fates.values())
