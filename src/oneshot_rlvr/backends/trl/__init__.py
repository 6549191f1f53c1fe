"""A recipe written out as a script and data for TRL's GRPOTrainer (`oneshot export --to trl`).

Nothing here imports TRL: the script does.
"""
