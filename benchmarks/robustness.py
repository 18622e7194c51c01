"""What a recogniser makes of the same voices outside the studio.

Nothing but the audio of the test recordings is altered: noise, rooms, telephones, silence.

    python benchmarks/robustness.py --corpus emodb --root CORPUS --recipe modern [--seeds 3]
    python benchmarks/robustness.py --corpus ravdess --root CORPUS --labels four --bundle FILE

With --recipe a model is trained for each fold and seed, and scores the speakers that it did not
hear; stopped, the same command goes on. With --bundle (a file, or a run's folder) that recogniser
scores the whole corpus: give one that it was not trained on. An alteration is a few lines of NumPy
or SciPy, a function of the recording's name alone, and so the same for every model. The table has
UAR, what of it is lost, mean confidence, how far that lies above the accuracy, and ECE with what
chance alone would make of it. A recording that gets no label counts as wrong, and is counted.
"""
import argparse
import io
import zlib
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import soundfile
from scipy import signal
from tqdm.auto import tqdm

from ser_nbdev.audio import SR, load_audio
from ser_nbdev.calibration import ece_by_chance
from ser_nbdev.comparison import markdown_table
from ser_nbdev.config import RECIPES, TrainConfig
from ser_nbdev.console import SPEAKER_HELP, console, usual_split
from ser_nbdev.corpora import read_corpus
from ser_nbdev.data import corpus_root, reader_options
from ser_nbdev.feature_sets import feature_set
from ser_nbdev.files import alone, folder_name
from ser_nbdev.folds import folds
from ser_nbdev.hearing import hear_waveform
from ser_nbdev.labels import LABEL_SETS, CorpusError, relabel
from ser_nbdev.metrics import ece, uar
from ser_nbdev.parts import times_of
from ser_nbdev.store import extract_corpus

# ---- alterations: (waveform, generator, a voice of somebody else) -> waveform, all at 16 kHz

def at_snr(y, noise, db):
    "Speech with noise so many dB below it."
    noise = np.resize(noise, len(y))
    return y + noise*np.sqrt((y@y)/(noise@noise + 1e-12))*10**(-db/20)

def white(y, rng, other, db):
    return at_snr(y, rng.normal(size=len(y)), db)

def pink(y, rng, other, db):
    "Noise whose power falls by 3 dB an octave."
    spectrum = np.fft.rfft(rng.normal(size=len(y)))
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 1))
    return at_snr(y, np.fft.irfft(spectrum, len(y)), db)

def babble(y, rng, other, db):
    "Six other voices."
    return at_snr(y, sum(np.resize(other(), len(y)) for _ in range(6)), db)

def room(y, rng, other, rt60):
    "Noise that decays by 60 dB in `rt60` seconds, after the direct sound."
    t = np.arange(int(rt60*SR))/SR
    response = rng.normal(size=len(t))*10**(-3*t/rt60)
    response[:int(.005*SR)] = 0
    response *= 1/np.sqrt(response@response)
    response[0] = 1
    return signal.fftconvolve(y, response)[:len(y)]

def band(y, rng, other, low, high):
    "What a filter of order 8 lets through."
    edges, kind = ([low, high], 'bandpass') if low else (high, 'lowpass')
    return signal.sosfilt(signal.butter(8, edges, kind, fs=SR, output='sos'), y)

def coded(y, rng, other, **kind):
    "Written to a file that loses something, and read again."
    file = io.BytesIO()
    soundfile.write(file, y.clip(-1, 1), SR, **kind)
    file.seek(0)
    return soundfile.read(file, dtype='float32')[0]

def clipped(y, rng, other, share):
    "The loudest samples cut off."
    limit = np.quantile(np.abs(y), 1 - share)
    return y.clip(-limit, limit)

def padded(y, rng, other, db=None):
    "A second at both ends: digital zeros, or noise so many dB below the speech."
    y = np.pad(y, SR)
    if db is None:
        return y
    speech = y[SR:-SR]
    return y + rng.normal(size=len(y))*np.sqrt((speech@speech)/len(speech))*10**(-db/20)

