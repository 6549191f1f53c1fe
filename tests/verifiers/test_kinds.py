"""What each kind accepts and rejects: by hand, one line a case."""

import pytest

from oneshot_rlvr.errors import DataError, UnknownNameError
from oneshot_rlvr.types import Example, Reason
from oneshot_rlvr.verifiers import get_verifier


def check(kind, gold, text, **extra):
    return get_verifier(kind).check(text, Example("x", "q", gold, kind, extra=extra))


@pytest.mark.parametrize(
    ("text", "strict", "lenient"),
    [
        (r"\boxed{5}", "correct", "correct"),
        ("The answer is 5.", "no_answer", "correct"),
        ("The final answer is: $5$.", "no_answer", "correct"),
        ("so\n#### 5", "no_answer", "correct"),
        ("**Answer:** 5", "no_answer", "correct"),
        ("2 + 3 = 5", "no_answer", "correct"),
        ("work\n5", "no_answer", "correct"),
        (r"The answer is 5, no: \boxed{6}", "mismatch", "mismatch"),
        ("I have 5 cats and a dog", "no_answer", "no_answer"),
        ("The answer is 6 and not 5", "no_answer", "mismatch"),
        ("output the final answer within \\boxed{}.", "no_answer", "no_answer"),
        ("", "no_answer", "no_answer"),
    ],
)
def test_strict_reads_a_box_and_lenient_other_final_statements_too(text, strict, lenient):
    for kind in ("math_answer", "numeric"):
        assert check(kind, "5", text, extraction="strict").reason == strict
        verdict = check(kind, "5", text, extraction="lenient")
        assert verdict.correct == (lenient == "correct")
    assert check("math_answer", "5", text).reason == strict  # the default


NUMERIC = [
    ("1250", "1,250.00", {}, True),
    ("$1,250.00", r"\$1250", {}, True),
    ("1250", "€1250", {"unit": "USD"}, False),
    ("$5", "5 dollars", {}, True),
    ("5%", "5 percent", {}, True),
    ("5%", "0.05", {}, True),
    ("0.05", "5%", {}, True),
    ("20", r"20\%", {}, False),  # but where the question asks for per cent: test_numeric.py
    ("5%", "0.5", {}, False),
    ("18", r"\$18", {}, True),
    ("18", "18 dollars", {}, True),
    ("18", "x = 18", {}, True),
    ("3", "3 apples", {}, True),
    ("3", "3 or 4", {}, False),
    ("3", "3 apples and 4 pears", {}, False),
    ("3 m^2", "30000 cm^2", {}, True),
    ("5 mg", "0.005 g", {}, True),
    ("5 mg", "5 g", {}, False),
    ("5 mg", "5", {}, True),
    ("1.5 hours", "90 minutes", {}, True),
    ("1.6e-19", r"1.6 \times 10^{-19}", {}, True),
    ("1.6e-19", "1.7e-19", {}, False),
    ("10", "10.4", {"rel_tol": 0.05}, True),
    ("10", "10.6", {"rel_tol": 0.05}, False),
    ("10", "10.4", {"abs_tol": 0.5}, True),
    ("-3", "\u22123", {}, True),
    ("3", "-3", {}, False),
    ("0.5", "1/2", {}, True),
    ("0.5", r"\frac{1}{2}", {}, True),
    ("12", "12 or 13", {}, False),
    ("12", "1 2", {}, False),
    ("70", r"70\text{ kg}", {"unit": "kg"}, True),
    ("70", "70000 g", {"unit": "kg"}, True),
    ("212 degF", "100 degC", {}, True),
    ("37 °C", r"37^\circ\text{C}", {}, True),
    ("37 °C", r"37^{\circ}C", {}, True),
    ("5 mg", "5000 μg", {}, True),
    ("5 mg", "5 ml", {}, False),
    ("9.8 m/s^2", r"9.8 \ \mathrm{m/s^2}", {}, True),
    ("100 N", "100 kg m/s^2", {}, True),
    ("3000000", "$3 million", {}, True),
    ("$3.2 billion", "3,200,000,000", {}, True),
    ("$5000", "$5k", {}, True),
    ("1250", "USD 1,250", {}, True),
    ("1250", r"\text{about } 1250", {}, True),
    ("1250", "at least 1250", {}, False),
    ("1250", "1250 to 1300", {}, False),
    ("5", "5 million", {}, False),
    ("5", "5 dozen", {}, False),
    ("5", "5k", {}, False),
    ("5", "5x", {}, False),  # a variable
    ("5", "5^2", {}, False),
    ("5", "5 squared", {}, False),
    ("5", "2+3", {}, False),
    ("2.5", "2 1/2", {}, True),
    ("2.5", r"2\frac{1}{2}", {}, True),
    ("10.5", r"2\frac{1}{2}", {}, False),  # not 21/2
    ("150 pounds", "150 lb", {}, True),
    ("150 pounds", "£150", {}, False),  # pounds are a weight where no £ says otherwise
    ("£150", "150 pounds", {}, True),
    ("150 pounds", "150 kg", {}, False),
    ("5 EUR", "€5", {}, True),
    ("5", "CHF 5", {"unit": "CHF"}, True),
]


