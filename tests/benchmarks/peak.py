"""Peak memory of a command, from a process small enough not to be measured along.

On Linux a child's peak begins at the peak of the process that started it, and a benchmark that has
held a shard in memory has a high one. So a bare Python of a few megabytes starts the command.
"""

import subprocess
import sys

LAUNCHER = """
import os, sys
pid = os.fork()
if not pid:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.execv(sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(pid, 0)
print(status, usage.ru_maxrss)
"""


def peak_bytes(*command):
    """The peak resident memory of a command, the libraries it maps included."""
    launcher = [sys.executable, "-I", "-S", "-c", LAUNCHER, *command]
    ended = subprocess.run(launcher, capture_output=True, text=True, check=True)
    status, peak = map(int, ended.stdout.split())
    if status:
        raise RuntimeError(f"{' '.join(command)} failed: {ended.stderr}")
    return peak * (1 if sys.platform == "darwin" else 1024)
