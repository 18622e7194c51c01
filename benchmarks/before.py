"""Are the features as fast as those of another checkout, version 0.1 for instance?

    git worktree add ../ser_nbdev-0.1 4238dd0
    python benchmarks/before.py ../ser_nbdev-0.1 --corpus shared/corpora/emodb

The two codes take turns, each in a process of its own, on one core: first recording by recording,
then all of them as one long recording. The ratio is taken turn by turn; its median and middle half
are printed.
"""
import argparse
import multiprocessing
import os
import sys
import time
from pathlib import Path

os.environ.update(OMP_NUM_THREADS='1', OPENBLAS_NUM_THREADS='1', MKL_NUM_THREADS='1')

import librosa
import numpy as np

HERE = Path(__file__).resolve().parents[1]
SR = 16000


def serve(root, corpus, n, pipe):
    "Time what is asked for, with the package of one checkout."
    sys.path.insert(0, str(root))
    try:
        from ser_nbdev.feature_sets import extract
    except ImportError:
        from ser_nbdev.features import extract # version 0.1
    paths = sorted(Path(corpus).rglob('*.wav'))[:n]
    recordings = [librosa.load(path, sr=SR)[0] for path in paths]
    long = [np.concatenate(recordings)]
    while True:
        features, is_long = pipe.recv()
        start = time.perf_counter()
        for waveform in long if is_long else recordings:
            extract(waveform, SR, features)
        pipe.send(time.perf_counter() - start)

def started(root, options):
    "A process for one checkout; the pipe to it."
    ours, theirs = multiprocessing.Pipe()
    arguments = (root, options.corpus, options.recordings, theirs)
    multiprocessing.Process(target=serve, args=arguments, daemon=True).start()
    return ours

def seconds(pipe, features, is_long):
    "One turn."
    pipe.send((features, is_long))
    return pipe.recv()


if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('old', help='the other checkout')
    p.add_argument('--corpus', default='../shared/corpora/emodb', help='folder of WAV files')
    p.add_argument('--recordings', type=int, default=150, help='how many of them')
    p.add_argument('--turns', type=int, default=40, help='of each code')
    options = p.parse_args()
    multiprocessing.set_start_method('spawn')
    pipes = [started(root, options) for root in (options.old, HERE)]
    for features in ('mfcc20', 'lld32', 'lld43'):
        for is_long in (False, True):
            turns = [[seconds(pipe, features, is_long) for pipe in pipes]
                     for _ in range(options.turns + 3)][3:]
            old, new = np.transpose(turns)
            low, middle, high = np.quantile(new/old, [.25, .5, .75])
            name = 'one long recording' if is_long else 'recording by recording'
            print(f'{features}, {name}: {1000*np.median(old):.0f} and {1000*np.median(new):.0f} ms, '
                  f'new / old {middle:.3f} ({low:.3f} to {high:.3f})', flush=True)
