"""Rows of cases.jsonl that do not get the verdict written there, by id, each with the reason."""

ARGUED = {
    "latex/395": "x^12 in everyday writing is x to the twelfth, as 2^10 is 1024; nobody means x 2.",
}
