"""Inside verl: a tokenizer that reads other ids than its own file says ends the run."""

import json
import os
import subprocess
import sys

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

pytestmark = [pytest.mark.verl, pytest.mark.timeout(600)]

SCRIPT = """
import sys
import verl
from verl.utils import hf_tokenizer
from oneshot_rlvr.errors import ModelError

right, wrong = sys.argv[1:]
print(len(hf_tokenizer(right)))
try:
    hf_tokenizer(wrong)
except ModelError as error:
    print(error)
"""


def byte_level(folder, name):
    """A vocabulary that keeps digits together, under a class of transformers'."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["The sum of 1234 and 56 is\n\n  1290"] * 5, trainer)
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    told = {"tokenizer_class": name, "eos_token": "<end>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    return folder


def test_verl_s_own_loader_refuses_a_tokenizer_that_reads_other_ids(tmp_path):
    right = byte_level(tmp_path / "right", "PreTrainedTokenizerFast")
    wrong = byte_level(tmp_path / "wrong", "Qwen2Tokenizer")  # keeps digits apart
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(right), str(wrong)],
        capture_output=True, text=True, timeout=500,
        env={
            **os.environ, "VERL_USE_EXTERNAL_MODULES": "oneshot_rlvr.backends.verl.plugin",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    *_, size, said = done.stdout.splitlines()
    assert int(size) > 256
    assert "gives other ids from token" in said
    assert str(wrong) in said
