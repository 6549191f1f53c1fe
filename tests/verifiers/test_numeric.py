r"""numeric, one family of spellings after the other: (gold, answer, options, right)."""

import pytest

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.types import Example, Reason
from oneshot_rlvr.verifiers import get_verifier


def check(gold, answer, **extra):
    example = Example("x", "q", gold, "numeric", extra=extra)
    return get_verifier("numeric").check(rf"\boxed{{{answer}}}", example)


WHAT_STANDS_BEFORE_AN_EQUALS_SIGN = [
    ("5", "x = 5", True),
    ("5", "= 5", True),
    ("5", r"\approx 5", True),
    ("5", "v_0 = 5", True),
    ("5", r"v_{\text{max}} = 5", True),
    ("5", r"\text{Total cost} = \$5", True),
    ("5", "Total cost (2024) = 5", True),
    ("5", r"\bar{x} = 5", True),
    ("5", r"\mu = 5", True),
    ("5", r"\Delta H = 5", True),
    ("5", "f(3) = 5", True),
    ("5", r"P(X > 3) = 5", True),
    ("5", r"\frac{dy}{dx} = 5", True),
    ("5", "P/E = 5", True),
    ("5", "R^2 = 5", True),
    ("5", "pH = 5", True),
    ("5", "NPV = 5", True),
    ("50 N", r"F = ma = 5 \times 10 = 50\text{ N}", True),
    ("5", "4 + 1 = 5", True),
    ("5", r"\frac{10}{2} = 5", True),
    ("5", r"\sqrt{25} = 5", True),
    ("5", "20% * 25 = 5", True),
    ("5", "2 * (1 + 1.5) = 5", True),
    ("0.67", r"\frac{2}{3} \approx 0.67", True),
    ("2/3", r"\frac{2}{3} \approx 0.67", True),
    ("1200", r"1234 \approx 1200", True),
    ("5", "x := 5", True),
    ("5", "5 = x", True),
    ("5", "Answer: 5", True),
    ("5 cm", "50 mm = 5 cm", True),
    ("5 cm", "60 mm = 5 cm", False),
    ("6 cm", "60 mm = 5 cm", False),
    ("5", "5 mod 7", False),
    ("5", "5:1", False),
    ("5", "5...", False),
    ("5", r"\(x = 5\)", True),
    ("5", "x >= 5", False),
    ("5", "x ≥ 5", False),
    ("5", r"x \geq 5", False),
    ("5", "x <= 5", False),
    ("5", "x != 5", False),
    ("5", "x ≠ 5", False),
    ("5", r"x \neq 5", False),
    ("5", r"x \ne 5", False),
    ("5", "x => 5", False),
    ("5", "x < 5", False),
    ("5", "x > 5", False),
    ("5", "!= 5", False),
    ("5", "x == 5", True),
    ("5", r"x \equiv 5", False),
    ("5", r"x \in 5", False),
    ("5", r"x \to 5", False),
    ("5", "x ∼ 5", False),
    ("5", "2x = 5", False),
    ("5", "-x = 5", False),
    ("5", "x + y = 5", False),
    ("5", "x + 5 = 5", False),
    ("5", "x^2 = 5", False),
    ("5", "x/2 = 5", False),
    ("5", "1/x = 5", False),
    ("5", "xy = 5", False),
    ("5", "a b = 5", False),
    ("5", r"\sqrt{x} = 5", False),
    ("5", r"\log x = 5", False),
    ("5", "|x| = 5", False),
    ("5", "x(x+1) = 5", False),
    ("5", "3! = 5", False),
    ("5", "6 = 5", False),
    ("12", r"13 \approx 12", False),
    ("13", r"12 \approx 13", False),
    ("5", "4 + 2 = 5", False),
    ("5", "x = 6 = 5", False),
    ("6", "x = 6 = 5", False),
    ("5", "x = 6 or x = 5", False),
    ("5", "x = 6, y = 5", False),
    ("5", "not x = 5", False),
    ("5", "the wrong answer = 5", False),
]


