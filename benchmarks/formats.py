"""Which file is read by which command, with ffmpeg and without; prints Markdown.

    python benchmarks/formats.py [RECORDING]        default: an angry sentence of EmoDB

Each recording is written in many formats, under its own ending and under wrong ones.
`ok`: scored, extracted or read with the right length. A number: what was said instead,
below the table. LOST: left out, and nothing was said.
"""
import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from unittest import mock

os.environ.update(TQDM_DISABLE='1', TF_CPP_MIN_LOG_LEVEL='3')

import numpy as np
import soundfile

from ser_nbdev.audio import load_audio
from ser_nbdev.cli import ser_corpora, ser_features, ser_predict
from ser_nbdev.explorer import Explorer
from ser_nbdev.recognizer import Recognizer

SENTENCE = '../shared/corpora/emodb/wav/03a01Wa.wav'

SOUNDFILE = {   # name -> ending, format and subtype of libsndfile
    'WAV 16 bits': ('wav', 'WAV', 'PCM_16'), 'WAV 24 bits': ('wav', 'WAV', 'PCM_24'),
    'WAV 32 bits': ('wav', 'WAV', 'PCM_32'), 'WAV float': ('wav', 'WAV', 'FLOAT'),
    'WAV mu-law': ('wav', 'WAV', 'ULAW'), 'WAV GSM 6.10': ('wav', 'WAV', 'GSM610'),
    'FLAC': ('flac', 'FLAC', 'PCM_16'), 'Ogg Vorbis': ('ogg', 'OGG', 'VORBIS'),
    'Ogg Opus': ('opus', 'OGG', 'OPUS'), 'MP3': ('mp3', 'MP3', 'MPEG_LAYER_III'),
    'AIFF': ('aiff', 'AIFF', 'PCM_16'), 'AU': ('au', 'AU', 'PCM_16'),
    'CAF': ('caf', 'CAF', 'PCM_16'), 'Wave64': ('w64', 'W64', 'PCM_16'),
    'RF64': ('rf64', 'RF64', 'PCM_16')}

VIDEO = ['-f', 'lavfi', '-i', 'color=black:size=64x64:rate=5:duration=2', '-c:v', 'mpeg4']
FFMPEG = {      # name -> ending, arguments of ffmpeg
    'M4A': ('m4a', ['-c:a', 'aac']), 'MP4 with video': ('mp4', [*VIDEO, '-c:a', 'aac']),
    'MOV with video': ('mov', [*VIDEO, '-c:a', 'aac']),
    'WebM': ('webm', ['-c:a', 'libopus']), 'WMA': ('wma', ['-c:a', 'wmav2']),
    'AMR': ('amr', ['-ar', '8000', '-c:a', 'libopencore_amrnb']),
    '3GP': ('3gp', ['-ar', '16000', '-c:a', 'aac']),
    'AAC': ('aac', ['-c:a', 'aac']), 'MP4, video alone': ('mp4', [*VIDEO, '-an'])}

OTHERS = {      # name -> ending, content
    'text': ('wav', b'Recorded on Monday, two speakers.\n'),
    'Git LFS pointer': ('wav', b'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n'),
    'web page': ('wav', b'<!DOCTYPE html><html><title>Quota exceeded</title></html>'),
    'ZIP archive': ('wav', b'PK\x03\x04' + bytes(60)), 'empty file': ('wav', b''),
    'zero bytes': ('wav', bytes(4000))}

WRONG = {       # name -> wrong endings
    'WAV 16 bits': ['mp3', 'm4a', 'txt', ''], 'FLAC': ['wav'], 'MP3': ['wav', 'm4a'],
    'Ogg Vorbis': ['wav'], 'Ogg Opus': ['ogg', 'm4a', 'wav'], 'AIFF': ['wav'], 'AU': ['wav'],
    'CAF': ['wav'], 'M4A': ['wav', 'mp3'], 'MP4 with video': ['m4a', 'wav'], 'WebM': ['wav'],
    'WMA': ['mp3'], 'AMR': ['wav'], 'text': ['mp3', 'txt'], 'ZIP archive': ['zip', 'm4a']}


def made(folder, recording):
    "Files of all formats that can be made here: name -> path; and those that cannot."
    y, rate = soundfile.read(recording, dtype='float32')
    source = folder/'source.wav'
    soundfile.write(source, y, rate)
    paths, skipped = {}, []
    for name, (ending, form, subtype) in SOUNDFILE.items():
        path = folder/f'{name}.{ending}'
        try:
            soundfile.write(path, y, rate, format=form, subtype=subtype)
            paths[name] = path
        except (ValueError, soundfile.LibsndfileError):
            skipped.append(name)
    for name, (ending, arguments) in FFMPEG.items():
        path = folder/f'{name}.{ending}'
        command = ['ffmpeg', '-nostdin', '-y', '-loglevel', 'quiet', '-i', source, *arguments, path]
        if shutil.which('ffmpeg') and not subprocess.run(command, check=False).returncode:
            paths[name] = path
        else:
            skipped.append(name)
    for name, (ending, content) in OTHERS.items():
        paths[name] = folder/f'{name}.{ending}'
        paths[name].write_bytes(content)
    return paths, skipped


def said(function, *arguments):
    "What a command prints on both channels, warnings included."
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        with warnings.catch_warnings():
            warnings.simplefilter('always')
            with contextlib.suppress(SystemExit):
                function(*arguments)
    return out.getvalue(), errors.getvalue()


