"""What a room offers to others is explained: each argument has a comment that the site shows.

usage: python .ci/check_docs.py [--types]

Exit 1 where anything is missing; --types: type hints, too. Every exported name has a docstring;
what another room, notebook or script imports has a comment (a docment) at each argument. A helper
that only its own room uses needs none.

Reads the sources only, by the rules of `fastcore.docments`: a comment belongs to the argument
whose line it ends, else to the one below it; of several arguments in one line the last has it.
What is returned is told beside its type, or, without one, beside the closing bracket; a class of
our own tells for itself.
"""
import ast, io, json, re, sys, tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Keras documents its own protocol
FRAMEWORK = set('''build call compute_mask compute_output_shape compute_output_spec get_config
    from_config update_state result reset_state on_epoch_begin on_epoch_end on_train_begin
    on_train_end
    on_train_batch_begin on_train_batch_end'''.split())
HERTZ = {'sr', 'fmin', 'fmax'}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SILENT = {'property', 'cached_property', 'setter'}    # decorators: nothing to say of the result

def name_of(node)->str:
    "Last part of a decorator, base or annotation: `patch` of `@fastcore.patch(cls_method=True)`."
    if isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Constant):
        return str(node.value)
    return getattr(node, 'id', '')

def decorators_of(node)->set:
    return {name_of(d) for d in node.decorator_list}

def exported(tree)->set:
    "The names in `__all__`."
    assigned = [n for n in tree.body if isinstance(n, ast.Assign)]
    lists = [n for n in assigned if name_of(n.targets[0]) == '__all__']
    return {name for node in lists for name in ast.literal_eval(node.value)}

def code_of(path)->str:
    "Python of a source file or a notebook, lines that are no Python left out."
    text = path.read_text(encoding='utf-8')
    if path.suffix == '.ipynb':
        cells = json.loads(text)['cells']
        text = '\n'.join(''.join(c['source']) for c in cells if c['cell_type'] == 'code')
    return re.sub(r'^(\s*)[%!].*$', r'\1pass', text, flags=re.M)

def own_module(path)->str:
    "The module that a notebook exports to, or that a file is."
    if path.suffix != '.ipynb':
        return path.stem
    found = re.search(r'^#\|\s*default_exp\s+(\w+)', code_of(path), re.M)
    return found[1] if found else path.stem

def imported_names(path)->set: # (module, name)
    "Names that a file imports from rooms other than its own."
    found = set()
    for node in ast.walk(ast.parse(code_of(path))):
        if isinstance(node, ast.ImportFrom) and node.module:
            room = node.module.removeprefix('ser_nbdev.')
            if (node.level or room != node.module) and room != own_module(path):
                found |= {(room, a.name) for a in node.names}
    return found

def offered()->set: # (module, name)
    "Names that another room, notebook or script imports."
    globs = ('ser_nbdev/[a-z]*.py', 'nbs/*.ipynb', 'benchmarks/*.py', '.ci/*.py')
    return set().union(*(imported_names(p) for g in globs for p in ROOT.glob(g)))

def inner_nodes(node):
    "The nodes of a function, without those of the functions inside it."
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (*FUNCTIONS, ast.ClassDef, ast.Lambda)):
            yield child
            yield from inner_nodes(child)

def is_none(value)->bool:
    return value is None or isinstance(value, ast.Constant) and value.value is None

def returns_something(node)->bool:
    "Is there anything to say of what a function returns?"
    kinds = (ast.Return, ast.Yield)
    return any(isinstance(n, ast.YieldFrom) or isinstance(n, kinds) and not is_none(n.value)
               for n in inner_nodes(node))

class Module:
    "A source file, its comments by line."
    def __init__(self, path):
        self.name, text = path.stem, path.read_text(encoding='utf-8')
        self.tree, self.lines = ast.parse(text), text.splitlines()
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        self.comments = {t.start[0]: t.string.lstrip('# ').strip() for t in tokens
                         if t.type == tokenize.COMMENT}
        self.public = exported(self.tree)

    def docment(self, line, first, taken)->str:
        "The comment that belongs to the argument in `line`."
        if line in self.comments:
            return self.comments[line]
        above = []
        line -= 1
        while line > first and line not in taken and self.lines[line-1].lstrip().startswith('#'):
            above.append(self.comments[line])
            line -= 1
        return ' '.join(reversed(above))