@pytest.mark.parametrize(("gold", "answer", "right"), WHAT_STANDS_BEFORE_AN_EQUALS_SIGN)
def test_what_stands_before_an_equals_sign_must_name_the_value_or_come_to_it(gold, answer, right):
    assert check(gold, answer).correct is right


BEHIND_A_NUMBER = [
    ("3 apples", True),
    ("3 red apples", True),
    ("3 men", True),
    ("3 kg", True),
    ("3 kg/m^3", True),
    ("3 people per car", True),
    ("3 dollars a day", True),
    ("3 cups of flour", True),
    ("3 apples left", True),
    ("3 in total", True),
    ("3 years old", True),
    ("3m", True),
    ("3mL", True),
    ("3 units", True),
    ("3 °C", True),
    ("3 square meters", True),
    ("3 meters squared", True),
    ("3 m/s", True),
    ("3 tenths", False),
    ("3 hundredths", False),
    ("3 thousandths", False),
    ("3 halves", False),
    ("3 quarters", False),
    ("3 fifths", False),
    ("3 tens", False),
    ("3 factorial", False),
    ("3 twelfths", False),
    ("3 sixteenths", False),
    ("3 billionths", False),
    ("3 quadrillion", False),
    ("3 ones", False),
    ("3C2", False),
    ("3 squares", True),
    ("3 square", False),
    ("3 PM", True),
    ("3 squared", False),
    ("3 cubed", False),
    ("3 gross", False),
    ("3 score", False),
    ("3 pairs", False),
    ("3 couples", False),
    ("3 dozen", False),
    ("3 lakh", False),
    ("3 crore", False),
    ("3 millions", False),
    ("3 below zero", False),
    ("3 fold", False),
    ("3-fold", False),
    ("3fold", False),
    ("3 point five", False),
    ("3 times", False),
    ("3 or so", False),
    ("3 out of ten", False),
    ("3 in base five", False),
    ("3 binary", False),
    ("3 twenty", False),
    ("3 radicals and more", False),
    ("3 is wrong", False),
    ("3x", False),
    ("3 x", False),
    ("3x^2", False),
    ("3xy", False),
    ("3 xy", False),
    ("3 x y", False),
    ("3abc", False),
    ("3π", False),
    ("3 \\pi", False),
    ("3i", False),
    ("3e", False),
    ("3!", False),
    ("3^2", False),
    ("3(x)", False),
    ("3 per 6 people", False),
    ("3 twenties", False),
    ("3 fives", False),
    ("3 y", False),
    ("3y", False),
    ("3%", False),
    ("3 percent", False),
    ("3 ppm", False),
    # These place what is counted; below zero, less and past make another number.
    ("3 hours ago", True),
    ("3 days later", True),
    ("3 km away", True),
    ("3 feet tall", True),
    ("3 minutes late", True),
    ("3 less", False),
    ("3 past two", False),
    ("3 degrees below zero", False),
]


@pytest.mark.parametrize(("answer", "right"), BEHIND_A_NUMBER)
def test_without_a_unit_in_the_gold_only_a_unit_may_follow_the_number(answer, right):
    assert check("3", answer).correct is right


@pytest.mark.parametrize(
    ("gold", "answer"),
    [("0.3", "3 tenths"), ("36", "3 dozen"), ("300000", "3 lakh"), ("3e7", "3 crore"),
     ("3500000", "35 hundred thousand"), ("3000000", "3 millions"), ("0.03", "3 hundredths")],
)  # fmt: skip
def test_words_that_are_numbers_count(gold, answer):
    assert check(gold, answer).correct


