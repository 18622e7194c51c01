"""What a stranger's file does to the readers: mutated files, guided by the lines they reach.

    pip install atheris
    python benchmarks/fuzz.py [--seconds 600] [--jobs 2] [--only bundle shard] [--out fuzz.txt]

Each format starts from small sound files that this package wrote. libFuzzer changes bytes and
keeps what reaches new lines of the readers. A reader may give an object or raise one of its own
errors (all are `ValueError`; a missing package is a `RuntimeError`, a missing file an `OSError`).
Anything else is a crash: another error, more than 5 s for one file, more than 2 GB of memory, a
file that is written outside of the scratch folder, a process or a connection that is started.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

REFUSALS = (ValueError, RuntimeError, OSError)
MEMORY_MB = 2048
SECONDS_PER_FILE = 5

# ---- sound files to begin with

def bundle_members():
    "What is in the bundle that is shipped."
    import zipfile
    from ser_nbdev.bundle import PRETRAINED
    with zipfile.ZipFile(PRETRAINED) as z:
        members = {name: z.read(name) for name in z.namelist()}
    return members

def seed_bundle(folder):
    "The bundle with the beginning of its weights: these have a target of their own."
    members = bundle_members()
    import zipfile
    path = folder/'seed.ser'
    with zipfile.ZipFile(path, 'w') as z:
        for name, content in members.items():
            z.writestr(name, content[:2000])
    return [path.read_bytes()]

def seed_description(folder):
    members = bundle_members()
    return [content for name, content in members.items() if name.endswith('.json')]

def seed_weights(folder):
    import h5py
    import numpy as np
    with h5py.File(folder/'seed.h5', 'w') as f:
        layer = f.create_group('layers/dense/vars')
        layer['0'] = np.ones((3, 2), np.float32)
        layer['1'] = np.zeros(2, np.float32)
    return [(folder/'seed.h5').read_bytes()]

def small_store(folder):
    import numpy as np
    from ser_nbdev.store import write_store
    frame = small_table()
    arrays = [np.ones((3, 20), np.float32)]*len(frame)
    return write_store(frame, arrays, 'mfcc20', folder/'store')

def small_table():
    import pandas as pd
    columns = dict(
        path=['a.wav', 'b.wav'], emotion=['ang', 'sad'], speaker=['1', '2'], session='',
        gender='', text='', duration=[.5, .6])
    return pd.DataFrame(columns, index=pd.Index(['a', 'b'], name='name'))

def seed_shard(folder):
    small_store(folder)
    return [p.read_bytes() for p in (folder/'store'/'shards').iterdir()]

def seed_index(folder):
    store = small_store(folder)
    return [p.read_bytes() for p in Path(store.path).glob('*.arrow')]

def seed_manifest(folder):
    table = 'path,emotion,speaker,start,end\na.wav,angry,1,0,1.5\nb.wav,sad,2,,\n'
    return [table.encode(), table.replace(',', ';').encode('utf-16'), table.encode('utf-8-sig')]

def seed_parquet(folder):
    small_table().reset_index().to_parquet(folder/'seed.parquet')
    return [(folder/'seed.parquet').read_bytes()]

def seed_labels(folder):
    return [json.dumps({'amused': 'happy', 'bored': 'neutral'}).encode()]

def seed_pickle(folder):
    import gzip
    import pickle
    import numpy as np
    import pandas as pd
    frame = pd.DataFrame(dict(
        Name=['Ses01F_impro01_F000'], Feature=[np.ones((3, 20))], Label=['ang'], Length=[3]))
    plain = pickle.dumps(frame, protocol=4)
    return [plain, gzip.compress(plain)]

def seed_annotation(folder):
    lines = ('% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n'
             '[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]\n'
             'C-E2:\tNeutral;\t()\nA-E3:\tval 3; act 2; dom  2;\t()\n')
    return [lines.encode()]

def seed_sound(ending):
    def seeds(folder):
        import numpy as np
        import soundfile
        path = folder/f'seed.{ending}'
        noise = np.random.default_rng(0).normal(0, .1, 4000)
        soundfile.write(path, noise, 16_000)
        return [path.read_bytes()]
    return seeds

# ---- readers

def as_in_a_bundle(part, *args):
    "`read_bundle` makes a refusal of any error in a part of it."
    try:
        part(*args)
    except Exception as e:
        raise ValueError(str(e)) from e

def read_bundle_file(path):
    from ser_nbdev.bundle import read_bundle
    read_bundle(path)

def read_description(path):
    from ser_nbdev.bundle import check_description
    from ser_nbdev.limits import read_json
    as_in_a_bundle(check_description, read_json(path), 1)

def read_weight_file(path):
    from ser_nbdev.weights import check_weights
    as_in_a_bundle(check_weights, path.read_bytes())

def read_shard(path):
    from ser_nbdev.shards import open_shard
    open_shard(path)

def read_index(path):
    from ser_nbdev.store import FeatureStore
    store = FeatureStore(path.parent)
    for i in range(len(store)):
        store[i]

def read_manifest_file(path):
    from ser_nbdev.own_recordings import read_manifest
    read_manifest(path)

def read_labels(path):
    from ser_nbdev.labels import read_label_file
    read_label_file(path)

def read_pickle(path):
    from ser_nbdev.original_files import load_feature_pickle
    load_feature_pickle(path)

def read_annotation(path):
    from ser_nbdev.iemocap import parse_emo_evaluation
    parse_emo_evaluation(path.read_bytes(), path)

def read_sound(path):
    from ser_nbdev.audio import load_audio
    load_audio(path)

# name of the file that is read, its seeds, its reader
FORMATS = dict(
    bundle=('x.ser', seed_bundle, read_bundle_file),
    description=('bundle.json', seed_description, read_description),
    weights=('x.h5', seed_weights, read_weight_file),
    shard=('x.arrow', seed_shard, read_shard),
    index=('index.arrow', seed_index, read_index),
    manifest=('x.csv', seed_manifest, read_manifest_file),
    parquet=('x.parquet', seed_parquet, read_manifest_file),
    labels=('x.json', seed_labels, read_labels),
    pickle=('x.pkl', seed_pickle, read_pickle),
    annotation=('x.txt', seed_annotation, read_annotation),
    wav=('x.wav', seed_sound('wav'), read_sound),
    flac=('x.flac', seed_sound('flac'), read_sound),
    ogg=('x.ogg', seed_sound('ogg'), read_sound),
    mp3=('x.mp3', seed_sound('mp3'), read_sound))

# ---- one format, in a process of its own

def watch(folder):
    "Stop the process at a file that is written elsewhere, a program or a connection."
    allowed = str(folder), '/dev/'
    tempfile.tempdir = str(folder/'place')
    events = ('os.system', 'os.exec', 'os.posix_spawn', 'socket.connect', 'subprocess.Popen')
    def hook(event, args):
        if event in events and 'ffmpeg' not in str(args[0]):
            os.write(2, f'ACTED: {event} {args}\n'.encode())
            os.abort()
        if event == 'open' and isinstance(args[0], str) and set(str(args[1])) & set('wax+'):
            if not args[0].startswith(allowed):
                os.write(2, f'WROTE: {args[0]}\n'.encode())
                os.abort()
    sys.addaudithook(hook)

def read_or_refuse(reader, path):
    "Read a file; an error of the package's own is an answer."
    try:
        reader(path)
    except REFUSALS:
        pass

def fuzz(name, seconds, scratch):
    "Run libFuzzer on one format; does not return."
    import atheris
    import warnings
    warnings.simplefilter('ignore')
    file_name, seeds, reader = FORMATS[name]
    corpus, place = scratch/'corpus', scratch/'place'
    for folder in (corpus, place):
        folder.mkdir(parents=True)
    path = place/file_name
    with atheris.instrument_imports(include=['ser_nbdev']):
        for i, content in enumerate(seeds(place)):
            (corpus/f'seed{i}').write_bytes(content)
            path.write_bytes(content)
            read_or_refuse(reader, path) # imports what it needs, for the coverage
    def one(data):
        path.write_bytes(data)
        read_or_refuse(reader, path)
    watch(scratch)
    options = [
        f'-max_total_time={seconds}', f'-timeout={SECONDS_PER_FILE}',
        f'-rss_limit_mb={MEMORY_MB}', '-print_final_stats=1', f'-artifact_prefix={scratch}/',
        '-max_len=65536', '-verbosity=1', '-seed=1']
    atheris.Setup([sys.argv[0], *options, str(corpus)], one)
    atheris.Fuzz()

# ---- all of them

def result_of(name, done, log):
    "A line of the table."
    def last(pattern):
        found = re.findall(pattern, log)
        return int(found[-1]) if found else 0
    files = last(r'number_of_executed_units:\s*(\d+)')
    reached = last(r'cov: (\d+)')
    peak = last(r'peak_rss_mb:\s*(\d+)')
    verdict = 'no crash' if done == 0 else 'CRASH'
    return f'{name:<12} {files:>9} {reached:>8} {peak:>8}   {verdict}'

def run_format(name, seconds, keep):
    "Fuzz one format in a process; its log is kept where it crashed."
    with tempfile.TemporaryDirectory() as folder:
        argv = [sys.executable, __file__, '--target', name, '--seconds', str(seconds),
                '--scratch', f'{folder}/scratch']
        done = subprocess.run(argv, capture_output=True, text=True, errors='replace')
        log = done.stdout + done.stderr
        if done.returncode:
            keep.mkdir(parents=True, exist_ok=True)
            (keep/f'{name}.log').write_text(log)
            for artifact in Path(folder, 'scratch').glob('*-*'):
                artifact.replace(keep/f'{name}-{artifact.name}')
        return result_of(name, done.returncode, log)

def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--seconds', type=int, default=600, help='for each format')
    p.add_argument('--jobs', type=int, default=2, help='formats side by side')
    p.add_argument('--only', nargs='*', default=list(FORMATS), choices=FORMATS)
    p.add_argument('--out', type=Path, help='file for the table')
    p.add_argument('--keep', type=Path, default=Path('fuzz-crashes'), help='folder for crashes')
    p.add_argument('--target', choices=FORMATS, help=argparse.SUPPRESS)
    p.add_argument('--scratch', type=Path, help=argparse.SUPPRESS)
    options = p.parse_args()
    if options.target:
        return fuzz(options.target, options.seconds, options.scratch)
    lines = [f'python benchmarks/fuzz.py --seconds {options.seconds}',
             f'{"format":<12} {"files":>9} {"reached":>8} {"peak MB":>8}']
    print('\n'.join(lines), flush=True)
    with ThreadPoolExecutor(options.jobs) as pool:
        done = pool.map(lambda name: run_format(name, options.seconds, options.keep), options.only)
        for line in done:
            print(line, flush=True)
            lines.append(line)
    if options.out:
        options.out.write_text('\n'.join(lines) + '\n')

if __name__ == '__main__':
    main()
