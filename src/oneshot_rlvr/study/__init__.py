"""A study: one file of arms, seeds and claims -> runs, intervals, and verdicts that were declared
before.

spec.py        the file, as tables that are checked
arms.py        names of arms that people compare, and what each changes
file.py        the file read: every arm a recipe; mistakes end here, with nothing run
checks.py      what claims name exists, and what runs need is here
identity.py    what makes two runs the same run
tasks.py       arms x seeds -> what is to be done, and what of it exists
worker.py      one process: trains a run, answers benchmarks
schedule.py    workers side by side, until all is done
gather.py      what runs recorded -> arrays (seeds, questions)
statistics.py  such arrays -> intervals, differences, corrected p-values: pure
claims.py      claims -> holds, does not hold, cannot tell
result.py      all numbers of a study, and its files
tables.py      these as Parquet, Markdown, LaTeX and JSON
curves.py      accuracy against rollouts, tokens and examples
page.py        the same as one HTML file
plan.py        what it would cost, and the least that it could show
folder.py      where a study and its runs lie, and whether it is the one that began there

Not here: training (`backends`), evaluation (`evaluation`), words of the terminal (`cli`).
"""
