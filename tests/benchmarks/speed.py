"""The part `speed` of bench.py, in a process that has what the commands' processes have.

These take another allocator than pyarrow's default, which in one process keeps the memory of one
round for the next: python tests/benchmarks/speed.py FOLDER prints the figures as JSON.
"""

import json
import sys
from pathlib import Path

from delaytool.run import guard

if __name__ == "__main__":
    guard.travel_light()
    import bench

    print(json.dumps(list(bench.speed_figures(Path(sys.argv[1])))))
