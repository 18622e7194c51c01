"""The bundles that the package brings: EmoDB, four emotions; cross-validated, then trained on all.

    python benchmarks/pretrain.py [--root ../shared/corpora/emodb] [--recipe robust]
                                  [--members 1] [--out ser_nbdev/emodb.ser] [--work FOLDER]
    python benchmarks/pretrain.py --recipe robust_pretrained --bits 8 --out ser_nbdev/whisper.ser
"""
import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from ser_nbdev.config import RECIPES, TrainConfig
from ser_nbdev.files import folder_name
from ser_nbdev.folds import folds
from ser_nbdev.recognizer import Recognizer, pretrain
from ser_nbdev.data import load_features
from ser_nbdev.runs import Run
from ser_nbdev.statistics import bootstrap_ci, most_probable


def options():
    p = argparse.ArgumentParser()
    p.add_argument('--root', default='../shared/corpora/emodb')
    p.add_argument('--recipe', default='robust', choices=RECIPES)
    p.add_argument('--members', type=int, default=1)
    p.add_argument('--out', default='ser_nbdev/emodb.ser')
    p.add_argument('--bits', type=int, default=23,
                   help='of each weight after its first, at most 23: fewer are packed tighter')
    p.add_argument('--work', help='folder to keep the runs in; the same command goes on there')
    return p.parse_args()


def card_of(frame, members, recipe):
    "What the card says besides the figures."
    counts = ', '.join(f'{n} {code}' for code, n in frame.emotion.value_counts().items())
    encoder = dict(
        encoder="OpenAI's Whisper base (MIT licence), in integers; it is not in this file")
    return {
        'what': 'a demonstration, not a product',
        **(encoder if recipe.endswith('pretrained') else {}),
        'trained on': f'acted German: {len(frame)} recordings of {frame.speaker.nunique()} '
                      'actors, EmoDB (Burkhardt et al. 2005, CC0)',
        'emotions': counts,
        'models': f'{members}, recipe {recipe}, trained on all ten actors, so right answers on '
                  'EmoDB itself say nothing',
    }


def unseen_predictions(frame, runs):
    "What cross-validation predicted, from the folders of its runs."
    found = [Run(runs/folder_name(fold.name)) for fold in folds(frame, by='speaker')]
    table = pd.concat([run.predictions for run in found])
    return table.assign(predicted=most_probable(table, found[0].classes))


def score_of(table):
    "UAR, its interval, and on whom."
    uar = '{:.3f} [{:.3f}, {:.3f}]'.format(*bootstrap_ci(table))
    return f'{uar} on {len(table)} utterances of {table.speaker.nunique()} speakers'


def honest_score(table):
    "First the speakers that chose nothing: the recipe was found on the first half, by name."
    speakers = sorted(set(table.speaker))
    later = table[table.speaker.isin(speakers[len(speakers)//2:])]
    return (f'UAR {score_of(later)} who had no part in choosing the recipe; {score_of(table)}, '
            'with those on whom it was found. Cross-validated: no model had heard whom it scores '
            f'(chance {1/table.truth.nunique():.3f})')


def rounded(weights, bits):
    "Numbers of fewer bits, still float32, which a zip packs tighter."
    numbers = np.ascontiguousarray(weights, np.float32).view(np.uint32)
    cut = 23 - bits
    half = np.uint32((1 << cut) >> 1)
    return ((numbers + half) >> cut << cut).view(np.float32)

def main():
    a = options()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(a.work or temporary)
        config = TrainConfig.recipe(a.recipe, normalise='global')
        store, frame = load_features('emodb', a.root, config.features, work/'features', 'four')
        card = card_of(frame, a.members, a.recipe)
        recognizer = pretrain(config, store, frame, work/'runs', a.members, card)
        table = unseen_predictions(frame, work/'runs')
        recognizer.info['card']['score'] = honest_score(table)
    for model in recognizer.models:
        model.set_weights([rounded(w, a.bits) for w in model.get_weights()])
    recognizer.save(a.out)
    print(Recognizer.load(a.out).card)
    print(f'{a.out}: {Path(a.out).stat().st_size:,} bytes')


if __name__ == '__main__':
    main()
