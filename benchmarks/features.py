"""Features against named peers: speed, agreement, end to end. Ratios are taken in one run, on one core each, best of several interleaved repetitions.

    pip install opensmile praat-parselmouth
    python benchmarks/features.py [--emodb shared/corpora/emodb] [--repeat 5]
"""
import os
os.environ.update(OMP_NUM_THREADS='1', OPENBLAS_NUM_THREADS='1', MKL_NUM_THREADS='1')
import argparse, shutil, subprocess, sys, tempfile, time
from importlib.metadata import version
from pathlib import Path
import librosa, numpy as np, opensmile, parselmouth
from ser_nbdev.corpora import read_corpus
from ser_nbdev.demo import demo_corpus
from ser_nbdev.features import SR, extract, f0_autocorr, feature_names, frame_times, load_audio, mfcc, synth_vowel

def say(what, value, target='', ok=None):
    print(f'  {what:<58} {value:>12}   {target:<12} {"" if ok is None else "met" if ok else "MISSED"}', flush=True)

def best_of(repeat, *fs):
    "Seconds of each function, best of `repeat` turns."
    best = [np.inf]*len(fs)
    for _ in range(repeat):
        for i,f in enumerate(fs):
            t = time.perf_counter(); f(); best[i] = min(best[i], time.perf_counter()-t)
    return best

def smooth(x): return np.apply_along_axis(np.convolve, 0, np.pad(x, ((1,1),(0,0)), mode='edge'), np.ones(3)/3, 'valid')

def speed(ys, repeat):
    smile = opensmile.Smile(feature_set=opensmile.FeatureSet.IS09, feature_level=opensmile.FeatureLevel.LowLevelDescriptors_Deltas, num_workers=1)
    audio, long = sum(map(len, ys))/SR, np.concatenate(ys)
    a, b, c, d = best_of(repeat, lambda: [extract(y) for y in ys], lambda: [smile.process_signal(y, SR) for y in ys], lambda: extract(long), lambda: smile.process_signal(long, SR))
    say('lld32, recording by recording: times real time', f'{audio/a:.0f}', '>= 200', audio/a>=200)
    say('  openSMILE IS09 (the same sixteen and their deltas)', f'{audio/b:.0f}')
    say('  ratio', f'{b/a:.2f}', '>= 3 (5)', b/a>=3)
    say('lld32, all in one recording: times real time', f'{audio/c:.0f}', '>= 200', audio/c>=200)
    say('  openSMILE IS09', f'{audio/d:.0f}')
    say('  ratio', f'{d/c:.2f}', '>= 3 (5)', d/c>=3)

def correlation(ys):
    "Each column with openSMILE's, both smoothed over three frames, at the best lag within three frames."
    smile = opensmile.Smile(feature_set=opensmile.FeatureSet.IS09, feature_level=opensmile.FeatureLevel.LowLevelDescriptors, num_workers=1)
    theirs = ['pcm_RMSenergy_sma', *(f'pcm_fftMag_mfcc_sma[{i}]' for i in range(1, 13)), 'pcm_zcr_sma', 'voiceProb_sma', 'F0_sma']
    ours = ['log_energy', *(f'mfcc{i}' for i in range(1, 13)), 'ZCR', 'voicing', 'F0']
    pairs = []
    for y in ys:
        s = smile.process_signal(y, SR)[theirs].to_numpy().copy() # smoothed by openSMILE
        s[:,0] = np.log(np.maximum(s[:,0], 1e-7))
        pairs.append((smooth(extract(y)[:,[feature_names().index(c) for c in ours]]), s))
    for j,c in enumerate(ours):
        r = []
        for lag in range(-3, 4):
            cut = [(x[3+lag:3+lag+n,j], s[3:3+n,j]) for x,s in pairs for n in [min(len(x), len(s))-6]]
            r.append(np.corrcoef(np.concatenate([a for a,_ in cut]), np.concatenate([b for _,b in cut]))[0,1])
        target = .97 if c=='log_energy' else .7 if c=='voicing' else None if c=='F0' else .95
        say(f'correlation of {c} (lag {np.argmax(r)-3} frames)', f'{max(r):.3f}', f'>= {target}' if target else '', target and max(r)>=target)

def praat(ys):
    both = gross = agree = total = 0
    deviations = []
    for y in ys:
        p = parselmouth.Sound(y.astype(float), SR).to_pitch_ac(time_step=.01, pitch_floor=60, pitch_ceiling=500)
        theirs, f0 = p.selected_array['frequency'], f0_autocorr(y)[0]
        f0 = f0[np.clip(np.round(p.xs()*100).astype(int), 0, len(f0)-1)]
        v = (f0>0) & (theirs>0)
        dev = np.abs(f0[v]/theirs[v]-1)
        deviations.append(dev)
        both += v.sum(); gross += (dev>.2).sum(); agree += ((f0>0)==(theirs>0)).sum(); total += len(f0)
    say('F0 and Praat, both voiced: gross errors (> 20%)', f'{gross/both:.2%}', '< 3%', gross/both<.03)
    say('  median deviation', f'{np.median(np.concatenate(deviations)):.2%}', '< 1%', np.median(np.concatenate(deviations))<.01)
    say('  voicing decisions agree', f'{agree/total:.1%}', '>= 92%', agree/total>=.92)

