"""Does the rewritten training give the numbers of version 0.1? One fold and seed of two runs.

    git worktree add ../ser_nbdev-0.1 4238dd0
    python benchmarks/regenerate.py ../ser_nbdev-0.1

Both codes train on the same arrays: the features that version 0.1 computes here. So a difference is
one of the training, not of the last bits of a feature (0.2 multiplies in blocks, and processors
round differently). Beside it stands how far version 0.1's own training, on this processor, lies
from the record in nbs/runs.
"""
import argparse
import importlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).resolve().parents[1]
RUNS = ('plateau', 'modern')
RATES = {'no dropout': 0., 'dropout 0.2': .2}
ROOMS = ('config', 'train', 'data', 'corpora', 'folds', 'demo')


def found(name):
    "A function of the code on `sys.path`, in whatever module that version keeps it."
    for room in ROOMS:
        try:
            module = importlib.import_module(f'ser_nbdev.{room}')
        except ImportError:
            continue
        if hasattr(module, name):
            return getattr(module, name)
    raise SystemExit(f'no {name} in {sys.path[0]}')

def record(run):
    "What is recorded of a run on the demo."
    return json.loads((HERE/f'nbs/runs/demo-{run}/config.json').read_text())

def compute_features(work):
    "Features and table of the demo, as plain arrays and columns."
    for name in {record(run)['recipe']['features'] for run in RUNS}:
        store, frame = found('load_features')('iemocap', found('demo_corpus')(), name, work/name)
        np.savez(work/f'{name}.npz', *[store[i] for i in range(len(store))])
    columns = {column: list(frame[column]) for column in frame.columns}
    table = pd.DataFrame(columns, index=list(frame.index)).rename_axis('name')
    table.to_parquet(work/'table.parquet')

def train_runs(work, out):
    "Train the first fold and seed 0, with dropout and without."
    frame = pd.read_parquet(work/'table.parquet')
    TrainConfig = found('TrainConfig')
    fold = found('folds')(frame, by='session')[0]
    for run in RUNS:
        kept = record(run)
        recipe = {k: v for k, v in kept['recipe'].items() if k in TrainConfig.__dataclass_fields__}
        recipe.update(random_seed=0, learning_rate=kept['learning_rates'][-1])
        for arm, rate in RATES.items():
            config = TrainConfig(**recipe | dict(dropout_rate=rate))
            kept_arrays = np.load(work/f'{recipe["features"]}.npz')
            features = [kept_arrays[f'arr_{i}'] for i in range(len(frame))]
            trained = found('train')(config, features, frame, fold, work/out/f'{run} {arm}')
            trained.predictions.to_csv(work/out/f'{run} {arm}.csv', index=False)

def in_code(root, *arguments):
    "Run this file with the package of another checkout."
    command = [sys.executable, __file__, str(root), *map(str, arguments)]
    subprocess.run(command, check=True)

def largest(a, b, classes):
    "Largest difference of a probability, and the share of equal predictions."
    a, b = a[classes].to_numpy(), b[classes].to_numpy()
    return np.abs(a - b).max(), (a.argmax(1) == b.argmax(1)).mean()

def compare(work):
    "A line for each run and arm."
    for run in RUNS:
        kept = pd.read_parquet(HERE/f'nbs/runs/demo-{run}/predictions.parquet')
        classes = record(run)['classes']
        first = kept[(kept.seed == 0) & (kept.fold == kept.fold.min())]
        for arm in RATES:
            old, new = [pd.read_csv(work/out/f'{run} {arm}.csv') for out in ('old', 'new')]
            difference, _ = largest(old, new, classes)
            old = old.set_index('name')
            recorded = first[first.arm == arm].set_index('name').loc[old.index]
            apart, equal = largest(old, recorded, classes)
            print(f'{run:<8} {arm:<12} 0.1 and now: {difference:.1e}; '
                  f'0.1 here and its record: {apart:.1e}, {equal:.0%} of the predictions equal')


if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('old', help='checkout of version 0.1')
    p.add_argument('step', nargs='?', choices=('features', 'train'), help=argparse.SUPPRESS)
    p.add_argument('work', nargs='?', help=argparse.SUPPRESS)
    p.add_argument('out', nargs='?', help=argparse.SUPPRESS)
    options = p.parse_args()
    if options.step:
        sys.path.insert(0, options.old)
        if options.step == 'features':
            compute_features(Path(options.work))
        else:
            train_runs(Path(options.work), options.out)
    else:
        with tempfile.TemporaryDirectory() as folder:
            in_code(options.old, 'features', folder)
            in_code(options.old, 'train', folder, 'old')
            in_code(HERE, 'train', folder, 'new')
            compare(Path(folder))
