"""A few labelled utterances of an unseen voice: go on from a model, or train from nothing.

    python benchmarks/travel.py     --corpus demo --corpus emodb=PATH --corpus ravdess=PATH --work F
    python benchmarks/few_labels.py --corpus demo --corpus emodb=PATH --corpus ravdess=PATH --work F

Of each of RAVDESS' actors 13 to 24 some utterances of each class train, and others test. The models
to go on from come from `travel.py`, in the same folder F: one of RAVDESS' actors 01 to 12 (other
voices), and one of the other corpora. An actor has 8 utterances of a class, 4 neutral: 3 of each
test (2 neutral), so up to 5 train (2 neutral). Nothing is chosen by a result.
Stopped, the same command goes on; nbs/runs/few-labels gets every prediction.
"""
import argparse
import json
import os
from pathlib import Path
import numpy as np
import pandas as pd
from tqdm.auto import tqdm
from ser_nbdev.config import TrainConfig
from ser_nbdev.console import CorpusOption, console
from ser_nbdev.files import whole_file
from ser_nbdev.folds import Fold
from ser_nbdev.pooling import load_corpora
from ser_nbdev.starting import start_config, start_from
from ser_nbdev.statistics import most_probable

GIVEN = (1, 2, 5)
NONE = np.zeros(0, int)


def options():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--corpus', action=CorpusOption, required=True)
    p.add_argument('--seeds', type=int, default=3)
    p.add_argument('--epochs', type=int, default=20)
    p.add_argument('--learning_rate', type=float, default=5e-4, help='of those that go on')
    p.add_argument('--work', required=True, help='folder of the features and runs of travel.py')
    p.add_argument('--record', default='nbs/runs/few-labels')
    return p.parse_args()

def dealt(frame, actor, seed):
    "Utterances of an actor, by class, in a drawn order: those that may train, those that test."
    rng = np.random.default_rng(seed)
    train, test = {}, []
    for emotion in sorted(set(frame.emotion)):
        rows = np.flatnonzero((frame.speaker == actor) & (frame.emotion == emotion))
        rows = rng.permutation(rows)
        n_test = min(3, len(rows)//2)
        train[emotion], test = rows[n_test:], [*test, *rows[:n_test]]
    return train, np.sort(test)

def starts(work, frame, seed):
    "What a training begins with."
    names = list(dict.fromkeys(frame.corpus))
    rest = '+'.join(name for name in names if name != 'ravdess')
    runs = work/'runs'
    return {'from nothing': None,
            'from other voices': start_from(runs/f'ravdess-global-ravdess-half-{seed}'),
            'from other corpora': start_from(runs/f'{rest}-global-ravdess-{seed}')}

def config_of(o, start, seed):
    "The recipe modern; one that goes on learns slower."
    same = dict(epochs=o.epochs, random_seed=seed, normalise='global', join_validation=False)
    if start is None:
        return TrainConfig.modern(**same)
    return start_config(start, learning_rate=o.learning_rate, **same)

def planned(o, work, frame):
    "Way, utterances of a class, actor and seed, with configuration, fold and start."
    speakers = sorted(set(frame.speaker[frame.corpus == 'ravdess']))
    for seed in range(o.seeds):
        for way, start in starts(work, frame, seed).items():
            for actor in speakers[len(speakers)//2:]:
                train, test = dealt(frame, actor, seed)
                for n in GIVEN:
                    rows = np.sort(np.concatenate([rows[:n] for rows in train.values()]))
                    key = dict(way=way, given=n, seed=seed)
                    fold = Fold(f'{actor}-{n}', rows, NONE, test, 'random')
                    yield key, config_of(o, start, seed), fold, start

def everything(o, work):
    "All trainings; their predictions."
    from ser_nbdev.train import train
    features = TrainConfig.modern().features
    store, frame = load_corpora(o.corpus, features, work/'features', 'four')
    tables = []
    for key, config, fold, start in tqdm(list(planned(o, work, frame)), leave=False):
        name = f'{key["way"]}-{fold.name}-{key["seed"]}'.replace(' ', '_').replace('/', '_')
        run = train(config, store, frame, fold, work/'few'/name, init=start, bar=tqdm(disable=True))
        table = run.predictions
        table['predicted'] = most_probable(table, run.classes)
        tables.append(table.drop(columns=run.classes).assign(**key))
    return pd.concat(tables, ignore_index=True)

def main():
    o = options()
    with console('few_labels'):
        tested = everything(o, Path(o.work))
        folder = Path(o.record)
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(folder/'predictions.parquet') as f:
            tested.to_parquet(f, index=False, compression='zstd')
        corpora = ' '.join(f'--corpus {text.partition("=")[0]}' + '=PATH'*('=' in text)
                           for text in o.corpus)
        command = f'python benchmarks/few_labels.py {corpora} --work F --seeds {o.seeds}'
        (folder/'command.json').write_text(json.dumps(dict(command=command), indent=1) + '\n')


if __name__ == '__main__':
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
    main()
