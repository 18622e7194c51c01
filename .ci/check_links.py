"""Links, anchors and pictures of ours lead somewhere, and Quarto knows the keys of its settings.

usage: python .ci/check_links.py [--proc]

Exit 1 where anything is broken. --proc: the notebooks as nbdev hands them to Quarto, too.
Needs no Quarto and no network; addresses elsewhere are not looked up.
"""
import json, re, sys
from configparser import ConfigParser
from pathlib import Path
from urllib.parse import unquote
import yaml

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT/'nbs'
config = ConfigParser(delimiters=['='])
config.read(ROOT/'settings.ini', encoding='utf-8')
SETTINGS = config['DEFAULT']
SITE = SETTINGS['doc_host'] + SETTINGS['doc_baseurl'] + '/'
SOURCE = f"{SETTINGS['git_url']}/blob/{SETTINGS['branch']}/"
PROJECT = {'project': {'type': 'website'},
           'metadata-files': ['../_quarto.yml', 'nbdev.yml', 'sidebar.yml']}

def any_of(names, **special):
    "Keys that may have any value, and some whose values are known."
    return {name: None for name in names.split()} | special

# Quarto's published keys, as far as a site like this needs them
# (https://quarto.org/docs/reference/projects/websites.html);
# None: any value; a dict: these keys and no others; a list: one of these, or a list of them
ITEM = any_of('href file url text icon aria-label rel target menu id contents section')
CARD = any_of('title description image image-alt image-width image-height')
SIDEBAR = any_of('''id title logo logo-alt logo-href search tools contents background foreground
    border alignment collapse-level pinned header footer''', style=['docked', 'floating'])
NAVBAR = any_of('''title logo logo-alt logo-href background foreground search tools left right
    pinned collapse collapse-below toggle-position''')
FOOTER = any_of('left center right border background foreground')
WEBSITE = any_of('''title description favicon site-url site-path repo-url repo-link-target
    repo-link-rel repo-subdir repo-branch issue-url reader-mode search body-header body-footer
    margin-header margin-footer page-navigation back-to-top-navigation bread-crumbs image image-alt
    other-links code-links drafts draft-mode''', navbar=NAVBAR, sidebar=SIDEBAR) | {
    'repo-actions': ['none', 'edit', 'source', 'issue'], 'page-footer': FOOTER,
    'open-graph': CARD, 'twitter-card': CARD}
HTML = any_of('''css toc toc-depth toc-title toc-location toc-expand keep-md code-copy code-overflow
    code-fold code-line-numbers code-tools code-link highlight-style anchor-sections smooth-scroll
    fig-align fig-width fig-height fig-responsive number-sections link-external-icon
    link-external-newwindow lightbox grid page-layout mainfont monofont fontsize linestretch
    include-in-header''', theme={'light': None, 'dark': None})
KEYS = {'project': any_of('''title output-dir lib-dir execute-dir pre-render post-render render
            resources preview''', type=['default', 'website']),
        'format': {'html': HTML, 'commonmark': None},
        'website': WEBSITE, 'metadata-files': None, 'lang': None}

def unknown(value, known, where):
    "What stands in a configuration and not among the known keys or values."
    if isinstance(known, list):
        for v in value if isinstance(value, list) else [value]:
            if v not in known:
                yield f'{where}: {v!r} is none of {", ".join(known)}'
    elif isinstance(known, dict) and isinstance(value, dict):
        for key, inner in value.items():
            if key not in known:
                yield f'{where}: Quarto has no key {key!r} there'
            else:
                yield from unknown(inner, known[key], f'{where}.{key}')

def listed(contents):
    "The pages of a sidebar, at any depth; of items with unknown keys those keys."
    for item in contents:
        if isinstance(item, str):
            yield item
            continue
        if set(item) - set(ITEM):
            yield f'?{set(item) - set(ITEM)}'
        yield from listed(item.get('contents', []))
        if 'href' in item:
            yield item['href']

def read_yaml(name):
    return yaml.safe_load((ROOT/name).read_text(encoding='utf-8'))

def sidebar_faults():
    "Notebooks that the sidebar lacks, and entries without a notebook."
    pages = list(listed(read_yaml('nbs/sidebar.yml')['website']['sidebar']['contents']))
    notebooks = [p.name for p in sorted(NBS.glob('*.ipynb'))]
    for page in pages:
        if page not in notebooks:
            yield f'nbs/sidebar.yml: {page}: no such notebook; run python .ci/rooms.py'
    for name in notebooks:
        if name not in pages:
            yield f'nbs/sidebar.yml: {name} is missing; run python .ci/rooms.py'

def configuration():
    "What is wrong with _quarto.yml, nbs/_quarto.yml and nbs/sidebar.yml."
    for name in ('_quarto.yml', 'nbs/_quarto.yml', 'nbs/sidebar.yml'):
        yield from unknown(read_yaml(name), KEYS, name)
    if read_yaml('nbs/_quarto.yml') != PROJECT:
        yield 'nbs/_quarto.yml: says more, or less, than where the rest stands'
    if 'custom_quarto_yml' in SETTINGS:
        yield 'settings.ini: custom_quarto_yml would have nbdev write nbs/_quarto.yml anew'
    yield from sidebar_faults()
    site = read_yaml('_quarto.yml')
    web, html = site['website'], site['format']['html']
    for name in (web.get('favicon'), web.get('image'), html.get('css')):
        if name and not (NBS/name).exists():
            yield f'_quarto.yml: {name}: no such file in nbs'

