"""What each part of the modern recipe gives, on development speakers alone: the first half of the corpus' speakers by name, each tested once while the
others of that half train. The other half is neither read nor normalised with. One line an arm is printed and added to the CSV.

    python benchmarks/ablation.py --root CORPUS [--corpus emodb, or demo without a root] [--seeds 2] [--normalise speaker] [--arms modern without_mix]"""
import argparse, json
from dataclasses import asdict, replace
from pathlib import Path
import numpy as np, pandas as pd
from ser_nbdev.corpora import folds
from ser_nbdev.results import uar
from ser_nbdev.train import Rows, TrainConfig, corpus_root, load_features, train

ARMS = dict(modern={}, without_functionals=dict(functionals=0), without_centring=dict(centred=False), without_mix=dict(mix=0.), without_class_weights=dict(class_weights=False),
            without_dropout=dict(dropout_rate=0., input_dropout=0., layer_dropout=0.), output_dropout_02=dict(dropout_rate=.2), without_output_dropout=dict(dropout_rate=0.), with_noise=dict(noise=.3), with_lld32=dict(features='lld32'), constant_rate=dict(schedule='constant', learning_rate=1e-3),
            without_averaging=dict(weight_average=0.), without_clipping=dict(clip_norm=0.), stack_4=dict(stack=4), twice_the_epochs=dict(epochs=40),
            early_stopping=dict(join_validation=False, patience=5, weight_average=0.))

def configuration(name): return TrainConfig.recipe('quick', join_validation=True) if name=='quick' else TrainConfig.modern(**ARMS[name])

def score(config, corpus, root, work, seed, name):
    "Test predictions of all development folds."
    reader, root = corpus_root(corpus, root)
    store, frame = load_features(reader, root, config.features, work/f'{corpus}-{config.features}')
    speakers = sorted(set(frame.speaker))
    rows = np.flatnonzero(frame.speaker.isin(speakers[:len(speakers)//2]))
    some, features = frame.iloc[rows], Rows(store, rows)
    runs = [train(replace(config, random_seed=seed), features, some, f, work/f'{name}-{config.normalise}-{f.name}-{seed}') for f in folds(some)]
    return pd.concat([r.predictions for r in runs]), runs[0].classes

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--corpus', default='emodb'); p.add_argument('--root'); p.add_argument('--seeds', type=int, default=2)
    p.add_argument('--normalise', default='global'); p.add_argument('--arms', nargs='*', default=['quick', *ARMS], choices=['quick', *ARMS])
    p.add_argument('--work', default='ser_runs/ablation'); p.add_argument('--csv', default='nbs/runs/ablation/arms.csv')
    a = p.parse_args()
    for name in a.arms:
        config, uars, nlls = replace(configuration(name), normalise=a.normalise), [], []
        for seed in range(a.seeds):
            table, classes = score(config, a.corpus, a.root, Path(a.work), seed, name)
            said = np.array(classes)[table[classes].to_numpy().argmax(1)]
            uars.append(uar(table.truth, said)); nlls.append(-np.log([max(r[r.truth], 1e-9) for _,r in table.iterrows()]).mean())
        row = dict(corpus=a.corpus, normalise=a.normalise, arm=name, seeds=a.seeds, UAR=round(float(np.mean(uars)), 4), UAR_sd=round(float(np.std(uars)), 4), NLL=round(float(np.mean(nlls)), 4),
                   changes=json.dumps({k:v for k,v in asdict(config).items() if v!=getattr(TrainConfig.modern(normalise=a.normalise), k)}))
        print(row, flush=True)
        out = Path(a.csv); out.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame([row]).to_csv(out, mode='a', header=not out.exists(), index=False)

if __name__=='__main__': main()