def scaled(y, rng, other, gain=1., offset=0.):
    return gain*y + offset

def faster(y, rng, other, up, down):
    "At another speed, pitch and all."
    return signal.resample_poly(y, down, up)

ALTERATIONS = {
    'as it is': scaled,
    '1 s of zeros at both ends': padded,
    '1 s of noise 40 dB below at both ends': partial(padded, db=40),
    **{f'{noise.__name__} noise {db} dB': partial(noise, db=db)
       for noise in (white, pink, babble) for db in (20, 10, 5, 0)},
    'room, RT60 0.3 s': partial(room, rt60=.3),
    'room, RT60 1 s': partial(room, rt60=1.),
    '8 kHz': partial(band, low=0, high=3900),
    'telephone band': partial(band, low=300, high=3400),
    'MP3': partial(coded, format='MP3'),
    'GSM': partial(coded, format='WAV', subtype='GSM610'),
    'clipped, 5% of the samples': partial(clipped, share=.05),
    'gain -20 dB': partial(scaled, gain=.1),
    'gain +6 dB': partial(scaled, gain=2.),
    'offset .02': partial(scaled, offset=.02),
    '10% faster': partial(faster, up=11, down=10),
    '10% slower': partial(faster, up=9, down=10)}

class Waveforms:
    "All recordings in one file that every process maps into memory."
    def __init__(self, frame, path):
        self.path, self.names = path, frame.index.astype(str).tolist()
        self.speakers = frame.speaker.to_numpy()
        waves = [load_audio(path, start=start, end=end)
                 for path, (start, end) in zip(frame.path, times_of(frame))]
        self.ends = np.cumsum([0, *map(len, waves)])
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.concatenate(waves))

    def __len__(self): return len(self.names)

    def __getitem__(self, i):
        samples = np.load(self.path, mmap_mode='r')
        return np.array(samples[self.ends[i]:self.ends[i+1]])

    def altered(self, i, alteration):
        "A recording, altered; its name decides how."
        rng = np.random.default_rng(zlib.crc32(self.names[i].encode()))
        others = np.flatnonzero(self.speakers != self.speakers[i])
        y = alteration(self[i], rng, lambda: self[rng.choice(others)])
        return np.asarray(y, np.float32)

def hear_some(features, waveforms, alteration, rows):
    "What is scored of some recordings: the task of one process."
    return [hear_waveform(feature_set(features), waveforms.altered(i, alteration)) for i in rows]

