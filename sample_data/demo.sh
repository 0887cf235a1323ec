#!/bin/sh
# What `make demo` runs: the main job on the shards beside this script, explained on the way.
set -eu
DATA=$(dirname "$0")
OUT=${OUT:-demo_out}
PATH=$(cd "${BIN:-.venv/bin}" && pwd):$PATH
rm -rf "$OUT"

say() { printf '\n%s\n' "$*"; }
run() {
    printf '\n$ delaytool %s\n' "$*"
    delaytool "$@" 2>&1
}

say "1. THE DELAY PATTERN, on one row of 4 frames: one text stream and two codebooks."
say "Before: every stream has its token of frame 1 at timestep 0, and so on."
run inspect "$DATA/issue-123.parquet" --labels

say "apply moves both codebooks one frame later, so that a model predicts the text of a frame
before its audio. Nothing is cut off: 4 frames become 5 timesteps."
run apply "$DATA/issue-123.parquet" "$OUT/issue-123.parquet" --n-q 2 --delays 1
say "After: S marks the cells that the shift has emptied."
run inspect "$OUT/issue-123.parquet" --labels
say "What is in them: 2048 before the audio begins (no codebook has that id), 3 after the text
(its padding token). Below, the loss weights: filled cells weigh 0, a semantic token 100 times an
acoustic one. Text padding inside the stream (3 and 0) would weigh half."
run inspect "$OUT/issue-123.parquet" --weights

say "2. THE MAIN JOB, on two shards with Moshi's 17 streams (synthetic tokens, no real speech)."
run apply "$DATA/moshi" "$OUT/moshi"
say "verify reverts every shard and compares it with the original one, value by value ..."
run verify "$OUT/moshi" --source "$DATA/moshi"
say "... or, when the originals are gone, with the digests in each shard's footer."
run verify "$OUT/moshi"
say "One row of the result, where a word begins: PAD (3), EPAD (0), then the word's tokens."
run inspect "$OUT/moshi/train-00000-of-00002.parquet" --id synthetic-0-003 --steps 0:12 --weights

say "Done. The shifted shards are in $OUT/. Try: .venv/bin/delaytool apply --help"
