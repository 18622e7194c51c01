"""constraints.txt from the environment this runs in: what the package with [dev] needs, in exactly the versions that are installed.

usage: python .ci/lock.py        in the environment that the recorded runs (nbs/runs) and the committed outputs come from
"""
import platform
from configparser import ConfigParser
from importlib.metadata import distribution
from pathlib import Path
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent

def closure(requirements, extras=(), found=None)->dict: # distribution -> version
    "The distributions that meet the requirements here, and all that they need."
    found = {} if found is None else found
    for r in map(Requirement, requirements):
        if not any(r.marker is None or r.marker.evaluate({'extra': e}) for e in (*extras, '')): continue
        d, key = distribution(r.name), canonicalize_name(r.name)
        if key in found and not r.extras: continue
        found[key] = d.version
        closure(d.requires or [], r.extras, found)
    return found

def main():
    config = ConfigParser(delimiters=['='])
    config.read(ROOT/'settings.ini', encoding='utf-8')
    wanted = [l for k in ('requirements','dev_requirements') for l in config['DEFAULT'][k].splitlines() if l.strip() and not l.startswith('#')]
    head = f'# What the recorded runs and the committed outputs were made with (Python {platform.python_version()}, {platform.system()} {platform.machine()}).\n' \
           "# pip install -c constraints.txt -e '.[dev]'      made by .ci/lock.py\n"
    (ROOT/'constraints.txt').write_text(head + ''.join(f'{n}=={v}\n' for n, v in sorted(closure(wanted).items())))

if __name__=='__main__': main()
