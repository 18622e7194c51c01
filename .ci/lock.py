"""constraints.txt from this environment: what the package with [dev] needs, in these versions.

usage: python .ci/lock.py

Run it where the recorded runs (nbs/runs) and the committed outputs were made.
"""
import platform
from configparser import ConfigParser
from importlib.metadata import distribution
from pathlib import Path
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent

def wanted_here(requirement, extras):
    "Does this environment need it?"
    marker = requirement.marker
    return marker is None or any(marker.evaluate({'extra': e}) for e in (*extras, ''))

def closure(requirements, extras=(), found=None)->dict: # distribution -> version
    "The distributions that meet the requirements here, and all that they need."
    found = {} if found is None else found
    for requirement in map(Requirement, requirements):
        if not wanted_here(requirement, extras):
            continue
        installed, key = distribution(requirement.name), canonicalize_name(requirement.name)
        if key in found and not requirement.extras:
            continue
        found[key] = installed.version
        closure(installed.requires or [], requirement.extras, found)
    return found

def main():
    config = ConfigParser(delimiters=['='])
    config.read(ROOT/'settings.ini', encoding='utf-8')
    lines = [line for key in ('requirements', 'dev_requirements')
             for line in config['DEFAULT'][key].splitlines()]
    wanted = [line for line in lines if line.strip() and not line.startswith('#')]
    place = f'Python {platform.python_version()}, {platform.system()} {platform.machine()}'
    head = [f'# What the recorded runs and the committed outputs were made with ({place}).',
            "# pip install -c constraints.txt -e '.[dev]'      made by .ci/lock.py"]
    pins = [f'{name}=={version}' for name, version in sorted(closure(wanted).items())]
    (ROOT/'constraints.txt').write_text('\n'.join([*head, *pins]) + '\n')

if __name__ == '__main__':
    main()
