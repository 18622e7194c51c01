"""Features against named peers: speed, agreement, end to end.

    pip install opensmile praat-parselmouth
    python benchmarks/features.py [--emodb shared/corpora/emodb] [--repeat 5]

Ratios are taken in one run, on one core each, best of several interleaved repetitions.
"""
import os

os.environ.update(OMP_NUM_THREADS='1', OPENBLAS_NUM_THREADS='1', MKL_NUM_THREADS='1')

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import librosa
import numpy as np
import opensmile
import parselmouth

from ser_nbdev.audio import SR, load_audio, synth_vowel
from ser_nbdev.corpora import read_corpus
from ser_nbdev.demo import demo_corpus
from ser_nbdev.feature_sets import extract, feature_names
from ser_nbdev.features import HOP, N_FFT, WIN, frame_times, mfcc
from ser_nbdev.pitch import F0_MAX, F0_MIN, f0_autocorr


def report(what, value, target='', met=None):
    "One line of the table."
    verdict = {None: '', True: 'met', False: 'MISSED'}[None if met is None else bool(met)]
    print(f'  {what:<58} {value:>12}   {target:<12} {verdict}', flush=True)

def report_speed(what, times_real_time):
    report(what, f'{times_real_time:.0f}', '>= 200', times_real_time >= 200)

def best_of(repeat, *functions):
    "Seconds of each function, best of `repeat` turns."
    best = [np.inf]*len(functions)
    for _ in range(repeat):
        for i, function in enumerate(functions):
            start = time.perf_counter()
            function()
            best[i] = min(best[i], time.perf_counter() - start)
    return best


# openSMILE

def smile_of(level):
    "openSMILE's IS09: the same sixteen descriptors."
    return opensmile.Smile(feature_set=opensmile.FeatureSet.IS09, feature_level=level,
                           num_workers=1)

def speed(recordings, repeat):
    "`lld32` and openSMILE's IS09 with derivatives, recording by recording and in one piece."
    smile = smile_of(opensmile.FeatureLevel.LowLevelDescriptors_Deltas)
    seconds = sum(map(len, recordings))/SR
    inputs = {
        'recording by recording': recordings,
        'all in one recording': [np.concatenate(recordings)]}
    for how, ys in inputs.items():
        ours, theirs = best_of(
            repeat,
            lambda: [extract(y) for y in ys],
            lambda: [smile.process_signal(y, SR) for y in ys])
        report_speed(f'lld32, {how}: times real time', seconds/ours)
        report('  openSMILE IS09 (the same sixteen and their deltas)', f'{seconds/theirs:.0f}')
        report('  ratio', f'{theirs/ours:.2f}', '>= 3 (5)', theirs/ours >= 3)

def smooth(x):
    "Mean over three frames, as openSMILE smooths."
    padded = np.pad(x, ((1, 1), (0, 0)), mode='edge')
    return np.apply_along_axis(np.convolve, 0, padded, np.ones(3)/3, 'valid')

COLUMNS = {   # ours -> openSMILE's
    'log_energy': 'pcm_RMSenergy_sma',
    **{f'mfcc{i}': f'pcm_fftMag_mfcc_sma[{i}]' for i in range(1, 13)},
    'ZCR': 'pcm_zcr_sma', 'voicing': 'voiceProb_sma', 'F0': 'F0_sma'}
LEAST_CORRELATION = {'log_energy': .97, 'voicing': .7, 'F0': None}   # others: .95

def smile_pairs(recordings):
    "Our columns and openSMILE's of each recording."
    smile = smile_of(opensmile.FeatureLevel.LowLevelDescriptors)
    ours = [feature_names().index(c) for c in COLUMNS]
    for y in recordings:
        theirs = smile.process_signal(y, SR)[list(COLUMNS.values())].to_numpy().copy()
        theirs[:, 0] = np.log(np.maximum(theirs[:, 0], 1e-7))
        yield smooth(extract(y)[:, ours]), theirs

def correlation_at(pairs, column, lag):
    "Correlation of one column over all recordings, ours `lag` frames later."
    ours, theirs = [], []
    for x, s in pairs:
        n = min(len(x), len(s)) - 6
        ours.append(x[3+lag:3+lag+n, column])
        theirs.append(s[3:3+n, column])
    return np.corrcoef(np.concatenate(ours), np.concatenate(theirs))[0, 1]

