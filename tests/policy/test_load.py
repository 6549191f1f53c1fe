"""Loading, saving and the fit of model and tokenizer."""

import json
import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Tokenizer

from oneshot_rlvr.config import ModelConfig
from oneshot_rlvr.errors import ModelError, RecordsError
from oneshot_rlvr.policy import load_policy, make_policy, save_policy
from oneshot_rlvr.policy.random_model import byte_tokenizer, random_policy

TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% endfor %}"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    directory = tmp_path_factory.mktemp("model")
    save_policy(random_policy("qwen2", tokenizer=byte_tokenizer(TEMPLATE)), directory)
    return directory


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "copy")


def refusal(path, **settings):
    with pytest.raises(ModelError) as caught:
        load_policy(ModelConfig(path=str(path), **settings))
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("architecture", ["qwen2", "llama", "gpt2"])
def test_a_saved_policy_loads_as_it_was(architecture, tmp_path):
    policy = random_policy(architecture)
    loaded = load_policy(ModelConfig(path=str(save_policy(policy, tmp_path / "m"))))
    for name, tensor in policy.model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], tensor)
    assert loaded.eos_ids == policy.eos_ids
    assert loaded.pad_id == policy.pad_id
    assert not loaded.model.training
    assert loaded.vocabulary_size == 259


def test_a_saved_policy_is_an_ordinary_directory_for_transformers(saved):
    model = AutoModelForCausalLM.from_pretrained(saved)
    tokenizer = AutoTokenizer.from_pretrained(saved)
    assert (saved / "model.safetensors").is_file()
    assert not list(saved.glob("*.bin"))
    assert (
        tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False) == "hi"
    )
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert tokenizer.decode(tokenizer.encode("3 × 4 = 12")) == "3 × 4 = 12"


def test_weights_may_be_read_by_whoever_reads_the_configuration(tmp_path):
    directory = save_policy(random_policy("qwen2"), tmp_path / "m")
    modes = {path.name: path.stat().st_mode for path in directory.iterdir()}
    assert modes["model.safetensors"] == modes["config.json"]


def test_dtype_and_device_are_as_asked(saved):
    policy = load_policy(ModelConfig(path=str(saved), dtype="bfloat16", device="cpu"))
    assert policy.dtype == torch.bfloat16
    assert policy.device.type == "cpu"
    assert load_policy(ModelConfig(path=str(saved), device="cpu")).dtype == torch.float32


def test_a_directory_that_is_not_there_is_named():
    assert '"/no/such/model" does not exist' in refusal("/no/such/model")


def test_a_directory_without_a_model_is_named(tmp_path):
    assert "without config.json" in refusal(tmp_path)


def test_a_file_is_not_a_directory(tmp_path):
    file = tmp_path / "model.safetensors"
    file.touch()
    assert "is a file" in refusal(file)


def test_a_hub_name_that_cannot_be_reached_gives_one_sentence():
    assert "could not be loaded" in refusal("no-such-organisation-x/no-such-model-y")


def test_damaged_weights_give_one_sentence(copy):
    (copy / "model.safetensors").write_bytes(b"not a safetensors file")
    assert "could not be loaded" in refusal(copy)


def test_missing_weights_give_one_sentence(copy):
    (copy / "model.safetensors").unlink()
    assert "could not be loaded" in refusal(copy)


def test_a_broken_configuration_gives_one_sentence(copy):
    (copy / "config.json").write_text("{")
    assert "could not be loaded" in refusal(copy)


def test_pickled_weights_are_not_read(copy):
    weights = AutoModelForCausalLM.from_pretrained(copy).state_dict()
    (copy / "model.safetensors").unlink()
    torch.save(weights, copy / "pytorch_model.bin")
    assert "could not be loaded" in refusal(copy)


def test_a_missing_tokenizer_gives_one_sentence(copy):
    for file in copy.glob("tokenizer*"):
        file.unlink()
    assert "tokenizer" in refusal(copy)


def test_a_tokenizer_of_special_tokens_only_is_refused():
    policy = random_policy("qwen2")
    tokenizer = Qwen2Tokenizer()
    with pytest.raises(ModelError, match="empty"):
        make_policy(policy.model, tokenizer, name="m")


def test_code_of_a_model_is_not_run_unless_asked_for(copy, tmp_path):
    config = json.loads((copy / "config.json").read_text())
    trace = tmp_path / "ran"
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    config["model_type"] = "evil"
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "evil.py").write_text(f"open({str(trace)!r}, 'w')\nclass Config: pass\n")
    refusal(copy)
    assert not trace.exists()


def test_a_tokenizer_with_ids_beyond_the_model_is_refused():
    policy = random_policy("qwen2")
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(["<extra>"])
    with pytest.raises(ModelError, match=r"ids up to 259 but the model embeds only 259"):
        make_policy(policy.model, tokenizer, name="m")


def test_a_model_with_more_rows_than_tokens_fits():
    assert random_policy("qwen2", vocabulary=320).vocabulary_size == 320


def test_without_an_end_of_text_no_rollout_could_finish():
    policy = random_policy("qwen2")
    policy.model.config.eos_token_id = None
    policy.model.generation_config.eos_token_id = None
    tokenizer = byte_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match="end-of-text"):
        make_policy(policy.model, tokenizer, name="m")


def test_every_end_of_text_id_counts():
    policy = random_policy("qwen2")
    policy.model.generation_config.eos_token_id = [7, 257]
    assert make_policy(policy.model, policy.tokenizer, name="m").eos_ids == (7, 257)


def test_an_end_of_text_beyond_the_model_is_refused():
    policy = random_policy("qwen2")
    policy.model.generation_config.eos_token_id = 999
    with pytest.raises(ModelError, match="999"):
        make_policy(policy.model, policy.tokenizer, name="m")


def test_without_a_pad_token_the_end_of_text_pads():
    policy = random_policy("qwen2")
    tokenizer = byte_tokenizer()
    tokenizer.pad_token = None
    assert make_policy(policy.model, tokenizer, name="m").pad_id == policy.eos_ids[0]


def test_an_unknown_device_is_refused(saved):
    assert "is no device" in refusal(saved, device="abacus")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is present")
def test_a_device_that_is_not_present_is_refused(saved):
    assert "no CUDA device" in refusal(saved, device="cuda:0")


def test_a_place_that_cannot_be_written_gives_one_sentence(tmp_path):
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(RecordsError, match="could not be written"):
        save_policy(random_policy("qwen2"), blocked / "model")


def test_sampling_settings_without_sampling_do_not_block_saving(tmp_path):
    policy = random_policy("qwen2")
    policy.model.generation_config.temperature = 0.7
    policy.model.generation_config.do_sample = False
    assert (save_policy(policy, tmp_path / "m") / "generation_config.json").is_file()
