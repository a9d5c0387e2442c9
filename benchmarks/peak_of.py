"""What a program takes; for benchmarks.whole_slides.

    python -I -S benchmarks/peak_of.py PROGRAM ARGUMENTS

Prints JSON of seconds, processor seconds and peak bytes, and ends with 1 where the program fails; the program's own
output goes to stderr. It imports next to nothing because a process begins with the peak memory of its parent: started
by one that holds PyTorch, a program would never seem to take less than that.
"""

import json
import os
import sys
import time

if __name__ == "__main__":
    answer = os.dup(1)
    os.dup2(2, 1)
    start = time.perf_counter()
    child = os.spawnvp(os.P_NOWAIT, sys.argv[1], sys.argv[1:])
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - start
    os.write(answer, json.dumps([seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024]).encode())
    sys.exit(status != 0)