def correlation(recordings):
    "Each column with openSMILE's, both smoothed, at the best lag within three frames."
    pairs = list(smile_pairs(recordings))
    for j, column in enumerate(COLUMNS):
        by_lag = {lag: correlation_at(pairs, j, lag) for lag in range(-3, 4)}
        lag = max(by_lag, key=by_lag.get)
        least = LEAST_CORRELATION.get(column, .95)
        target = '' if least is None else f'>= {least}'
        met = None if least is None else by_lag[lag] >= least
        report(f'correlation of {column} (lag {lag} frames)', f'{by_lag[lag]:.3f}', target, met)


# F0

def praat(recordings):
    "F0 and voicing decisions against Praat's."
    deviations, agreements = [], []
    for y in recordings:
        sound = parselmouth.Sound(y.astype(float), SR)
        pitch = sound.to_pitch_ac(time_step=HOP/SR, pitch_floor=F0_MIN, pitch_ceiling=F0_MAX)
        theirs = pitch.selected_array['frequency']
        f0, _ = f0_autocorr(y)
        nearest = np.round(pitch.xs()*SR/HOP).astype(int)
        f0 = f0[np.clip(nearest, 0, len(f0) - 1)]
        both = (f0 > 0) & (theirs > 0)
        deviations.append(np.abs(f0[both]/theirs[both] - 1))
        agreements.append((f0 > 0) == (theirs > 0))
    deviation = np.concatenate(deviations)
    gross, median = (deviation > .2).mean(), np.median(deviation)
    agree = np.concatenate(agreements).mean()
    report('F0 and Praat, both voiced: gross errors (> 20%)', f'{gross:.2%}', '< 3%', gross < .03)
    report('  median deviation', f'{median:.2%}', '< 1%', median < .01)
    report('  voicing decisions agree', f'{agree:.1%}', '>= 92%', agree >= .92)

def vowel_f0(f, k, vowel, snr):
    "True F0 and our answer for one synthetic vowel."
    contour = np.clip([f, 1.1*f, .93*f], F0_MIN, F0_MAX)
    f0, _ = f0_autocorr(synth_vowel(contour, .6, vowel, snr, seed=k))
    true = np.interp(frame_times(len(f0)), [0, .3, .6], contour)
    return true[4:-4], f0[4:-4]

def vowels():
    "Gross errors on vowels of known F0, in noise."
    for snr in (20, 10, 0):
        answers = [vowel_f0(f, k, vowel, snr)
                   for k, f in enumerate(np.geomspace(F0_MIN, F0_MAX, 25)) for vowel in 'aeiou']
        true, f0 = np.concatenate(answers, axis=1)
        voiced = f0 > 0
        gross = (np.abs(f0[voiced]/true[voiced] - 1) > .2).mean()
        target, met = ('< 2%', gross < .02) if snr == 20 else ('', None)
        report(f'synthetic vowels, 60 to 500 Hz, {snr} dB SNR: gross errors', f'{gross:.2%}',
               target, met)
        report('  called unvoiced', f'{1 - voiced.mean():.2%}')


# librosa

def librosa_mfcc(y):
    "The library call that `mfcc20` is held against."
    z = librosa.effects.preemphasis(y, coef=.97, zi=np.zeros(1))
    mel = librosa.feature.melspectrogram(
        y=z, sr=SR, n_fft=N_FFT, win_length=WIN, hop_length=HOP, window='hamming',
        pad_mode='constant', n_mels=40, htk=True, norm=None)
    decibels = librosa.power_to_db(mel, top_db=None)
    return librosa.feature.mfcc(S=decibels, n_mfcc=20, lifter=22).T

def against_librosa(recordings, repeat):
    "`mfcc20` and librosa: difference and speed."
    ours, theirs = best_of(
        repeat,
        lambda: [mfcc(y) for y in recordings],
        lambda: [librosa_mfcc(y) for y in recordings])
    worst = 0
    for y in recordings:
        reference = librosa_mfcc(y)
        worst = max(worst, np.abs(mfcc(y) - reference).max()/np.abs(reference).max())
    report('mfcc20 and librosa: largest difference / largest value', f'{worst:.0e}', '<= 1e-4',
           worst <= 1e-4)
    report('mfcc20 against librosa.feature.mfcc: speed ratio', f'{theirs/ours:.2f}', '>= 1',
           theirs/ours >= 1)


