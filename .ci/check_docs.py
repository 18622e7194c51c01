"""Every exported name has a docstring, and every argument a comment that the site shows (a docment), with shape and unit.

usage: python .ci/check_docs.py [--types]      exit 1 where anything is missing; --types: look for missing type hints, too

Reads the sources only, by the rules of `fastcore.docments`: a comment belongs to the argument whose line it ends, else to the one below it;
of several arguments in one line the last has it. What is returned is told beside its type, or, without one, beside the closing bracket; a class of
our own tells for itself.
"""
import ast, io, re, sys, tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FRAMEWORK = {'build','call','compute_mask','compute_output_shape','compute_output_spec','get_config','from_config','update_state','result','reset_state',
             'on_epoch_begin','on_epoch_end','on_train_begin','on_train_end','on_train_batch_begin','on_train_batch_end'} # Keras documents its own protocol
HERTZ = {'sr','fmin','fmax'}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

def name_of(node)->str: # last part of a decorator, base or annotation
    "`patch` of `@fastcore.patch(cls_method=True)`."
    if isinstance(node, ast.Call): node = node.func
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, 'id', '') if not isinstance(node, ast.Constant) else str(node.value)

def exported(tree)->set:
    "The names in `__all__`."
    return {n for node in tree.body if isinstance(node, ast.Assign) and name_of(node.targets[0]) == '__all__' for n in ast.literal_eval(node.value)}

def own(node):
    "The nodes of a function, without those of the functions inside it."
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (*FUNCTIONS, ast.ClassDef, ast.Lambda)): continue
        yield child
        yield from own(child)

def gives(node)->bool: # is there anything to say of what it returns?
    return any(isinstance(n, (ast.Return, ast.Yield)) and n.value and not (isinstance(n.value, ast.Constant) and n.value.value is None) or isinstance(n, ast.YieldFrom) for n in own(node))

class Module:
    "A source file, its comments by line."
    def __init__(self, path):
        self.name, text = path.stem, path.read_text(encoding='utf-8')
        self.tree, self.lines = ast.parse(text), text.splitlines()
        self.comments = {t.start[0]: t.string.lstrip('# ').strip() for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type == tokenize.COMMENT}
        self.public = exported(self.tree)

    def docment(self, line, first, taken)->str:
        "The comment that belongs to the argument in `line`."
        if line in self.comments: return self.comments[line]
        above = []
        while (line := line - 1) > first and line not in taken and self.lines[line-1].lstrip().startswith('#'): above.append(self.comments[line])
        return ' '.join(reversed(above))

def function_gaps(m, node, method, classes, types):
    "What one function leaves unsaid."
    decorators = {name_of(d) for d in node.decorator_list}
    args = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    n_plain = len(node.args.posonlyargs) + len(node.args.args)
    defaults = dict(zip(args[:n_plain][::-1], node.args.defaults[::-1])) | dict(zip(node.args.kwonlyargs, node.args.kw_defaults))
    if method and 'staticmethod' not in decorators: args = args[1:]
    stars = [a for a in (node.args.vararg, node.args.kwarg) if a and not ('delegates' in decorators and a is node.args.kwarg)]
    last = {}                                         # line -> the name that has its comment
    for a in args + stars: last[a.lineno] = a.arg
    returns = gives(node) and not decorators & {'property','cached_property','setter'} and node.name != '__init__'
    if node.returns: last[node.returns.lineno] = 'return'
    dunder = node.name.startswith('__')
    if not dunder and not ast.get_docstring(node): yield 'no docstring'
    for a in args + stars:
        comment = m.docment(a.lineno, node.lineno - 1, last) if last[a.lineno] == a.arg else ''
        hint = ast.unparse(a.annotation) if a.annotation else ''
        if not comment: yield f'{a.arg}: no docment' + (f' (the line is {last[a.lineno]}\'s)' if last[a.lineno] != a.arg else '')
        elif hint == 'np.ndarray' and not re.search(r'[\[(]', comment): yield f'{a.arg}: an array without its shape, (...)'
        elif a.arg in HERTZ and 'Hz' not in comment: yield f'{a.arg}: Hz not said'
        default = defaults.get(a)
        if types and not hint and a not in stars and (default is None or isinstance(default, ast.Constant) and default.value is None): yield f'{a.arg}: no type hint'
    if returns and not dunder:
        lines = [node.returns.lineno] if node.returns else range(node.lineno, node.body[0].lineno)
        comment = ' '.join(c for c in (m.docment(i, node.lineno - 1, last) for i in lines if i not in last or last[i] == 'return') if c)
        hint = ast.unparse(node.returns).strip("'") if node.returns else ''
        if not comment and hint not in classes: yield 'return: no docment'
        elif hint == 'np.ndarray' and not re.search(r'[\[(]', comment): yield 'return: an array without its shape, (...)'
        if types and not hint: yield 'return: no type hint'
    if types and 'property' in decorators and not node.returns: yield 'return: no type hint'

def class_gaps(m, node, classes, types):
    "What a class, its fields and its methods leave unsaid."
    if not ast.get_docstring(node): yield node.name, 'no docstring'
    if 'dataclass' in {name_of(d) for d in node.decorator_list}:
        fields = [f for f in node.body if isinstance(f, ast.AnnAssign)]
        last = {f.lineno: f.target.id for f in fields}
        for f in fields:
            if not f.target.id.startswith('_') and not (last[f.lineno] == f.target.id and m.docment(f.lineno, node.lineno, last)): yield node.name, f'{f.target.id}: no docment'
    for f in node.body:
        if isinstance(f, FUNCTIONS) and (f.name in ('__init__','__call__') or not f.name.startswith('_')) and f.name not in FRAMEWORK:
            yield from ((f'{node.name}.{f.name}', gap) for gap in function_gaps(m, f, True, classes, types))

def gaps(m, classes, types):
    "(name, what is missing) for all a module exports."
    for node in m.tree.body:
        if isinstance(node, ast.ClassDef) and node.name in m.public: yield from class_gaps(m, node, classes, types)
        if not isinstance(node, FUNCTIONS): continue
        patched = any(name_of(d).startswith('patch') for d in node.decorator_list)
        owner = name_of(node.args.args[0].annotation) if patched and node.args.args else ''
        if owner in classes and node.name not in FRAMEWORK and (node.name == '__call__' or not node.name.startswith('_')) or node.name in m.public:
            yield from ((f'{owner}.{node.name}' if owner else node.name, gap) for gap in function_gaps(m, node, bool(owner), classes, types))

def main():
    modules = [Module(p) for p in sorted((ROOT/'ser_nbdev').glob('*.py')) if not p.name.startswith('_')]
    classes, n = {c for m in modules for c in m.public}, 0
    for m in modules:
        for name, gap in gaps(m, classes, '--types' in sys.argv): n += 1; print(f'{m.name}.{name}: {gap}')
    print(f'{sum(len(m.public) for m in modules)} exported names in {len(modules)} modules, {n} gaps')
    return int(n > 0)

if __name__=='__main__': sys.exit(main())
