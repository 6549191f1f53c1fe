"""A tokenizer that reads other ids than its own file says is refused."""

import json
from pathlib import Path

import pytest
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from oneshot_rlvr import tiny
from oneshot_rlvr.errors import ModelError
from oneshot_rlvr.policy.tokenizer_guard import PROBE, check_tokenizer


@pytest.fixture
def byte_level(tmp_path: Path):
    """A byte-level vocabulary that keeps digits together, under the class of one's choice."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([PROBE] * 5, trainer)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))

    def load(name: str):
        written = {"tokenizer_class": name, "eos_token": "<end>"}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(written))
        return transformers.AutoTokenizer.from_pretrained(tmp_path), str(tmp_path)

    return load


def test_a_tokenizer_that_follows_its_file_passes(byte_level):
    tokenizer, source = byte_level("PreTrainedTokenizerFast")
    check_tokenizer(tokenizer, source, name="mine")
    ids = tokenizer(PROBE, add_special_tokens=False).input_ids
    assert tokenizer.decode(ids) == PROBE


def test_the_embedded_model_passes():
    source = str(tiny.weights_directory())
    check_tokenizer(transformers.AutoTokenizer.from_pretrained(source), source, name="tiny")


def test_a_class_that_splits_otherwise_than_the_file_is_refused(byte_level):
    tokenizer, source = byte_level("Qwen2Tokenizer")  # keeps digits apart, the file does not
    with pytest.raises(ModelError, match=r'"mine" gives other ids from token \d+ on.*Qwen2Token'):
        check_tokenizer(tokenizer, source, name="mine")


def test_a_tokenizer_without_spaces_is_refused_with_that_sentence(byte_level):
    tokenizer, source = byte_level("PreTrainedTokenizerFast")
    # What transformers 5.5 to 5.20 make of a byte-level file whose class is LlamaTokenizer.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    with pytest.raises(ModelError, match="loses spaces and line breaks"):
        check_tokenizer(tokenizer, source, name="mine")


def test_ids_that_come_back_as_another_text_are_refused(byte_level):
    tokenizer, source = byte_level("PreTrainedTokenizerFast")
    joined = decoders.Sequence([decoders.ByteLevel(), decoders.Replace("\n", " ")])
    tokenizer.backend_tokenizer.decoder = joined  # the ids are right, the line breaks are gone
    with pytest.raises(ModelError, match="gives back other spaces or line breaks"):
        check_tokenizer(tokenizer, source, name="mine")


def test_without_a_file_to_compare_lost_spaces_are_still_seen(byte_level, tmp_path: Path):
    tokenizer, source = byte_level("PreTrainedTokenizerFast")
    Path(source, "tokenizer.json").unlink()
    check_tokenizer(tokenizer, source, name="mine")
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    with pytest.raises(ModelError, match="loses every space"):
        check_tokenizer(tokenizer, source, name="mine")


def test_loading_a_model_checks_its_tokenizer(byte_level, tmp_path: Path):
    from oneshot_rlvr.config import ModelConfig
    from oneshot_rlvr.policy.load import load_policy

    byte_level("Qwen2Tokenizer")
    with pytest.raises(ModelError, match="tokenizer_class"):
        load_policy(ModelConfig(path=str(tmp_path)))


def test_a_byte_level_file_of_the_llama_class_keeps_its_spaces_or_is_refused(byte_level):
    tokenizer, source = byte_level("LlamaTokenizerFast")
    back = tokenizer.decode(tokenizer(PROBE, add_special_tokens=False).input_ids)
    if back == PROBE:  # transformers 5.22 and later
        check_tokenizer(tokenizer, source, name="mine")
    else:
        with pytest.raises(ModelError, match="loses spaces and line breaks"):
            check_tokenizer(tokenizer, source, name="mine")
