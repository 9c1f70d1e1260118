"""Source of peers: the few lines of ours that call an implementation released by others, for use in a script."""

from __future__ import annotations

import ast
import inspect
from importlib import import_module


def definition(module: str, name: str) -> list[str]:
    """Return lines that define a function of a module of peers, without decorators, annotations and docstrings.

    Args:
        module: the dotted name of the module.
        name: the function; the functions and imports of the module that it needs come before it.
    """
    tree = ast.parse(inspect.getsource(import_module(module)))
    functions = {each.name: each for each in tree.body if isinstance(each, ast.FunctionDef)}
    imports = {
        (alias.asname or alias.name): each
        for each in tree.body
        if isinstance(each, ast.ImportFrom) and each.module != "__future__"
        for alias in each.names
    }
    plain = {each: _Plain().visit(function) for each, function in functions.items()}
    wanted, waiting = {name: None}, [name]
    while waiting:
        used = {each.id for each in ast.walk(plain[waiting.pop()]) if isinstance(each, ast.Name)}
        waiting += [each for each in plain if each in used and each not in wanted]
        wanted |= dict.fromkeys(waiting)
    names = {each.id for function in wanted for each in ast.walk(plain[function]) if isinstance(each, ast.Name)}
    lines = [ast.unparse(line) for each, line in imports.items() if each in names]
    for each in reversed(wanted):
        lines += ["", *ast.unparse(ast.fix_missing_locations(plain[each])).split("\n"), ""]
    return lines


class _Plain(ast.NodeTransformer):
    """Removes decorators, annotations and docstrings, which serve only readers of the module."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.decorator_list, node.returns = [], None
        if ast.get_docstring(node) is not None and len(node.body) > 1:
            node.body = node.body[1:]
        self.generic_visit(node)
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        return node if node.value is None else ast.Assign([node.target], node.value)