@pytest.mark.parametrize(("gold", "answer", "options", "right"), NUMERIC)
def test_numbers_with_tolerance_and_units(gold, answer, options, right):
    assert check("numeric", gold, rf"\boxed{{{answer}}}", **options).correct is right


def test_a_unit_that_nobody_knows_is_refused_at_load_time():
    for unit in ("nosuchunit", "mg mg mg/", "5"):
        with pytest.raises(DataError, match=unit):
            get_verifier("numeric").check_gold(
                Example("x", "q", "5", "numeric", extra={"unit": unit})
            )
    for unit in ("mg", "%", "USD", "£", "m/s^2", "degC"):
        get_verifier("numeric").check_gold(Example("x", "q", "5", "numeric", extra={"unit": unit}))


CHOICES = ["the cat", "the dog", "a cow", "none of these"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (r"\boxed{B}", "correct"),
        (r"\boxed{\text{(B)}}", "correct"),
        (r"\boxed{b}", "correct"),
        (r"\boxed{B. the dog}", "correct"),
        (r"\boxed{the dog}", "correct"),
        ("A is too small, C too big. The answer is (B).", "correct"),
        ("A? No.\nAnswer: B", "correct"),
        ("B", "correct"),
        (r"\boxed{A}", "mismatch"),
        (r"\boxed{A, B}", "ambiguous"),
        ("The answer is A or B.", "ambiguous"),
        (r"\boxed{A}, \boxed{B}, \boxed{C}, \boxed{D}", "ambiguous"),
        ("The dog is what I like.", "no_answer"),
        ("I think about it.", "no_answer"),
        (r"\boxed{E}", "no_answer"),
        (r"\boxed{}", "no_answer"),
        ("", "no_answer"),
        (r"\boxed{A. the dog}", "ambiguous"),  # the label says one, the text the other
        (r"\boxed{\mathbf{B}}", "correct"),
        (r"\boxed{\textbf{(B)}\ \text{the dog}}", "correct"),
        ("The answer is (B) because dogs are not cats.", "correct"),
        ("**Answer: B**", "correct"),
        ("The correct answer is: **(B) the dog**", "correct"),
        ("The answer is:\n\nB", "correct"),
        ("So B is the best choice.", "correct"),
        ("I choose B", "correct"),
        ("A cat is bigger, so B.", "correct"),
        ("The answer is A. No, the answer is B.", "correct"),
        ("A. the cat\nB. the dog\nC. a cow\nD. none of these\nB", "correct"),
        ("The answer is not B.", "no_answer"),
        ("I am not sure, could be B.", "no_answer"),
        ("It is B, not A.", "correct"),
        ("Vitamin B is good.", "no_answer"),
        ("Plan B", "no_answer"),
        ("A. the cat\nB. the dog", "ambiguous"),
        ("What is the right answer:\nB. the dog\nC. a cow", "ambiguous"),
    ],
)
def test_one_option_in_a_final_statement(text, reason):
    assert check("multiple_choice", "B", text, choices=CHOICES).reason == reason


def test_choices_come_in_three_shapes_and_golds_as_label_or_text():
    table = {"label": ["1", "2"], "text": ["x", "y"]}
    assert check("multiple_choice", "2", r"\boxed{2}", choices=table).correct
    assert check("multiple_choice", "y", r"\boxed{B}", choices={"A": "x", "B": "y"}).correct
    assert check("multiple_choice", "C", r"\boxed{C}").correct
    with pytest.raises(DataError, match="'Z'"):
        check("multiple_choice", "Z", r"\boxed{A}", choices=CHOICES)
    for uneven in ({"label": ["A", "B"], "text": ["x"]}, ["x"], "xy", {"A": "x"}):
        with pytest.raises(DataError, match="choices"):
            check("multiple_choice", "A", r"\boxed{A}", choices=uneven)


