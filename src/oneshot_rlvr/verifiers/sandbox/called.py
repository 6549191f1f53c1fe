"""What an item's tests define for somebody else to call, and which names are theirs.

Standard library only; its code travels into the sandbox, into the process that runs the tests.
"""

from __future__ import annotations

import ast
import builtins
import functools
import sys

TYPE_CHECKING = False  # typing takes longer to import than most tests to run
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeGuard

    Function = ast.FunctionDef | ast.AsyncFunctionDef


def defined(tests: str) -> set[str]:
    """Names that the tests define or import for themselves; the code has no part in them."""
    names = set()
    left: list[ast.AST] = list(ast.parse(tests).body)
    while left:
        node = left.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {(a.asname or a.name).partition(".")[0] for a in node.names}
        else:
            left += ast.iter_child_nodes(node)
    return names


def classes(tests: str) -> set[str]:
    """Capitalised names of the code whose results the tests use as objects.

    They read an attribute of it (`s = Stack()`, `s.push(1)`), or hand it on to the code
    (`longest([Pair(1, 2)])`). Of `Area(2)` they want a value otherwise: an object that it returns,
    whose operators would answer for it, is none.
    """
    tree = ast.parse(tests)
    if not any(isinstance(n, ast.Name) and n.id[:1].isupper() for n in ast.walk(tree)):
        return set()
    made: dict[str, set[str]] = {}  # what a name of the tests may hold -> classes that made it
    functions = {node.name: node for node in ast.walk(tree) if _is_function(node)}
    for _ in range(3):  # a name that holds what another one holds
        for node in ast.walk(tree):
            for target, value in _given(node, functions):
                made.setdefault(target, set()).update(_makers(value, made))
    theirs = defined(tests) | set(dir(builtins))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            found |= _makers(node.value, made)
        elif isinstance(node, ast.Call) and (
            node.func.id not in theirs
            if isinstance(node.func, ast.Name)
            else isinstance(node.func, ast.Attribute) and _makers(node.func.value, made)
        ):
            for item in _handed(*node.args, *(keyword.value for keyword in node.keywords)):
                found |= _makers(item, made)
    return found


def _handed(*expressions: Any) -> Iterator[Any]:
    """Calls and names that stand in arguments as they are, or in displays of several."""
    for node in expressions:
        if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            yield from _handed(*node.elts)
        elif isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp)):
            yield from _handed(node.elt)
        elif isinstance(node, ast.Dict):
            yield from _handed(*node.values)
        elif isinstance(node, ast.Name):
            yield node
        elif isinstance(node, ast.Call):
            yield node.func


def _given(node: Any, functions: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """(name, expression) of what a statement or call may put into a name."""
    if isinstance(node, ast.Assign):
        yield from ((name, node.value) for target in node.targets for name in _named(target))
    elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)) and node.value is not None:
        yield from ((name, node.value) for name in _named(node.target))
    elif isinstance(node, (ast.For, ast.AsyncFor, ast.comprehension)):
        yield from ((name, node.iter) for name in _named(node.target))
    elif isinstance(node, ast.withitem) and node.optional_vars is not None:
        yield from ((name, node.context_expr) for name in _named(node.optional_vars))
    elif _is_function(node):
        returned = (n.value for n in ast.walk(node) if isinstance(n, ast.Return) and n.value)
        yield from ((node.name, value) for value in returned)
    elif isinstance(node, ast.Call):
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name in functions:
            takes = [a.arg for a in functions[name].args.args if a.arg != "self"]
            yield from zip(takes, node.args, strict=False)


