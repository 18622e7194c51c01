"""Accuracy against the usual tools, on the same recordings, labels and folds.

openSMILE's functionals with a linear SVM stand against the modern recipe, mean and deviation of
Whisper's frames with the same SVM against the recipe `pretrained`.

    pip install opensmile scikit-learn
    python benchmarks/accuracy.py --corpus emodb --root CORPUS [--labels six] [--seeds 5]
    pip install 'ser_nbdev[whisper]'
    python benchmarks/accuracy.py --corpus emodb --root CORPUS --labels six --recipe pretrained

No test speaker is used to choose anything: the SVM's C is found on speakers of the training rows,
and the recipe is the same for every fold and corpus. Both train on all rows that are not tested.
`global` statistics come from the training rows, `speaker` takes each speaker's own (for test
speakers, their recordings without labels). Stopped, the same command goes on;
nbs/runs/accuracy-CORPUS gets every prediction after each seed, and the table. `--only table` makes
the table anew from the predictions that are there. The first half of the speakers, by name, chose
the recipes (benchmarks/ablation.py): the table's second part has the others alone.
"""
import argparse
import hashlib
import json
import warnings
from functools import partial
from itertools import product
from importlib.util import find_spec
from pathlib import Path
import joblib
import numpy as np
import pandas as pd
from tqdm.auto import tqdm
from ser_nbdev.comparison import markdown_table, with_interval
from ser_nbdev.config import TrainConfig
from ser_nbdev.console import SPEAKER_HELP, console, usual_split
from ser_nbdev.corpora import read_corpus
from ser_nbdev.data import corpus_root, reader_options
from ser_nbdev.audio import load_audio
from ser_nbdev.folds import folds
from ser_nbdev.labels import LABEL_SETS, CorpusError, relabel
from ser_nbdev.metrics import SCORES
from ser_nbdev.parts import times_of
from ser_nbdev.statistics import bootstrap_ci, ensemble, most_probable, paired_test
from ser_nbdev.files import alone, folder_name
from ser_nbdev.store import extract_corpus

SETS = ('IS09', 'eGeMAPSv02', 'ComParE_2016')
NORMALISE = ('global', 'speaker')
RECIPES = ('modern', 'robust', 'pretrained')
WHISPER = 'Whisper base' # its frames' statistics
CS = 10.**np.arange(-5, 1) # of the SVM

def kept(path, make):
    "A table that is made once."
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name('.' + path.name)
        make().to_parquet(part)
        part.replace(path)
    return pd.read_parquet(path)

# ---- the task

def read_task(options, work):
    "Feature store of the recordings that can be read, and folds of them."
    name, root = corpus_root(options.corpus, options.root)
    frame = read_corpus(name, root, **reader_options(name, options.speaker))
    frame = relabel(frame, LABEL_SETS[options.labels])
    features = TrainConfig.recipe(options.recipe).features
    store = extract_corpus(frame[frame.duration.notna()], features, work/f'features-{features}',
                           jobs=options.jobs)
    by = usual_split(name)
    return store, folds(store.frame, by=by, k=options.folds)

def check_task(folders, frame, made):
    "Refuse folders that hold parts of another task; mark those that are new."
    rows = frame[['emotion', 'speaker', 'duration']].to_csv().encode()
    digest = hashlib.blake2b(rows, digest_size=8).hexdigest()
    task = json.dumps(dict(recordings=digest, folds=[fold.name for fold in made]))
    for option, folder in folders.items():
        mark = folder/'task.json'
        if mark.exists() and mark.read_text() != task:
            raise CorpusError(f'{folder} holds results of other recordings, labels or folds; '
                              f'give another {option}, or remove it')
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
        (folder/'task.json').write_text(task)

# ---- openSMILE and the SVM

def functionals_of(recordings, which):
    "openSMILE's functionals, in a process without TensorFlow, whose memory its library disturbs."
    import opensmile
    smile = opensmile.Smile(feature_set=opensmile.FeatureSet[which],
                            feature_level=opensmile.FeatureLevel.Functionals)
    warnings.filterwarnings('ignore', 'Segment too short') # its functionals are missing, and are 0
    signals = (load_audio(path, start=start, end=end) for path, (start, end) in recordings)
    return pd.concat([smile.process_signal(y, 16_000) for y in signals])

