"""python_code: which block is graded, what the tests run, and what may cross to them.

The code here is harmless: what is shown is that an answer is worth what its plain values are worth.
"""

import pytest

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.types import Example, Reason
from oneshot_rlvr.verifiers import get_verifier
from oneshot_rlvr.verifiers.sandbox import confine

needs_sandbox = pytest.mark.skipif(
    confine.unusable() is not None, reason=f"no sandbox here: {confine.unusable()}"
)
PATIENT = 120


def example(tests, gold="", **options):
    extra = {"tests": tests, "timeout_seconds": PATIENT, **options}
    return Example("x", "q", gold, "python_code", extra=extra)


def grade(code, tests, **options):
    text = f"```python\n{code}\n```"
    return get_verifier("python_code").check(text, example(tests, **options))


RIGHT = "def add(a, b):\n    return a + b"
WRONG = "def add(a, b):\n    return a - b"

NOBODY_CALLS = {
    "pytest": "def test_add():\n    assert add(2, 3) == 5",
    "pytest, several": (
        "def test_a():\n    assert add(0, 0) == 0\ndef test_b():\n    assert add(2, 3) == 5"
    ),
    "pytest, a class": "class TestAdd:\n    def test_add(self):\n        assert add(2, 3) == 5",
    "pytest, a class with a setup": (
        "class TestAdd:\n    def setup_method(self):\n        self.five = 5\n"
        "    def test_add(self):\n        assert add(2, 3) == self.five"
    ),
    "pytest, a setup that is given the test": (
        "class TestAdd:\n    def setup_method(self, method):\n        self.five = 5\n"
        "    def test_add(self):\n        assert add(2, 3) == self.five"
    ),
    "pytest, a setup of the module": (
        "def setup_module():\n    global five\n    five = 5\n"
        "def test_add():\n    assert add(2, 3) == five"
    ),
    "helpers of the tests": (
        "def same(a, b):\n    assert a == b\n"
        "class TestAdd:\n    def _five(self, n):\n        assert n == 5\n"
        "    def test_add(self):\n        same(add(2, 3), 5)\n        self._five(add(4, 1))"
    ),
    "pytest, asynchronous": "async def test_add():\n    assert add(2, 3) == 5",
    "unittest": (
        "import unittest\nclass Adding(unittest.TestCase):\n    def setUp(self):\n"
        "        self.five = 5\n    def test_add(self):\n"
        "        self.assertEqual(add(2, 3), self.five)\n"
        "if __name__ == '__main__':\n    unittest.main()"
    ),
    "unittest, subtests": (
        "from unittest import TestCase\nclass Adding(TestCase):\n    def test_add(self):\n"
        "        for n in range(3):\n            with self.subTest(n=n):\n"
        "                self.assertEqual(add(n, 1), n + 1)"
    ),
    "humaneval": "def check(candidate):\n    assert candidate(2, 3) == 5",
}


@needs_sandbox
@pytest.mark.parametrize("isolation", ["separate", "shared"])
@pytest.mark.parametrize("tests", NOBODY_CALLS.values(), ids=NOBODY_CALLS.keys())
def test_asserts_in_functions_that_nothing_calls_are_run(tests, isolation):
    options = {"entry_point": "add", "isolation": isolation}
    assert grade(RIGHT, tests, **options).correct
    assert grade(WRONG, tests, **options).reason is Reason.MISMATCH
    assert not grade("pass", tests, **options).correct
    get_verifier("python_code").check_gold(example(tests, RIGHT, **options))


@needs_sandbox
def test_what_the_tests_call_themselves_is_not_called_again():
    tests = "seen = []\ndef test_add():\n    seen.append(add(1, 1))\n    assert len(seen) == 1\n"
    assert grade(RIGHT, tests + "test_add()").correct
    assert grade(RIGHT, tests).correct


@needs_sandbox
@pytest.mark.parametrize(
    "tests",
    [
        "def run_all():\n    assert add(2, 3) == 5",
        "def check(candidate):\n    assert candidate(2, 3) == 5",  # and no entry point
        "class Adding:\n    def test(self):\n        assert add(2, 3) == 5",
        "assert True",
        "try:\n    assert add(2, 3) == 5\nexcept Exception:\n    pass",
        [{"stdin": "", "stdout": ""}],
    ],
)
def test_tests_that_pass_for_code_that_does_nothing_are_refused_at_load_time(tests):
    with pytest.raises(DataError, match=r"'x'.*defines nothing"):
        get_verifier("python_code").check_gold(example(tests, RIGHT))
    with pytest.raises(DataError, match=r"'x'.*defines nothing"):
        get_verifier("python_code").check_gold(example(tests))


