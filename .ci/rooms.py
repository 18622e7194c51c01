"""The rooms of the house from the notebooks: nbs/sidebar.yml, and the map in CONTRIBUTING.md.

usage: python .ci/rooms.py [--check]

--check: write nothing, exit 1 where one of them lags behind.
"""
import json, re, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT/'nbs'
WINGS = {'The experiment': (0, 4), 'Corpora': (10, 19), 'Sound': (20, 28), 'Training': (29, 39),
         'Evaluation': (40, 49), 'Use': (50, 59), 'Shared': (5, 9), 'How to': (90, 99)}
MAP = re.compile(r'(?<=<!-- rooms -->\n).*?(?=<!-- /rooms -->)', re.S)

def sources(path):
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    return [''.join(c['source']) for c in cells]

def module_of(path):
    "The module that a notebook exports to, or nothing."
    found = re.search(r'^#\|\s*default_exp\s+(\w+)', '\n'.join(sources(path)), re.M)
    return found[1] if found else ''

def wing_of(path):
    "The wing of a notebook, by its number."
    number = int(path.name[:2])
    return next(wing for wing, (first, last) in WINGS.items() if first <= number <= last)

def wings():
    "Notebooks by wing, in the order of their numbers."
    notebooks = [p for p in sorted(NBS.glob('*.ipynb')) if p.stem != 'index']
    by_wing = {wing: [p for p in notebooks if wing_of(p) == wing] for wing in WINGS}
    return {wing: paths for wing, paths in by_wing.items() if paths}

def sidebar():
    "Text of sidebar.yml."
    lines = ['# made by .ci/rooms.py', 'website:', '  sidebar:', '    contents:',
             '      - index.ipynb']
    for wing, paths in wings().items():
        lines += [f'      - section: {wing}', '        contents:']
        lines += [f'          - {path.name}' for path in paths]
    return '\n'.join(lines) + '\n'

def headline(path):
    "Title and subtitle of a notebook."
    text = '\n'.join(sources(path))
    title = re.search(r'^# (.+)$', text, re.M)
    subtitle = re.search(r'^> (.+)$', text, re.M)
    return title[1] if title else path.stem, subtitle[1] if subtitle else ''

def room_map():
    "The map: a table of wings and rooms."
    lines = ['| room | module | what it is about |', '|---|---|---|']
    for wing, paths in wings().items():
        lines.append(f'| **{wing}** | | |')
        for path in paths:
            title, subtitle = headline(path)
            module = f'`{module_of(path)}`' if module_of(path) else ''
            lines.append(f'| [{title}](nbs/{path.name}) | {module} | {subtitle} |')
    return '\n'.join(lines) + '\n'

def main():
    guide = (ROOT/'CONTRIBUTING.md').read_text(encoding='utf-8')
    files = {NBS/'sidebar.yml': sidebar(),
             ROOT/'CONTRIBUTING.md': MAP.sub(lambda m: room_map(), guide)}
    stale = [p for p, text in files.items()
             if not p.exists() or p.read_text(encoding='utf-8') != text]
    if '--check' not in sys.argv:
        for path in stale:
            path.write_text(files[path], encoding='utf-8')
        return 0
    for path in stale:
        print(f'{path.name} lags behind; run: python .ci/rooms.py', file=sys.stderr)
    return int(bool(stale))

if __name__ == '__main__':
    sys.exit(main())