def functionals(frame, which, jobs):
    "openSMILE's functionals, a row per utterance."
    recordings = list(zip(frame.path, times_of(frame)))
    chunks = [recordings[i:i+20] for i in range(0, len(recordings), 20)]
    tasks = [joblib.delayed(functionals_of)(chunk, which) for chunk in chunks]
    parts = []
    with tqdm(total=len(frame), desc=f'openSMILE {which}', unit='recording', leave=False) as bar:
        for part in joblib.Parallel(max(jobs, 2), return_as='generator')(tasks):
            parts.append(part)
            bar.update(len(part))
    return pd.concat(parts).set_index(frame.index).fillna(0).astype(np.float32)

def whisper_statistics(store):
    "Mean and standard deviation of Whisper's columns, a row per utterance."
    columns = [i for i, name in enumerate(store.columns) if name.startswith('whisper')]
    rows = []
    for i in tqdm(range(len(store)), desc='statistics', unit='recording', leave=False):
        x = np.asarray(store[i])[:, columns]
        rows.append(np.concatenate([x.mean(0), x.std(0)]))
    names = [f'{what}{i}' for what in ('mean', 'std') for i in range(len(columns))]
    return pd.DataFrame(np.stack(rows), index=store.frame.index, columns=names)

def svm_inputs(store, options):
    "What the SVMs read: name and function of each table."
    if options.recipe == 'pretrained':
        return {WHISPER: lambda: whisper_statistics(store)}
    return {which: partial(functionals, store.frame, which, options.jobs) for which in SETS}

def scaled(x, speakers, train, normalise):
    "Zero mean, unit standard deviation: of the training rows, or of each speaker's."
    groups = [(np.ones(len(x), bool), train)]
    if normalise == 'speaker':
        groups = [(speakers == name, speakers == name) for name in np.unique(speakers)]
    out = np.empty(x.shape)
    for rows, known in groups:
        std = np.maximum(x[known].std(0), 1e-6)
        out[rows] = (x[rows] - x[known].mean(0))/std
    return out

def svm(x, frame, fold, normalise):
    "Predictions of one fold; C by the mean UAR over inner folds of training speakers."
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.svm import SVC
    speakers, emotion = frame.speaker.to_numpy(), frame.emotion.to_numpy()
    rows = np.sort(np.concatenate([fold.train, fold.valid]))
    z = scaled(x.to_numpy(np.float64), speakers, rows, normalise)
    kernel = z@z[rows].T # that of a linear SVM, computed once
    inner = GroupKFold(min(5, len(set(speakers[rows]))))
    search = GridSearchCV(SVC(kernel='precomputed', class_weight='balanced'), dict(C=CS),
                          scoring='balanced_accuracy', cv=inner)
    search.fit(kernel[rows], emotion[rows], groups=speakers[rows])
    return pd.DataFrame(dict(
        name=frame.index[fold.test], speaker=speakers[fold.test], fold=fold.name,
        truth=emotion[fold.test], predicted=search.predict(kernel[fold.test]),
        C=search.best_params_['C']))

def run_svms(store, made, options, work, out):
    "All feature sets and normalisations."
    frame = store.frame
    for which, make in svm_inputs(store, options).items():
        x = kept(work/f'{which}.parquet', make)
        for normalise in options.normalise:
            parts = []
            bar = tqdm(made, desc=f'SVM, {which}, {normalise}', unit='fold', leave=False)
            for fold in bar:
                path = work/f'svm-{which}-{normalise}-{folder_name(fold.name)}.parquet'
                parts.append(kept(path, lambda: svm(x, frame, fold, normalise)))
            table = pd.concat(parts, ignore_index=True)
            table.to_parquet(out/f'svm-{which}-{normalise}.parquet')

# ---- our recipe

