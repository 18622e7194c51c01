"""The Explorer in a real browser: Voila serves it, a headless Chromium drives it, in a minute.

usage: python .ci/browser.py [PICTURE]

0: passed, or skipped for the reason it prints; 1: failed. PICTURE: where to write a screenshot.
"""
import io, os, re, shutil, signal, socket, subprocess, sys, tempfile, time
from importlib.util import find_spec
from pathlib import Path
import numpy as np

NOTEBOOK = """
from ser_nbdev.explorer import Explorer
from ser_nbdev.recognizer import Recognizer
from ser_nbdev.corpora import read_corpus
from ser_nbdev.demo import demo_corpus
Explorer(Recognizer.load(), read_corpus('iemocap', demo_corpus()).loc[{names}]).widget
"""
SECONDS, STEP_SECONDS = 300, 60 # for all of it, and for each step
FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking',
         '--disable-component-update', '--disable-sync']
# the message of the widget reads otherwise, and holds a text
CHANGED = """([selector, was, what]) => {
  const e = document.querySelector(selector);
  return e && e.innerText !== was && e.innerText.includes(what) }"""

def chromium():
    "Path of a Chromium, or None."
    paths = [shutil.which(n) for n in ('chromium', 'chromium-browser', 'google-chrome')]
    return next((p for p in paths if p), None)

def missing():
    "What is not installed here."
    return ([p for p in ('playwright', 'voila') if not find_spec(p)]
            + ([] if chromium() else ['chromium']))

def two_unlike():
    "Names of two demo recordings that the recogniser finds most unlike, and the path of one."
    from ser_nbdev.corpora import read_corpus
    from ser_nbdev.demo import demo_corpus
    from ser_nbdev.recognizer import Recognizer
    df = read_corpus('iemocap', demo_corpus()).iloc[::10]
    predictions = Recognizer.load().predict_many(df.path)
    p = np.array([list(o.probabilities.values()) for o in predictions])
    distances = np.abs(p[:, None] - p).sum(-1)
    i, j = np.unravel_index(distances.argmax(), distances.shape)
    return [df.index[i], df.index[j]], df.path.iloc[i]

def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]

def changed(page, was, what, selector='.widget-html-content'):
    "Wait until the message reads otherwise and holds `what`; gives it."
    try:
        page.wait_for_function(CHANGED, arg=[selector, was, what])
    except Exception as e:
        raise AssertionError(f'{page.inner_text(selector)!r} holds no {what!r}') from e
    return page.inner_text(selector)

def bars(page):
    "Pixels of each emotion's colour in the right third of the picture, where the bars are."
    from matplotlib import colors, image
    from ser_nbdev.labels import COLOURS
    box = page.locator('img.widget-image')
    if not box.is_visible():
        return {}
    pixels = image.imread(io.BytesIO(box.screenshot()))[..., :3]
    pixels = pixels[:, pixels.shape[1]*2//3:]
    counts = {}
    for emotion, colour in COLOURS.items():
        near = np.abs(pixels - colors.to_rgb(colour)).max(-1) < .02
        counts[emotion] = int(near.sum())
    return {emotion: n for emotion, n in counts.items() if n > 50}

def until(page, true, what):
    "Wait for at most ten seconds."
    for _ in range(50):
        if true():
            return
        page.wait_for_timeout(200)
    raise AssertionError(what)

def upload(page, path):
    with page.expect_file_chooser() as chooser:
        page.click('button:has-text("Your own")')
    chooser.value.set_files(path)

def choose_another(page):
    "Both utterances in turn; gives the message of the second."
    page.wait_for_selector('select')
    page.wait_for_selector('img.widget-image')
    first = changed(page, '', 'truth:')
    until(page, lambda: bars(page), 'no coloured bars')
    before = bars(page)
    page.select_option('select', index=1)
    second = changed(page, first, 'truth:')
    until(page, lambda: bars(page) not in ({}, before), 'the bars did not change')
    print(f'  chosen: {second}; pixels of each colour before {before}, after {bars(page)}')
    return second

def upload_own(page, recording, folder, message):
    "An upload, the utterance chosen before, and the same upload again; gives the last message."
    wav = Path(folder)/'my own.wav'
    shutil.copy(recording, wav)
    upload(page, wav)
    own = changed(page, message, 'my own.wav')
    assert re.search(r'\d+%', own), own
    print(f'  uploaded: {own}')
    page.select_option('select', index=1)
    chosen = changed(page, own, 'truth:')
    upload(page, wav)
    changed(page, chosen, 'my own.wav')
    return own

def upload_no_audio(page, folder, message):
    "What is no audio is refused, and the picture of the last recording goes."
    notes = Path(folder)/'notes.wav'
    notes.write_text('no audio')
    upload(page, notes)
    refused = changed(page, message, 'could not be scored: a text, not a recording')
    print(f'  uploaded: {refused}')
    until(page, lambda: not bars(page), 'the picture of the last recording stays on show')

def drive(page, recording, folder, shot):
    "Choose, upload, both again, upload what is no audio."
    message = choose_another(page)
    if shot:
        page.screenshot(path=shot)
    message = upload_own(page, recording, folder, message)
    upload_no_audio(page, folder, message)

def write_notebook(folder, names):
    import nbformat
    cell = nbformat.v4.new_code_cell(NOTEBOOK.format(names=names))
    kernel = dict(name='python3', display_name='python3', language='python')
    nb = nbformat.v4.new_notebook(cells=[cell], metadata=dict(kernelspec=kernel))
    nbformat.write(nb, Path(folder)/'explorer.ipynb')

def start_voila(folder, port, log):
    command = [sys.executable, '-m', 'voila', 'explorer.ipynb', f'--port={port}',
               '--no-browser', '--show_tracebacks=True']
    server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    while socket.socket().connect_ex(('127.0.0.1', port)):
        time.sleep(.2)
    return server

def visit(port, recording, folder, shot):
    "Open the served notebook in Chromium and drive it."
    from playwright.sync_api import sync_playwright
    with sync_playwright() as pw:
        browser = pw.chromium.launch(executable_path=chromium(), args=FLAGS)
        page = browser.new_page(viewport=dict(width=1000, height=620))
        page.set_default_timeout(STEP_SECONDS*1000)
        page.goto(f'http://localhost:{port}/')
        drive(page, recording, folder, shot)
        browser.close()

def give_up(*signal_and_frame):
    sys.exit(f'browser test failed: not done after {SECONDS} s')

def main():
    if missing():
        print(f'browser test skipped: {", ".join(missing())} not installed')
        return 0
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(SECONDS)
    names, recording = two_unlike()
    shot = sys.argv[1] if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory() as folder, open(Path(folder)/'voila.log', 'w+') as log:
        write_notebook(folder, names)
        port = free_port()
        server = start_voila(folder, port, log)
        try:
            visit(port, recording, folder, shot)
        except BaseException:
            log.seek(0)
            print(log.read()[-2000:], file=sys.stderr)
            raise
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()
    print('browser test passed: another utterance, an upload, the same again, an upload that is '
          'no audio')
    return 0

if __name__ == '__main__':
    sys.exit(main())