UNITS = [
    # spelling
    ("5 cm^2", "5 cm2", True),
    ("5 cm^2", "5 cm²", True),
    ("5 cm^2", "5 sq. cm", True),
    ("5 m^3", "5 cubic meters", True),
    ("5 m/s^2", "5 m s-2", True),
    ("5 m/s^2", "5 m s⁻²", True),
    ("5 m/s^2", "5 meters per second squared", True),
    ("5 m/s^2", "5 meters per second per second", True),
    ("5 m/s^2", r"5\ \mathrm{m}/\mathrm{s}^2", True),
    ("5 m/s^2", r"5 \frac{\text{m}}{\text{s}^2}", True),
    ("5 m/s^2", r"5\ \mathrm{m\,s^{-2}}", True),
    ("5 m/s^2", "5 m/s", False),
    ("5 J/(kg K)", "5 J/kg·K", True),
    ("5 J/(kg K)", "5 J kg^-1 K^-1", True),
    ("5 J/(kg K)", "5 J K/kg", False),
    ("5 mg", r"5000\,\mu\text{g}", True),
    ("5 mg", r"5000\ \mu g", True),
    ("5 mg", r"5000\text{ }\mu\mathrm{g}", True),
    ("5 mg", "5000 mcg", True),
    ("5 mg", "5000 ug", True),
    ("5 mg", "5 mcg", False),
    ("12 cm", r"12\ \text{cm}", True),
    ("5 kg", "5 KG", True),
    ("5 kg", "5 Kgs", True),
    ("5 kWh", "5 kwh", True),
    ("5 km/h", "5 kmph", True),
    ("5 km/h", "5 mph", False),
    ("5 s", "5 S", False),
    ("5 mA", "5 MA", False),
    ("5 mg", "5 Mg", False),
    ("5 people", "5 persons", True),
    ("5 children", "5 child", True),
    ("5 apples", "5 oranges", False),
    ("5 apples", "5", True),
    # physics
    ("5 N m", "5 Nm", True),
    ("5 J", "5 N·m", True),
    ("5 Nm", "5 nm", False),
    ("5 Nm", "5000 mNm", True),
    ("5 N s", "5 kg m/s", True),
    ("60 rpm", "1 Hz", True),
    ("60 rpm", "6.283185307179586 Hz", False),
    ("60 rpm", "6.283185307179586 rad/s", True),
    ("5 Gy", "5 Sv", False),
    ("1 AU", "149597870.7 km", True),
    ("1 acre", "43560 sq ft", True),
    ("8 Gb", "1 GB", True),
    ("90°", r"\frac{1}{4} turn", True),
    ("2 atm", "1520 torr", True),
    # temperature
    ("37 °C", "37 degrees Celsius", True),
    ("37 °C", "37 deg C", True),
    ("37 °C", r"37\,^\circ\mathrm{C}", True),
    ("37 degC", "98.6 degrees Fahrenheit", True),
    ("37 degC", "98.6 F", True),
    ("37 degC", "37 F", False),
    ("37 °C", "310.15 K", True),
    ("37 °C", "37 K", False),
    ("5 C", "5 F", False),
    # medicine
    ("10 units", "10 U", True),
    ("10 IU", "10 international units", True),
    ("10 units", "10 nits", False),
    ("2 IU/mL", "2000 mIU/mL", True),
    ("72 bpm", "72 beats per minute", True),
    ("72 bpm", "72 beats/min", True),
    ("72 bpm", "72 beats per second", False),
    ("33 gtt/min", "33 drops/min", True),
    ("33 gtt/min", "1980 drops/h", True),
    ("10 mEq/L", "10 meq/L", True),
    ("10 mEq/L", "0.01 Eq/L", True),
    ("285 mOsm/kg", "0.285 Osm/kg", True),
    ("6 mo", "6 months", True),
    ("6 mo", "6 min", False),
    ("2 wk", "14 days", True),
    ("2 decades", "20 years", True),
    ("2 decades", "2", True),
    ("7.4", "7.4 pH", True),
    ("60 mL/min/1.73 m^2", "60 mL/min/1.73 m2", True),
    ("60 mL/min/1.73 m^2", "60 mL/min/1.73m²", True),
    ("60 mL/min/1.73 m^2", "60 mL/min", False),
    ("60 mL/min/1.73 m^2", "60", True),
    ("90 mg/dL", "90 mg/100 mL", True),
    ("5 mcg/kg/min", "0.005 mg/kg/min", True),
    ("5 mL", "5 cc", True),
    ("120 mmHg", "120 mm Hg", True),
    ("120 mmHg", "120 mm of mercury", True),
    ("5 grams", "5 grams of fat", True),
    # blood pressure
    ("120/80 mmHg", "120/80 mmHg", True),
    ("120/80 mmHg", "120/80", True),
    ("120/80 mmHg", "120 over 80", True),
    ("120/80 mmHg", "90/60 mmHg", False),
    ("120/80 mmHg", "1.5 mmHg", False),
    ("120/80", "90/60", False),
    ("120/80", "120/80", True),
    ("120/80", "1.5", False),
    ("120/80", "3/2", False),
    ("3/2", "6/4", True),
    ("1.5", "120/80", True),
    ("1.5 mmHg", "120/80", False),
    ("5/2", "2.5", True),
    # finance
    ("25 bps", "25 basis points", True),
    ("25 bps", "0.25%", True),
    ("0.25%", "25 bps", True),
    ("25 bps", "0.0025", True),
    ("25 bps", "2.5%", False),
    ("5%", "5 per cent", True),
    ("5%", "5 percentage points", True),
    ("1 ppm", "1e-6", True),
    ("1 ppm", "1000 ppb", True),
    ("1 ppm", "1 mg/kg", True),
    ("5‰", "0.005", True),
    ("$1", "100 cents", True),
    ("$1", "1 cent", False),
    ("50 cents", r"\$0.50", True),
    ("50 cents", r"\$50", False),
    ("€1", "100 cents", True),
    ("£1", "100 pence", True),
    ("£5", "5 pounds", True),
    ("5 pounds", "£5", False),
    ("5 CAD", r"\$5", True),
    ("5 CAD", "5 USD", False),
    ("$5", "€5", False),
    ("$5 per hour", r"\$5/h", True),
    ("$5 per hour", r"\$5 per day", False),
    ("$12/h", r"\$0.20 per minute", True),
    ("$5 million", "$5MM", True),
    ("5 million dollars", r"\$5M", True),
    ("-$1,250", r"(\$1,250)", True),
    ("-1250", "(1,250)", True),
    ("-$1,250", r"\$(1,250)", True),
    ("$1,250", r"(\$1,250)", False),
    ("-5%", "(5%)", True),
    ("-$5", "(5)", True),
    ("5", "(5)", True),
    ("500000", "5,00,000", True),
    # compound
    ("2.5 h", "2 h 30 min", True),
    ("150 min", "2 hours and 30 minutes", True),
    ("2 h 30 min", "2.5 h", True),
    ("2 h 30 min", "2.3 h", False),
    ("5 ft 3 in", "63 in", True),
    ("5 ft 3 in", "5'3\"", True),
    ("5 ft 3 in", "5 ft", False),
    ("5 ft 3 in", "15 ft^2", False),
    ("5 lb 4 oz", "5.25 lb", True),
    ("5 dollars and 30 cents", r"\$5.30", True),
    ("5 ft 3 in", "5'3''", True),
    ("5 ft 3 in", "5′3″", True),
    ("1.5 h", "1h30m", True),
    ("90 m", "1h30m", False),
    ("5", "5 kg and 6 kg", False),
    ("5 h", "5 min 3 h", False),
]  # fmt: skip


