"""Names of units as people write them: "mg/dL", "cm2", "degrees Celsius", "bpm", "$ per hour".

A unit is read into powers of names and a scale: names that mean one thing share one name (`hr` is
`h`, `people` are `person`), numbers in a unit (`/1.73 m^2`) and ratios (`%`, `ppm`, `bps`) go into
the scale. Nothing here knows dimensions: that is units.py, by pint, for what is left unequal. The
table holds what pint does not know or takes for something else (`Nm` is a measure of yarn there,
`units` are micronits, `bps` baud, `AU` absorbance).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

MAX_UNIT_CHARS = 60
MAX_POWER = 12


@dataclass(frozen=True, slots=True)
class Unit:
    """scale * product of name ** power. Equal units are equal objects."""

    scale: Fraction
    factors: tuple[tuple[str, int], ...]

    @property
    def is_ratio(self) -> bool:
        """Whether it is a pure number other than 1, such as percent."""
        return not self.factors and self.scale != 1


NO_UNIT = Unit(Fraction(1), ())
DOLLARS = frozenset({"USD", "AUD", "CAD", "HKD", "NZD", "SGD"})
CURRENCIES = DOLLARS | {"dollar", "EUR", "GBP", "JPY", "INR", "CHF", "CNY", "KRW", "BRL", "MXN"}
OF_HUNDRED_CENTS = DOLLARS | {"dollar", "EUR"}

# name -> what it stands for, as "scale name^power ..."; the spelling counts
_MEANINGS: dict[str, str] = {
    # ratios
    "%": "1/100", "percent": "1/100", "pct": "1/100", "‰": "1/1000", "permille": "1/1000",
    "ppm": "1/1000000", "ppb": "1/1000000000", "bps": "1/10000", "bp": "1/10000",
    # money; $ is the dollar that the other side names, if it names one
    "$": "dollar", "US$": "USD", "buck": "dollar", "A$": "AUD", "C$": "CAD", "€": "EUR",
    "euro": "EUR", "£": "GBP", "¥": "JPY", "yen": "JPY", "₹": "INR", "rupee": "INR",
    "quid": "GBP", "franc": "CHF", "yuan": "CNY", "¢": "cent", "pence": "1/100 GBP",
    # time and rates
    "hr": "h", "hour": "h", "Hrs": "h", "Hr": "h", "sec": "s", "second": "s", "Sec": "s",
    "minute": "min", "Min": "min", "mo": "month", "mth": "month", "wk": "week", "y": "year",
    "yr": "year",
    "decade": "10 year", "yo": "year", "d": "day", "bpm": "beat min^-1", "kmph": "km h^-1",
    "kph": "km h^-1", "cfm": "foot^3 min^-1", "gpm": "gallon min^-1", "rev": "revolution",
    "lpm": "L min^-1", "fps": "foot s^-1",
    # mechanics and electricity
    "Nm": "N m", "kNm": "1000 N m", "mNm": "1/1000 N m", "Nmm": "1/1000 N m", "Ncm": "1/100 N m",
    "Ns": "N s", "Js": "J s", "Pas": "Pa s", "mPas": "1/1000 Pa s", "AU": "astronomical_unit",
    "kwh": "kWh", "KWh": "kWh", "Kwh": "kWh", "KWH": "kWh", "cal": "calorie", "Cal": "kcal",
    "Ω": "ohm", "Ohm": "ohm", "Å": "angstrom", "gram": "g", "gm": "g", "KG": "kg", "Kg": "kg",
    "kgs": "kg", "kilo": "kg", "gms": "g", "KM": "km", "Km": "km", "kms": "km", "CM": "cm",
    "cms": "cm", "mtr": "m", "metre": "m", "meter": "m", "litre": "L", "liter": "L", "l": "L",
    "ml": "mL", "dl": "dL", "cc": "mL", "cl": "cL", "Lt": "L", "Ltr": "L", "ft": "foot",
    "in": "inch", "sqft": "foot^2",
    "acre": "43560 foot^2", "sqm": "m^2", "st": "stone", "lb": "pound", "lbm": "pound",
    "tonne": "metric_ton", "J": "joule", "N": "newton", "W": "watt", "V": "volt", "A": "ampere",
    "KJ": "kJ", "Kj": "kJ", "kj": "kJ", "hz": "hertz", "Hz": "hertz", "HZ": "hertz",
    "khz": "kHz", "KHz": "kHz", "Mhz": "MHz", "mhz": "MHz", "Ghz": "GHz", "ghz": "GHz",
    "kpa": "kPa", "KPa": "kPa", "hpa": "hPa", "Kcal": "kcal", "KCAL": "kcal", "btu": "BTU",
    "Mb": "megabit",
    "Gb": "gigabit", "Tb": "terabit",
    "KW": "kW", "Kw": "kW", "kw": "kW", "kv": "kV", "KB": "kB", "Lb": "pound", "Lbs": "pound",
    "lbs": "pound", "LBS": "pound", "psig": "psi", "diopter": "m^-1", "dioptre": "m^-1",
    "mol": "mole", "degree": "deg", "°": "deg", "rad": "radian", "gal": "gallon",
    # medicine
    "mmhg": "mmHg", "MMHG": "mmHg", "mcg": "µg", "ug": "µg", "uL": "µL", "mcL": "µL", "um": "µm",
    "IU": "IU", "iu": "IU", "unit": "IU", "U": "IU", "kIU": "1000 IU", "kU": "1000 IU",
    "mIU": "1/1000 IU", "mU": "1/1000 IU", "µIU": "1/1000000 IU", "µU": "1/1000000 IU",
    "uIU": "1/1000000 IU", "MIU": "1000000 IU", "Eq": "equivalent", "eq": "equivalent",
    "mEq": "1/1000 equivalent", "meq": "1/1000 equivalent", "µEq": "1/1000000 equivalent",
    "milliequivalent": "1/1000 equivalent", "Osm": "osmole", "osm": "osmole",
    "mOsm": "1/1000 osmole", "mosm": "1/1000 osmole", "milliosmole": "1/1000 osmole",
    "gtt": "drop", "gtts": "drop", "tab": "tablet", "pH": "pH",
    # people
    "people": "person", "individual": "person", "men": "man", "women": "woman",
    "children": "child", "feet": "foot", "inches": "inch", "mice": "mouse", "geese": "goose",
    "teeth": "tooth", "halves": "half", "lives": "life", "loaves": "loaf", "knives": "knife",
    "leaves": "leaf", "shelves": "shelf", "calves": "calf", "wolves": "wolf",
}  # fmt: skip
_MEANINGS |= {code: code for code in CURRENCIES}

_PHRASES = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (r"\bper\s+cent\b", "percent"),
        (r"(?<=\w)\s+an?\s+(?=[a-z]{3})", " per "),  # dollars a day
        (r"\b(?:percentage|percent)\s+points?\b", "percent"),
        (r"\bper\s+mille?\b", "permille"),
        (r"\bparts\s+per\s+million\b", "ppm"),
        (r"\bparts\s+per\s+billion\b", "ppb"),
        (r"\bbasis\s+points?\b|\bbps?\b", "bps"),
        (r"(?:°|\bdeg(?:rees?)?\b\.?)\s*c(?:elsius|entigrade)?\b|℃", "degC"),
        (r"\b(?:celsius|centigrade)\b", "degC"),
        (r"(?:°|\bdeg(?:rees?)?\b\.?)\s*f(?:ahrenheit)?\b|℉|\bfahrenheit\b", "degF"),
        (r"(?:°|\bdeg(?:rees?)?\b\.?)\s*k(?:elvins?)?\b", "K"),
        (r"\bmm\s*(?:of\s+)?(?:hg\b|mercury\b)", "mmHg"),
        (r"\bin(?:ch(?:es)?)?\s*(?:of\s+)?(?:hg\b|mercury\b)", "inHg"),
        (r"\bcm\s*(?:of\s+)?(?:h2o\b|water\b)", "cmH2O"),
        (r"\b(?:international|insulin)\s+units?\b|\bi\.\s?u\.?(?=\W|$)", "IU"),
        (r"\b(?:fluid|fl)\.?[\s-]*(?:ounces?|oz)\b", "fluid_ounce"),
        (r"\bnautical[\s-]+miles?\b", "nautical_mile"),
        (r"\blight[\s-]+years?\b", "light_year"),
        (r"\bastronomical[\s-]+units?\b", "astronomical_unit"),
        (r"\bmetric[\s-]+tons?\b", "metric_ton"),
        (r"\bshort[\s-]+tons?\b", "short_ton"),
        (r"\blong[\s-]+tons?\b", "long_ton"),
        (r"\belectron[\s-]?volts?\b", "electron_volt"),
        (r"\b(?:us|u\.s\.|american)\s+dollars?\b|\bUS\$", "USD"),
        (r"\bcanadian\s+dollars?\b", "CAD"),
        (r"\baustralian\s+dollars?\b", "AUD"),
        (r"\b(?:pounds?\s+sterling|british\s+pounds?)\b", "GBP"),
        (r"\bf(?:oo)?t[\s*-]*(?:pounds?|lbs?|lbf)\b", "foot_pound"),
        (r"\bl(?:bs?|bf)[\s*-]*f(?:ee|oo)?t\b", "foot_pound"),
        (r"\b(?:miles\s+per\s+hour|mi/h(?:r|our)?)\b", "mph"),
    )
)  # fmt: skip
# Behind a unit these say nothing of it: "12 years old", "5 grams of fat", "18 dollars in total".
# "5 hours ago" is 5 hours, and where from is the question's; "5 below zero" is another number.
_FILLERS = re.compile(
    r"(?:\s+|^)(?:old|ago|later|earlier|early|late|away|apart|long|tall|high|wide|deep|thick|older|"
    r"younger|taller|longer|left|remaining|altogether|overall|apiece|total|in\s+(?:total|all)|of\s+.*)$",
    re.IGNORECASE,
)
# Words behind a number that make another number of it, or say that it is not one.
_OTHER_WORDS = re.compile(
    r"\b(?:or|and|to|plus|minus|times|not|than|if|more|less|fewer|greater|least|most|over|under|"
    r"above|below|past|before|after|until|off|out|from|against|between|through|by|but|except|"
    r"without|otherwise|unless|is|are|was|were|be|isn't|aren't|short|half|halves|quarters?|thirds?|"
    r"fourths?|fifths?|sixths?|sevenths?|eighths?|ninths?|tens?|pi|roots?|sqrt|cbrt|factorials?|"
    r"\w*fold|point|gross|scores?|pairs?|couples?|twins?|trios?|quartets?|triples?|doubles?|twice|"
    r"thrice|zero|ones?|two|three|four|five|six|seven|eight|nine|eleven|twelve|\w+teen|twenty|thirty|"
    r"forty|fifty|sixty|seventy|eighty|ninety|negative|positive|bases?|binary|octal|decimal|"
    r"hex(?:adecimal)?|mod(?:ulo)?|powers?|exponents?|choose|cube$|wrong|incorrect|"
    r"false|infinity|infinite|log|ln|exp|sin|cos|tan|cot|sec(?=\s*\()|"
    r"twos|threes|fours|fives|sixes|sevens|eights|nines|(?:twen|thir|for|fif|six|seven|eigh|nine)ties|"
    r"twelfths?|\w+teenths?|\w+tieths?|tenthousandths?|\w*illi(?:on|ard)(?:th)?s?|myriads?|"
    r"googols?)\b"
    r"|^(?:squared|cubed)\b",
    re.IGNORECASE,
)
_TOKEN = re.compile(
    r"\s*(?:(?P<divide>/|\bper\b|\bp\.)|(?P<times>[*·⋅×.-])|(?P<open>\()|(?P<close>\))"
    r"|(?P<number>[0-9][0-9,]*(?:\.[0-9]+)?)"
    r"|(?P<name>(?:[^\W\d_]|[°%‰$€£¥₹¢'])(?:[^\W\d_]|[°%‰$€£¥₹¢_])*)"
    r"(?:\s?(?:\^|\*\*)\s?(?:\((?P<inside>[-+]?[0-9]{1,2})\)|(?P<power>[-+]?[0-9]{1,2}))|(?P<digit>-?[0-9])(?![0-9.]))?)"
)
_CHOOSES = re.compile(r"[CP][0-9]+")  # 5C2, which is 10
_A_NUMBER_OF = re.compile(r"(?:/|\bper)\s?[0-9]")
_AREA = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_BEHIND = {"squared": 2, "cubed": 3}
# Symbols that are a unit behind a number even where nothing else says so; no e, i, d, T, x, y.
_ONE_LETTER = "m g h L N J W V A K C F s % $ € £ ¥ ₹ Ω ° ‰ ¢"
_LETTERS = frozenset(_ONE_LETTER.split())
_SEVERAL_LETTERS = (
    "mm cm dm km nm pm µm mg kg µg ng mL cL dL µL mol mmol kmol ms ns µs min lb oz ft in yd mi mph "
    "rpm hp kN kJ MJ GJ mJ kW MW GW mW kV mV mA µA kPa MPa GPa hPa Pa Hz kHz MHz GHz eV keV MeV "
    "GeV Wh kWh MWh Ah mAh kcal cal psi bar atm dB lm lx cd Gy mGy Sv mSv Bq kBq MBq Ci mCi rad "
    "mrad deg degC degF mmHg kB MB GB TB GiB ha nmi pt qt tsp tbsp kbps Mbps kΩ MΩ Wb am "
    "AM PM"
)
_SYMBOLS = frozenset(_SEVERAL_LETTERS.split())


@lru_cache(maxsize=4096)
def says_more(text: str) -> bool:
    """Whether words behind a number change it ("5 tenths", "5 or 6", "5 below zero")."""
    if _OTHER_WORDS.search(text) is None:
        return False
    for pattern, replacement in _PHRASES[:8]:  # in which such a word is a part of a unit's name
        text = pattern.sub(replacement, text)
    return _OTHER_WORDS.search(_FILLERS.sub("", text)) is not None


@lru_cache(maxsize=4096)
def read_unit(text: str) -> Unit | None:
    """The unit that a text spells; None for what spells none."""
    if not text.strip():
        return NO_UNIT
    if len(text) > MAX_UNIT_CHARS:
        return None
    for pattern, replacement in _PHRASES:
        text = pattern.sub(f" {replacement} ", text)
    return _product(_FILLERS.sub("", text).strip())


def _product(text: str) -> Unit | None:
    """Left to right; what follows a slash is below it (J/kg·K) unless its power is negative."""
    scale, powers, at = Fraction(1), dict[str, int](), 0
    below, area, last, pending = [False], 0, "", False
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None or token.end() == at:
            return None
        at = token.end()
        if token["divide"]:
            below[-1], pending = True, True
        elif token["open"]:
            below.append(below[-1])
        elif token["close"]:
            if len(below) < 2:
                return None
            below.pop()
        elif token["number"]:
            if not below[-1]:
                return None  # a number is a part of a unit only below a slash: /1.73 m^2
            number = Fraction(token["number"].replace(",", ""))
            if not number:
                return None
            scale /= number
        elif token["name"]:
            name, pending = token["name"], False
            if name.lower() in _AREA:
                area = _AREA[name.lower()]
                continue
            if name.lower() in _BEHIND:
                if not last or area:
                    return None
                power, meaning = _BEHIND[name.lower()] - 1, last
            else:
                power, meaning = int(token["power"] or token["inside"] or token["digit"] or 1), name
            power, area, last = power * (area or 1), 0, meaning
            if below[-1] and power > 0:
                power = -power
            if not 0 < abs(power) <= MAX_POWER:
                return None
            share, factors = _meaning(meaning)
            scale *= share**power
            for factor, inner in factors:
                powers[factor] = powers.get(factor, 0) + inner * power
    if area or pending or len(below) > 1:
        return None
    return Unit(scale, tuple(sorted((n, p) for n, p in powers.items() if p)))


@lru_cache(maxsize=4096)
def _meaning(name: str) -> tuple[Fraction, tuple[tuple[str, int], ...]]:
    """What one name stands for: a scale and powers of names."""
    name = name.replace("\u03bc", "µ")
    spellings = [name, singular(name)]
    if name.upper() in CURRENCIES:
        spellings.append(name.upper())
    if len(name) > 2:  # 5 S are no seconds, and 5 mA no ma
        spellings += [name.lower(), singular(name.lower())]
    for spelled in spellings:
        meaning = _MEANINGS.get(spelled)
        if meaning is not None:
            return _spelled_out(meaning)
    word = len(name) > 3 and name[1:].islower()
    return Fraction(1), ((singular(name.lower()) if word else name, 1),)


@lru_cache(maxsize=1024)
def _spelled_out(meaning: str) -> tuple[Fraction, tuple[tuple[str, int], ...]]:
    scale, factors = Fraction(1), []
    for piece in meaning.split():
        if piece[0].isdigit():
            scale = Fraction(piece)
        else:
            name, _, power = piece.partition("^")
            factors.append((name, int(power or 1)))
    return scale, tuple(factors)


def singular(word: str) -> str:
    """A plural word's singular, as far as adding -s goes; symbols are left as they are."""
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word if word not in ("hrs", "yrs", "wks", "mos", "ozs") else word[:-1]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    return word[:-1]


def is_unit(unit: Unit, text: str, attached: bool) -> bool | None:
    """Whether a reader takes the text for a unit, where the question names none.

    `attached`: no space before it. True: a symbol of the tables, or words that count things. False:
    letters that are variables (`5x`, `5 xy`). None: only pint can tell.
    """
    if _A_NUMBER_OF.search(text) or (attached and _CHOOSES.fullmatch(text)):
        return False  # "5 per 6 people" is no 5
    if len(text) == 1 and text not in _LETTERS:
        return False  # 5 y: years only where the gold says so
    answers = [_is_known(name, attached) for name, _ in unit.factors]
    if False in answers:
        return False
    return None if None in answers else True


def _is_known(name: str, attached: bool) -> bool | None:
    if name in _LETTERS or name in _SYMBOLS or name in _VALUES:
        return True
    if len(name) == 1 or (len(name) == 2 and name.islower()):
        return False
    word = name.isalpha() and name[1:].islower() and re.search(r"[aeiouAEIOU]", name)
    if word and len(name) > 2 and not attached:
        return True
    return None


_VALUES = frozenset(
    factor for meaning in _MEANINGS.values() for factor, _ in _spelled_out(meaning)[1]
)
