"""J-Moshi's trainer on shifted shards, and its losses on a small model: python j_moshi.py shifted/

    delaytool apply dialogues/ shifted/ --preset j-moshi --grid-column A --grid-column 'B[1:]'

nu-dialogue/moshi-finetune delays in its data preparation, in each run; its model takes what comes.
For that trainer add `--label-columns --no-weights`, and in `preprocess_function` of utils/data.py
put `streams_and_labels` in the place of `main_speaker_streams` and `delay_and_pad_streams` (steps 1
and 2) and of `make_streams_labels` (step 5). `split_streams` and `filter_out_short_streams` then go
over both lists as before, and the losses in finetune.py stay as they are.

`losses` are that trainer's: the text loss is mean(words) + 0.5 x mean(padding), two means, which no
weight of a cell can say. Both speakers are predicted, as with its `--model_user_stream`.
"""

import numpy as np
import torch
from loop import DEVICE, descend, run
from moshi.utils.compile import no_compile
from moshi_finetune import endless
from train_moshi import small_moshi

from delaytool.torch import ShardDataset, weighted_loss


def streams_and_labels(examples, zero_token_id=-1):
    """Lists of int arrays [17, S] from the columns codes and labels of a batch of rows."""
    streams = [np.array(codes) for codes in examples["codes"]]
    labels = [np.array(labels) for labels in examples["labels"]]
    return streams, [np.where(each == -100, zero_token_id, each) for each in labels]


def losses(model, batch, padding_weight=0.5):
    """J-Moshi's losses of the text and of the audio; the model takes shifted codes."""
    text_logits, audio_logits = model(batch.codes)
    targets, weights = batch.codes[:, :, 1:], batch.weights[:, :, 1:]
    text, audio = targets[:, :1], slice(1, 1 + model.dep_q)
    trained = weights[:, :1] > 0
    padding = text == model.text_padding_token_id
    words = weighted_loss(text_logits, text, trained & ~padding)
    pauses = weighted_loss(text_logits, text, trained & padding)
    return {
        "text": words + padding_weight * pauses,
        "audio": weighted_loss(audio_logits, targets[:, audio], weights[:, audio]),
    }


@no_compile()
def train(path, steps=30, batch_size=4, dim=64, lr=3e-3, seed=0):
    """Train on shards and print the losses as they fall; the model, and the loss of each step."""
    torch.manual_seed(seed)
    model = small_moshi(ShardDataset(path).recipe, dim).to(DEVICE)

    def of_batch(batch):
        return losses(model, batch.to(DEVICE))

    batches = endless(path, batch_size, seed=seed, workers=0)
    return model, descend(model, of_batch, batches, steps, lr)


if __name__ == "__main__":
    run(train, "Train a small J-Moshi on shifted shards.")