@needs_sandbox
@pytest.mark.parametrize(
    ("tests", "name"),
    [
        ("assert callable(add)\ndef verify():\n    assert add(2, 3) == 5", "verify"),
        (
            "def test_a():\n    assert add(0, 0) == 0\ndef more():\n    assert add(2, 3) == 5",
            "more",
        ),
        (
            "class TestAdd:\n    def test_a(self):\n        assert add(0, 0) == 0\n"
            "    def more(self):\n        assert add(2, 3) == 5",
            "more",
        ),
        (
            "import unittest\nclass Adding(unittest.TestCase):\n    def test_a(self):\n"
            "        self.assertEqual(add(0, 0), 0)\n    def more(self):\n"
            "        self.assertEqual(add(2, 3), 5)",
            "more",
        ),
        (
            "class TestA:\n    def test_a(self):\n        assert add(0, 0) == 0\n"
            "    class TestB:\n        def test_b(self):\n            assert add(2, 3) == 5",
            "test_b",
        ),
        (
            "assert add(0, 0) == 0\nif __name__ == '__main__':\n    assert add(2, 3) == 5",
            "if __name__",
        ),
    ],
)
def test_asserts_that_nothing_would_run_beside_others_are_refused_at_load_time(tests, name):
    with pytest.raises(DataError, match=rf"'x': the tests assert where nothing runs it \({name}"):
        get_verifier("python_code").check_gold(example(tests))


@needs_sandbox
@pytest.mark.parametrize(
    "tests",
    [
        "def one():\n    assert add(2, 3) == 5\nfor run in [one]:\n    run()",
        "def one():\n    assert add(2, 3) == 5\nglobals()['one']()",
        "known = []\n@known.append\ndef one():\n    assert add(2, 3) == 5\nknown[0]()",
        "class Five:\n    def __eq__(self, other):\n        assert other == 5\n"
        "        return True\nassert Five() == add(2, 3)",
        "def abstract():\n    raise NotImplementedError\nassert add(2, 3) == 5",
        "class Shared:\n    def test_add(self):\n        assert add(2, 3) == 5\n"
        "class TestAdd(Shared):\n    pass",
    ],
)
def test_asserts_that_may_be_called_are_left_alone(tests):
    get_verifier("python_code").check_gold(example(tests, RIGHT))
    assert grade(RIGHT, tests).correct
    assert not grade(WRONG, tests).correct


@needs_sandbox
@pytest.mark.parametrize("tests", ["add(2, 3)", "print(add(2, 3))", "x = add(2, 3)\nx == 5"])
def test_tests_that_tell_nothing_are_refused_at_load_time(tests):
    with pytest.raises(DataError, match="the tests test nothing"):
        get_verifier("python_code").check_gold(example(tests))


@needs_sandbox
@pytest.mark.parametrize(
    "tests",
    [
        "assert add(2, 3) == 5\ntry:\n    add('a', 1)\n    assert False\n"
        "except OddError:\n    pass",
        "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n"
        "        self.assertEqual(add(2, 3), 5)\n"
        "        with self.assertRaises((ValueError, OddError)):\n            add('a', 1)",
    ],
)
def test_an_exception_that_the_code_defines_is_expected_beside_the_code_alone(tests):
    """It could not cross: every answer would be wrong."""
    odd = "class OddError(Exception):\n    pass\n"
    code = (
        f"{odd}def add(a, b):\n    if isinstance(a, str):\n        raise OddError\n    return a + b"
    )
    with pytest.raises(DataError, match=r"an exception that the code defines \(OddError\).*shared"):
        get_verifier("python_code").check_gold(example(tests))
    get_verifier("python_code").check_gold(example(tests, code, isolation="shared"))
    get_verifier("python_code").check_gold(example(odd + tests, isolation="shared"))
    own = tests.replace("OddError", "TypeError")
    get_verifier("python_code").check_gold(example(own, RIGHT))


@needs_sandbox
def test_tests_that_import_what_the_sandbox_lacks_are_refused_at_load_time():
    tests = "import no_such_package\nassert add(2, 3) == 5"
    with pytest.raises(DataError, match=r"'x'.*no_such_package"):
        get_verifier("python_code").check_gold(example(tests))