# the command, from start to end

def resident_megabytes(group):
    "Memory of all processes of a group (Linux)."
    page = os.sysconf('SC_PAGE_SIZE')/1e6
    total = 0
    for folder in Path('/proc').glob('[0-9]*'):
        try:
            if os.getpgid(int(folder.name)) == group:
                total += int((folder/'statm').read_text().split()[1])*page
        except (OSError, ValueError):
            pass   # it ended meanwhile
    return total

def watched(*command):
    "Run a command; its seconds, and the largest memory of its processes together in MB."
    start, peak = time.perf_counter(), 0
    process = subprocess.Popen([str(part) for part in command], start_new_session=True,
                               stdout=subprocess.DEVNULL)
    while process.poll() is None:
        peak = max(peak, resident_megabytes(process.pid))
        time.sleep(.02)
    if process.returncode:
        raise SystemExit(f'{command[0]} ended with {process.returncode}')
    return time.perf_counter() - start, peak

def linked_corpus(paths, copies, root):
    "A folder with each recording under many names."
    folder = root/str(copies)/'neutral'
    folder.mkdir(parents=True)
    for k in range(copies):
        for path in paths:
            (folder/f'{k}_{path.name}').symlink_to(path.resolve())

def end_to_end(paths, repeat):
    "`ser_features` in two processes; once a corpus, then ten times as much."
    command = Path(sys.executable).with_name('ser_features')
    seconds = sum(len(load_audio(path)) for path in paths)/SR
    best = {}
    with tempfile.TemporaryDirectory() as root:
        root = Path(root)
        for copies in (10, 100):
            linked_corpus(paths, copies, root)
        for _ in range(repeat):
            for copies in (10, 100):
                out = root/f'out{copies}'
                shutil.rmtree(out, ignore_errors=True)
                run = watched(command, '--corpus', 'folder', '--root', root/str(copies),
                              '--out', out, '--jobs', 2)
                best[copies] = min(best.get(copies, run), run)
    (once, memory), (tenfold, memory_tenfold) = best[10], best[100]
    minutes = 10*seconds/60
    for what, speed_up in ((f'ser_features, {minutes:.0f} min, two processes', 10*seconds/once),
                           ('  ten times as much', 100*seconds/tenfold)):
        report(f'{what}: times real time', f'{speed_up:.0f}', '>= 300', speed_up >= 300)
    report('  takes this many times as long', f'{tenfold/once:.2f}', '<= 10.5',
           tenfold/once <= 10.5)
    report('  peak memory of all processes, MB', f'{memory:.0f}, {memory_tenfold:.0f}', '+-20%',
           abs(memory_tenfold/memory - 1) <= .2)


def parse_arguments():
    parser = argparse.ArgumentParser(description='Features against named peers.')
    parser.add_argument('--emodb', default='../shared/corpora/emodb',
                        help='folder of EmoDB; left out if it is not there')
    parser.add_argument('--repeat', type=int, default=5, help='turns, of which the best counts')
    return parser.parse_args()

def main():
    options = parse_arguments()
    packages = ('numpy', 'scipy', 'librosa', 'opensmile', 'praat-parselmouth')
    print(', '.join(f'{package} {version(package)}' for package in packages))
    tables = {'demo': read_corpus('iemocap', demo_corpus())}
    if Path(options.emodb).exists():
        tables['emodb'] = read_corpus('emodb', options.emodb)
    else:
        print(f'{options.emodb}: not there, EmoDB left out')
    for name, df in tables.items():
        recordings = [load_audio(path) for path in df.path]
        minutes = sum(map(len, recordings))/SR/60
        print(f'{name}: {len(recordings)} recordings, {minutes:.1f} min')
        speed(recordings[::5], options.repeat)
        correlation(recordings)
        praat(recordings)
        against_librosa(recordings[::5], options.repeat)
        end_to_end([Path(path) for path in df.path[::2]], repeat=2)
    print('known F0')
    vowels()

if __name__ == '__main__':
    main()
