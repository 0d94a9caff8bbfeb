"""Worker processes of a bench."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

PROGRAM = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from scantling.run.bench_job import end_with_parent

def work():
    print(os.getpid(), flush=True)
    time.sleep(600)

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=end_with_parent) as pool:
        pool.submit(work).result()
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_workers_end_when_the_bench_is_killed(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    bench = subprocess.Popen([sys.executable, str(tmp_path / "program.py")], stdout=subprocess.PIPE, text=True)
    assert bench.stdout is not None
    worker = int(bench.stdout.readline())
    assert alive(worker)
    bench.send_signal(signal.SIGKILL)
    bench.wait()
    until = time.monotonic() + 20
    while alive(worker) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(worker)
