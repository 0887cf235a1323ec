"""What a command costs, from a process small enough not to be measured along.

On Linux a child's peak begins at the peak of the process that started it, and a benchmark that has
held a shard in memory has a high one. So a bare Python of a few megabytes starts the command.
"""

import dataclasses
import subprocess
import sys

LAUNCHER = """
import os, sys, time
began = time.monotonic()
pid = os.fork()
if not pid:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.execv(sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(pid, 0)
print(status, usage.ru_maxrss, usage.ru_utime + usage.ru_stime, time.monotonic() - began)
"""


@dataclasses.dataclass
class Cost:
    """Seconds of all cores, seconds by the clock, and bytes of memory at most."""

    processor: float
    wall: float
    peak: int


def cost_of(*command):
    """What a command costs; of its memory the libraries that it maps are part."""
    launcher = [sys.executable, "-I", "-S", "-c", LAUNCHER, *command]
    ended = subprocess.run(launcher, capture_output=True, text=True, check=True)
    status, peak, processor, wall = ended.stdout.split()
    if int(status):
        raise RuntimeError(f"{' '.join(command)} failed: {ended.stderr}")
    return Cost(
        float(processor), float(wall), int(peak) * (1 if sys.platform == "darwin" else 1024)
    )


def peak_bytes(*command):
    """The peak resident memory of a command."""
    return cost_of(*command).peak
