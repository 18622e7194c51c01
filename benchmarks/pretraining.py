"""What pretraining buys: the records behind the notebook of that name, for EmoDB's four emotions.

    python benchmarks/pretraining.py --root EMODB [--parts mfcc dropout curves sizes look cost]

The folds and seeds are those of benchmarks/accuracy.py, whose features and runs it takes from
--work. nbs/runs/pretraining gets a table for each part:

    mfcc     the recipe modern on 20 MFCC; leave one speaker out
    dropout  pretrained without any dropout; leave one speaker out
    curves   loss and UAR after each epoch, validated on one speaker; one seed
    sizes    2, 4, 6 and 8 training speakers; the test speakers are those that chose nothing
    look     where single models of both recipes look in one sentence
    cost     seconds of processor time, and bytes
"""
import argparse
import time
from pathlib import Path
from types import SimpleNamespace
import numpy as np
import pandas as pd
from ser_nbdev.config import TrainConfig
from ser_nbdev.console import console
from ser_nbdev.files import folder_name
from ser_nbdev.folds import Fold
from ser_nbdev.statistics import most_probable
import accuracy

SYSTEMS = dict(
    mfcc20=('modern', dict(features='mfcc20')),
    modern=('modern', {}),
    pretrained=('pretrained', {}),
    without_dropout=('pretrained', dict(dropout_rate=0., input_dropout=0., layer_dropout=0.)))
SIZES = (2, 4, 6, 8)
SENTENCE = '13a05Wa' # angry, of a speaker that chose nothing

def configuration(system, **changes):
    "The settings of a system."
    recipe, own = SYSTEMS[system]
    return TrainConfig.recipe(recipe, **own, **changes)

class Task:
    "Features and folds, as benchmarks/accuracy.py has them."
    def __init__(self, options):
        self.options, self.work = options, Path(options.work)
        self.out = Path(options.out)
        self.stores, self.folds = {}, None

    def store(self, system):
        "The features that a system reads."
        from ser_nbdev.store import extract_corpus
        features = configuration(system).features
        if features not in self.stores:
            task = dict(corpus='emodb', root=self.options.root, labels='six', folds=None,
                        speaker=None, recipe='pretrained', jobs=1)
            if features != configuration('pretrained').features:
                frame = self.store('pretrained').frame
                self.stores[features] = extract_corpus(
                    frame, features, self.work/f'features-{features}', jobs=1)
            else:
                self.stores[features], self.folds = accuracy.read_task(
                    SimpleNamespace(**task), self.work)
        return self.stores[features]

    def runs(self, part, planned):
        "Train what is planned: (system, changes, fold); a table of what each run predicts."
        from ser_nbdev.parallel import train_all
        for system, changes, fold in planned:
            store, config = self.store(system), configuration(system, **changes)
            name = f'{system}-{config.normalise}-{folder_name(fold.name)}-{config.random_seed}'
            run, = train_all([(config, fold, self.work/part/name)], store, store.frame)
            yield system, config, fold, run

def predicted(run, **facts):
    "A run's predictions, with the most probable class."
    table = run.predictions
    return table.assign(predicted=most_probable(table, run.classes), **facts)

def cross_validated(task, part, system, normalise):
    "Predictions of all folds and seeds."
    planned = [(system, dict(normalise=normalise, random_seed=seed), fold)
               for seed in range(task.options.seeds) for fold in task.folds]
    tables = [predicted(run, fold=fold.name, seed=config.random_seed)
              for _, config, fold, run in task.runs(part, planned)]
    accuracy.write_predictions(
        pd.concat(tables), task.folds, task.out/f'{system}-{normalise}.parquet')

def make_mfcc(task):
    "Both normalisations."
    for normalise in accuracy.NORMALISE:
        cross_validated(task, 'mfcc', 'mfcc20', normalise)

def make_dropout(task):
    "Global statistics."
    cross_validated(task, 'dropout', 'without_dropout', 'global')

def make_curves(task):
    "A row per epoch and fold: every third fold, one seed."
    planned = [(system, dict(join_validation=False), fold)
               for system in ('mfcc20', 'modern', 'pretrained') for fold in task.folds[::3]]
    tables = [run.history.assign(system=system, fold=fold.name)
              for system, _, fold, run in task.runs('curves', planned)]
    pd.concat(tables).round(4).to_csv(task.out/'curves.csv', index=False)

def smaller_fold(frame, fold, n, seed):
    "The same test rows, and `n` training speakers drawn at random."
    others = sorted(set(frame.speaker) - set(frame.speaker.iloc[fold.test]))
    rng = np.random.default_rng([seed, int(fold.name)])
    drawn = rng.permutation(others)[:n]
    rows = np.flatnonzero(frame.speaker.isin(drawn))
    return Fold(f'{fold.name} of {n}', rows, np.zeros(0, int), fold.test, fold.by)

