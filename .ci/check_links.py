"""Every link, anchor and picture of ours leads somewhere, and Quarto knows every key in its configuration.

usage: python .ci/check_links.py [--proc]      exit 1 where anything is broken; --proc: the notebooks as nbdev hands them to Quarto, too

Needs no Quarto and no network; addresses elsewhere are not looked up.
"""
import json, re, sys
from configparser import ConfigParser
from pathlib import Path
from urllib.parse import unquote
import yaml

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT/'nbs'
config = ConfigParser(delimiters=['=']); config.read(ROOT/'settings.ini', encoding='utf-8')
CFG = config['DEFAULT']
SITE, SOURCE = CFG['doc_host'] + CFG['doc_baseurl'] + '/', f"{CFG['git_url']}/blob/{CFG['branch']}/"

# Quarto's published keys, as far as a site like this needs them (https://quarto.org/docs/reference/projects/websites.html);
# None: any value; a dict: these keys and no others; a list: one of these, or a list of them
ITEM = {k: None for k in 'href file url text icon aria-label rel target menu id contents section'.split()}
CARD = {k: None for k in 'title description image image-alt image-width image-height'.split()}
SIDEBAR = {k: None for k in 'id title logo logo-alt logo-href search tools contents background foreground border alignment collapse-level pinned header footer'.split()} | {'style': ['docked','floating']}
WEBSITE = {k: None for k in '''title description favicon site-url site-path repo-url repo-link-target repo-link-rel repo-subdir repo-branch issue-url reader-mode search
    body-header body-footer margin-header margin-footer page-navigation back-to-top-navigation bread-crumbs image image-alt other-links code-links drafts draft-mode'''.split()} | {
    'repo-actions': ['none','edit','source','issue'], 'sidebar': SIDEBAR,
    'page-footer': {k: None for k in 'left center right border background foreground'.split()},
    'navbar': {k: None for k in 'title logo logo-alt logo-href background foreground search pinned collapse collapse-below left right toggle-position tools-collapse'.split()},
    'open-graph': CARD | {'locale': None, 'site-name': None}, 'twitter-card': CARD | {'creator': None, 'site': None, 'card-style': ['summary','summary_large_image']}}
HTML = {k: None for k in '''css toc toc-depth toc-title toc-location toc-expand keep-md code-copy code-overflow code-fold code-line-numbers code-tools code-link highlight-style
    anchor-sections smooth-scroll fig-align fig-width fig-height fig-responsive number-sections link-external-icon link-external-newwindow lightbox grid page-layout
    mainfont monofont fontsize linestretch include-in-header'''.split()} | {'theme': {'light': None, 'dark': None}}
KEYS = {'project': {k: None for k in 'type title output-dir lib-dir execute-dir pre-render post-render render resources preview'.split()} | {'type': ['default','website']},
        'format': {'html': HTML, 'commonmark': None}, 'website': WEBSITE, 'metadata-files': None, 'lang': None}

def unknown(value, known, where):
    "What stands in a configuration and not among the known keys or values."
    if isinstance(known, list):
        for v in value if isinstance(value, list) else [value]:
            if v not in known: yield f'{where}: {v!r} is none of {", ".join(known)}'
    elif isinstance(known, dict) and isinstance(value, dict):
        for k, v in value.items():
            if k not in known: yield f'{where}: Quarto has no key {k!r} there'
            else: yield from unknown(v, known[k], f'{where}.{k}')

def listed(contents):
    "The pages of a sidebar, at any depth; items whose keys Quarto does not know are told by themselves."
    for item in contents:
        if isinstance(item, str): yield item
        else:
            if set(item) - set(ITEM): yield f'?{set(item) - set(ITEM)}'
            yield from listed(item.get('contents', []))
            if 'href' in item: yield item['href']

def configuration():
    "What is wrong with _quarto.yml, nbs/_quarto.yml and nbs/sidebar.yml."
    site, project, sidebar = (yaml.safe_load(p.read_text(encoding='utf-8')) for p in (ROOT/'_quarto.yml', NBS/'_quarto.yml', NBS/'sidebar.yml'))
    for name, y in [('_quarto.yml', site), ('nbs/_quarto.yml', project), ('nbs/sidebar.yml', sidebar)]: yield from unknown(y, KEYS, name)
    if project != {'project': {'type':'website'}, 'metadata-files': ['../_quarto.yml','nbdev.yml','sidebar.yml']}: yield 'nbs/_quarto.yml: says more, or less, than where the rest stands'
    if 'custom_quarto_yml' in CFG: yield 'settings.ini: custom_quarto_yml would have nbdev write nbs/_quarto.yml anew'
    pages, notebooks = list(listed(sidebar['website']['sidebar']['contents'])), [p.name for p in sorted(NBS.glob('*.ipynb'))]
    yield from (f'nbs/sidebar.yml: {p}: no such notebook' for p in pages if p not in notebooks)
    yield from (f'nbs/sidebar.yml: {p} is missing; run python .ci/sidebar.py' for p in notebooks if p not in pages)
    web, html = site['website'], site['format']['html']
    for f in [web.get('favicon'), web.get('image'), (web.get('navbar') or {}).get('logo'), html.get('css')]:
        if f and not (NBS/f).exists(): yield f'_quarto.yml: {f}: no such file in nbs'

