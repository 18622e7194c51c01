"""Whisper as a front-end: how fast, and in how much memory.

    pip install 'ser_nbdev[whisper]'
    SER_NBDEV_WHISPER=FOLDER python benchmarks/whisper.py --root CORPUS [--corpus ravdess]
        [--where "speaker <= '12'"] [--features whisper_base] [--jobs 2]

`ser_features` is run twice: on a corpus, and on one recording of an hour. Times of the processor are
of all processes; memory is what all of them hold at once, shared pages counted each time. Times mean
something on a quiet machine only: the load before each run is printed.
"""
import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from ser_nbdev.audio import SR, load_audio
from ser_nbdev.console import console
from ser_nbdev.corpora import read_corpus
from ser_nbdev.selection import keep_where

SER_FEATURES = 'from ser_nbdev.cli import ser_features; ser_features()'

def processes(pid):
    "A process, and all that it began."
    found = [pid]
    for path in Path(f'/proc/{pid}/task').glob('*/children'):
        try:
            for child in path.read_text().split():
                found += processes(int(child))
        except OSError:
            pass # it has ended
    return found

def held(pid):
    "Bytes of memory that a process holds."
    try:
        pages = Path(f'/proc/{pid}/statm').read_text().split()[1]
        return int(pages)*os.sysconf('SC_PAGE_SIZE')
    except OSError:
        return 0

def measured(arguments):
    "Run `ser_features`: seconds, seconds of the processor, bytes at most."
    def used():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime
    before, start, most = used(), time.time(), 0
    running = subprocess.Popen([sys.executable, '-c', SER_FEATURES, *map(str, arguments)],
                               stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while running.poll() is None:
        most = max(most, sum(map(held, processes(running.pid))))
        time.sleep(.1)
    if running.returncode:
        raise SystemExit(f'ser_features {" ".join(map(str, arguments))} failed')
    return time.time() - start, used() - before, most

def write_hour(frame, folder):
    "The corpus' recordings one after another, an hour of them, as a manifest of two recordings."
    waves, n = [], 0
    while n < 3600*SR:
        for path in frame.path:
            waves.append(load_audio(path))
            n += len(waves[-1])
            if n >= 3600*SR:
                break
    y = np.concatenate(waves)[:3600*SR]
    soundfile.write(folder/'hour.wav', y, SR)
    soundfile.write(folder/'short.wav', y[:5*SR], SR)
    table = folder/'table.csv'
    table.write_text('path,emotion,speaker\nhour.wav,hap,a\nshort.wav,sad,b\n')
    return table

def report(what, seconds, arguments):
    "Measure, and print a line."
    load = os.getloadavg()[0]
    wall, processor, most = measured(arguments)
    print(f'{what}: {seconds/60:.1f} min of audio in {wall:.0f} s, {seconds/wall:.0f} times real '
          f'time; {processor:.0f} s of the processor, {seconds/processor:.0f} times; at most '
          f'{most/1e9:.2f} GB; load before {load:.1f}', flush=True)

def report_pieces(table):
    "How fast two minutes are encoded in pieces of some lengths, on one core."
    import ctranslate2
    from ser_nbdev.whisper import log_mel, whisper_folder
    model = ctranslate2.models.Whisper(str(whisper_folder('base')), compute_type='int8',
                                       intra_threads=1)
    y = load_audio(table.parent/'hour.wav', end=120)
    for seconds in (3, 5, 10, 15, 20, 30):
        mels = [log_mel(y[i*SR:(i + seconds)*SR])[None] for i in range(0, 120, seconds)]
        start = time.process_time()
        for mel in mels:
            model.encode(ctranslate2.StorageView.from_array(mel), to_cpu=True)
        times = 120/(time.process_time() - start)
        print(f'pieces of {seconds} s: {times:.0f} times real time, by the processor')

def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--corpus', default='ravdess')
    p.add_argument('--root', required=True, help='folder of the corpus')
    p.add_argument('--where', help='which recordings')
    p.add_argument('--features', default='whisper_base')
    p.add_argument('--jobs', default=2, type=int, help='processes')
    o = p.parse_args()
    with console('whisper'), tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        frame = read_corpus(o.corpus, o.root)
        frame = keep_where(frame, o.where) if o.where else frame
        which = ['--where', o.where] if o.where else []
        print(f'{o.features}, {os.cpu_count()} cores')
        report(f'{len(frame)} recordings, {o.jobs} processes', frame.duration.sum(), [
            '--corpus', o.corpus, '--root', o.root, *which, '--features', o.features,
            '--jobs', o.jobs, '--out', folder/'corpus'])
        table = write_hour(frame, folder)
        report_pieces(table)
        report('a recording of an hour, one process', 3605, [
            '--corpus', 'manifest', '--root', table, '--features', o.features, '--jobs', 1,
            '--out', folder/'hour'])

if __name__ == '__main__':
    main()