def make_sizes(task):
    "Predictions of three systems and an SVM, by the number of training speakers."
    frame, planned, tables = task.store('pretrained').frame, [], []
    svm_inputs = accuracy.kept(
        task.work/f'{accuracy.WHISPER}.parquet',
        lambda: accuracy.whisper_statistics(task.store('pretrained')))
    for seed in range(task.options.seeds):
        for fold in task.folds[len(task.folds)//2:]:
            for n in SIZES:
                small = smaller_fold(frame, fold, n, seed)
                facts = dict(speakers=n, seed=seed)
                found = accuracy.svm(svm_inputs, frame, small, 'global')
                tables.append(found.assign(system='whisper_svm', **facts))
                planned += [(system, dict(random_seed=seed), small)
                            for system in ('mfcc20', 'modern', 'pretrained')]
    for system, config, fold, run in task.runs('sizes', planned):
        n = int(fold.name.split()[-1])
        tables.append(predicted(run, system=system, speakers=n, seed=config.random_seed))
    columns = ['system', 'speakers', 'seed', 'name', 'speaker', 'truth', 'predicted']
    table = pd.concat(tables)[columns].reset_index(drop=True)
    table.to_parquet(task.out/'sizes.parquet')

def make_look(task):
    "Attention over one sentence, a row per system; and its loudness."
    from ser_nbdev.results import look
    rows = []
    frame = task.store('pretrained').frame
    fold, = [fold for fold in task.folds if SENTENCE in frame.index[fold.test]]
    planned = [(system, {}, fold) for system in ('modern', 'pretrained')]
    for system, config, _, run in task.runs('look', planned):
        store = task.store(system)
        table = look(run, store, store.frame, fold).set_index('name').loc[SENTENCE]
        rows.append(dict(system=system, name=SENTENCE, truth=table.truth,
                         predicted=table.predicted, values=table.attention,
                         step=store.frame_step*config.stack))
        if system == 'modern':
            energy = store[store.frame.index.get_loc(SENTENCE)]
            energy = energy[:, store.columns.index('log_energy')]
            rows.append(dict(system='log_energy', name=SENTENCE, truth=table.truth,
                             values=energy, step=store.frame_step))
    pd.DataFrame(rows).to_parquet(task.out/'look.parquet')

def processor_seconds(function):
    "Processor time of a call, in this process."
    start = time.process_time()
    function()
    return time.process_time() - start

def make_cost(task):
    "Features of all recordings in memory, one training, and what a model holds."
    import tempfile
    from ser_nbdev.audio import load_audio
    from ser_nbdev.feature_sets import extract, feature_set
    from ser_nbdev.runs import Run
    from ser_nbdev.train import train
    rows = []
    frame = task.store('pretrained').frame
    waves = [load_audio(path) for path in frame.path]
    seconds = sum(map(len, waves))/16_000
    for system in ('mfcc20', 'modern', 'pretrained'):
        config, store = configuration(system), task.store(system)
        features = feature_set(config.features)
        extract(waves[0], features=features)
        computing = processor_seconds(lambda: [extract(y, features=features) for y in waves])
        with tempfile.TemporaryDirectory() as folder:
            out = f'{folder}/run'
            training = processor_seconds(
                lambda: train(config, store, store.frame, task.folds[0], out))
            parameters = Run(out).model().count_params()
        rows.append(dict(
            system=system, features=config.features, hours=seconds/3600,
            extraction_s=computing, training_s=training,
            feature_bytes=int(store.lengths.sum())*len(features.columns)*4,
            parameters=parameters))
    pd.DataFrame(rows).round(2).to_csv(task.out/'cost.csv', index=False)

PARTS = dict(mfcc=make_mfcc, dropout=make_dropout, curves=make_curves, sizes=make_sizes,
             look=make_look, cost=make_cost)

def parser():
    "The options."
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    add = p.add_argument
    add('--root', required=True, help='folder of EmoDB')
    add('--parts', nargs='*', default=list(PARTS), choices=PARTS, help='which (default: all)')
    add('--seeds', type=int, default=3, help='random seeds')
    add('--work', default='ser_runs/accuracy-emodb', help='folder of features and runs')
    add('--out', default='nbs/runs/pretraining', help='folder of the records')
    return p

def main():
    task = Task(parser().parse_args())
    with console('pretraining'):
        task.out.mkdir(parents=True, exist_ok=True)
        task.store('pretrained')
        for part in task.options.parts:
            PARTS[part](task)
            print(part, flush=True)

if __name__ == '__main__':
    main()