def model_predictions(store, made, seeds, options, work):
    "Predictions of all folds with some seeds, with probabilities, for each normalisation."
    tasks = []
    for normalise, seed, fold in product(options.normalise, seeds, made):
        config = TrainConfig.recipe(options.recipe, normalise=normalise, random_seed=seed)
        name = f'{options.recipe}-{normalise}-{folder_name(fold.name)}-{seed}'
        tasks.append((config, fold, work/name))
    found = {normalise: [] for normalise in options.normalise}
    for run, (config, fold, _) in zip(trained(tasks, store, options), tasks):
        predicted = run.predictions.assign(fold=fold.name, seed=config.random_seed)
        found[config.normalise].append(predicted)
    return {normalise: pd.concat(tables) for normalise, tables in found.items()}

def trained(tasks, store, options):
    "Runs of all tasks."
    if options.at_once:
        from at_once import train_together
        return train_together(tasks, store, store.frame)
    from ser_nbdev.parallel import train_all
    return train_all(tasks, store, store.frame, options.jobs)

def run_models(store, made, options, work, out):
    "All seeds; the predictions so far are written after each of them."
    so_far = {normalise: [] for normalise in options.normalise}
    each = [[seed] for seed in range(options.seeds)]
    for seeds in [range(options.seeds)] if options.at_once else each:
        for normalise, table in model_predictions(store, made, seeds, options, work).items():
            so_far[normalise].append(table)
            path = out/f'{options.recipe}-{normalise}.parquet'
            if seeds_in(path) <= seeds[-1] + 1:
                write_predictions(pd.concat(so_far[normalise]), made, path)

def write_predictions(table, made, path):
    "Sorted by fold and seed, in single precision."
    order = {fold.name: i for i, fold in enumerate(made)}
    table = table.assign(i=table.fold.map(order)).sort_values(['i', 'seed'], kind='stable')
    table = table.drop(columns='i').reset_index(drop=True)
    doubles = table.select_dtypes('float64').columns
    table.astype(dict.fromkeys(doubles, 'float32')).to_parquet(path)

def seeds_in(path):
    "How many seeds a table of predictions holds; 0 without one."
    return pd.read_parquet(path, columns=['seed']).seed.nunique() if path.exists() else 0

def check_seeds(out, options):
    "Refuse to replace a table of more seeds."
    for path in out.glob(f'{options.recipe}-*.parquet'):
        n = seeds_in(path)
        if n > options.seeds:
            raise CorpusError(f'{path} holds {n} seeds, and would be replaced by {options.seeds}; '
                              f'give --seeds {n}, or another --out')

# ---- the table

def systems(out, normalise):
    "The predictions of every system, by its name in the table."
    found = {}
    for which in (*SETS, WHISPER):
        path = out/f'svm-{which}-{normalise}.parquet'
        if path.exists():
            table = pd.read_parquet(path)
            found[f'{which}, linear SVM'] = table.rename(columns=dict(said='predicted')) # as in 0.1
    for recipe in RECIPES:
        path = out/f'{recipe}-{normalise}.parquet'
        if path.exists():
            found |= recipe_systems(recipe, pd.read_parquet(path))
    return found

def recipe_systems(recipe, table):
    "A single model, and all seeds together."
    classes, seeds = sorted(set(table.truth)), table.seed.nunique()
    single = table.assign(predicted=most_probable(table, classes))
    found = {f'{recipe}, one model (mean of {seeds})': single}
    if seeds > 1:
        found[f'{recipe}, ensemble of {seeds}'] = ensemble(table, classes)
    return found

def table_row(system, normalise, predictions):
    "A line of the table."
    row = dict(system=system, normalisation=normalise)
    for name, metric in SCORES.items():
        row[name] = with_interval(*bootstrap_ci(predictions, metric))
    return row

def difference_text(ours, theirs):
    "The difference of two UARs with its interval, and without the latter for one seed."
    if 'seed' in ours and 'seed' in theirs and set(ours.seed) != set(theirs.seed):
        return '' # as long as one of them is still training
    d = paired_test(ours, theirs)
    return with_interval(d['difference'], d['low'], d['high'], '+')

