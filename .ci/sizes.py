"""Sizes a reader feels: notebooks, exported lines of each module, the longest exported cells.

usage: python .ci/sizes.py       exit 1 where a notebook is over 1 MB
"""
import json, re, sys
from pathlib import Path

NBS = Path(__file__).resolve().parent.parent/'nbs'
LIMIT = 1_000_000 # bytes

def main():
    total, cells, big = 0, [], []
    for p in sorted(NBS.glob('*.ipynb')):
        code = [''.join(c['source']) for c in json.loads(p.read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'code']
        exported = [[l for l in s.splitlines() if l.strip() and not l.startswith('#|')] for s in code if re.search(r'^#\|\s*exports?\b', s, re.M)]
        total += p.stat().st_size
        if p.stat().st_size > LIMIT: big.append(p.name)
        cells += [(len(e), p.stem, e[0][:60]) for e in exported if e]
        print(f'{p.stem:<22} {p.stat().st_size/1000:5.0f} kB   {sum(map(len, exported)):4d} exported lines in {len(exported):2d} cells')
    print(f'{"together":<22} {total/1000:5.0f} kB   {sum(n for n, *_ in cells):4d} exported lines\nlongest exported cells:', *(f'  {n} lines  {nb}: {first}' for n, nb, first in sorted(cells, reverse=True)[:5]), sep='\n')
    if big: print(f'over {LIMIT/1e6:.0f} MB: {", ".join(big)}', file=sys.stderr)
    return int(bool(big))

if __name__=='__main__': sys.exit(main())