@pytest.mark.parametrize(("gold", "answer", "right"), UNITS)
def test_units_are_read_as_people_write_and_mean_them(gold, answer, right):
    assert check(gold, answer).correct is right


NUMBERS = [
    ("5000", "5·10^3", True),
    ("5000", r"5 \cdot 10^{3}", True),
    ("0.005", "5×10⁻³", True),
    ("1000", "10^3", True),
    ("0.5", "½", True),
    ("42", "４２", True),
    ("42", r"\textcolor{red}{42}", True),
    ("42", r"\underline{42}", True),
    ("42", r"\fbox{42}", True),
    ("42", "{42}", True),
    ("42", "42,", True),
    ("42", r"\texttt{42}", True),
    ("$1", "¢100", True),
    ("7.35 pH", "pH 7.35", True),
    ("2.5", "2½", True),
    ("0.75", r"\frac34", True),
    ("-5", "negative 5", True),
    ("-5", "\u22125", True),
    ("5", r"\pm 5", False),
    ("-5", "+-5", False),
    ("5", "5 ± 0.1", False),
    ("5", "3:30", False),
    ("1250.5", "1.250,50", False),
]


@pytest.mark.parametrize(("gold", "answer", "right"), NUMBERS)
def test_numbers_are_read_as_people_write_them(gold, answer, right):
    assert check(gold, answer).correct is right


