"""Draw the pictures of windows in this folder: python sample_data/draw_windows.py

Each shows a window of the row of 4 frames in issue-123.parquet, as one of three trainers makes it:
the ids tell the frame, 101 to 104 in text, 11 to 14 and 21 to 24 in the codebooks.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
MOSHI = ["--n-q", "2", "--delays", "0,0,1"]
TRAINERS = {
    "moshi-finetune": [*MOSHI, "--preset", "moshi-finetune", "--window", "3", "--window-pad"],
    "j-moshi": [
        *(*MOSHI, "--preset", "j-moshi", "--window", "3"),
        *("--window-cut", "after", "--window-split", "even"),
    ],
    "audiocraft": [
        *("--n-q", "2", "--preset", "musicgen", "--initial-step", "--length", "truncate"),
        *("--window", "2"),
    ],
}
ROWS = (0, 1)


def delaytool(*arguments: object) -> None:
    """Run the command."""
    subprocess.run([sys.executable, "-m", "delaytool", *map(str, arguments)], check=True)


def draw(folder: Path) -> None:
    """Draw all of them into a folder."""
    with tempfile.TemporaryDirectory() as made:
        for trainer, options in TRAINERS.items():
            shard = Path(made) / f"{trainer}.parquet"
            delaytool("apply", HERE / "issue-123.parquet", shard, *options, "--quiet")
            for row in ROWS:
                picture = folder / f"{trainer}-{row}.svg"
                delaytool("inspect", shard, "--row", row, "--image", picture, "--quiet")


if __name__ == "__main__":
    (HERE / "windows").mkdir(exist_ok=True)
    draw(HERE / "windows")