def linkless(heading):
    return re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', heading)

def site_anchor(heading)->str:
    "The anchor that pandoc makes of a heading."
    if own := re.search(r'\{[^}]*#([\w.-]+)[^}]*\}\s*$', linkless(heading)):
        return own[1]
    words = re.sub(r'[^\w\s.-]', '', linkless(heading).lower()).strip()
    return re.sub(r'^[^a-z]+', '', re.sub(r'\s+', '-', words)) or 'section'

def github_anchor(heading)->str:
    "The anchor that GitHub makes of a heading in a .md file."
    return re.sub(r'[^\w\s-]', '', linkless(heading).lower()).strip().replace(' ', '-')

def markdown(path)->str:
    "The prose of a notebook or a .md file, code left out."
    text = path.read_text(encoding='utf-8')
    if path.suffix == '.ipynb':
        cells = json.loads(text)['cells']
        prose = [''.join(c['source']) for c in cells if c['cell_type'] == 'markdown']
        outputs = [o.get('data', {}) for c in cells for o in c.get('outputs', [])]
        shown = [''.join(d['text/markdown']) for d in outputs if 'text/markdown' in d]
        text = '\n\n'.join(prose + shown)
    return re.sub(r'^(`{3,}|~{3,}).*?^\1', '', text, flags=re.M | re.S)

def anchors(path)->set:
    "What can stand after the # of a link to this file."
    slug = site_anchor if path.suffix == '.ipynb' else github_anchor
    times, found, text = {}, set(), markdown(path)
    for heading in re.findall(r'^#{1,6}\s+(.+?)\s*#*$', text, re.M):
        name = slug(heading.replace('`', ''))
        times[name] = times.get(name, -1) + 1
        found.add(f'{name}-{times[name]}' if times[name] else name)
    ids = re.findall(r'\bid="([^"]+)"', text) + re.findall(r'\{#([\w.-]+)', text)
    return found | set(ids)

def links(path):
    "Targets of a file's links and pictures."
    text = re.sub(r'(`+)(?:(?!\1).)+\1', lambda m: re.sub(r'[\[\]()<>]', '', m[0]), markdown(path))
    for m in re.finditer(r'\]\(\s*(?:<([^>]+)>|([^\s)]+))[^)]*\)', text):
        yield m[1] or m[2]
    yield from re.findall(r'<(?:img|a|source|video|audio)\b[^>]*?\b(?:src|href)="([^"]+)"', text)
    yield from re.findall(r'^\[[^\]]+\]:\s*(\S+)', text, re.M)

def file_fault(path, anchor):
    "What a link to a file of ours misses; empty where it arrives."
    if not path.exists():
        return 'no such file'
    if not anchor:
        return ''
    if re.fullmatch(r'L\d+', anchor):
        n_lines = len(path.read_text(encoding='utf-8').splitlines())
        return 'no such line' if int(anchor[1:]) > n_lines else ''
    if path.suffix in ('.ipynb', '.md') and anchor not in anchors(path):
        return 'no such heading'
    return ''

def page_fault(name, anchor, pages):
    "What a link to a page of the site misses."
    if not pages:
        return ''
    page = pages.get(name.removesuffix('.html'))
    if not page:
        return 'no such page'
    return 'no such heading' if anchor and anchor not in anchors(page) else ''

def link_fault(link, path, pages):
    "What a link misses, if anything."
    target, _, anchor = unquote(link).partition('#')
    if link.startswith(SITE):
        return page_fault(target.removeprefix(SITE), anchor, pages)
    if link.startswith(SOURCE):
        return file_fault(ROOT/target.removeprefix(SOURCE), anchor)
    if re.match(r'[a-z][a-z+.-]*:', link):
        return ''                                   # elsewhere, or data:
    return file_fault((path.parent/target).resolve() if target else path, anchor)

def broken(path, pages):
    "The links of one file that lead nowhere; `pages`: the site's pages by name, if made."
    for link in dict.fromkeys(links(path)):
        fault = link_fault(link, path, pages)
        if fault:
            yield f'{path.relative_to(ROOT)}: {link}: {fault}'

def processed():
    "The notebooks as Quarto gets them by page, and those that nbdev cannot process."
    from nbdev.serve import proc_nbs
    made, why, failed = {}, '', []
    try:
        proc_nbs(force=True)
    except Exception as e:
        why = str(e).strip()
    for path in sorted(NBS.glob('*.ipynb')):
        result = ROOT/'_proc'/path.name
        if not result.exists():
            failed.append(f'nbs/{path.name}: nbdev cannot process it for the site\n{why}')
            continue
        first = ''.join(json.loads(result.read_text(encoding='utf-8'))['cells'][0]['source'])
        name = re.search(r'^output-file: (\S+)\.html$', first, re.M)
        made[name[1] if name else path.stem] = result
    return made, failed

def main():
    files = [*sorted(NBS.glob('*.ipynb')), *sorted(ROOT.glob('*.md')),
             *sorted((ROOT/'.github').rglob('*.md'))]
    pages, failed = processed() if '--proc' in sys.argv else ({}, [])
    faults = [fault for p in [*files, *pages.values()] for fault in broken(p, pages)]
    found = [*configuration(), *failed, *faults]
    n_links = sum(1 for p in files for _ in links(p))
    summary = (f'{n_links} links in {len(files)} files, {len(pages)} pages processed, '
               f'{len(found)} broken')
    print('\n'.join([*found, summary]))
    return int(bool(found))

if __name__ == '__main__':
    sys.exit(main())