def _named(node: Any) -> Iterator[str]:
    """Names and attributes within an expression."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            yield inner.id
        elif isinstance(inner, ast.Attribute):
            yield inner.attr


def _makers(node: Any, made: dict[str, set[str]]) -> set[str]:
    """Capitalised names within an expression, and those that made what its names hold."""
    names = set(_named(node))
    return {n for n in names if n[:1].isupper()}.union(*(made.get(n, set()) for n in names))


def run_tests(source: str, namespace: dict[str, Any], entry_point: str) -> None:
    """Call what the tests define for somebody else to call, in their order."""
    for test in tests_in(source, namespace, entry_point):
        test()


def tests_in(
    source: str, namespace: dict[str, Any], entry_point: str
) -> Iterator[Callable[[], None]]:
    """What tests that have been executed define to be called: each to be called once.

    `check(candidate)`; functions named test...; the test methods of unittest.TestCase classes and
    of classes named Test... What the tests' own top level calls is not called again.
    """
    called = set()
    for statement in ast.parse(source).body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        if _is_main(statement):
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                called.add(node.func.id)
    order = _in_order(source)
    for name in ("setUpModule", "setup_module"):
        if name in order and name not in called:
            namespace[name]()
    for name in order:
        thing = namespace.get(name)
        if name in called or thing is None:
            continue
        if name == "check" and entry_point:
            yield functools.partial(thing, namespace[entry_point])
        elif isinstance(thing, type):
            yield from _methods(thing)
        elif name.startswith("test"):
            yield functools.partial(_call, thing)


def never_run(source: str, entry_point: str) -> list[str]:
    """What holds asserts of the tests that nothing runs: functions and methods, by name.

    Told from the text: a function counts as called if its name stands anywhere else, or if it has
    a decorator, which may call it.
    """
    tree = ast.parse(source)
    main = [statement for statement in tree.body if _is_main(statement)]
    tree.body = [statement for statement in tree.body if statement not in main]
    named = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            named.add(node.id)
        elif isinstance(node, ast.Attribute):
            named.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            named.add(node.value)
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef) and (
            statement.bases or statement.name.startswith("Test") or statement.name in named
        ):
            named |= {n.name for n in statement.body if _is_function(n) and _is_hook(n.name)}
        elif _is_function(statement) and (
            statement.name.startswith("test") or (statement.name == "check" and entry_point)
        ):
            named.add(statement.name)
    dead = [
        node.name
        for node in ast.walk(tree)
        if _is_function(node)
        and not (node.name in named or node.decorator_list or node.name.startswith("__"))
        and _asserts(node)
    ]
    return dead + ["if __name__ == ..."] * any(map(_asserts, main))


def expected_exceptions(source: str) -> set[str]:
    """Names that the tests catch or expect to be raised, as they write them."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        kinds: list[ast.expr] = []
        if isinstance(node, ast.ExceptHandler) and node.type is not None:
            kinds = [node.type]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "").startswith(
            "assertRaises"
        ):
            kinds = node.args[:1]
        for kind in kinds:
            found |= {inner.id for inner in ast.walk(kind) if isinstance(inner, ast.Name)}
    return found


_HOOKS = ("test", "setup", "setUp", "teardown", "tearDown")


def _is_hook(name: str) -> bool:
    return name.startswith(_HOOKS)


def _is_function(node: Any) -> TypeGuard[Function]:
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))


def _is_main(statement: Any) -> bool:
    """Whether a statement runs in scripts alone, which tests are not here."""
    return isinstance(statement, ast.If) and "__main__" in ast.dump(statement.test)


def _asserts(node: Any) -> bool:
    return any(
        isinstance(inner, ast.Assert)
        or (isinstance(inner, ast.Attribute) and inner.attr.startswith("assert"))
        for inner in ast.walk(node)
    )


def _in_order(source: str) -> list[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [node.name for node in ast.parse(source).body if isinstance(node, kinds)]


def _methods(thing: type) -> Iterator[Callable[[], None]]:
    unittest = sys.modules.get("unittest")  # the tests have imported it, if they use it
    if unittest is not None and issubclass(thing, unittest.TestCase):
        for test in unittest.defaultTestLoader.loadTestsFromTestCase(thing):
            alone = unittest.TestSuite([test])  # which sets its class up, too
            yield functools.partial(alone.run, _Strict(unittest.TestResult()))
    elif thing.__name__.startswith("Test"):
        for name in dir(thing):
            if name.startswith("test"):
                yield functools.partial(_method, thing, name)


def _call(test: Any) -> None:
    _finish(test())


def _method(kind: type, name: str) -> None:
    one = kind()
    test = getattr(one, name)
    for hook in ("setup_class", "setup_method", "setup"):
        prepare = getattr(one, hook, None)
        if callable(prepare):  # pytest gives the test to a setup_method that takes it
            wants = getattr(getattr(prepare, "__code__", None), "co_argcount", 1) > 1
            prepare(*[test] * wants)
    _finish(test())


def _finish(result: Any) -> None:
    """Run a coroutine to its end. It may await others, but nothing that needs an event loop."""
    if hasattr(type(result), "__await__"):
        try:
            result.send(None)
        except StopIteration:
            return
        raise RuntimeError("a test waits for an event loop, which the sandbox has none of")


class _Strict:
    """A unittest result that raises what a test raised, as a plain assert would."""

    def __init__(self, result: Any):
        self._result = result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._result, name)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value) if name == "_result" else setattr(
            self._result, name, value
        )

    def addError(self, test: Any, problem: Any) -> None:
        raise problem[1]

    addFailure = addError

    def addSkip(self, test: Any, reason: str) -> None:
        # A decorator of the tests' own leaves a test out; a skip while it runs would pass for what
        # was never asserted, whoever raised it.
        method = getattr(test, getattr(test, "_testMethodName", ""), None)
        if not any(getattr(told, "__unittest_skip__", False) for told in (type(test), method)):
            raise AssertionError(f"a test was skipped as it ran: {reason}")

    def addUnexpectedSuccess(self, test: Any) -> None:
        raise AssertionError("a test that is marked to fail did not")

    def addSubTest(self, test: Any, subtest: Any, problem: Any) -> None:
        if problem is not None:
            raise problem[1]
