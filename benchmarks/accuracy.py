"""Accuracy against the usual tools, on the same recordings, labels and folds: openSMILE's functionals with a linear SVM against the modern recipe.

    pip install opensmile scikit-learn
    python benchmarks/accuracy.py --corpus emodb --root CORPUS [--labels six] [--folds K] [--seeds 5] [--only svm]

No test speaker is used to choose anything: the SVM's C is found on speakers of the training rows, the recipe is the same for every fold and corpus. Both train on all rows that are not tested.
`global` statistics come from the training rows, `speaker` takes each speaker's own (for test speakers, their recordings without labels).
Stopped, the same command goes on; nbs/runs/accuracy-CORPUS gets every prediction, and the table below.
"""
import argparse, hashlib, json, warnings
from importlib.util import find_spec
from pathlib import Path
import joblib, numpy as np, pandas as pd
from tqdm.auto import tqdm
from ser_nbdev.corpora import CorpusError, console, folds, read_corpus, relabel
from ser_nbdev.features import load_audio
from ser_nbdev.results import bootstrap_ci, macro_f1, paired_test, uar, wa
from ser_nbdev.store import alone, extract_corpus
from ser_nbdev.train import LABEL_SETS, SPEAKER_HELP, TrainConfig, classes_of, corpus_root, reader_options, train_all

SETS, NORMALISE = ('IS09', 'eGeMAPSv02', 'ComParE_2016'), ('global', 'speaker')
CS = 10.**np.arange(-5, 1)                      # of the SVM

def kept(path, make):
    "A table that is made once."
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        make().to_parquet(part := path.with_name('.'+path.name)); part.replace(path)
    return pd.read_parquet(path)

def corpus(a, work):
    "Feature store of the recordings that can be read, and folds of them."
    name, root = corpus_root(a.corpus, a.root)
    df = read_corpus(name, root, **reader_options(name, a.speaker))
    df = relabel(df, LABEL_SETS[a.labels])
    features = TrainConfig.modern().features
    store = extract_corpus(df[df.duration.notna()], features, work/f'features-{features}')
    return store, folds(store.frame, by='session' if name=='iemocap' else 'speaker', k=a.folds)

def same_task(folders, df, made):
    "Refuse folders that hold parts of another task; mark those that are new."
    said = json.dumps(dict(recordings=hashlib.blake2b(df[['emotion','speaker','duration']].to_csv().encode(), digest_size=8).hexdigest(), folds=[f.name for f in made]))
    for option,folder in folders.items():
        if (task := folder/'task.json').exists() and task.read_text()!=said: raise CorpusError(f'{folder} holds results of other recordings, labels or folds; give another {option}, or remove it')
    for folder in folders.values(): folder.mkdir(parents=True, exist_ok=True); (folder/'task.json').write_text(said)

def smiled(paths, which):
    "openSMILE's functionals of some recordings, in a process without TensorFlow, whose memory openSMILE's library disturbs."
    import opensmile
    smile = opensmile.Smile(feature_set=opensmile.FeatureSet[which], feature_level=opensmile.FeatureLevel.Functionals)
    warnings.filterwarnings('ignore', 'Segment too short')      # its functionals are missing, and stand as 0
    return pd.concat([smile.process_signal(load_audio(p), 16_000) for p in paths])