class Cells:
    "What a command made of a file: ok, or the number of what it said."
    def __init__(self):
        self.messages = []

    def number(self, message):
        "A message, without the file's place and without what is the same everywhere."
        message = ' '.join(message.split())
        if message not in self.messages:
            self.messages.append(message)
        return str(self.messages.index(message) + 1)

    def cell(self, is_read, text, path):
        if is_read:
            return 'ok'
        named = [line for line in text.splitlines() if path.stem in line]
        if not named and path.suffix:
            named = [line for line in text.splitlines() if f' {path.suffix}' in line]
        if not named:
            named = [line for line in text.splitlines() if 'without an ending' in line]
        if not named:
            return 'LOST'
        return self.number(shortened(named[0], path))


def shortened(line, path):
    "A message with FILE and FOLDER for the names of this run."
    line = re.sub(r'^ser_\w+: ', '', line.strip())
    corpus = path.parent.parent
    for name, word in ((path, 'FILE'), (corpus, 'FOLDER'), (path.name, 'FILE')):
        line = line.replace(str(name), word)
    line = line.replace(f'angry/{path.stem}', 'FILE')
    return line.replace(f'{path.suffix} ' if path.suffix else '\0', 'ENDING ')


def predict_file(path, _, cells):
    out, errors = said(ser_predict, [str(path), '--csv'])
    return cells.cell(',ang,0' in out, errors, path)


def predict_folder(path, _, cells):
    out, errors = said(ser_predict, [str(path.parent.parent), '--csv'])
    return cells.cell(f'{path.name},ang,0' in out, errors, path)


def timeline(path, _, cells):
    with tempfile.TemporaryDirectory() as folder:
        out, errors = said(ser_predict, [str(path), '--timeline', folder])
    return cells.cell('window' in out, errors, path)


def features(path, _, cells):
    root = str(path.parent.parent)
    with tempfile.TemporaryDirectory() as folder:
        out, errors = said(ser_features, [
            '--corpus', 'folder', '--root', root, '--out', f'{folder}/store', '--jobs', '1'])
    is_read = ': 2 utterances' in out and ' 0 failures' in out
    return cells.cell(is_read, out + errors, path)


def corpora(path, _, cells):
    out, errors = said(ser_corpora, [
        '--corpus', 'folder', '--root', str(path.parent.parent)])
    counted = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    is_read = counted['utterances'][0] == '2' and counted['unreadable'][0] == '0'
    lines = [' '.join(line.split()) for line in out.splitlines() if 'FILE' in line or '(' in line]
    found = [line for line in lines if line.startswith(('unreadable', 'other files'))]
    return cells.cell(is_read, '\n'.join([*found, errors]), path)


def predict_method(path, recognizer, cells):
    try:
        return cells.cell(recognizer.predict(path).label == 'ang', '', path)
    except ValueError as error:
        return cells.cell(False, str(error), path)


def load(path, _, cells):
    try:
        return cells.cell(abs(len(load_audio(path))/16_000 - SECONDS) < .2, '', path)
    except ValueError as error:
        return cells.cell(False, str(error), path)


def upload(path, recognizer, cells):
    explorer = Explorer(recognizer)
    explorer.score_bytes(path.read_bytes(), path.name)
    text = re.sub('<[^>]*>', '', explorer.message.value)
    return cells.cell(explorer.prediction is not None, text, path)


COLUMNS = {
    '`ser_predict FILE`': predict_file, '`ser_predict FOLDER`': predict_folder,
    '`--timeline`': timeline, '`ser_features`': features, '`ser_corpora --root`': corpora,
    '`predict`': predict_method, '`load_audio`': load, 'Explorer': upload}


def rows(paths):
    "What stands in the table: (name, path)."
    for name, path in paths.items():
        yield name, path, path.suffix
        for ending in WRONG.get(name, []):
            yield f'{name} as {"." + ending if ending else "no ending"}', path, ending and f'.{ending}'


def table(paths, folder, recognizer, cells):
    "Print a row for each file."
    print('| file | ' + ' | '.join(COLUMNS) + ' |')
    print('|---|' + '---|'*len(COLUMNS))
    for i, (name, source, ending) in enumerate(rows(paths)):
        corpus = folder/f'row{i}'
        path = corpus/'angry'/f'voice7{ending}'
        path.parent.mkdir(parents=True)
        shutil.copy(source, path)
        (corpus/'sad').mkdir()
        tone = .1*np.sin(np.arange(16_000)/9)*np.hanning(16_000)
        soundfile.write(corpus/'sad'/'other.wav', tone, 16_000)
        found = [column(path, recognizer, cells) for column in COLUMNS.values()]
        label = name if name.endswith(' ending') or ' as ' in name else f'{name} ({ending})'
        print(f'| {label} | ' + ' | '.join(found) + ' |', flush=True)


def main():
    global SECONDS
    recording = sys.argv[1] if len(sys.argv) > 1 else SENTENCE
    SECONDS = soundfile.info(recording).duration
    recognizer = Recognizer.load()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder/'made').mkdir()
        paths, skipped = made(folder/'made', recording)
        if skipped:
            print(f'Skipped, not made on this machine: {", ".join(skipped)}.\n')
        cells = Cells()
        for title in ('With ffmpeg', 'Without ffmpeg'):
            if title == 'Without ffmpeg':
                os.environ['PATH'] = str(folder)
            print(f'## {title}\n')
            (folder/title).mkdir()
            # opened once, for all commands
            with mock.patch.object(Recognizer, 'load', return_value=recognizer):
                table(paths, folder/title, recognizer, cells)
            print()
        print('## What was said\n')
        for i, message in enumerate(cells.messages, 1):
            print(f'{i}. {message}')


if __name__ == '__main__':
    main()
