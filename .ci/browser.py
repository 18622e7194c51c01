"""The Explorer in a real browser: Voila serves it, a headless Chromium drives it. About a minute, two at most.

usage: python .ci/browser.py [PICTURE]      0: passed, or skipped for the reason it prints; 1: failed.  PICTURE: where to write a screenshot
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
SECONDS = 120

def chromium():
    "Path of a Chromium, or None."
    return next((p for n in ('chromium', 'chromium-browser', 'google-chrome') if (p := shutil.which(n))), None)

def missing():
    "What is not installed here."
    return [p for p in ('playwright', 'voila') if not find_spec(p)] + ([] if chromium() else ['chromium'])

def two_unlike():
    "Names of two demo recordings that the pretrained recogniser finds most unlike, and the path of one."
    from ser_nbdev.corpora import read_corpus
    from ser_nbdev.demo import demo_corpus
    from ser_nbdev.recognizer import Recognizer
    df = read_corpus('iemocap', demo_corpus()).iloc[::10]
    p = np.array([list(o.probabilities.values()) for o in Recognizer.load().predict_many(df.path)])
    i, j = np.unravel_index(np.abs(p[:,None]-p).sum(-1).argmax(), (len(p),)*2)
    return [df.index[i], df.index[j]], df.path.iloc[i]

def free_port():
    with socket.socket() as s: s.bind(('127.0.0.1', 0)); return s.getsockname()[1]

def changed(page, was, what, selector='.widget-html-content'):
    "Wait until the message reads otherwise and holds `what`; gives it."
    page.wait_for_function("([s, was, what]) => { const e = document.querySelector(s); return e && e.innerText!==was && e.innerText.includes(what) }", arg=[selector, was, what])
    return page.inner_text(selector)

def bars(page):
    "Pixels of each emotion's colour in the right third of the picture, where the bars are; none where there is no picture."
    from matplotlib import colors, image
    from ser_nbdev.corpora import COLOURS
    image_box = page.locator('img.widget-image')
    if not image_box.is_visible(): return {}
    pixels = image.imread(io.BytesIO(image_box.screenshot()))[..., :3]
    pixels = pixels[:, pixels.shape[1]*2//3:]
    return {c:n for c,h in COLOURS.items() if (n := int((np.abs(pixels-colors.to_rgb(h)).max(-1)<.02).sum()))>50}

def until(page, true, what):
    "Wait for at most ten seconds."
    for _ in range(50):
        if true(): return
        page.wait_for_timeout(200)
    raise AssertionError(what)

def upload(page, path):
    with page.expect_file_chooser() as chooser: page.click('button:has-text("Your own")')
    chooser.value.set_files(path)

def drive(page, recording, folder, shot):
    "Choose, upload, both again, upload what is no audio."
    page.wait_for_selector('select'); page.wait_for_selector('img.widget-image')
    first = changed(page, '', 'truth:')
    until(page, lambda: bars(page), 'no coloured bars')
    were = bars(page)
    page.select_option('select', index=1)
    second = changed(page, first, 'truth:')
    until(page, lambda: bars(page) not in ({}, were), 'the bars did not change with the utterance')
    if shot: page.screenshot(path=shot)
    print(f'  chosen: {second}; pixels of each colour before {were}, after {bars(page)}')
    wav = Path(folder)/'my own.wav'; shutil.copy(recording, wav); upload(page, wav)
    own = changed(page, second, 'my own.wav'); assert re.search(r'\d+%', own), own
    print(f'  uploaded: {own}')
    page.select_option('select', index=1); chosen = changed(page, own, 'truth:')       # the utterance that was chosen before, and the same file again
    upload(page, wav); changed(page, chosen, 'my own.wav')
    notes = Path(folder)/'notes.wav'; notes.write_text('no audio'); upload(page, notes)
    print(f'  uploaded: {changed(page, own, "could not be scored: not readable as audio")}')
    until(page, lambda: not bars(page), 'the picture of the last recording stays on show')

def main():
    if missing(): print(f'browser test skipped: {", ".join(missing())} not installed'); return 0
    from playwright.sync_api import sync_playwright
    import nbformat
    signal.signal(signal.SIGALRM, lambda *a: sys.exit(f'browser test failed: not done after {SECONDS} s')); signal.alarm(SECONDS)
    names, recording = two_unlike()
    with tempfile.TemporaryDirectory() as d:
        nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(NOTEBOOK.format(names=names))], metadata=dict(kernelspec=dict(name='python3', display_name='python3', language='python')))
        nbformat.write(nb, Path(d)/'explorer.ipynb')
        port, log = free_port(), open(Path(d)/'voila.log', 'w+')
        server = subprocess.Popen([sys.executable, '-m', 'voila', 'explorer.ipynb', f'--port={port}', '--no-browser', '--show_tracebacks=True'], cwd=d, stdout=log, stderr=log, start_new_session=True)
        try:
            while socket.socket().connect_ex(('127.0.0.1', port)): time.sleep(.2)
            with sync_playwright() as pw:
                browser = pw.chromium.launch(executable_path=chromium(), args=['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync'])
                page = browser.new_page(viewport=dict(width=1000, height=620)); page.set_default_timeout(SECONDS*1000)
                page.goto(f'http://localhost:{port}/')
                drive(page, recording, d, sys.argv[1] if len(sys.argv)>1 else None)
                browser.close()
        except BaseException:
            log.seek(0); print(log.read()[-2000:], file=sys.stderr); raise
        finally: os.killpg(server.pid, signal.SIGTERM); server.wait()
    print('browser test passed: another utterance, an upload, the same again, an upload that is no audio')
    return 0

if __name__=='__main__': sys.exit(main())