def functionals(df, which, jobs):
    "openSMILE's functionals, a row an utterance."
    parts, chunks = [], np.array_split(df.path.to_numpy(), -(-len(df)//20))
    with tqdm(total=len(df), desc=f'openSMILE {which}', unit='recording', leave=False) as bar:
        for part in joblib.Parallel(max(jobs, 2), return_as='generator')(joblib.delayed(smiled)(list(c), which) for c in chunks): parts.append(part); bar.update(len(part))
    return pd.concat(parts).set_index(df.index).fillna(0).astype(np.float32)

def scaled(x, speakers, train, normalise):
    "Zero mean, unit deviation: of the training rows, or of each speaker's."
    groups = [(np.ones(len(x), bool), train)] if normalise=='global' else [(speakers==s,)*2 for s in np.unique(speakers)]
    out = np.empty(x.shape)
    for to,of in groups: out[to] = (x[to]-x[of].mean(0))/np.maximum(x[of].std(0), 1e-6)
    return out

def svm(x, df, fold, normalise):
    "Predictions of one fold; C by the mean UAR over inner folds of training speakers."
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.svm import SVC
    speakers, emotion, rows = df.speaker.to_numpy(), df.emotion.to_numpy(), np.sort(np.concatenate([fold.train, fold.valid]))
    z = scaled(x.to_numpy(np.float64), speakers, rows, normalise)
    kernel = z@z[rows].T                        # that of a linear SVM, computed once
    inner = GroupKFold(min(5, len(set(speakers[rows]))))
    search = GridSearchCV(SVC(kernel='precomputed', class_weight='balanced'), dict(C=CS), scoring='balanced_accuracy', cv=inner).fit(kernel[rows], emotion[rows], groups=speakers[rows])
    return pd.DataFrame(dict(name=df.index[fold.test], speaker=speakers[fold.test], fold=fold.name, truth=emotion[fold.test], said=search.predict(kernel[fold.test]), C=search.best_params_['C']))

def model(store, made, normalise, seeds, jobs, work):
    "Predictions of all folds and seeds, with probabilities."
    tasks = [(TrainConfig.modern(normalise=normalise, random_seed=s), f, work/f'modern-{normalise}-{f.name}-{s}') for f in made for s in range(seeds)]
    runs = train_all(tasks, store, store.frame, jobs)
    return pd.concat([r.predictions.assign(fold=f.name, seed=c.random_seed) for r,(c,f,_) in zip(runs, tasks)], ignore_index=True)

def said(p, classes): return p.assign(said=np.array(classes)[p[classes].to_numpy().argmax(1)])

def ensemble(p, classes):
    "The seeds' mean probabilities."
    return said(p.groupby(['name','speaker','fold','truth'], as_index=False)[classes].mean(), classes)

def row(system, normalise, p):
    "A line of the table."
    scores = {name:'{:.3f} [{:.3f}, {:.3f}]'.format(*bootstrap_ci(p, f)) for name,f in (('UAR', uar), ('WA', wa), ('macro-F1', macro_f1))}
    return dict(system=system, normalisation=normalise) | scores

def markdown(rows):
    "A table of pipes."
    lines = [list(rows[0]), ['---']*len(rows[0]), *[list(r.values()) for r in rows]]
    return '\n'.join('| '+' | '.join(map(str, l))+' |' for l in lines)+'\n'

def paired(best, p):
    "What `best` has more than these predictions, speaker by speaker."
    d = paired_test(best, p)
    return '{difference:+.3f} [{low:+.3f}, {high:+.3f}]'.format(**d)

def table(out, classes):
    "The table of all that is there; its last column pairs the best of ours with each row."
    rows = []
    for n in NORMALISE:
        found = {f'{s}, linear SVM':pd.read_parquet(p) for s in SETS if (p := out/f'svm-{s}-{n}.parquet').exists()}
        if (path := out/f'modern-{n}.parquet').exists():
            p = pd.read_parquet(path); seeds = p.seed.nunique()
            found[f'modern, one model (mean of {seeds})'] = said(p, classes)
            if seeds>1: found[f'modern, {seeds} together'] = ensemble(p, classes)
        if not found: continue
        best, top = list(found.items())[-1]
        rows += [row(system, n, p) | ({f'{best}, less this':'–' if p is top else paired(top, p)} if best.startswith('modern') else {}) for system,p in found.items()]
    return markdown(rows)

def run(a):
    "All parts that are asked for, then the table."
    if missing := [m for m in ('opensmile', 'sklearn') if a.only!='model' and find_spec(m) is None]: raise CorpusError(f'{" and ".join(missing)} missing; pip install opensmile scikit-learn, or give --only model')
    if a.seeds<1: raise CorpusError(f'--seeds {a.seeds}: at least one model')
    work, out = Path(a.work or f'ser_runs/accuracy-{a.corpus}'), Path(a.out or f'nbs/runs/accuracy-{a.corpus}')
    with alone(work): compare(a, work, out)

def compare(a, work, out):
    "What `run` does, in folders that nobody else uses."
    store, made = corpus(a, work); df = store.frame; classes = classes_of(df)
    same_task({'--work':work, '--out':out}, df, made)
    for p in out.glob('modern-*.parquet') if a.only!='svm' else ():
        if (n := pd.read_parquet(p).seed.nunique())>a.seeds: raise CorpusError(f'{p} holds {n} seeds, and would be replaced by {a.seeds}; give --seeds {n}, or another --out')
    print(f'{a.corpus}: {len(df)} utterances, {len(classes)} emotions, {df.speaker.nunique()} speakers, {len(made)} folds by {made[0].by}')
    for s in SETS if a.only!='model' else ():
        x = kept(work/f'{s}.parquet', lambda: functionals(df, s, a.jobs))
        for n in NORMALISE:
            parts = [kept(work/f'svm-{s}-{n}-{f.name}.parquet', lambda: svm(x, df, f, n)) for f in tqdm(made, desc=f'SVM, {s}, {n}', unit='fold', leave=False)]
            pd.concat(parts, ignore_index=True).to_parquet(out/f'svm-{s}-{n}.parquet')
    for n in NORMALISE if a.only!='svm' else (): model(store, made, n, a.seeds, a.jobs, work).astype({c:'float32' for c in classes}).to_parquet(out/f'modern-{n}.parquet')
    text = table(out, classes)
    (out/'table.md').write_text(text, encoding='utf-8'); print(text)

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--corpus', default='emodb', help='demo, or a corpus that ser_corpora lists'); p.add_argument('--root', help='its folder')
    p.add_argument('--speaker', help=SPEAKER_HELP)
    p.add_argument('--labels', default='all', choices=LABEL_SETS, help='label set (default: all emotions that have a name)'); p.add_argument('--folds', type=int, help='number of folds, 3 or more (default: one a speaker; iemocap and demo: a session)')
    p.add_argument('--seeds', type=int, default=5, help='models of the ensemble'); p.add_argument('--only', choices=('svm','model'), help='one half of the table')
    p.add_argument('--jobs', type=int, default=2, help='models that train side by side (1 with a GPU); openSMILE runs in 2 processes or more')
    p.add_argument('--work', help='folder of what is unfinished (default: ser_runs/accuracy-CORPUS)'); p.add_argument('--out', help='folder of the result (default: nbs/runs/accuracy-CORPUS)')
    with console('accuracy'): run(p.parse_args())

if __name__=='__main__': main()
