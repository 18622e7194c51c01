"""A recording of one hour, and of three, scored window by window: time and peak memory.

    python benchmarks/predict.py [--root ../shared/corpora/emodb] [--hours 1 3]
"""
import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from ser_nbdev.corpora import read_corpus
from ser_nbdev.audio import SR, load_audio


def say(what, value, target='', met=None):
    verdict = {None: '', True: 'met', False: 'MISSED'}[met]
    print(f'  {what:<58} {value:>12}   {target:<12} {verdict}', flush=True)


def tile(root, path, hours):
    "The recordings of EmoDB one after the other, again and again."
    y = np.concatenate([load_audio(p) for p in read_corpus('emodb', root).path])
    left = int(hours*3600*SR)
    with soundfile.SoundFile(path, 'w', SR, 1) as f:
        while left > 0:
            f.write(y[:left])
            left -= len(y)


def measured(argv, cwd):
    "Wall-clock seconds, peak resident bytes and processor seconds of a command."
    start = time.perf_counter()
    quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    process = subprocess.Popen(argv, cwd=cwd, **quiet)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f'{argv}: status {status}')
    seconds = time.perf_counter() - start
    return seconds, usage.ru_maxrss*1024, usage.ru_utime + usage.ru_stime


def report(hours, seconds, peak, cpu):
    speed = hours*3600/seconds
    say(f'{hours:g} h: seconds', f'{seconds:.1f}', f'<= {36*hours:g}', seconds <= 36*hours)
    say(f'{hours:g} h: times real time', f'{speed:.0f}', '>= 100', speed >= 100)
    say(f'{hours:g} h: seconds of processor time', f'{cpu:.1f}')
    say(f'{hours:g} h: peak memory, GB', f'{peak/1e9:.2f}', '< 1.5', peak < 1.5e9)


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--root', default='../shared/corpora/emodb')
    p.add_argument('--hours', type=float, nargs='+', default=[1, 3])
    a = p.parse_args()
    ser_predict = Path(sys.executable).with_name('ser_predict')
    print(f'{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}; ser_predict '
          '--timeline, the pretrained bundle, windows of 3 s, a hop of 1 s, all of the process '
          'from start to end')
    with tempfile.TemporaryDirectory() as folder:
        first = None
        for hours in a.hours:
            tile(a.root, Path(folder)/'long.wav', hours)
            command = [ser_predict, 'long.wav', '--timeline', 'out']
            seconds, peak, cpu = measured(command, folder)
            report(hours, seconds, peak, cpu)
            if first is None:
                first = peak
                continue
            against = f'{hours:g} h: peak memory against {a.hours[0]:g} h'
            say(against, f'{peak/first:.2f}', '<= 1.1', peak <= 1.1*first)


if __name__ == '__main__':
    main()