BOX = """
class Box:
    def __init__(self, value):
        self.value = value
    def __sub__(self, other):
        return Box(self.value)
    def __contains__(self, item):
        return item == self.value
    def __len__(self):
        return 1
    def __iter__(self):
        return iter([self.value])
    def get(self):
        return self.value
    def same(self):
        return self
    def wrapped(self):
        return Box(self)
"""


@needs_sandbox
@pytest.mark.parametrize(
    ("returned", "tests"),
    [
        ("Box(5)", "assert 5 in f()"),
        ("Box(5)", "assert len(f()) == 1"),
        ("Box(5)", "assert f().get() == 5"),
        ("Box(5)", "assert f() is not None"),
        ("Box(5)", "assert f()"),
        ("[Box(5)]", "assert 5 in f()[0]"),
        ("{'a': Box(5)}", "assert len(f()['a']) == 1"),
        ("Box(5)", "try:\n    x = f()\nexcept BaseException:\n    x = 1\nassert x"),
        ("Box(5)", "assert f() - 1 is not None"),
    ],
)
def test_an_object_that_a_function_returns_does_not_answer_for_itself(returned, tests):
    code = f"{BOX}\ndef f():\n    return {returned}"
    verdict = grade(code, tests)
    assert verdict.reason is Reason.MISMATCH
    assert "Box" in verdict.details["error"]
    assert "shared" in verdict.details["error"]


@needs_sandbox
def test_an_object_that_the_tests_make_of_a_class_is_under_test_itself():
    tests = (
        "b = Box(5)\nassert b.get() == 5\nassert 5 in b\nassert len(b) == 1\n"
        "assert list(b) == [5]\n"
        "b.value = 6\nassert b.value == 6\nassert b.same().same().get() == 6\nassert b"
    )
    assert grade(BOX, tests).correct
    assert grade(BOX, "assert len(Box(5).wrapped()) == 1").reason is Reason.MISMATCH
    assert grade(BOX, "assert len(Box(5) - 1) == 1").reason is Reason.MISMATCH


@needs_sandbox
@pytest.mark.parametrize(
    "tests",
    [
        "assert 5 in Made(5)",
        "assert len(Made(5)) == 1",
        "assert Made(5)",
        "m = Made(5)\nassert 5 in m",
        "assert Made(5) - 1 is not None",
        "assert abs(Made(5) - 1) is not None",
        "def near(a, b):\n    return (a - b) is not None\nassert near(Made(5), 1)",
        "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n"
        "        self.assertIn(5, Made(5))",
    ],
)
def test_a_function_with_a_capital_gives_plain_values_too(tests):
    """`Made` may be anything; of what these tests call it for, they want a value."""
    verdict = grade(f"{BOX}\nMade = Box", tests)
    assert verdict.reason is Reason.MISMATCH
    assert "Box" in verdict.details["error"]


@needs_sandbox
@pytest.mark.parametrize(
    "tests",
    [
        "assert Box(5).get() == 5 and 5 in Box(5)",
        "boxes = [Box(n) for n in range(3)]\nassert [b.get() for b in boxes] == [0, 1, 2]\n"
        "assert 1 in boxes[1]",
        "def make():\n    return Box(5)\nb = make()\nassert b.value == 5 and len(b) == 1",
        "def look(box):\n    assert box.get() == 5\nlook(Box(5))\nassert 5 in Box(5)",
        "import unittest\nclass T(unittest.TestCase):\n    def setUp(self):\n"
        "        self.box = Box(5)\n    def test(self):\n"
        "        self.assertEqual(self.box.get(), 5)\n        self.assertIn(5, self.box)",
        "for b in [Box(5)]:\n    assert b.get() == 5 and list(b) == [5]",
        "assert values([Box(1), Box(2)]) == [1, 2]",
        "b = Box(3)\nassert values((b,)) == [3] and 3 in b",
        "many = Many()\nmany.add(Box(3))\nassert many.first() == 3",
    ],
)
def test_what_the_tests_use_as_an_object_is_one(tests):
    code = (
        f"{BOX}\ndef values(boxes):\n    return [b.value for b in boxes]\n"
        "class Many(list):\n    def add(self, box):\n        self.append(box)\n"
        "    def first(self):\n        return self[0].value"
    )
    assert grade(code, tests).correct


@needs_sandbox
def test_an_object_of_a_class_that_extends_a_container_is_one():
    code = (
        "from collections import OrderedDict\nclass Cache(OrderedDict):\n"
        "    def put(self, key, value):\n        self[key] = value\n"
        "    def get(self, key):\n        return OrderedDict.get(self, key, -1)"
    )
    tests = "c = Cache()\nc.put(1, 2)\nassert c.get(1) == 2 and c.get(3) == -1\nassert len(c) == 1"
    assert grade(code, tests).correct
    assert grade(code, tests.replace("== 2", "== 3")).reason is Reason.MISMATCH


