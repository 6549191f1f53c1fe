"""What every run needs, whatever trains it: its inputs, its directory, its provenance, its origin.

prepare.py       what it starts from, read and checked before anything is trained or written
directory.py     may the directory be continued, and what the run says when it ends
provenance.py    what run.json tells: recipe, inputs, model, versions, machine
fork.py          a run that begins with another run's checkpoint

Not here: where it runs (`backends`), the steps (`train`), the files (`records`).
"""
