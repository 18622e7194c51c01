"""Ways to adapt a model to voices without labels, tried on development speakers alone.

    python benchmarks/travel.py   --corpus demo --corpus emodb=PATH --corpus ravdess=PATH --work F
    python benchmarks/adapting.py --corpus demo --corpus emodb=PATH --corpus ravdess=PATH --work F

The models are those that `travel.py` trained on EmoDB, in the same folder F; they score RAVDESS'
actors 01 to 12 (four classes, chance .25). Nothing is learnt from a label. A feature is shifted and
scaled by statistics of the training, of all recordings, of each speaker's, or of each recording,
the latter mixed with the training's as if that had been seen for some frames more. CORAL (Sun et
al. 2016) gives the features the training's covariance as well. `classes by EM` (Saerens et al.
2002) guesses the share of each class. nbs/runs/adapting.csv gets a line each.
"""
import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from ser_nbdev.comparison import markdown_table, with_interval
from ser_nbdev.config import TrainConfig
from ser_nbdev.console import CorpusOption, console
from ser_nbdev.metrics import softmax
from ser_nbdev.pooling import load_corpora
from ser_nbdev.runs import Run
from ser_nbdev.statistics import bootstrap_ci

def moments(xs):
    "Frames, mean and covariance of some recordings."
    x = np.concatenate(xs).astype(float)
    return len(x), x.mean(0), np.cov(x.T)

def scaled(x, mean, covariance):
    return (x - mean)/np.sqrt(np.maximum(np.diag(covariance), 1e-12))

def root(covariance, power):
    "A power of a covariance, which is made a little rounder before."
    scale = np.sqrt(np.diag(covariance))
    values, vectors = np.linalg.eigh(covariance/np.outer(scale, scale))
    values = .9*np.maximum(values, 0) + .1
    return scale, vectors*values**power @ vectors.T

def with_training_covariance(x, mean, covariance, of_training):
    "CORAL: correlations taken out, and the training's put in; scaled as the training was."
    scale, whiten = root(covariance, -.5)
    colour = root(of_training, .5)[1]
    return (x - mean)/scale @ whiten @ colour

def by_group(xs, groups, adapt):
    "Recordings of a group adapted with the group's moments."
    out = [None]*len(xs)
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        found = moments([xs[i] for i in rows])
        for i in rows:
            out[i] = adapt(xs[i], *found)
    return out

def ways(xs, speakers, training):
    "The features of all recordings, by the name of a way."
    _, mean, covariance = training
    everybody, each = np.zeros(len(xs), int), np.arange(len(xs))

    def plain(x, n, m, c):
        return scaled(x, m, c)

    def coral(x, n, m, c):
        return with_training_covariance(x, m, c, covariance)

    def mixed(frames):
        def adapt(x, n, m, c):
            share = n/(n + frames)
            return scaled(x, share*m + (1 - share)*mean, share*c + (1 - share)*covariance)
        return adapt

    yield 'as it is', [scaled(x, mean, covariance) for x in xs]
    yield 'statistics of all', by_group(xs, everybody, plain)
    yield 'of each speaker', by_group(xs, speakers, plain)
    for frames in (0, 300, 1000, 3000):
        yield f'of each recording, {frames} frames of training', by_group(xs, each, mixed(frames))
    yield 'CORAL, all', by_group(xs, everybody, coral)
    yield 'CORAL, each speaker', by_group(xs, speakers, coral)

def with_guessed_shares(p, rounds=100):
    "Probabilities if the classes had the shares that the probabilities themselves suggest."
    shares = np.full(p.shape[1], 1/p.shape[1])
    for _ in range(rounds):
        q = p*shares
        q /= q.sum(1, keepdims=True)
        shares = q.mean(0)
    return q

def tries(o):
    "The predictions of each way and seed."
    from ser_nbdev.train import predict_logits
    config = TrainConfig.recipe('modern')
    store, frame = load_corpora(o.corpus, config.features, Path(o.work)/'features', 'four')
    of_training = moments([store[i] for i in np.flatnonzero(frame.corpus == 'emodb')])
    rows = np.flatnonzero(frame.speaker.between('ravdess/01', 'ravdess/12'))
    tested, xs = frame.iloc[rows], [store[i] for i in rows]
    for seed in range(o.seeds):
        run = Run(Path(o.work)/'runs'/f'emodb-global-emodb-{seed}')
        model, classes = run.model(), np.array(run.classes)
        for way, features in ways(xs, tested.speaker.to_numpy(), of_training):
            view = [x.astype(np.float32) for x in features]
            logits = predict_logits(model, view, np.arange(len(view)), multiple=run.config.stack)
            p = softmax(logits)
            for more, q in (('', p), (', classes by EM', with_guessed_shares(p))):
                yield pd.DataFrame(dict(
                    way=way + more, seed=seed, name=tested.index, speaker=tested.speaker.to_numpy(),
                    truth=tested.emotion.to_numpy(), predicted=classes[q.argmax(1)]))

def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--corpus', action=CorpusOption, required=True)
    p.add_argument('--work', required=True, help='folder of the features and runs of travel.py')
    p.add_argument('--seeds', type=int, default=3)
    p.add_argument('--record', default='nbs/runs/adapting.csv')
    o = p.parse_args()
    with console('adapting'):
        table = pd.concat(tries(o), ignore_index=True)
        rows = []
        for way, some in table.groupby('way', sort=False):
            score, low, high = bootstrap_ci(some)
            rows.append(dict(way=way, UAR=score, low=low, high=high))
        scores = pd.DataFrame(rows).round(4)
        scores.to_csv(o.record, index=False)
        shown = [with_interval(*row) for row in scores[['UAR', 'low', 'high']].to_numpy()]
        print(markdown_table(pd.DataFrame(dict(way=scores.way, UAR=shown))))

if __name__ == '__main__':
    main()