@needs_sandbox
def test_iterators_and_functions_cross_as_what_can_be_taken_or_called():
    code = (
        "def squares(n):\n    for i in range(n):\n        yield i * i\n"
        "def endless():\n    n = 0\n    while True:\n        yield n\n        n += 1\n"
        "def breaks():\n    yield 1\n    raise KeyError('x')\n"
        "def adder(a):\n    return lambda b: a + b\n"
        "def keys(d):\n    return d.keys()\n"
    )
    tests = (
        "assert list(squares(5)) == [0, 1, 4, 9, 16]\nassert list(squares(3000))[-1] == 2999 ** 2\n"
        "g = endless()\nassert next(g) == 0 and next(g) == 1\n"
        "assert [n for n, _ in zip(endless(), range(9))][-1] == 8\n"
        "assert adder(2)(3) == 5\nassert sorted(keys({'a': 1})) == ['a']\n"
        "b = breaks()\nassert next(b) == 1\n"
        "try:\n    next(b)\n    assert False\nexcept KeyError:\n    pass"
    )
    verdict = grade(code, tests)
    assert verdict.correct, verdict
    assert grade(code, "assert squares(2) == [0, 1]").reason is Reason.MISMATCH
    assert grade(code, "assert len(squares(2)) == 2").reason is Reason.MISMATCH


@needs_sandbox
@pytest.mark.parametrize("isolation", ["separate", "shared"])
@pytest.mark.parametrize(
    "tests",
    [
        "assert close(add(2, 3), 5)\ndef close(a, b):\n    return abs(a - b) < 1e-9",
        "def test_add():\n    assert close(add(2, 3), 5)\ndef close(a, b):\n    return a == b",
        "if True:\n    def close(a, b):\n        return a == b\nassert close(add(2, 3), 5)",
        "from math import isclose as close\nassert close(add(2, 3), 5)",
    ],
)
def test_helpers_that_the_tests_define_are_the_tests_own(tests, isolation):
    """The answer's `close` never runs, wherever the tests define theirs."""
    code = f"def close(a, b):\n    raise KeyError('of the answer')\n{WRONG}"
    verdict = grade(code, tests, entry_point="add", isolation=isolation)
    assert not verdict.correct
    assert "of the answer" not in str(verdict.details)


def extract(text, tests="assert add(1, 1) == 2", **options):
    return get_verifier("python_code").extract(text, example(tests, **options))


def test_of_several_blocks_the_one_that_defines_what_the_tests_call_is_the_solution():
    usage = "```python\nprint(add(1, 2))\n```"
    text = f"```python\n{RIGHT}\n```\nUse it so:\n{usage}"
    assert extract(text).strip() == RIGHT
    assert extract(text, entry_point="add").strip() == RIGHT
    assert extract(text, "def check(candidate):\n    assert candidate(1, 1) == 2",
                   entry_point="add").strip() == RIGHT  # fmt: skip
    better = f"```python\n{WRONG}\n```\nNo, that is wrong:\n```python\n{RIGHT}\n```"
    assert extract(better).strip() == RIGHT  # the last of those that define it
    tests = "s = Stack()\ns.push(1)\nassert len(s) == 1"
    text = "```python\nclass Stack(list):\n    push = list.append\n```\n```python\nStack()\n```"
    assert "class Stack" in extract(text, tests)
    helped = "```python\nimport math\n```\n```python\nx = 1\n```"
    assert extract(helped).strip() == "x = 1"  # none does: the last


def test_a_solution_stands_behind_the_blocks_that_it_calls():
    helper = "```python\nimport math\ndef twice(n):\n    return 2 * n\n```"
    other = "```python\ndef unused(n):\n    return n\nunused(1)\n```"
    main = "def add(a, b):\n    return math.floor(twice(a) / 2) + b"
    text = f"{other}\n{helper}\nthen\n```python\n{main}\n```"
    code = extract(text)
    assert "def twice" in code
    assert code.endswith(main + "\n")
    assert "unused" not in code
    # A block that has it all stands alone, also beside a namesake within itself.
    draft = "```python\ndef help_(n):\n    return n\n" + WRONG + "\n```"
    whole = "def add(a, b):\n    def help_(n):\n        return n\n    return help_(a) + b"
    assert extract(f"{draft}\n```python\n{whole}\n```").strip() == whole


