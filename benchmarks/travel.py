"""Does it travel? Models that were trained on some corpora, tested on the others.

    python benchmarks/travel.py --corpus demo --corpus emodb=PATH --corpus ravdess=PATH

The recipe is the same everywhere, four classes, three seeds; nothing is chosen by a result.
- all but one train, that one tests (leave one corpus out), normalised globally or each corpus by
  itself (`loco`, `loco-corpus`);
- one corpus trains, the others test (`single`);
- half of a corpus' speakers train, the other half tests: how good is it at home? (`home`).
A fifth of the training speakers validates, but at home: a temperature is fitted on them.
Each model is tested as it is, and with the feature statistics of the test corpus or of each of its
speakers, without labels. Stopped, the same command goes on; nbs/runs/travel gets every prediction.
`--plan loco,single` trains some of it.
"""
import argparse
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
import numpy as np
import pandas as pd
from ser_nbdev.calibration import tempered
from ser_nbdev.config import TrainConfig
from ser_nbdev.console import CorpusOption, console
from ser_nbdev.files import whole_file
from ser_nbdev.folds import Fold, folds, validating_rows
from ser_nbdev.metrics import softmax
from ser_nbdev.normalise import CMVN, Normalised, fit_cmvn
from ser_nbdev.pooling import load_corpora
from ser_nbdev.statistics import most_probable

NONE = np.zeros(0, int)


def options():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--corpus', action=CorpusOption, required=True)
    p.add_argument('--seeds', type=int, default=3)
    p.add_argument('--recipe', default='modern')
    p.add_argument('--epochs', type=int, default=20)
    p.add_argument('--plan', default=','.join(PLANS))
    p.add_argument('--work', help='folder of features and runs (default: a temporary one)')
    p.add_argument('--record', default='nbs/runs/travel')
    return p.parse_args()


# ---- what is trained

def one_trains(frame, name):
    "One corpus trains, a fifth of its speakers validates, the other corpora test."
    own, others = [np.flatnonzero(frame.corpus.eq(name) == is_own) for is_own in (True, False)]
    valid = validating_rows(frame, own, np.random.default_rng(0))
    return Fold(name, np.setdiff1d(own, valid), valid, others, 'corpus')

def half(frame, name):
    "The first half of the speakers train, the others test."
    rows = np.flatnonzero(frame.corpus == name)
    speakers = sorted(set(frame.speaker.iloc[rows]))
    is_test = frame.speaker.iloc[rows].isin(speakers[len(speakers)//2:]).to_numpy()
    return Fold(f'{name}-half', rows[~is_test], NONE, rows[is_test], 'speaker')

PLANS = ('loco', 'single', 'home', 'loco-corpus')

def planned(frame, plan):
    "Of each model: what it is trained on, how it is normalised, its fold, how its tests are."
    names = list(dict.fromkeys(frame.corpus))
    if plan.startswith('loco'):
        how, adapts = 'global', ('none', 'corpus', 'speaker')
        if plan == 'loco-corpus':
            how, adapts = 'corpus', adapts[1:]
        for fold in folds(frame, by='corpus'):
            yield '+'.join(name for name in names if name != fold.name), how, fold, adapts
    elif plan == 'single':
        for name in names:
            yield name, 'global', one_trains(frame, name), ('none', 'corpus', 'speaker')
    else:
        for name in names:
            yield name, 'global', half(frame, name), ('none', 'speaker')


# ---- how it is tested

def test_view(run, store, frame, rows, adapt):
    "Features with the statistics of training, or of the test rows, each group by itself."
    if adapt == 'none':
        return Normalised(store, CMVN.from_dict(run.info['cmvn']))
    groups = list(frame[adapt])
    return Normalised(store, fit_cmvn(store, rows, groups), groups)

def predictions(run, model, store, frame, fold, adapt):
    "A row for each test utterance."
    from ser_nbdev.train import predict_logits
    view = test_view(run, store, frame, fold.test, adapt)
    logits = predict_logits(model, view, fold.test, multiple=run.config.stack)
    p = softmax(logits)
    tested = frame.iloc[fold.test]
    table = pd.DataFrame(p.round(4).astype(np.float32), columns=run.classes)
    table = table.assign(
        name=tested.index, speaker=tested.speaker.to_numpy(), corpus=tested.corpus.to_numpy(),
        truth=tested.emotion.to_numpy(), predicted=most_probable(table, run.classes))
    kept = run.calibration
    sure = tempered(p, kept['temperature']).max(1) if kept else p.max(1)
    return table.assign(confidence=p.max(1).round(4), tempered=sure.round(4))

def calibration_row(run, key):
    "The temperature of a run, and the ECE of its validation speakers."
    return dict(key, **(run.calibration or {}))


# ---- all of it

def everything(o, work):
    "Train and test; returns the predictions and the temperatures."
    from ser_nbdev.parallel import train_all
    config = TrainConfig.recipe(o.recipe, epochs=o.epochs, join_validation=False)
    store, frame = load_corpora(o.corpus, config.features, work/'features', 'four')
    plan = [(seed, *one) for part in o.plan.split(',') for seed in range(o.seeds)
            for one in planned(frame, part)]
    tasks = [(replace(config, random_seed=seed, normalise=how), fold,
              work/'runs'/f'{trained_on}-{how}-{fold.name}-{seed}')
             for seed, trained_on, how, fold, _ in plan]
    runs = train_all(tasks, store, frame, 1)
    tested, temperatures = [], []
    for run, (seed, trained_on, how, fold, adapts) in zip(runs, plan):
        key = dict(trained_on=trained_on, normalise=how, fold=fold.name, seed=seed)
        temperatures.append(calibration_row(run, key))
        model = run.model()
        for adapt in adapts:
            table = predictions(run, model, store, frame, fold, adapt)
            tested.append(table.assign(adapt=adapt, **key))
    return pd.concat(tested, ignore_index=True), pd.DataFrame(temperatures)

def command_of(o):
    "What was typed, without folders."
    corpora = ' '.join(f'--corpus {text.partition("=")[0]}' + '=PATH'*('=' in text)
                       for text in o.corpus)
    more = f' --plan {o.plan}' if o.plan != ','.join(PLANS) else ''
    return f'python benchmarks/travel.py {corpora} --seeds {o.seeds} --epochs {o.epochs}{more}'

def record(folder, tested, temperatures, command):
    "Two tables, and how they are made again."
    folder.mkdir(parents=True, exist_ok=True)
    texts = tested.select_dtypes(exclude='number').columns
    tested = tested.astype({name: 'category' for name in [*texts, 'seed']})
    with whole_file(folder/'predictions.parquet') as f:
        tested.to_parquet(f, index=False, compression='zstd')
    temperatures.dropna(subset='temperature').to_csv(folder/'temperatures.csv', index=False)
    (folder/'command.json').write_text(json.dumps(dict(command=command), indent=1) + '\n')

def main():
    o = options()
    with console('travel'), tempfile.TemporaryDirectory() as temporary:
        tested, temperatures = everything(o, Path(o.work or temporary))
        record(Path(o.record), tested, temperatures, command_of(o))


if __name__ == '__main__':
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
    main()