@pytest.mark.parametrize(
    ("gold", "answer", "options", "right"),
    [
        ("Paris", " paris. ", {}, True),
        ("Paris", r"\text{Paris}", {}, True),
        ("Paris", '"Paris"', {}, True),
        ("Paris", "PARIS", {"case_sensitive": True}, False),
        ("Paris", "Paris or Rome", {}, False),
        ("caf\u00e9", "cafe\u0301", {}, True),
        ("a b", "a  b", {}, True),
        ("Paris", "Paname", {"golds": ["Paname"]}, True),
        ("No", "on", {}, False),
        ("SAS", "SSA", {}, False),
        ("odd", "ddo", {}, False),
        ("Yes", r"\text{Yes}", {}, True),
        ("Yes", r"\text{ Yes. }", {}, True),
        ("Yes", r"\mathrm{yes}", {}, True),
        ("Yes", r"\textbf{Yes}", {}, True),
        ("Yes", r"$\text{Yes}$", {}, True),
        ("Yes", r"\text{No}", {}, False),
        ("Yes", r"\textbf{\text{Yes}}", {}, True),
        (r"\text{Yes}", "Yes", {}, True),
        ("Yes", "**Yes**", {}, True),
        ("New York", r"\text{New}\ \text{York}", {}, True),
        ("x{y}", "xy", {}, False),
    ],
)
def test_texts_match_after_normalisation(gold, answer, options, right):
    assert check("exact_match", gold, rf"\boxed{{{answer}}}", **options).correct is right


@pytest.mark.parametrize(
    ("pattern", "answer", "right"),
    [
        (r"\d{3}-\d{4}", "555-1234", True),
        (r"\d{3}-\d{4}", "call 555-1234", False),
        (r"(?i)yes|no", "YES", True),
        (r"(a+)+b", "a" * 50_000, False),  # exponential for a backtracking engine
        (r".+", "\x00\ud800", True),
    ],
)
def test_patterns_match_the_whole_answer_in_linear_time(pattern, answer, right):
    assert check("regex_match", pattern, rf"\boxed{{{answer}}}").correct is right


@pytest.mark.parametrize("pattern", ["(", r"(a)\1", ".*", "", "a?", r"(?=a)a"])
def test_patterns_that_cannot_be_used_are_bad_golds(pattern):
    with pytest.raises(DataError, match="'x'"):
        get_verifier("regex_match").check_gold(Example("x", "q", pattern, "regex_match"))


SCHEMA = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("gold", "text", "options", "reason"),
    [
        ('{"a": 1, "b": [1, 2]}', '```json\n{"b": [1, 2.0], "a": 1}\n```', {}, "correct"),
        ('{"a": 1}', 'It is ```{"a": 1}``` as inline', {}, "unparseable"),
        ('{"a": 1}', '{"a": 1, "b": 2}', {}, "mismatch"),
        ('{"a": 1}', '{"a": 1, "b": 2}', {"match": "subset"}, "correct"),
        ('{"a": 1}', '{"a": true}', {}, "mismatch"),
        ('{"a": 1}', '{"a": "1"}', {}, "mismatch"),
        ('{"a": 1}', '{"a": 1, "a": 1}', {}, "unparseable"),
        ("[1, 2]", "[2, 1]", {}, "mismatch"),
        ("0.1", "0.10000001", {"rel_tol": 1e-6}, "correct"),
        ("1", "NaN", {}, "no_answer"),
        ("1", "[" * 100_000, {}, "unparseable"),
        ("", '{"a": 3}', {"schema": SCHEMA}, "correct"),
        ("", '{"a": "x"}', {"schema": SCHEMA}, "mismatch"),
        ('{"a": 1}', '{"a": 2}', {"schema": SCHEMA}, "mismatch"),
        ("1", "no JSON here", {}, "no_answer"),
    ],
)
def test_json_answers(gold, text, options, reason):
    assert check("json_answer", gold, text, **options).reason == reason


@pytest.mark.parametrize(
    ("gold", "options"),
    [("{", {}), ("", {}), ("1", {"schema": {"type": 3}}), ("1", {"match": "x"})],
)
def test_json_golds_and_schemas_that_make_no_sense_are_errors(gold, options):
    with pytest.raises(DataError, match="'x'"):
        get_verifier("json_answer").check_gold(
            Example("x", "q", gold, "json_answer", extra=options)
        )