@pytest.mark.parametrize(
    "made",
    [
        "from operator import add",
        "from helpers import (sub as take), plus as add",
        "add: object = lambda a, b: a + b",
        "add = lambda a, b: a + b",
    ],
)
def test_a_name_may_be_imported_or_assigned(made):
    text = f"```python\n{made}\n```\n```python\nprint(add(1, 2))\n```"
    assert extract(text).strip() == made
    used = "```python\nadd == 3\n```"
    assert extract(f"```python\n{RIGHT}\n```\n{used}").strip() == RIGHT


def test_a_sample_of_output_is_no_program():
    text = "```python\nprint(2)\n```\nIt prints\n```\n2\n```"
    asked = example([{"stdin": "", "stdout": "2"}])
    assert get_verifier("python_code").extract(text, asked).strip() == "print(2)"
    bare = "```\nprint(2)\n```"
    assert get_verifier("python_code").extract(bare, asked).strip() == "print(2)"


def test_a_fence_within_a_docstring_is_part_of_the_code():
    code = (
        'def add(a, b):\n    """Adds.\n\n    ```python\n    add(1, 2)\n    ```\n    """\n'
        "    return a + b"
    )
    assert extract(f"```python\n{code}\n```\nDone.").strip() == code
    assert extract(f"```python\n{code}").strip() == code  # cut off at the end


def test_a_block_that_was_left_open_ends_where_the_next_one_opens():
    text = f"```python\n{WRONG}\n\nNo. Better:\n```python\n{RIGHT}\n```"
    assert extract(text).strip() == RIGHT
    assert extract(f"```python\n{RIGHT}\n```That is it.").strip() == RIGHT


def test_parts_of_a_solution_in_several_blocks_are_put_together():
    tests = "assert add(1, 1) == 2\nassert sub(1, 1) == 0"
    sub = "def sub(a, b):\n    return a - b"
    text = f"First:\n```python\n{RIGHT}\n```\nand then\n```python\n{sub}\n```"
    code = extract(text, tests)
    assert "def add" in code
    assert "def sub" in code


@pytest.mark.parametrize(
    "text",
    [
        f"```python\n{RIGHT}",
        f"So:\n\n```python\n{RIGHT}\n",
        f"```python\n{RIGHT}\n      ```\nDone.",
        "1. ```python\n   def add(a, b):\n       return a + b\n   ```",
        "- ```python\n  def add(a, b):\n      return a + b\n  ```\n- Done.",
        "1. The code:\n    ```python\n    def add(a, b):\n        return a + b\n    ```",
        "- so:\n\t```python\n\tdef add(a, b):\n\t    return a + b\n\t```",
        "> ```python\n> def add(a, b):\n>     return a + b\n> ```",
        f"~~~python\n{RIGHT}\n~~~",
        f"```Python\n{RIGHT}\n```",
        f"```python3\n{RIGHT}\n```",
        f"``` python\n{RIGHT}\n```",
        f"```py title=\"x.py\"\n{RIGHT}\n```",
        f"```{{.python}}\n{RIGHT}\n```",
        f"````python\n{RIGHT}\n````",
    ],
)  # fmt: skip
def test_unclosed_and_indented_fences_hold_code_too(text):
    code = extract(text)
    assert isinstance(code, str)
    compile(code, "answer.py", "exec")
    assert code.strip() == RIGHT


def test_a_block_that_is_cut_off_is_no_solution_where_an_earlier_one_is_whole():
    text = f"```python\n{RIGHT}\n```\nor\n```python\ndef add(a, b):\n    retu"
    assert extract(text).strip() == RIGHT


@needs_sandbox
@pytest.mark.parametrize("isolation", ["separate", "shared"])
def test_a_test_that_is_skipped_as_it_runs_has_asserted_nothing(isolation):
    tests = (
        "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n"
        "        if add(2, 3) != 5:\n            self.skipTest('not today')\n"
        "        self.assertEqual(add(0, 1), 1)\n"
        "    @unittest.skip('never')\n    def test_left_out(self):\n        self.fail()\n"
        "    @unittest.expectedFailure\n    def test_marked(self):\n"
        "        self.assertEqual(1, 2)\n"
    )
    assert grade(RIGHT, tests, isolation=isolation).correct
    assert not grade(WRONG, tests, isolation=isolation).correct
    surprising = tests.replace("assertEqual(1, 2)", "assertEqual(add(1, 1), 2)")
    assert not grade(RIGHT, surprising, isolation=isolation).correct
