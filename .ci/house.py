"""House rules that no other tool knows: pages, title cells, sizes, names that stand in one room.

usage: python .ci/house.py      exit 1 where one is broken; prints the size of each notebook
"""
import ast, json, re, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT/'nbs'
PACKAGE = ROOT/'ser_nbdev'
NOTEBOOK_BYTES = 1_000_000
STORY_CELLS, PART_CELLS = 60, 100
MODULE_LINES, CELL_LINES = 400, 30         # exported lines that are not blank
STORY = re.compile(r'0[0-4]_')
EXPORTED = re.compile(r'^#\|\s*exports?\b', re.M)

def cells_of(path):
    "A notebook's cells as (type, source)."
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    return [(c['cell_type'], ''.join(c['source'])) for c in cells]

def exported_cells(path):
    "Lines of each exported cell, without blank lines and directives."
    sources = [s for kind, s in cells_of(path) if kind == 'code' and EXPORTED.search(s)]
    return [[line for line in s.splitlines() if line.strip() and not line.startswith('#|')]
            for s in sources]

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
        yield 'the site drops the text in the title cell: give it its own cell'

def too_big(path):
    "Sizes over their limits."
    n_cells, limit = len(cells_of(path)), STORY_CELLS if STORY.match(path.name) else PART_CELLS
    if n_cells > limit:
        yield f'{n_cells} cells, over {limit}: move what is not the story to a room of its own'
    if path.stat().st_size > NOTEBOOK_BYTES:
        yield f'{path.stat().st_size/1e6:.1f} MB, over {NOTEBOOK_BYTES/1e6:.0f}'
    exported = exported_cells(path)
    n_lines = sum(map(len, exported))
    if n_lines > MODULE_LINES:
        yield f'{n_lines} exported lines, over {MODULE_LINES}: split the room'
    for lines in exported:
        if len(lines) > CELL_LINES:
            yield f'an exported cell of {len(lines)} lines, over {CELL_LINES}: {lines[0][:50]}'

def private_names():
    "Private functions, classes and values of the modules, with the modules that have them."
    where = {}
    for path in sorted(PACKAGE.glob('[a-z]*.py')):
        for node in ast.parse(path.read_text(encoding='utf-8')).body:
            names = [node.name] if hasattr(node, 'name') else []
            if isinstance(node, ast.Assign):
                names = [t.id for t in node.targets if isinstance(t, ast.Name)]
            for name in names:
                if re.match(r'_[^_]', name):
                    where.setdefault(name, set()).add(path.stem)
    return where

def shared_names():
    "A private name that two modules have."
    for name, modules in private_names().items():
        if len(modules) > 1:
            yield f'{name} stands in {" and ".join(sorted(modules))}: one private name, one room'

def package_imports(path):
    "Modules of the package that a module imports when it is imported."
    found = set()
    for node in ast.parse(path.read_text(encoding='utf-8')).body:
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            found |= {node.module.split('.')[0]} if node.module else {a.name for a in node.names}
    return found

def import_circles():
    "Modules that import each other."
    imports = {p.stem: package_imports(p) for p in PACKAGE.glob('[a-z]*.py')}
    while free := {m for m, needs in imports.items() if not needs & set(imports)}:
        imports = {m: needs for m, needs in imports.items() if m not in free}
    if imports:
        yield f'imports go in a circle: {", ".join(sorted(imports))}'

def broken_rules(notebooks):
    "One line for each broken rule."
    yield from shared_pages(notebooks)
    for path in notebooks:
        for rule in (crowded_title, too_big):
            yield from (f'nbs/{path.name}: {fault}' for fault in rule(path))
    yield from shared_names()
    yield from import_circles()

def main():
    notebooks = sorted(NBS.glob('*.ipynb'))
    for path in notebooks:
        n_lines = sum(map(len, exported_cells(path)))
        print(f'{path.stem:<22} {len(cells_of(path)):3d} cells  {n_lines:4d} exported lines  '
              f'{path.stat().st_size/1000:4.0f} kB')
    found = list(broken_rules(notebooks))
    print('\n'.join([*found, f'{len(found)} house rules broken']))
    return int(bool(found))

if __name__ == '__main__':
    sys.exit(main())
