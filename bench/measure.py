"""Run a command and print its seconds and its peak memory in bytes.

A process of its own, and a small one: Linux counts what the process that starts another one held towards the peak of
the other.
"""

import os
import subprocess
import sys
import time

start_s = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(time.perf_counter() - start_s, usage.ru_maxrss * 1024)
sys.exit(os.waitstatus_to_exitcode(status))