def vowels():
    for snr in (20, 10, 0):
        got, true = [], []
        for k,f in enumerate(np.geomspace(60, 500, 25)):
            for v in 'aeiou':
                contour = np.clip([f, 1.1*f, .93*f], 60, 500)
                f0 = f0_autocorr(synth_vowel(contour, .6, v, snr, seed=k))[0]
                got.append(f0[4:-4]); true.append(np.interp(frame_times(len(f0)), [0, .3, .6], contour)[4:-4])
        got, true = np.concatenate(got), np.concatenate(true)
        gross, missed = (np.abs(got[got>0]/true[got>0]-1)>.2).mean(), (got==0).mean()
        say(f'synthetic vowels, 60 to 500 Hz, {snr} dB SNR: gross errors', f'{gross:.2%}', '< 2%' if snr==20 else '', gross<.02 if snr==20 else None)
        say('  called unvoiced', f'{missed:.2%}')

def against_librosa(ys, repeat):
    def theirs(y):
        z = librosa.effects.preemphasis(y, coef=.97, zi=np.zeros(1))
        S = librosa.feature.melspectrogram(y=z, sr=SR, n_fft=512, win_length=400, hop_length=160, window='hamming', pad_mode='constant', n_mels=40, htk=True, norm=None)
        return librosa.feature.mfcc(S=librosa.power_to_db(S, top_db=None), n_mfcc=20, lifter=22).T
    a, b = best_of(repeat, lambda: [mfcc(y) for y in ys], lambda: [theirs(y) for y in ys])
    worst = max(np.abs(mfcc(y)-theirs(y)).max()/np.abs(theirs(y)).max() for y in ys)
    say('mfcc20 and librosa: largest difference / largest value', f'{worst:.0e}', '<= 1e-4', worst<=1e-4)
    say('mfcc20 against librosa.feature.mfcc: speed ratio', f'{b/a:.2f}', '>= 1', b/a>=1)

def watched(*args):
    "Run a command; its seconds and the largest sum of its processes' resident memory in MB (Linux)."
    t, peak, page = time.perf_counter(), 0, os.sysconf('SC_PAGE_SIZE')/1e6
    p = subprocess.Popen([str(a) for a in args], start_new_session=True, stdout=subprocess.DEVNULL)
    while p.poll() is None:
        total = 0
        for d in Path('/proc').glob('[0-9]*'):
            try:
                if os.getpgid(int(d.name))==p.pid: total += int((d/'statm').read_text().split()[1])*page
            except (OSError, ValueError): pass
        peak = max(peak, total)
        time.sleep(.02)
    assert p.returncode==0
    return time.perf_counter()-t, peak

def end_to_end(paths, repeat):
    "The command `ser_features`, from start to end, two processes; once the corpus, then ten times as much."
    command, audio = Path(sys.executable).with_name('ser_features'), sum(len(load_audio(p)) for p in paths)/SR
    with tempfile.TemporaryDirectory() as d:
        for n in (10, 100):
            (Path(d)/str(n)/'neutral').mkdir(parents=True)
            for k in range(n):
                for p in paths: (Path(d)/str(n)/'neutral'/f'{k}_{p.name}').symlink_to(p.resolve())
        best = {}
        for _ in range(repeat):
            for n in (10, 100):
                shutil.rmtree(f'{d}/out{n}', ignore_errors=True)
                r = watched(command, '--corpus', 'folder', '--root', f'{d}/{n}', '--out', f'{d}/out{n}', '--jobs', 2)
                best[n] = min(best.get(n, r), r)
    (t1, m1), (t10, m10) = best[10], best[100]
    say(f'ser_features, {audio/6:.0f} min, two processes: times real time', f'{10*audio/t1:.0f}', '>= 300', 10*audio/t1>=300)
    say('  ten times as much: times real time', f'{100*audio/t10:.0f}', '>= 300', 100*audio/t10>=300)
    say('  takes this many times as long', f'{t10/t1:.2f}', '<= 10.5', t10/t1<=10.5)
    say('  peak memory of all processes, MB', f'{m1:.0f}, {m10:.0f}', '+-20%', abs(m10/m1-1)<=.2)

if __name__=='__main__':
    a = argparse.ArgumentParser(description='Features against named peers.')
    a.add_argument('--emodb', default='../shared/corpora/emodb', help='folder of EmoDB; left out if it is not there')
    a.add_argument('--repeat', type=int, default=5)
    a = a.parse_args()
    print(', '.join(f'{p} {version(p)}' for p in ('numpy','scipy','librosa','opensmile','praat-parselmouth')))
    tables = {'demo': read_corpus('iemocap', demo_corpus())}
    if Path(a.emodb).exists(): tables['emodb'] = read_corpus('emodb', a.emodb)
    else: print(f'{a.emodb}: not there, EmoDB left out')
    for name,df in tables.items():
        ys = [load_audio(p) for p in df.path]
        print(f'{name}: {len(ys)} recordings, {sum(map(len, ys))/SR/60:.1f} min')
        speed(ys[::5], a.repeat)
        correlation(ys)
        praat(ys)
        against_librosa(ys[::5], a.repeat)
        end_to_end([Path(p) for p in df.path[::2]], 2)
    print('known F0')
    vowels()
    print('The table of faults and the twenty kills are tests: nbdev_test --path nbs/24_store.ipynb')
