"""Accuracy against the usual tools, on the same recordings, labels and folds.

openSMILE's functionals with a linear SVM stand against the modern recipe.

    pip install opensmile scikit-learn
    python benchmarks/accuracy.py --corpus emodb --root CORPUS [--labels six] [--seeds 5]

No test speaker is used to choose anything: the SVM's C is found on speakers of the training rows,
and the recipe is the same for every fold and corpus. Both train on all rows that are not tested.
`global` statistics come from the training rows, `speaker` takes each speaker's own (for test
speakers, their recordings without labels). Stopped, the same command goes on;
nbs/runs/accuracy-CORPUS gets every prediction, and the table. `--only table` makes the table anew
from the predictions that are there.
"""
import argparse
import hashlib
import json
import warnings
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
    features = TrainConfig.modern().features
    store = extract_corpus(frame[frame.duration.notna()], features, work/f'features-{features}')
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
    for which in SETS:
        x = kept(work/f'{which}.parquet', lambda: functionals(frame, which, options.jobs))
        for normalise in NORMALISE:
            parts = []
            bar = tqdm(made, desc=f'SVM, {which}, {normalise}', unit='fold', leave=False)
            for fold in bar:
                path = work/f'svm-{which}-{normalise}-{folder_name(fold.name)}.parquet'
                parts.append(kept(path, lambda: svm(x, frame, fold, normalise)))
            table = pd.concat(parts, ignore_index=True)
            table.to_parquet(out/f'svm-{which}-{normalise}.parquet')

# ---- our recipe

def model_predictions(store, made, normalise, options, work):
    "Predictions of all folds and seeds, with probabilities."
    from ser_nbdev.parallel import train_all
    tasks = []
    for fold in made:
        for seed in range(options.seeds):
            config = TrainConfig.modern(normalise=normalise, random_seed=seed)
            tasks.append((config, fold, work/f'modern-{normalise}-{folder_name(fold.name)}-{seed}'))
    runs = train_all(tasks, store, store.frame, options.jobs)
    tables = [run.predictions.assign(fold=fold.name, seed=config.random_seed)
              for run, (config, fold, _) in zip(runs, tasks)]
    return pd.concat(tables, ignore_index=True)

def run_models(store, made, options, work, out):
    "Both normalisations."
    for normalise in NORMALISE:
        table = model_predictions(store, made, normalise, options, work)
        doubles = table.select_dtypes('float64').columns
        table = table.astype(dict.fromkeys(doubles, 'float32'))
        table.to_parquet(out/f'modern-{normalise}.parquet')

def check_seeds(out, options):
    "Refuse to replace a table of more seeds."
    for path in out.glob('modern-*.parquet'):
        n = pd.read_parquet(path).seed.nunique()
        if n > options.seeds:
            raise CorpusError(f'{path} holds {n} seeds, and would be replaced by {options.seeds}; '
                              f'give --seeds {n}, or another --out')

# ---- the table

def systems(out, normalise):
    "The predictions of every system, by its name in the table."
    found = {}
    for which in SETS:
        path = out/f'svm-{which}-{normalise}.parquet'
        if path.exists():
            table = pd.read_parquet(path)
            found[f'{which}, linear SVM'] = table.rename(columns=dict(said='predicted')) # as in 0.1
    path = out/f'modern-{normalise}.parquet'
    if path.exists():
        table = pd.read_parquet(path)
        classes, seeds = sorted(set(table.truth)), table.seed.nunique()
        single = table.assign(predicted=most_probable(table, classes))
        found[f'modern, one model (mean of {seeds})'] = single
        if seeds > 1:
            found[f'modern, ensemble of {seeds}'] = ensemble(table, classes)
    return found

def table_row(system, normalise, predictions):
    "A line of the table."
    row = dict(system=system, normalisation=normalise)
    for name, metric in SCORES.items():
        row[name] = with_interval(*bootstrap_ci(predictions, metric))
    return row

def difference_text(ours, theirs):
    "The difference of two UARs with its interval, and without the latter for one seed."
    d = paired_test(ours, theirs)
    return with_interval(d['difference'], d['low'], d['high'], '+')

def make_table(out):
    "The table of all that is there; its last column compares the last of ours with each row."
    rows = []
    for normalise in NORMALISE:
        found = systems(out, normalise)
        for system, predictions in found.items():
            row = table_row(system, normalise, predictions)
            best, ours = list(found.items())[-1]
            if best.startswith('modern'):
                same = predictions is ours
                row[f'{best}, minus this'] = '–' if same else difference_text(ours, predictions)
            rows.append(row)
    return markdown_table(pd.DataFrame(rows).fillna('')) + '\n'

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
    missing = [module for module in ('opensmile', 'sklearn') if find_spec(module) is None]
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
    add('--only', choices=('svm', 'model', 'table'), help='one part alone')
    add('--jobs', type=int, default=2,
        help='models that train side by side (1 with a GPU); openSMILE runs in 2 processes or more')
    add('--work', help='folder of what is unfinished (default: ser_runs/accuracy-CORPUS)')
    add('--out', help='folder of the result (default: nbs/runs/accuracy-CORPUS)')
    return p

def main():
    with console('accuracy'):
        run(parser().parse_args())

if __name__ == '__main__':
    main()
