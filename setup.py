"Reads everything from settings.ini, the one place where it is written."
import re
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup

here = Path(__file__).parent
parser = ConfigParser(delimiters=['='])
parser.read(here/'settings.ini', encoding='utf-8')
cfg = parser['DEFAULT']

def lines(key): return [o.strip() for o in cfg.get(key, '').splitlines() if o.strip() and not o.strip().startswith('#')]

readme = (here/'README.md').read_text(encoding='utf-8') # its links lead into the repository
for mark, view in [('!', 'raw'), ('', 'blob')]: readme = re.sub(rf'({mark}\[[^\]]*\]\()(?!https?:|#)', rf"\1{cfg['git_url']}/{view}/{cfg['branch']}/", readme)

minor = int(cfg['min_python'].split('.')[1])
setup(
    name=cfg['lib_name'], version=cfg['version'], description=cfg['description'], keywords=cfg['keywords'],
    author=cfg['author'], author_email=cfg['author_email'], url=cfg['git_url'], license='Apache-2.0', license_files=['LICENSE'],
    long_description=readme, long_description_content_type='text/markdown',
    project_urls={'Documentation': cfg['doc_host'] + cfg['doc_baseurl'], 'Source': cfg['git_url'], 'Issues': cfg['git_url'] + '/issues',
                  'Changelog': f"{cfg['git_url']}/blob/{cfg['branch']}/CHANGELOG.md"},
    classifiers=['Development Status :: 3 - Alpha', 'Intended Audience :: Science/Research', 'Intended Audience :: Developers',
                 'Natural Language :: English', 'Topic :: Multimedia :: Sound/Audio :: Speech', 'Topic :: Scientific/Engineering :: Artificial Intelligence',
                 ] + [f'Programming Language :: Python :: 3.{m}' for m in range(minor, 14)],
    packages=find_packages(include=['ser_nbdev*']), include_package_data=True, zip_safe=False,
    python_requires=f">={cfg['min_python']}", install_requires=lines('requirements'), extras_require={e: lines(f'{e}_requirements') for e in ('dev', 'export', 'whisper', 'transformers', 'dask', 'tensorboard')},
    entry_points={'console_scripts': lines('console_scripts'), 'nbdev': [f"{cfg['lib_name']}={cfg['lib_path']}._modidx:d"]},
)