def hear_all(features, waveforms, alteration, jobs):
    "What is scored of all recordings, in processes side by side."
    parts = np.array_split(np.arange(len(waveforms)), max(1, len(waveforms)//30))
    tasks = [joblib.delayed(hear_some)(features, waveforms, alteration, part) for part in parts]
    return [heard for part in joblib.Parallel(jobs)(tasks) for heard in part]

# ---- scores

def answers(recognizer, heard):
    "Probabilities for what was heard; NaN where there was no label."
    order = np.argsort([len(h.x) for h in heard])
    found = np.zeros((len(heard), len(recognizer.classes)))
    for batch in np.array_split(order, max(1, len(order)//32)):
        for i, p in zip(batch, recognizer.score_heard([heard[i] for i in batch])):
            found[i] = [p.probabilities[code] for code in recognizer.classes]
    return found

class Judges:
    "Recognisers, each for its own rows of the table."
    def __init__(self, features, judges):
        self.features, self.judges = features, judges
        self.classes = judges[0][2].classes

    def answers(self, heard, name):
        "Seed, rows and probabilities of each."
        for seed, rows, recognizer in self.judges:
            yield seed, rows, answers(recognizer, [heard[i] for i in rows])

class JudgesAtOnce:
    "The same of benchmarks/at_once.py."
    def __init__(self, features, together):
        self.features, self.together, self.classes = features, together, together.classes

    def answers(self, heard, name):
        "Seed, rows and probabilities of each."
        silent = np.array([bool(h.reason) for h in heard])
        found = self.together.probabilities([h.x for h in heard], name)
        for (config, fold, _), p in zip(self.together.tasks, found):
            p[silent[fold.test]] = np.nan
            yield config.random_seed, fold.test, p

def predictions(judges, frame, waveforms, jobs):
    "A row for each recording, model and alteration."
    parts = []
    bar = tqdm(ALTERATIONS.items(), unit='alteration', leave=False)
    for name, alteration in bar:
        bar.set_postfix_str(name)
        heard = hear_all(judges.features, waveforms, alteration, jobs)
        for seed, rows, p in judges.answers(heard, name):
            known = ~np.isnan(p[:, 0])
            best = np.where(known, np.nan_to_num(p).argmax(1), -1)
            parts.append(pd.DataFrame(dict(
                alteration=name, name=frame.index[rows], speaker=frame.speaker.iloc[rows],
                seed=seed, truth=frame.emotion.iloc[rows],
                predicted=np.append(judges.classes, 'no label')[best],
                confidence=np.where(known, np.nan_to_num(p).max(1), np.nan))))
    return pd.concat(parts, ignore_index=True)

def scores_of(table, clean):
    "A line of the table (means over seeds, of all speakers together); confidence minus accuracy."
    by_seed = [part for _, part in table.groupby('seed')]
    right = table.truth == table.predicted
    known = table.confidence.notna()
    confidence = table.confidence[known].to_numpy()
    score = np.mean([uar(part.truth, part.predicted) for part in by_seed])
    gap = confidence.mean() - right[known].mean()
    return {
        'UAR': f'{score:.3f}', 'change': f'{score - clean:+.3f}',
        'confidence': f'{confidence.mean():.2f}',
        'minus accuracy': f'{gap:+.2f}',
        'ECE (chance)': f'{ece(confidence, right[known]):.3f} ({ece_by_chance(confidence)[0]:.3f})',
        'no label': int((~known).sum())}, gap

def make_table(table):
    "All alterations, and their mean."
    clean = table[table.alteration == 'as it is']
    of_clean = np.mean([uar(p.truth, p.predicted) for _, p in clean.groupby('seed')])
    scored = {name: scores_of(table[table.alteration == name], of_clean) for name in ALTERATIONS}
    rows = [dict(audio=name) | line for name, (line, _) in scored.items()]
    gap = np.mean([gap for _, gap in scored.values()])
    chance, majority = 1/clean.truth.nunique(), clean.truth.value_counts(normalize=True).iloc[0]
    return (markdown_table(pd.DataFrame(rows)) + f'\n\nChance (UAR) {chance:.3f}, majority class '
            f'{majority:.3f}. Confidence minus accuracy, mean over all lines: {gap:+.3f}.\n')

def draw(table, path):
    "The UAR under each alteration."
    import matplotlib.pyplot as plt
    import seaborn as sns
    scores = [dict(audio=name, seed=seed, UAR=uar(part.truth, part.predicted))
              for (name, seed), part in table.groupby(['alteration', 'seed'])]
    scores = pd.DataFrame(scores)
    clean = scores.UAR[scores.audio == 'as it is'].mean()
    figure, ax = plt.subplots(figsize=(7, 7), layout='constrained')
    sns.pointplot(scores, y='audio', x='UAR', order=list(ALTERATIONS), linestyle='none',
                  errorbar=('pi', 100), color='black', ax=ax)
    ax.axvline(clean, color='0.6', ls='--')
    ax.axvline(1/table.truth.nunique(), color='0.6', ls=':')
    ax.set(title='the same voices outside the studio\n(dashed: as they are; dotted: chance)',
           xlabel='UAR', ylabel='', xlim=(0, 1.02))
    figure.savefig(path, dpi=160, transparent=True)

# ---- the program

def trained_judges(frame, options, work):
    "A recogniser for each fold and seed, and the table of what can be read."
    features = TrainConfig.recipe(options.recipe).features
    store = extract_corpus(
        frame, features, work/f'features-{features}', jobs=options.jobs)
    made = folds(store.frame, by=usual_split(options.corpus), k=options.folds)
    tasks = [(TrainConfig.recipe(options.recipe, random_seed=seed), fold,
              work/f'{options.recipe}-{folder_name(fold.name)}-{seed}')
             for seed in range(options.seeds) for fold in made]
    if options.at_once:
        from at_once import Together
        return JudgesAtOnce(features, Together(tasks, store, store.frame).fit()), store.frame
    from ser_nbdev.parallel import train_all
    from ser_nbdev.recognizer import Recognizer
    runs = train_all(tasks, store, store.frame, options.jobs)
    judges = [(config.random_seed, fold.test, Recognizer.from_run(run))
              for run, (config, fold, _) in zip(runs, tasks)]
    return Judges(features, judges), store.frame

def given_judges(frame, options):
    "The recogniser that was given, for all rows; its classes have to be the corpus'."
    from ser_nbdev.cli import recognizer_of
    recognizer = recognizer_of(options.bundle)
    strange = set(frame.emotion) ^ set(recognizer.classes)
    if strange:
        raise CorpusError(f'{options.bundle} knows {", ".join(recognizer.classes)}, and the corpus '
                          f'has {", ".join(sorted(set(frame.emotion)))}; give --labels')
    return Judges(recognizer.features, [(0, np.arange(len(frame)), recognizer)])

def run(options):
    "Read, train if asked to, alter, score, write."
    name, root = corpus_root(options.corpus, options.root)
    frame = read_corpus(name, root, **reader_options(name, options.speaker))
    frame = relabel(frame, LABEL_SETS[options.labels])
    frame = frame[frame.duration.notna()]
    work = Path(options.work or f'ser_runs/robustness-{options.corpus}')
    out = Path(options.out or f'nbs/runs/robustness-{options.corpus}')
    if options.recipe:
        with alone(work):
            judges, frame = trained_judges(frame, options, work)
    else:
        judges = given_judges(frame, options)
    waveforms = Waveforms(frame, work/'waveforms.npy')
    table = predictions(judges, frame, waveforms, options.jobs)
    out.mkdir(parents=True, exist_ok=True)
    what = options.recipe or Path(options.bundle).stem
    table.to_parquet(out/f'{what}.parquet')
    text = make_table(table)
    (out/f'{what}.md').write_text(text, encoding='utf-8')
    draw(table, out/f'{what}.png')
    print(text)

def parser():
    "The options."
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    add = p.add_argument
    add('--corpus', default='emodb', help='demo, or a corpus that ser_corpora lists')
    add('--root', help='its folder')
    add('--speaker', help=SPEAKER_HELP)
    add('--labels', default='four', choices=LABEL_SETS, help='label set (default: four)')
    what = p.add_mutually_exclusive_group(required=True)
    what.add_argument('--recipe', choices=RECIPES, help='train one model for each fold and seed')
    what.add_argument('--bundle', help='recogniser to score with: a file, or a run\'s folder')
    add('--folds', type=int,
        help='number of folds, 3 or more (default: one per speaker; iemocap and demo: session)')
    add('--seeds', type=int, default=3, help='models for each fold (default: 3)')
    add('--jobs', type=int, default=2, help='models that train, and processes that hear')
    add('--at_once', action='store_true', help='all models as one program: benchmarks/at_once.py')
    add('--work', help='folder of what is unfinished (default: ser_runs/robustness-CORPUS)')
    add('--out', help='folder of the result (default: nbs/runs/robustness-CORPUS)')
    return p

def main():
    with console('robustness'):
        run(parser().parse_args())

if __name__ == '__main__':
    main()