def test_amounts_of_money_are_multiples_of_a_cent_whatever_floats_make_of_them():
    schema = {"type": "number", "multipleOf": 0.01}
    for cents in range(1, 10_000):
        verdict = check("json_answer", "", f"{cents // 100}.{cents % 100:02d}", schema=schema)
        assert verdict.correct, cents
    for no_amount in ("4.025", "0.001", "1e-9", "1e999", "19.999999999"):
        assert not check("json_answer", "", no_amount, schema=schema).correct
    for draft in (
        "http://json-schema.org/draft-04/schema#",
        "http://json-schema.org/draft-03/schema#",
    ):
        key = "divisibleBy" if "03" in draft else "multipleOf"
        old = {"$schema": draft, key: 0.01}
        assert check("json_answer", "", "4.02", schema=old).correct
        assert not check("json_answer", "", "4.025", schema=old).correct
    assert check("json_answer", "", '"text"', schema={"multipleOf": 2}).correct
    assert check("json_answer", "", "true", schema={"multipleOf": 2}).correct


@pytest.mark.parametrize(
    ("number", "step", "right"),
    [
        ("1" + "0" * 400, 0.5, True),  # more than a float holds
        ("1" + "0" * 400, 7, False),
        ("-0.3", 0.1, True),
        ("0", 0.1, True),
        ("123456789012345.67", 0.01, True),
        ("1e-9", 1e-10, True),
        ("1e308", 0.01, True),
        ("7", 2, False),
        ("7.0", 2, False),
        ("8.0", 2, True),
    ],
)
def test_multiples_are_told_on_what_is_written_however_large(number, step, right):
    schema = {"type": "number", "multipleOf": step}
    assert check("json_answer", "", number, schema=schema).correct is right
    assert check("json_answer", "", "12345678901234567890", schema={"multipleOf": 10}).correct
    assert not check("json_answer", "", "12345678901234567891", schema={"multipleOf": 10}).correct


FIVE = [{"verifier": "numeric", "answer": "5"}, {"verifier": "exact_match", "answer": "five"}]


def test_any_of_needs_one_part_and_all_of_every_part():
    assert check("any_of", "", r"\boxed{5}", parts=FIVE).correct
    assert check("any_of", "", r"\boxed{Five}", parts=FIVE).correct
    assert not check("any_of", "", r"\boxed{6}", parts=FIVE).correct
    whole = [{"verifier": "numeric"}, {"verifier": "regex_match", "answer": "[0-9]"}]
    assert check("all_of", "5", r"\boxed{5}", parts=whole).correct
    assert not check("all_of", "5", r"\boxed{5.0}", parts=whole).correct


@pytest.mark.parametrize("parts", [None, [], "x", [{}], [{"verifier": "nope"}]])
def test_combinations_of_nothing_are_errors(parts):
    with pytest.raises(DataError, match="'x'"):
        check("any_of", "", "5", parts=parts)


