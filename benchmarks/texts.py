"""Does it help that the test's sentences were in training? Speaker and text held out together.

    python benchmarks/texts.py --corpus emodb --root CORPUS [--labels six] [--seeds 3]

Leave one speaker out, and of the others' recordings one group of texts (`folds` by text makes
five): a model for each speaker and group, tested on all the speaker's recordings. Those of the
group's texts are new to it in speaker and text (`new`), the others in speaker alone (`heard`). So
both come from the same models, with equally much training. Each recording is tested once with its
text new and four times with it heard. Nothing is chosen by a result. Stopped, the same command goes
on; nbs/runs/texts-CORPUS gets every prediction, and the table. `--table` makes the table anew.
"""
import argparse
import json
import os
from dataclasses import replace
from pathlib import Path
import numpy as np
import pandas as pd
from ser_nbdev.comparison import markdown_table, with_interval
from ser_nbdev.config import TrainConfig
from ser_nbdev.console import console
from ser_nbdev.corpora import read_corpus
from ser_nbdev.data import corpus_root
from ser_nbdev.files import alone, folder_name
from ser_nbdev.folds import folds, text_groups
from ser_nbdev.labels import LABEL_SETS, relabel
from ser_nbdev.statistics import bootstrap_ci, most_probable, paired_test
from ser_nbdev.store import extract_corpus

def options():
    "What was typed."
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--corpus', default='emodb', help='one whose speakers share their texts')
    p.add_argument('--root', help='its folder')
    p.add_argument('--labels', default='six', choices=LABEL_SETS)
    p.add_argument('--recipe', default='modern')
    p.add_argument('--normalise', default='global', choices=('global', 'speaker'))
    p.add_argument('--seeds', type=int, default=3)
    p.add_argument('--jobs', type=int, default=2, help='models that train side by side')
    p.add_argument('--table', action='store_true', help='only the table, from what is recorded')
    p.add_argument('--work', help='folder of what is unfinished (default: ser_runs/texts-CORPUS)')
    p.add_argument('--out', help='folder of the result (default: nbs/runs/texts-CORPUS)')
    return p.parse_args()

def without_texts(fold, texts):
    "The fold, and none of the group's texts in training or validation."
    train, valid = [np.setdiff1d(rows, texts.test) for rows in (fold.train, fold.valid)]
    return replace(fold, name=f'{fold.name} without {texts.name}', train=train, valid=valid)

def check_apart(frame, fold, texts):
    "Is what counts as new really new?"
    heard = np.concatenate([fold.train, fold.valid])
    words = text_groups(frame)
    assert not set(words.iloc[heard]) & set(words.iloc[texts.test])
    assert not set(frame.speaker.iloc[heard]) & set(frame.speaker.iloc[fold.test])

def planned(o, frame, work):
    "Configuration, fold and folder of each training, and its names for the table."
    for seed in range(o.seeds):
        for speaker in folds(frame, by='speaker'):
            for texts in folds(frame, by='text'):
                fold = without_texts(speaker, texts)
                check_apart(frame, fold, texts)
                config = TrainConfig.recipe(o.recipe, normalise=o.normalise, random_seed=seed)
                out = work/'runs'/folder_name(f'{o.recipe}-{o.normalise}-{fold.name}-{seed}')
                new = set(frame.index[texts.test])
                yield (config, fold, out), dict(fold=speaker.name, texts=texts.name, seed=seed), new

def predictions(o, work):
    "Of all trainings, with the word whether the text was new."
    from ser_nbdev.parallel import train_all
    name, root = corpus_root(o.corpus, o.root)
    frame = relabel(read_corpus(name, root), LABEL_SETS[o.labels])
    features = TrainConfig.recipe(o.recipe).features
    store = extract_corpus(frame[frame.duration.notna()], features, work/f'features-{features}')
    plan = list(planned(o, store.frame, work))
    runs = train_all([task for task, *_ in plan], store, store.frame, o.jobs)
    tables = []
    for run, (_, names, new) in zip(runs, plan):
        table = run.predictions.assign(**names)
        tables.append(table.assign(text=np.where(table.name.isin(new), 'new', 'heard')))
    return pd.concat(tables, ignore_index=True)

def record(o, table, out):
    "Probabilities in single precision, and the command."
    doubles = table.select_dtypes('float64').columns
    out.mkdir(parents=True, exist_ok=True)
    table.astype(dict.fromkeys(doubles, 'float32')).to_parquet(out/'predictions.parquet')
    command = (f'python benchmarks/texts.py --corpus {o.corpus} --root CORPUS --labels {o.labels} '
               f'--recipe {o.recipe} --normalise {o.normalise} --seeds {o.seeds}')
    (out/'command.json').write_text(json.dumps(dict(command=command), indent=1) + '\n')

def new_and_heard(table):
    "Where the text was new, and where it was heard: of the latter each of the models is a seed."
    table = table.assign(predicted=most_probable(table, sorted(set(table.truth))))
    times = table.texts.nunique() - 1 # that a recording is tested with its text heard
    new, heard = table[table.text == 'new'], table[table.text == 'heard']
    heard = heard.sort_values(['seed', 'name', 'texts'], kind='stable')
    model = heard.groupby(['seed', 'name']).cumcount()
    beside = [new.assign(seed=new.seed*times + i) for i in range(times)] # each beside its pairs
    heard = heard.assign(seed=heard.seed*times + model)
    return new, pd.concat(beside, ignore_index=True), heard.reset_index(drop=True)

def make_table(out):
    "UAR with the text new and heard, and the difference, with intervals."
    new, beside, heard = new_and_heard(pd.read_parquet(out/'predictions.parquet'))
    scores = {'new': with_interval(*bootstrap_ci(new)),
              'heard': with_interval(*bootstrap_ci(heard))}
    d = paired_test(beside, heard)
    scores['new minus heard'] = with_interval(d['difference'], d['low'], d['high'], '+')
    n = new.seed.nunique()
    seeds = f'UAR, {n} seed{"s"*(n > 1)}'
    table = pd.Series(scores, name=seeds).rename_axis('text of the test').reset_index()
    return markdown_table(table) + '\n'

def main():
    o = options()
    work = Path(o.work or f'ser_runs/texts-{o.corpus}')
    out = Path(o.out or f'nbs/runs/texts-{o.corpus}')
    with console('texts'):
        if not o.table:
            with alone(work):
                record(o, predictions(o, work), out)
        text = make_table(out)
        (out/'table.md').write_text(text, encoding='utf-8')
        print(text)

if __name__ == '__main__':
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
    main()
