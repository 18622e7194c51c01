"""What each part of a recipe gives, on development speakers alone.

They are the first half of the corpus' speakers by name, each tested once while the others of that
half train. The other half is neither read nor normalised with. One line per arm is printed and
added to the CSV.

    python benchmarks/ablation.py --root CORPUS [--corpus emodb, or demo without a root] [--seeds 2]
        [--normalise speaker] [--arms modern without_mix]
    python benchmarks/ablation.py --recipe pretrained --corpus ravdess --root CORPUS --labels all
        --folds 6 [--csv nbs/runs/ablation/arms_pretrained.csv]
"""
import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
import numpy as np
import pandas as pd
from ser_nbdev.config import TrainConfig
from ser_nbdev.console import console
from ser_nbdev.files import folder_name
from ser_nbdev.folds import folds
from ser_nbdev.data import Rows, corpus_root, load_features
from ser_nbdev.metrics import cross_entropy, uar
from ser_nbdev.statistics import most_probable

ARMS = dict(
    modern={},
    without_functionals=dict(functionals=0),
    without_centring=dict(centred=False),
    without_mix=dict(mix=0.),
    without_class_weights=dict(class_weights=False),
    without_dropout=dict(dropout_rate=0., input_dropout=0., layer_dropout=0.),
    output_dropout_02=dict(dropout_rate=.2),
    without_output_dropout=dict(dropout_rate=0.),
    with_noise=dict(noise=.3),
    with_lld32=dict(features='lld32'),
    constant_rate=dict(schedule='constant', learning_rate=1e-3),
    without_averaging=dict(weight_average=0.),
    without_clipping=dict(clip_norm=0.),
    stack_4=dict(stack=4),
    twice_the_epochs=dict(epochs=40),
    early_stopping=dict(join_validation=False, patience=5, weight_average=0.))

GATED = 'speech_lld43+whisper_base_40ms'

PRETRAINED = dict(
    pretrained={},
    epochs_20=dict(epochs=20),
    epochs_60=dict(epochs=60),
    stack_2=dict(stack=2),
    stack_2_epochs_60=dict(stack=2, epochs=60),
    batch_64=dict(batch_size=64),
    with_mix=dict(mix=.4),
    without_shortcut=dict(shortcut=False),
    without_functionals=dict(functionals=0),
    without_dropout=dict(dropout_rate=0., input_dropout=0., layer_dropout=0.),
    with_gate=dict(features=GATED),
    with_copies=dict(altered=.75),
    half_copies=dict(altered=.5),
    gate_and_copies=dict(features=GATED, altered=.75),
    gate_and_half_copies=dict(features=GATED, altered=.5),
    gate_and_copies_60=dict(features=GATED, altered=.75, epochs=60))

def configuration(recipe, arm):
    "The settings of an arm."
    if arm == 'quick':
        return TrainConfig.recipe('quick', join_validation=True)
    arms = PRETRAINED if recipe == 'pretrained' else ARMS
    return TrainConfig.recipe(recipe, **arms[arm])

def development_predictions(config, options, arm):
    "Test predictions of all development folds, and the class names."
    from ser_nbdev.train import train
    work = Path(options.work)
    reader, root = corpus_root(options.corpus, options.root)
    store, frame = load_features(reader, root, config.features,
                                 work/f'{options.corpus}-{config.features}', options.labels)
    speakers = sorted(set(frame.speaker))
    rows = np.flatnonzero(frame.speaker.isin(speakers[:len(speakers)//2]))
    some, features = frame.iloc[rows], Rows(store, rows)
    runs = []
    for fold in folds(some, k=options.folds):
        name = f'{arm}-{config.normalise}-{folder_name(fold.name)}-{config.random_seed}'
        out = work/f'runs-{options.corpus}'/name
        runs.append(train(config, features, some, fold, out))
    return pd.concat([run.predictions for run in runs]), runs[0].classes

def arm_row(arm, options):
    "UAR and cross-entropy of an arm, over its seeds."
    config = replace(configuration(options.recipe, arm), normalise=options.normalise)
    uars, nlls = [], []
    for seed in range(options.seeds):
        config = replace(config, random_seed=seed)
        table, classes = development_predictions(config, options, arm)
        uars.append(uar(table.truth, most_probable(table, classes)))
        labels = table.truth.map(classes.index).to_numpy()
        nlls.append(cross_entropy(table[classes].to_numpy().clip(1e-9), labels))
    recipe = asdict(TrainConfig.recipe(options.recipe, normalise=options.normalise))
    recipe['random_seed'] = config.random_seed
    changes = {name: value for name, value in asdict(config).items() if value != recipe[name]}
    return dict(corpus=options.corpus, normalise=options.normalise, arm=arm, seeds=options.seeds,
                UAR=round(float(np.mean(uars)), 4), UAR_sd=round(float(np.std(uars)), 4),
                NLL=round(float(np.mean(nlls)), 4), changes=json.dumps(changes))

def parser():
    "The options."
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    add = p.add_argument
    add('--corpus', default='emodb', help='demo, or a corpus that ser_corpora lists')
    add('--root', help='its folder')
    add('--seeds', type=int, default=2, help='random seeds in each arm')
    add('--normalise', default='global', help='statistics of the features: global or speaker')
    add('--recipe', default='modern', choices=('modern', 'pretrained'), help='whose parts')
    add('--labels', help='label set (default: six)')
    add('--folds', type=int, help='number of folds (default: one for each speaker)')
    add('--arms', nargs='*', choices=['quick', *ARMS, *PRETRAINED],
        help='which arms (default: all of the recipe)')
    add('--work', default='ser_runs/ablation', help='folder of the runs')
    add('--csv', default='nbs/runs/ablation/arms.csv', help='table that gets a line per arm')
    return p

def main():
    options = parser().parse_args()
    out = Path(options.csv)
    with console('ablation'):
        arms = PRETRAINED if options.recipe == 'pretrained' else ['quick', *ARMS]
        for arm in options.arms or arms:
            row = arm_row(arm, options)
            print(row, flush=True)
            out.parent.mkdir(parents=True, exist_ok=True)
            pd.DataFrame([row]).to_csv(out, mode='a', header=not out.exists(), index=False)

if __name__ == '__main__':
    main()
