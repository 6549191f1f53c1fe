"""The same recipe on verl and Ray, for whoever outgrows one machine.

coverage.py      what becomes of every key: translated, filed, ours, refused
translate.py     a recipe as overrides of verl's configuration
data.py          our examples as verl's rows, and back
inputs.py        reads and checks what a run starts from, writes the files verl reads
reward.py        our verifiers inside verl's reward workers
export.py        all of it as a directory with the exact command
plugin/          what runs inside verl's processes

verl and Ray live in a Python of their own; nothing here but `plugin/` imports them.
"""