TOLERANCES = [
    ("0.3", "0.4", {"abs_tol": 0.1}, True),
    ("2.5", "2.6", {"abs_tol": 0.1}, True),
    ("2.5", "2.4", {"abs_tol": 0.1}, True),
    ("2.5", "2.6000001", {"abs_tol": 0.1}, False),
    ("7", "7.07", {"rel_tol": 0.01}, True),
    ("7", "6.93", {"rel_tol": 0.01}, True),
    ("7", "7.0700001", {"rel_tol": 0.01}, False),
    ("0.1", "0.11", {"rel_tol": 0.1}, True),
    ("1e-20", "1.1e-20", {"rel_tol": 0.1}, True),
    ("7 m", "707 cm", {"rel_tol": 0.01}, True),
    ("7 m", "707.1 cm", {"rel_tol": 0.01}, False),
    ("0", "1e-30", {}, False),
    ("0", "1e-399", {}, False),  # which a float holds as 0
]


@pytest.mark.parametrize(("gold", "answer", "options", "right"), TOLERANCES)
def test_the_edge_of_the_tolerance_is_inside_whatever_floats_make_of_it(
    gold, answer, options, right
):
    assert check(gold, answer, **options).correct is right


@pytest.mark.parametrize(
    ("gold", "answer"),
    [("5", "9" * 60 + "^" * 9), ("5", "(" * 150 + "5" + ")" * 140), ("5", "2^64^64^64 = 5"),
     ("5", "1/(1-1) = 5"), ("5", "(-8)^.5 = 5"), ("5", "1e9999"), ("5", "5 kg/0 m"),
     ("5", "5 " + "m" * 59), ("5", "5" + "²" * 20), ("5", "5/0")],
)  # fmt: skip
def test_numbers_that_have_no_meaning_are_wrong_and_raise_nothing(gold, answer):
    assert not check(gold, answer).correct


@pytest.mark.parametrize("unit", ["bpm", "IU", "Nm", "bps", "mEq/L", "°C", "mL/min/1.73 m^2", "$"])
def test_units_of_the_table_may_be_asked_for(unit):
    example = Example("x", "q", "5", "numeric", extra={"unit": unit})
    get_verifier("numeric").check_gold(example)
    assert check("5", "6", unit=unit).reason is Reason.MISMATCH


@pytest.mark.parametrize("gold", ["x >= 5", "12 \\approx 13", "5 or 6", "5 tenths and 3", "about"])
def test_golds_that_state_no_number_are_refused(gold):
    with pytest.raises(DataError, match="not a number"):
        get_verifier("numeric").check_gold(Example("x", "q", gold, "numeric"))


def test_a_bare_gold_may_be_a_ratio_only_where_the_question_asks_for_one():
    kind = get_verifier("numeric")
    for question, right in (
        ("By what percentage did it grow?", True),
        ("How many are left?", False),
    ):
        asked = Example("x", question, "5", "numeric")
        assert kind.check(r"\boxed{5\%}", asked).correct is right
        assert kind.check(r"\boxed{5}", asked).correct
        assert not kind.check(r"\boxed{0.05}", asked).correct


@pytest.mark.parametrize("gold", ["5 hours", "5 h"])
def test_words_that_place_what_is_counted_do_not_change_its_unit(gold):
    for said in ("5 hours ago", "5 hours later", "5 hours long", "300 minutes earlier"):
        assert check(gold, said).correct, said
    assert not check(gold, "5 minutes ago").correct
