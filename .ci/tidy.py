"""What progress bars leave in notebooks, removed: their outputs, and the state of widgets that no output shows.

usage: python .ci/tidy.py [--check] [NOTEBOOK ...]      default: all of nbs; --check: write nothing, exit 1 where something is left
"""
import json, sys
from pathlib import Path

NBS = Path(__file__).resolve().parent.parent/'nbs'
VIEW = 'application/vnd.jupyter.widget-view+json'

def is_bar(output): return '%|' in ''.join(output.get('data', {}).get('text/plain', '')) or output.get('name')=='stderr' and '%|' in ''.join(output['text'])

def tidy(nb):
    "Without bars; without widgets, where no output shows one."
    for c in nb['cells']:
        if 'outputs' in c: c['outputs'] = [o for o in c['outputs'] if not is_bar(o)]
    if not any(VIEW in o.get('data', {}) for c in nb['cells'] for o in c.get('outputs', [])): nb['metadata'].pop('widgets', None)
    return nb

def main():
    left, check = [], '--check' in sys.argv
    for p in [Path(a) for a in sys.argv[1:] if a!='--check'] or sorted(NBS.glob('*.ipynb')):
        text = p.read_text(encoding='utf-8')
        if json.loads(text)==(nb := tidy(json.loads(text))): continue
        left.append(p.name)
        if not check: p.write_text(json.dumps(nb, indent=1, ensure_ascii=False)+'\n', encoding='utf-8')
    if check and left: print(f'progress bars are kept in {", ".join(left)}; run: python .ci/tidy.py', file=sys.stderr)
    return int(check and bool(left))

if __name__=='__main__': sys.exit(main())
