"""The bundle that the package brings along: the recipe cross-validated by speaker on EmoDB, four emotions, then models trained on all of it.

    python benchmarks/pretrain.py [--root ../shared/corpora/emodb] [--recipe modern] [--members 1] [--out ser_nbdev/emodb.ser]
"""
import argparse, tempfile
from pathlib import Path
from ser_nbdev.predict import Recognizer, pretrain
from ser_nbdev.train import RECIPES, TrainConfig, load_features

p = argparse.ArgumentParser()
p.add_argument('--root', default='../shared/corpora/emodb')
p.add_argument('--recipe', default='modern', choices=RECIPES)
p.add_argument('--members', type=int, default=1)
p.add_argument('--out', default='ser_nbdev/emodb.ser')
p.add_argument('--work', help='folder to keep the runs in; the same command goes on where it was stopped')
a = p.parse_args()

with tempfile.TemporaryDirectory() as d:
    work = Path(a.work or d)
    config = TrainConfig.recipe(a.recipe, normalise='global')
    store, frame = load_features('emodb', a.root, config.features, work/'features', 'four')
    counts = ', '.join(f'{n} {c}' for c,n in frame.emotion.value_counts().items())
    card = {'what': 'a demonstration, not a product',
            'trained on': f'acted German: {len(frame)} recordings of {frame.speaker.nunique()} actors, EmoDB (Burkhardt et al. 2005, CC0)',
            'emotions': counts,
            'models': f'{a.members}, recipe {a.recipe}, trained on all ten actors, so right answers on EmoDB itself say nothing'}
    recognizer = pretrain(config, store, frame, work/'runs', a.members, card)
recognizer.save(a.out)
print(Recognizer.load(a.out).card)
print(f'{a.out}: {Path(a.out).stat().st_size:,} bytes')