class Function:
    "A function of a module: its arguments, and what is said of each."
    def __init__(self, module, node, is_method):
        self.module, self.node = module, node
        self.decorators = decorators_of(node)
        self.args = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        self.defaults = self.default_values()
        if is_method and 'staticmethod' not in self.decorators:
            self.args = self.args[1:]
        self.stars = [a for a in (node.args.vararg, node.args.kwarg) if a]
        if 'delegates' in self.decorators:
            self.stars = [a for a in self.stars if a is not node.args.kwarg]
        self.owner = {a.lineno: a.arg for a in self.args + self.stars} # line -> whose comment
        if node.returns:
            self.owner[node.returns.lineno] = 'return'

    def default_values(self)->dict: # argument -> node of its default
        a = self.node.args
        n_plain = len(a.posonlyargs) + len(a.args)
        plain = dict(zip(self.args[:n_plain][::-1], a.defaults[::-1]))
        return plain | dict(zip(a.kwonlyargs, a.kw_defaults))

    def comment(self, a)->str:
        if self.owner[a.lineno] != a.arg:
            return ''
        return self.module.docment(a.lineno, self.node.lineno - 1, self.owner)

    def argument_gap(self, a)->str:
        "What the comment of an argument leaves unsaid."
        comment = self.comment(a)
        hint = ast.unparse(a.annotation) if a.annotation else ''
        if not comment:
            owner = self.owner[a.lineno]
            return 'no docment' + (f" (the line is {owner}'s)" if owner != a.arg else '')
        if shapeless(hint, comment):
            return 'an array without its shape, (...)'
        if a.arg in HERTZ and 'Hz' not in comment:
            return 'Hz not said'
        return ''

    def untyped(self, a)->bool:
        "Is an argument without a type hint, and without a default that shows it?"
        return not a.annotation and a not in self.stars and is_none(self.defaults.get(a))

    def return_comment(self)->str:
        node = self.node
        lines = [node.returns.lineno] if node.returns else range(node.lineno, node.body[0].lineno)
        own = [i for i in lines if self.owner.get(i, 'return') == 'return']
        said = [self.module.docment(i, node.lineno - 1, self.owner) for i in own]
        return ' '.join(c for c in said if c)

    def return_gaps(self, classes, types):
        "What is unsaid of the result."
        comment, node = self.return_comment(), self.node
        hint = ast.unparse(node.returns).strip("'") if node.returns else ''
        if not comment and hint not in classes:
            yield 'return: no docment'
        elif shapeless(hint, comment):
            yield 'return: an array without its shape, (...)'
        if types and not hint:
            yield 'return: no type hint'

    def gaps(self, classes, types):
        "What one function leaves unsaid."
        node = self.node
        special = node.name.startswith('__')
        if not special and not ast.get_docstring(node):
            yield 'no docstring'
        for a in self.args + self.stars:
            if gap := self.argument_gap(a):
                yield f'{a.arg}: {gap}'
            if types and self.untyped(a):
                yield f'{a.arg}: no type hint'
        if not special and returns_something(node) and not self.decorators & SILENT:
            yield from self.return_gaps(classes, types)
        if types and 'property' in self.decorators and not node.returns:
            yield 'return: no type hint'

def shapeless(hint, comment)->bool:
    "Is this an array whose comment gives no shape?"
    return hint == 'np.ndarray' and not re.search(r'[\[(]', comment)

def field_gaps(module, node):
    "Fields of a dataclass without a comment."
    fields = [f for f in node.body if isinstance(f, ast.AnnAssign)]
    owner = {f.lineno: f.target.id for f in fields}
    for f in fields:
        name = f.target.id
        said = owner[f.lineno] == name and module.docment(f.lineno, node.lineno, owner)
        if not name.startswith('_') and not said:
            yield f'{name}: no docment'

def is_public_method(name)->bool:
    return name not in FRAMEWORK and (name in ('__init__', '__call__') or not name.startswith('_'))

def class_gaps(module, node, classes, types):
    "What a class, its fields and its methods leave unsaid."
    if not ast.get_docstring(node):
        yield node.name, 'no docstring'
    if 'dataclass' in decorators_of(node):
        yield from ((node.name, gap) for gap in field_gaps(module, node))
    for f in node.body:
        if isinstance(f, FUNCTIONS) and is_public_method(f.name):
            for gap in Function(module, f, True).gaps(classes, types):
                yield f'{node.name}.{f.name}', gap

def patched_class(node)->str:
    "The class that a function is patched into, or nothing."
    patched = any(d.startswith('patch') for d in decorators_of(node))
    return name_of(node.args.args[0].annotation) if patched and node.args.args else ''

def function_gaps(function, is_offered, classes, types):
    "Of a helper only a missing docstring."
    gaps = function.gaps(classes, types)
    return gaps if is_offered else (gap for gap in gaps if gap == 'no docstring')

def module_gaps(module, offers, classes, types):
    "(name, what is missing) for all that a module exports."
    for node in module.tree.body:
        if isinstance(node, ast.ClassDef) and (module.name, node.name) in offers:
            yield from class_gaps(module, node, classes, types)
        if not isinstance(node, FUNCTIONS):
            continue
        owner = patched_class(node)
        if node.name in module.public or owner in classes and is_public_method(node.name):
            name = f'{owner}.{node.name}' if owner else node.name
            is_offered = bool(owner) or (module.name, node.name) in offers
            function = Function(module, node, bool(owner))
            for gap in function_gaps(function, is_offered, classes, types):
                yield name, gap

def main():
    paths = [p for p in sorted((ROOT/'ser_nbdev').glob('*.py')) if not p.name.startswith('_')]
    modules = [Module(p) for p in paths]
    classes = {c for m in modules for c in m.public}
    types = '--types' in sys.argv
    offers = offered()
    gaps = [f'{m.name}.{name}: {gap}' for m in modules
            for name, gap in module_gaps(m, offers, classes, types)]
    n_names = sum(len(m.public) for m in modules)
    summary = f'{n_names} exported names in {len(modules)} modules, {len(gaps)} gaps'
    print('\n'.join([*gaps, summary]))
    return int(bool(gaps))

if __name__ == '__main__':
    sys.exit(main())
