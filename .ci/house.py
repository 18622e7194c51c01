"""The house rules that no other tool knows: pages, title cells, sizes, and names that stand in one room only.

usage: python .ci/house.py      exit 1 where one is broken
"""
import json, re, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT/'nbs'

def cells_of(path):
    "A notebook's cells as (type, source)."
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    return [(c['cell_type'], ''.join(c['source'])) for c in cells]

def page_name(path):
    "nbdev drops the leading number: `14_export` becomes export.html."
    return re.sub(r'^\d+[a-z]?_', '', path.stem)

def shared_pages(notebooks):
    "Notebooks that would become one page: the site does not build then."
    by_page = {}
    for path in notebooks:
        by_page.setdefault(page_name(path), []).append(path.name)
    for page, names in by_page.items():
        if len(names) > 1:
            yield f'{" and ".join(names)} both become {page}.html: rename one'

def crowded_title(path):
    "Text beside title and subtitle in the title cell, which nbdev drops from the page."
    titles = [source for kind, source in cells_of(path) if kind == 'markdown'][:1]
    lines = [line for title in titles for line in title.splitlines() if line.strip()]
    if any(not line.startswith(('#', '>', '---')) for line in lines):
        yield f'nbs/{path.name}: the site drops the text in the title cell: give it its own cell'

def broken_rules():
    "One line for each broken rule."
    notebooks = sorted(NBS.glob('*.ipynb'))
    yield from shared_pages(notebooks)
    for path in notebooks:
        yield from crowded_title(path)

def main():
    found = list(broken_rules())
    print('\n'.join([*found, f'{len(found)} house rules broken']))
    return int(bool(found))

if __name__ == '__main__':
    sys.exit(main())
