"""Speed of align beside Kyutai's own Interleaver: python tests/benchmarks/words.py interleaver.py

The argument is finetune/data/interleaver.py of a clone of kyutai-labs/moshi-finetune, which needs
torch and moshi. Both get the same words, of a Zipf vocabulary, and the same SentencePiece model,
trained on them. Each of three things runs in turn, ROUNDS times, pinned to one core, and the best
processor time of each counts:

theirs   `prepare_item` of every row, from Python lists
batch    `align_batch` of a record batch of structs, or of the JSON of the same rows
shard    `AlignShard`: Parquet in, Parquet out, the digest and the sync included

Both batches and shards know nothing of the words before: their tokens are made anew in each round.
"""

import importlib.util
import io
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import sentencepiece

from delaytool.batches.align import align_batch
from delaytool.batches.align_job import AlignJob
from delaytool.jobs.align import AlignShard, _encoder, sha256_of
from delaytool.jobs.paths import Item
from delaytool.pattern.interleave import Interleaving
from delaytool.pattern.pieces import encoder
from delaytool.shards.find import Shard

ROUNDS, ROWS, SECONDS, RATE = 4, 600, 100, 12.5
VOCABULARY, WORDS_A_SECOND = 20_000, 2.5


def rows_of_words(random):
    """Transcripts as moshi-finetune keeps them: [word, [start, end], speaker]."""
    letters = np.array(list("etaoinshrdlu"))
    vocabulary = [
        "".join(random.choice(letters, random.integers(1, 11))) for _ in range(VOCABULARY)
    ]
    rows = []
    for _ in range(ROWS):
        starts = np.sort(random.uniform(0, SECONDS, int(SECONDS * WORDS_A_SECOND)))
        words = np.minimum(random.zipf(1.2, len(starts)), VOCABULARY) - 1
        ends = starts + random.uniform(0.1, 0.5, len(starts))
        speakers = random.choice(["SPEAKER_MAIN", "SPEAKER_OTHER"], len(starts), p=[0.8, 0.2])
        rows.append(
            [
                [f" {vocabulary[w]}", [round(s, 3), round(e, 3)], str(who)]
                for w, s, e, who in zip(
                    words, starts.tolist(), ends.tolist(), speakers, strict=True
                )
            ]
        )
    return rows


def model_of(rows):
    """A SentencePiece model that knows line breaks, as the Interleaver demands it."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["".join(word for word, _, _ in row) for row in rows]),
        model_writer=model,
        vocab_size=8000,
        byte_fallback=True,
        normalization_rule_name="identity",
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return model.getvalue()


def theirs_of(path, model):
    """The Interleaver as moshi-finetune's train.py builds it."""
    spec = importlib.util.spec_from_file_location("interleaver", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["interleaver"] = module
    spec.loader.exec_module(module)
    tokenizer = sentencepiece.SentencePieceProcessor(model_proto=model)
    return module.Interleaver(tokenizer, RATE, 3, 0, -1, keep_main_only=True, device="cpu")


def best(functions):
    """The best processor time of each function, run in turn."""
    times = {name: [] for name in functions}
    for _ in range(ROUNDS):
        for name, function in functions.items():
            began = time.process_time()
            function()
            times[name].append(time.process_time() - began)
    return {name: min(each) for name, each in times.items()}


def main(path):
    """Measure and print."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rows = rows_of_words(np.random.default_rng(7))
    model = model_of(rows)
    theirs = theirs_of(path, model)
    frames = [int(SECONDS * RATE)] * ROWS
    structs = [
        [{"word": w, "start": s, "end": e, "speaker": who} for w, (s, e), who in row]
        for row in rows
    ]
    tables = {
        "structs": pa.table({"words": structs, "frames": frames}),
        "JSON": pa.table({"words": [json.dumps(row) for row in rows], "frames": frames}),
    }
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "words.model").write_bytes(model)
        tokenizer = f"{folder}/words.model"
        job = AlignJob("words", "text_tokens", Interleaving(), (), "frames", sha256_of(tokenizer))
        batches = {name: table.combine_chunks().to_batches()[0] for name, table in tables.items()}

        def batch_of(name):
            return align_batch(batches[name], job, encoder(pieces)).text

        def shard_of(name):
            source, target = f"{folder}/{name}.parquet", Path(folder) / f"{name}-out.parquet"
            target.unlink(missing_ok=True)
            _encoder.cache_clear()
            item = Item(Shard(name, source), None, str(target))
            for _ in AlignShard(item, job, tokenizer).run():
                pass

        expected = [theirs.prepare_item(row, SECONDS).flatten().tolist() for row in rows]
        functions = {"theirs": lambda: [theirs.prepare_item(row, SECONDS) for row in rows]}
        for name, table in tables.items():
            assert batch_of(name).to_pylist() == expected
            pq.write_table(table, f"{folder}/{name}.parquet")
            functions[f"batch of {name}"] = lambda name=name: batch_of(name)
            functions[f"shard of {name}"] = lambda name=name: shard_of(name)
        times = best(functions)
    words = sum(map(len, rows))
    for name, seconds in times.items():
        each = 1e6 * seconds / words
        print(f"{name:18} {each:7.3f} us a word, {times['theirs'] / seconds:6.1f} times as fast")


if __name__ == "__main__":
    main(sys.argv[1])
