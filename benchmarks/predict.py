"""A recording of one hour, and of three, scored window by window: time and peak memory, each in a process of its own.

    python benchmarks/predict.py [--root ../shared/corpora/emodb] [--hours 1 3]
"""
import argparse, os, subprocess, sys, tempfile, time
from pathlib import Path
import numpy as np, soundfile
from ser_nbdev.corpora import read_corpus
from ser_nbdev.features import SR, load_audio

def say(what, value, target='', ok=None): print(f'  {what:<58} {value:>12}   {target:<12} {"" if ok is None else "met" if ok else "MISSED"}', flush=True)

def tile(root, path, hours):
    "The recordings of EmoDB one after the other, again and again."
    y = np.concatenate([load_audio(p) for p in read_corpus('emodb', root).path])
    with soundfile.SoundFile(path, 'w', SR, 1) as f:
        left = int(hours*3600*SR)
        while left>0: f.write(y[:left]); left -= len(y)

def measured(argv, cwd):
    "Wall-clock seconds and peak resident bytes of a command."
    t = time.perf_counter()
    p = subprocess.Popen(argv, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(p.pid, 0)
    if status: sys.exit(f'{argv}: status {status}')
    return time.perf_counter()-t, usage.ru_maxrss*1024, usage.ru_utime+usage.ru_stime

p = argparse.ArgumentParser()
p.add_argument('--root', default='../shared/corpora/emodb')
p.add_argument('--hours', type=float, nargs='+', default=[1, 3])
a = p.parse_args()
ser_predict = Path(sys.executable).with_name('ser_predict')
print(f'{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}; ser_predict --timeline, the pretrained bundle, windows of 3 s, a hop of 1 s, all of the process from start to end')
with tempfile.TemporaryDirectory() as d:
    first = None
    for hours in a.hours:
        tile(a.root, Path(d)/'long.wav', hours)
        seconds, peak, cpu = measured([ser_predict, 'long.wav', '--timeline', 'out'], d)
        say(f'{hours:g} h: seconds', f'{seconds:.1f}', f'<= {36*hours:g}', seconds<=36*hours)
        say(f'{hours:g} h: times real time', f'{hours*3600/seconds:.0f}', '>= 100', hours*3600/seconds>=100)
        say(f'{hours:g} h: seconds of processor time', f'{cpu:.1f}')
        say(f'{hours:g} h: peak memory, GB', f'{peak/1e9:.2f}', '< 1.5', peak<1.5e9)
        if first: say(f'{hours:g} h: peak memory against {a.hours[0]:g} h', f'{peak/first:.2f}', '<= 1.1', peak<=1.1*first)
        first = first or peak
