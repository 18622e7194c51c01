"""Features against named peers: speed, agreement, end to end.

    pip install opensmile praat-parselmouth
    python benchmarks/features.py [--emodb shared/corpora/emodb] [--ravdess FOLDER] [--repeat 5]

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
import soxr

from ser_nbdev.audio import SR, load_audio, synth_vowel
from ser_nbdev.corpora import read_corpus
from ser_nbdev.demo import demo_corpus
from ser_nbdev.feature_sets import extract, feature_names
from ser_nbdev.features import HOP, N_FFT, WIN, frame_times, mfcc
from ser_nbdev.opening import is_narrow
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

def praat_f0(y, ceiling=F0_MAX):
    "Praat's F0 in each of our frames; NaN where it has none."
    sound = parselmouth.Sound(y.astype(float), SR)
    pitch = sound.to_pitch_ac(time_step=HOP/SR, pitch_floor=F0_MIN, pitch_ceiling=ceiling)
    f0 = np.full(1 + len(y)//HOP, np.nan)
    nearest = np.round(pitch.xs()*SR/HOP).astype(int)
    inside = nearest < len(f0)
    f0[nearest[inside]] = pitch.selected_array['frequency'][inside]
    return f0

def our_f0(y):
    "F0 as `lld32` has it."
    return extract(y)[:, feature_names().index('F0')]

def gross_errors(f0, reference):
    "Share of the frames that both call voiced where F0 is more than 20% off."
    both = (f0 > 0) & (reference > 0)
    return (np.abs(f0[both]/reference[both] - 1) > .2).mean() if both.any() else np.nan

def praat(recordings):
    "F0 and voicing decisions against Praat's."
    theirs = np.concatenate([praat_f0(y) for y in recordings])
    ours = np.concatenate([our_f0(y) for y in recordings])
    known = ~np.isnan(theirs)
    theirs, ours = theirs[known], ours[known]
    both = (ours > 0) & (theirs > 0)
    gross = gross_errors(ours, theirs)
    median = np.median(np.abs(ours[both]/theirs[both] - 1))
    agree = ((ours > 0) == (theirs > 0)).mean()
    report('F0 and Praat, both voiced: gross errors (> 20%)', f'{gross:.2%}', '< 1%', gross < .01)
    report('  median deviation', f'{median:.2%}', '< 1%', median < .01)
    report('  voicing decisions agree', f'{agree:.1%}', '>= 92%', agree >= .92)

CEILING = 800. # Hz, of Praat, for what lies above our 500

def high_voices(recordings):
    "The same with a higher ceiling: errors above 500 Hz, and false voicing."
    theirs = np.concatenate([praat_f0(y, CEILING) for y in recordings])
    ours = np.concatenate([our_f0(y) for y in recordings])
    high = theirs > 500
    share = high.sum()/(theirs > 0).sum()
    gross = gross_errors(ours[high], theirs[high])
    report(f'F0 and Praat up to {CEILING:.0f} Hz: share of voiced frames above 500 Hz',
           f'{share:.2%}')
    report('  gross errors, all', f'{gross_errors(ours, theirs):.2%}')
    report('  gross errors above 500 Hz', f'{gross:.2%}', '< 6%', gross < .06)
    report('  voiced where Praat hears no voice', f'{(ours[theirs == 0] > 0).mean():.2%}')
    report('  unvoiced where Praat hears one', f'{(ours[theirs > 0] == 0).mean():.2%}')

def pink_noise(n, seed):
    "Noise that falls by 3 dB an octave, of standard deviation 1."
    f = np.maximum(np.fft.rfftfreq(n, 1/SR), 20)
    white = np.random.default_rng(seed).standard_normal(n)
    noise = np.fft.irfft(np.fft.rfft(white)/np.sqrt(f), n)
    return noise/noise.std()

def rumble(recordings):
    "Gross errors in pink noise, ours and Praat's, against Praat without the noise."
    clean = np.concatenate([praat_f0(y, CEILING) for y in recordings])
    for snr in (5, 0):
        noisy = [(y + y.std()*10**(-snr/20)*pink_noise(len(y), k)).astype(np.float32)
                 for k, y in enumerate(recordings)]
        ours = gross_errors(np.concatenate([our_f0(y) for y in noisy]), clean)
        theirs = gross_errors(np.concatenate([praat_f0(y, CEILING) for y in noisy]), clean)
        report(f'pink noise at {snr} dB: gross errors', f'{ours:.2%}', '<= 1.5 Praat',
               ours <= 1.5*theirs)
        report("  Praat's", f'{theirs:.2%}')

def bandwidth(recordings):
    "Recordings that are called band-limited, as they are and after 8 kHz."
    as_they_are = np.mean([is_narrow(y, SR) for y in recordings])
    halved = [soxr.resample(soxr.resample(y, SR, SR//2), SR//2, SR) for y in recordings]
    after = np.mean([is_narrow(np.round(y*2**15)/2**15, SR) for y in halved])
    report('called band-limited as they are', f'{as_they_are:.1%}', '0%', as_they_are == 0)
    report('  after 8 kHz and 16 bits', f'{after:.1%}', '>= 98%', after >= .98)

def ravdess(folder):
    "Every seventh recording, and women's strong fear, the highest voices."
    df = read_corpus('ravdess', folder)
    fear = df[(df.emotion == 'fea') & (df.gender == 'female') & (df.intensity == 'strong')]
    for name, rows in dict(every_seventh=df[::7], strong_fear_of_women=fear).items():
        recordings = [load_audio(path) for path in rows.path]
        print(f'ravdess, {name.replace("_", " ")}: {len(recordings)} recordings')
        praat(recordings)
        high_voices(recordings)
        bandwidth(recordings)

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
        report(f'synthetic vowels, 60 to {F0_MAX:.0f} Hz, {snr} dB SNR: gross errors', f'{gross:.2%}',
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
    parser.add_argument('--ravdess', help='folder of RAVDESS, for F0 alone')
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
        high_voices(recordings)
        rumble(recordings[::3])
        bandwidth(recordings)
        against_librosa(recordings[::5], options.repeat)
        end_to_end([Path(path) for path in df.path[::2]], repeat=2)
    if options.ravdess:
        ravdess(options.ravdess)
    print('known F0')
    vowels()

if __name__ == '__main__':
    main()