def pandoc(heading)->str: # as on the site
    s = re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', heading)
    if own := re.search(r'\{[^}]*#([\w.-]+)[^}]*\}\s*$', s): return own[1]
    return re.sub(r'^[^a-z]+', '', re.sub(r'\s+', '-', re.sub(r'[^\w\s.-]', '', s.lower()).strip())) or 'section'

def github(heading)->str: # as in a .md file on GitHub
    return re.sub(r' ', '-', re.sub(r'[^\w\s-]', '', re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', heading).lower()).strip())

def markdown(path)->str:
    "The prose of a notebook or a .md file, code left out."
    if path.suffix == '.ipynb':
        cells = json.loads(path.read_text(encoding='utf-8'))['cells']
        said = [''.join(c['source']) for c in cells if c['cell_type'] == 'markdown']
        shown = [''.join(o['data']['text/markdown']) for c in cells for o in c.get('outputs', []) if 'text/markdown' in o.get('data', {})]
        text = '\n\n'.join(said + shown)
    else: text = path.read_text(encoding='utf-8')
    return re.sub(r'^(`{3,}|~{3,}).*?^\1', '', text, flags=re.M|re.S)

def anchors(path)->set:
    "What can stand after the # of a link to this file."
    slug, seen, found = (pandoc if path.suffix == '.ipynb' else github), {}, set()
    text = markdown(path)
    for h in re.findall(r'^#{1,6}\s+(.+?)\s*#*$', text, re.M):
        s = slug(h.replace('`', ''))
        n = seen[s] = seen.get(s, -1) + 1
        found.add(f'{s}-{n}' if n else s)
    return found | set(re.findall(r'\bid="([^"]+)"', text)) | set(re.findall(r'\{#([\w.-]+)', text))

def links(path):
    "Targets of a file's links and pictures."
    text = re.sub(r'(`+)(?:(?!\1).)+\1', lambda m: re.sub(r'[\[\]()<>]', '', m[0]), markdown(path))
    yield from (m[1] or m[2] for m in re.finditer(r'\]\(\s*(?:<([^>]+)>|([^\s)]+))[^)]*\)', text))
    yield from re.findall(r'<(?:img|a|source|video|audio)\b[^>]*?\b(?:src|href)="([^"]+)"', text)
    yield from re.findall(r'^\[[^\]]+\]:\s*(\S+)', text, re.M)

def broken(path, pages):
    "The links of one file that lead nowhere; `pages`: the site's pages by name, where they have been made."
    for link in links(path):
        target, _, anchor = unquote(link).partition('#')
        if link.startswith(SITE):
            page = pages.get(target.removeprefix(SITE).removesuffix('.html')) if pages else None
            if pages and not page: yield f'{link}: no such page'
            elif page and anchor and anchor not in anchors(page): yield f'{link}: no such heading'
        elif link.startswith(SOURCE):
            f = ROOT/target.removeprefix(SOURCE)
            if not f.exists() or anchor and int(anchor[1:]) > len(f.read_text(encoding='utf-8').splitlines()): yield f'{link}: no such line'
        elif re.match(r'[a-z][a-z+.-]*:', link): continue              # elsewhere, or data:
        else:
            f = (path.parent/target).resolve() if target else path
            if not f.exists(): yield f'{link}: no such file'
            elif anchor and f.suffix in ('.ipynb','.md') and anchor not in anchors(f): yield f'{link}: no such heading'

def processed():
    "The notebooks as Quarto gets them, by the name of their page, and those it will not get. nbdev runs exported cells and those with imports, so that a notebook may fail here only."
    from nbdev.serve import proc_nbs
    made, why, failed = {}, '', []
    try: proc_nbs(force=True)
    except Exception as e: why = str(e).strip()
    for p in sorted(NBS.glob('*.ipynb')):
        q = ROOT/'_proc'/p.name
        if not q.exists(): failed.append(f'nbs/{p.name}: nbdev cannot process it for the site\n{why}'); continue
        first = ''.join(json.loads(q.read_text(encoding='utf-8'))['cells'][0]['source'])
        m = re.search(r'^output-file: (\S+)\.html$', first, re.M)
        made[m[1] if m else p.stem] = q
    return made, failed

def main():
    files = [*sorted(NBS.glob('*.ipynb')), *sorted(ROOT.glob('*.md')), *sorted((ROOT/'.github').rglob('*.md'))]
    pages, failed = processed() if '--proc' in sys.argv else ({}, [])
    found = [*configuration(), *failed, *(f'{p.relative_to(ROOT)}: {b}' for p in [*files, *pages.values()] for b in dict.fromkeys(broken(p, pages)))]
    print('\n'.join(found + [f'{sum(1 for p in files for _ in links(p))} links in {len(files)} files, {len(pages)} pages processed, {len(found)} broken']))
    return int(bool(found))

if __name__=='__main__': sys.exit(main())