def compared_rows(found, normalise):
    "A line for each system; the last columns compare one model and the ensemble with it."
    rows = []
    ours = {name: p for name, p in list(found.items())[-2:] if name.startswith(RECIPES)}
    for system, predictions in found.items():
        row = table_row(system, normalise, predictions)
        for best, predicted in ours.items():
            same = predictions is predicted
            row[f'{best}, minus this'] = '–' if same else difference_text(predicted, predictions)
        rows.append(row)
    return rows

def later_speakers(found):
    "The predictions for the second half of the speakers, by name."
    speakers = sorted(set(next(iter(found.values())).speaker))
    later = speakers[len(speakers)//2:]
    return {system: table[table.speaker.isin(later)] for system, table in found.items()}

def make_table(out):
    "All that is there, for all speakers and for those who chose nothing."
    rows, later_rows, later = [], [], []
    for normalise in NORMALISE:
        found = systems(out, normalise)
        if found:
            some = later_speakers(found)
            later = sorted(set(next(iter(some.values())).speaker))
            rows += compared_rows(found, normalise)
            later_rows += compared_rows(some, normalise)
    parts = [markdown_table(pd.DataFrame(part).fillna('')) for part in (rows, later_rows)]
    return f'\n\nSpeakers {", ".join(later)} alone, who chose nothing:\n\n'.join(parts) + '\n'

# ---- the program

def compare(options, work, out):
    "All parts that are asked for, then the table."
    store, made = read_task(options, work)
    frame = store.frame
    check_task({'--work': work, '--out': out}, frame, made)
    print(f'{options.corpus}: {len(frame)} utterances, {frame.emotion.nunique()} emotions, '
          f'{frame.speaker.nunique()} speakers, {len(made)} folds by {made[0].by}')
    if options.only != 'svm':
        check_seeds(out, options)
    if options.only != 'model':
        run_svms(store, made, options, work, out)
    if options.only != 'svm':
        run_models(store, made, options, work, out)

def run(options):
    "Check the options, compare, write the table."
    work = Path(options.work or f'ser_runs/accuracy-{options.corpus}')
    out = Path(options.out or f'nbs/runs/accuracy-{options.corpus}')
    needed = ['sklearn'] if options.recipe == 'pretrained' else ['opensmile', 'sklearn']
    missing = [module for module in needed if find_spec(module) is None]
    if missing and options.only in (None, 'svm'):
        raise CorpusError(f'{" and ".join(missing)} missing; pip install opensmile scikit-learn, '
                          'or give --only model')
    if options.seeds < 1:
        raise CorpusError(f'--seeds {options.seeds}: at least one model')
    if options.only != 'table':
        with alone(work):
            compare(options, work, out)
    text = make_table(out)
    (out/'table.md').write_text(text, encoding='utf-8')
    print(text)

def parser():
    "The options."
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    add = p.add_argument
    add('--corpus', default='emodb', help='demo, or a corpus that ser_corpora lists')
    add('--root', help='its folder')
    add('--speaker', help=SPEAKER_HELP)
    add('--labels', default='all', choices=LABEL_SETS,
        help='label set (default: all emotions that have a name)')
    add('--folds', type=int,
        help='number of folds, 3 or more (default: one per speaker; iemocap and demo: session)')
    add('--seeds', type=int, default=5, help='models of the ensemble')
    add('--recipe', default='modern', choices=RECIPES, help='ours; it decides the peers as well')
    add('--normalise', nargs='+', default=NORMALISE, choices=NORMALISE,
        help='whose statistics: the training speakers\', each speaker\'s own (default: both)')
    add('--only', choices=('svm', 'model', 'table'), help='one part alone')
    add('--jobs', type=int, default=2,
        help='models that train side by side (1 with a GPU); openSMILE runs in 2 processes or more')
    add('--at_once', action='store_true', help='all models as one program: benchmarks/at_once.py')
    add('--work', help='folder of what is unfinished (default: ser_runs/accuracy-CORPUS)')
    add('--out', help='folder of the result (default: nbs/runs/accuracy-CORPUS)')
    return p

def main():
    with console('accuracy'):
        run(parser().parse_args())

if __name__ == '__main__':
    main()
