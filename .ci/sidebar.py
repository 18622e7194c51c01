"""nbs/sidebar.yml from the notebooks: a section for each wing, by their numbers.

usage: python .ci/sidebar.py [--check]      --check: write nothing, exit 1 where it lags behind
"""
import re, sys
from pathlib import Path

NBS = Path(__file__).resolve().parent.parent/'nbs'
WINGS = {'The experiment': (0, 4), 'Corpora': (5, 19), 'Sound': (20, 28), 'Training': (29, 39),
         'Evaluation': (40, 49), 'Use': (50, 59), 'How to': (90, 99)}

def wing_of(path):
    "The wing of a notebook; a page that exports no module is a how-to page."
    if 'default_exp' not in path.read_text(encoding='utf-8'):
        return 'How to'
    number = int(path.name[:2])
    return next(wing for wing, (first, last) in WINGS.items() if first <= number <= last)

def sidebar():
    "Text of sidebar.yml."
    lines = ['# made by .ci/sidebar.py', 'website:', '  sidebar:', '    contents:', '      - index.ipynb']
    notebooks = [p for p in sorted(NBS.glob('*.ipynb')) if p.stem != 'index']
    for wing in WINGS:
        names = [p.name for p in notebooks if wing_of(p) == wing]
        if names:
            lines += [f'      - section: {wing}', '        contents:']
            lines += [f'          - {name}' for name in names]
    return '\n'.join(lines) + '\n'

def main():
    path, text = NBS/'sidebar.yml', sidebar()
    stale = not path.exists() or path.read_text(encoding='utf-8') != text
    if '--check' in sys.argv:
        if stale:
            print('nbs/sidebar.yml lags behind the notebooks; run: python .ci/sidebar.py', file=sys.stderr)
        return int(stale)
    path.write_text(text, encoding='utf-8')

if __name__ == '__main__':
    sys.exit(main())