def test_a_custom_verifier_is_the_users_own_function(tmp_path, monkeypatch):
    (tmp_path / "mine_a.py").write_text(
        "def grade(text, example):\n    return text.endswith(example.answer)\n"
        "def odd(text, example):\n    return 'yes'\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert check("custom", "5", "it is 5", function="mine_a:grade").correct
    assert check("custom", "5", "it is 6", function="mine_a:grade").reason is Reason.MISMATCH
    from oneshot_rlvr.errors import GraderError

    with pytest.raises(GraderError, match="'yes'"):
        check("custom", "5", "x", function="mine_a:odd")


@pytest.mark.parametrize(
    "path",
    ["os:system", "subprocess:call", "numpy:array", "no_such_module:f", "mine", "json:loads"],
)
def test_a_data_file_cannot_name_any_function_at_all(path):
    with pytest.raises(DataError, match=path.split(":")[0]):
        check("custom", "5", "echo hacked", function=path)


def test_an_unknown_kind_lists_all_and_names_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean"):
        get_verifier("math_anwser")


chess = pytest.importorskip("chess", reason="the extra `chess` (GPL-3) is not installed")

START = "rnbqkbnr/pppppppp/8/8/8/8/PPPPPPPP/RNBQKBNR w KQkq - 0 1"
BACK_RANK = "6k1/5ppp/8/8/8/8/8/R5K1 w - - 0 1"
CASTLE = "4k3/8/8/8/8/8/8/4K2R w K - 0 1"
# Two rooks against a king: Ra7 cuts it off, any king move, Rb8 mates.
LADDER = "7k/8/8/8/8/8/R7/1R2K3 w - - 0 1"


@pytest.mark.parametrize(
    ("fen", "gold", "answer", "options", "reason"),
    [
        (START, "e4, d4", "e4", {}, "correct"),
        (START, "e4, d4", "1. d4!", {}, "correct"),
        (START, "Nf3", "g1f3", {}, "correct"),
        (START, "g1f3", r"\text{Nf3}", {}, "correct"),
        (START, "e4", "Nf3", {}, "mismatch"),
        (START, "e4", "e5", {}, "mismatch"),  # not legal
        (START, "e4", "e4 or d4", {}, "ambiguous"),
        (START, "e4", "the pawn", {}, "unparseable"),
        (START, "e4", "hello", {}, "unparseable"),
        (CASTLE, "O-O", "0-0", {}, "correct"),
        (BACK_RANK, "Ra8#", "Ra8", {}, "correct"),
        (BACK_RANK, "", "Ra8#", {"mate_in": 1}, "correct"),
        (BACK_RANK, "", "Ra7", {"mate_in": 1}, "mismatch"),
        (LADDER, "", "Ra7", {"mate_in": 2}, "correct"),
        (LADDER, "", "Kf1", {"mate_in": 2}, "mismatch"),
    ],
)
def test_a_legal_move_among_the_best(fen, gold, answer, options, reason):
    assert check("chess_move", gold, rf"\boxed{{{answer}}}", fen=fen, **options).reason == reason


@pytest.mark.parametrize(
    ("fen", "gold", "options"),
    [
        ("nonsense", "e4", {}),
        (START, "e5", {}),
        (START, "", {}),
        (START, "", {"mate_in": 1}),
        (START, "e4", {"mate_in": 9}),
    ],
)
def test_positions_and_golds_that_make_no_sense_are_errors(fen, gold, options):
    example = Example("x", "q", gold, "chess_move", extra={"fen": fen, **options})
    with pytest.raises(DataError, match="'x'"):
        get_verifier("chess_move").check_gold(example)


PROMOTE = "8/4P1k1/8/8/8/8/8/4K3 w - - 0 1"
EN_PASSANT = "4k3/8/8/3pP3/8/8/8/4K3 w - d6 0 2"
KNIGHTS = "4k3/8/8/8/8/8/8/1N2KN2 w - - 0 1"


@pytest.mark.parametrize(
    ("fen", "gold", "answer", "right"),
    [
        (START, "Nf3", "♘f3", True),
        (START, "Nf3", "♞f3", True),
        (START, "e4", "♙e4", True),
        (START, "Nf3", "Ng1-f3", True),
        (START, "e4", "e2-e4", True),
        (START, "e4", "E2E4", True),
        (START, "e4", "1. e2–e4", True),
        (START, "Nf3", "♗f3", False),
        (START, "e4", "e2-e3", False),
        (CASTLE, "O-O", "O–O", True),
        (CASTLE, "O-O", "0–0", True),
        (PROMOTE, "e8=Q", "e8(Q)", True),
        (PROMOTE, "e8=Q", "e8=Q+", True),
        (PROMOTE, "e8=Q", "e8/Q", True),
        (PROMOTE, "e8=Q", "e8Q", True),
        (PROMOTE, "e8=Q", "e8 = Q", True),
        (PROMOTE, "e8=Q", "e8=♕", True),
        (PROMOTE, "e8=Q", "e7-e8=Q", True),
        (PROMOTE, "e8=Q", "e7e8q", True),
        (PROMOTE, "e8=Q", "e8(N)", False),
        (PROMOTE, "e8=Q", "e8=R", False),
        (PROMOTE, "e8=Q", "e8", False),
        (EN_PASSANT, "exd6", "exd6 e.p.", True),
        (EN_PASSANT, "exd6", r"e5 \times d6", True),
        (EN_PASSANT, "exd6", "e5xd6", True),
        (EN_PASSANT, "exd6", "e×d6", True),
        (BACK_RANK, "Ra8#", "Ra8 mate", True),
        (BACK_RANK, "Ra8#", r"Ra8\#", True),
        (KNIGHTS, "Nbd2", "Nb1-d2", True),
        (KNIGHTS, "Nbd2", "Nf1-d2", False),
    ],
)
def test_moves_are_read_in_figurines_and_in_the_long_way(fen, gold, answer, right):
    assert check("chess_move", gold, rf"\boxed{{{answer}}}", fen=fen).correct is right


@pytest.mark.parametrize("fields", [1, 2, 3])
def test_a_short_fen_that_would_lose_castling_is_refused_with_what_to_add(fields):
    fen = "r3k2r/8/8/8/8/8/8/R3K2R w KQkq - 0 1"
    short = " ".join(fen.split()[:fields])
    example = Example("x", "q", "O-O", "chess_move", extra={"fen": short})
    with pytest.raises(DataError, match=r"'x'.*castl"):
        get_verifier("chess_move").check_gold(example)
    for fen_of_enough in (fen, " ".join(fen.split()[:4])):
        assert check("chess_move", "O-O", r"\boxed{O-O}", fen=fen_of_enough).correct
