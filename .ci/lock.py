"""constraints.txt from the environment this runs in: what the package with [dev] needs, in exactly the versions that are installed.

usage: python .ci/lock.py        in the environment that the recorded runs (nbs/runs) and the committed outputs come from
"""
import platform
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

def closure(name, extras=(), found=None)->dict: # distribution -> version
    "A distribution and all that it needs here."
    found = {} if found is None else found
    try: d = distribution(name)
    except PackageNotFoundError: return found        # asked for under a condition that does not hold here
    key = canonicalize_name(name)
    if key in found and not extras: return found
    found[key] = d.version
    for r in map(Requirement, d.requires or []):
        if any(r.marker is None or r.marker.evaluate({'extra': e}) for e in (*extras, '')): closure(r.name, r.extras, found)
    return found

def main():
    versions = closure('ser_nbdev', ('dev',))
    del versions['ser-nbdev']
    head = f'# What the recorded runs and the committed outputs were made with (Python {platform.python_version()}, {platform.system()} {platform.machine()}).\n' \
           "# pip install -c constraints.txt -e '.[dev]'      made by .ci/lock.py\n"
    (Path(__file__).resolve().parent.parent/'constraints.txt').write_text(head + ''.join(f'{n}=={v}\n' for n, v in sorted(versions.items())))

if __name__=='__main__': main()
