"""What progress bars leave in notebooks, removed: their outputs, and widgets that no output shows.

usage: python .ci/tidy.py [--check] [NOTEBOOK ...]

Without NOTEBOOK: all of nbs. --check: write nothing, exit 1 where something is left.
"""
import json, sys
from pathlib import Path

NBS = Path(__file__).resolve().parent.parent/'nbs'
VIEW = 'application/vnd.jupyter.widget-view+json'

def is_bar(output):
    "Is this output a progress bar?"
    if '%|' in ''.join(output.get('data', {}).get('text/plain', '')):
        return True
    return output.get('name') == 'stderr' and '%|' in ''.join(output['text'])

def tidy(nb):
    "Without bars; without widgets, where no output shows one."
    for cell in nb['cells']:
        if 'outputs' in cell:
            cell['outputs'] = [o for o in cell['outputs'] if not is_bar(o)]
    outputs = [o for cell in nb['cells'] for o in cell.get('outputs', [])]
    if not any(VIEW in o.get('data', {}) for o in outputs):
        nb['metadata'].pop('widgets', None)
    return nb

def main():
    check = '--check' in sys.argv
    paths = [Path(a) for a in sys.argv[1:] if a != '--check'] or sorted(NBS.glob('*.ipynb'))
    left = []
    for path in paths:
        text = path.read_text(encoding='utf-8')
        nb = tidy(json.loads(text))
        if json.loads(text) == nb:
            continue
        left.append(path.name)
        if not check:
            clean = json.dumps(nb, indent=1, ensure_ascii=False) + '\n'
            path.write_text(clean, encoding='utf-8')
    if check and left:
        names = ', '.join(left)
        print(f'progress bars are kept in {names}; run: python .ci/tidy.py', file=sys.stderr)
    return int(check and bool(left))

if __name__ == '__main__':
    sys.exit(main())
