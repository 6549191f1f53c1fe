"""`oneshot export RECIPE --to trl`: a script for TRL's GRPOTrainer, and its data.

    train.py             `python train.py` trains; further GRPOConfig settings are options
    rows.jsonl           the prompts in the order in which the recipe asks them
    recipe.toml          the recipe, resolved
    model/               the embedded model, where the recipe trains it

The directory may be moved: the script finds the files beside itself. It needs TRL 1.16 and this
package.
"""

from __future__ import annotations

import json
import pprint
import shutil
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any

from oneshot_rlvr.backends.exporters import Exported, refuse_gguf
from oneshot_rlvr.backends.trl.coverage import APART, refuse_what_has_no_counterpart
from oneshot_rlvr.backends.trl.translate import batches, grpo_config, peft_config
from oneshot_rlvr.config import Recipe, to_toml
from oneshot_rlvr.examples import load_examples
from oneshot_rlvr.examples.schedule import rows_of_step
from oneshot_rlvr.records.files import write_atomic
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.types import Example

ROWS, SCRIPT = "rows.jsonl", "train.py"


def export(recipe: Recipe, out: Path) -> Exported:
    """Writes the files. ConfigError for what TRL has no counterpart for, before any is written."""
    refuse_what_has_no_counterpart(recipe)
    refuse_gguf(recipe.model.path, "TRL")
    examples = load_examples(recipe.examples)
    with Scorer(recipe.reward, seed=recipe.train.seed) as scorer:
        scorer.check_golds(examples)
    out.mkdir(parents=True, exist_ok=True)
    (out / "recipe.toml").write_text(to_toml(recipe), encoding="utf-8")
    with (out / ROWS).open("w", encoding="utf-8") as file:
        file.writelines(
            json.dumps(row, ensure_ascii=False) + "\n" for row in rows(recipe, examples)
        )
    if recipe.model.path == "tiny":  # it lies in this installation, which others may not have
        from oneshot_rlvr import tiny

        shutil.copytree(tiny.weights_directory(), out / "model")
    script = out / SCRIPT
    # Last and whole: without it nothing of a half-written directory passes for one.
    write_atomic(script, script_text(recipe).encode("utf-8"))
    return Exported(sorted(out.iterdir()), f"python {script}", list(_notes(recipe)))


def rows(recipe: Recipe, examples: list[Example]) -> Iterator[dict[str, Any]]:
    """One row per prompt of the run, in order; of a single example one step's: TRL repeats it."""
    steps = 1 if len(examples) == 1 else recipe.train.steps
    per_step = recipe.rollouts.prompts_per_step
    for step in range(1, steps + 1):
        for e in rows_of_step(len(examples), per_step, step, recipe.train.seed):
            example = examples[e]
            yield {
                "prompt": example.chat(),
                "id": example.id,
                "answer": example.answer,
                "verifier": example.verifier,
                "extra": json.dumps(dict(example.extra), sort_keys=True),
            }


def script_text(recipe: Recipe) -> str:
    """The script, every value written out."""
    own = recipe.model.path == "tiny"
    return _SCRIPT.substitute(
        name=recipe.name.replace('"', "'").replace("\\", "/"),
        model='str(HERE / "model")' if own else repr(recipe.model.path),
        settings=_written(grpo_config(recipe)),
        reward=_written(recipe.reward.model_dump(mode="json")),
        lora=_written(peft_config(recipe)),
        products=repr(_products(recipe)),
        template=repr(recipe.model.chat_template == "auto"),
        most=repr(recipe.rollouts.max_prompt_tokens),
        warmup=repr(recipe.optimizer.warmup_steps),
        threads=repr(recipe.train.threads),
    )


def _products(recipe: Recipe) -> str | None:
    """GRPOConfig's name of the products' type on a GPU; None: that of the weights, float32."""
    if recipe.model.dtype == "float16":
        return "fp16"
    narrow = recipe.model.autocast == "bfloat16" or recipe.model.dtype != "float32"
    return "bf16" if narrow else None


def _written(value: Any) -> str:
    return pprint.pformat(value, sort_dicts=False, width=98)


def _notes(recipe: Recipe) -> Iterator[str]:
    if recipe.evaluation.validation is not None or recipe.evaluation.test is not None:
        yield f"the script does not evaluate: {APART['evaluation.*']}"
    yield "TRL adds 1e-4 to a group's reward std where the recipe adds 1e-6"
    if recipe.algorithm.top_entropy_share < 1 and batches(recipe)[1] > 1:
        yield (
            "TRL compares the entropies of a micro-batch, the recipe those of a whole update: a "
            "larger train.micro_batch_tokens brings them together"
        )
    averaging = recipe.algorithm.averaging
    if recipe.algorithm.entropy_coefficient and averaging != "token":
        yield (
            "TRL's entropy bonus is a mean over tokens whatever the loss averages; the recipe's is "
            f'averaged as its loss ("{averaging}"), so an equal coefficient does not weigh the same'
        )
    if recipe.model.dtype != "float32":
        narrow = "float16, with a scaled loss," if recipe.model.dtype == "float16" else "bfloat16"
        yield (
            f"weights are float32, products {narrow} on a GPU: TRL keeps no float32 masters of "
            "16-bit weights"
        )


_SCRIPT = Template('''\
"""$name, on TRL 1.16. Written by `oneshot export --to trl`; trains with

    python train.py                     or, on several GPUs: accelerate launch train.py

Options are those of GRPOConfig and go over what stands here: python train.py --max_steps 10
"""

import json
import sys
from pathlib import Path

import torch
from datasets import Dataset
from transformers import AutoTokenizer, HfArgumentParser
from trl import GRPOConfig, GRPOTrainer

from oneshot_rlvr.config import RewardConfig
from oneshot_rlvr.examples.prompting import encode_prompts
from oneshot_rlvr.policy.ends import saved_end_ids
from oneshot_rlvr.policy.tokenizer_guard import check_tokenizer
from oneshot_rlvr.rewards.trl import TrlReward
from oneshot_rlvr.types import Example

HERE = Path(__file__).resolve().parent
MODEL = $model
SETTINGS = $settings
REWARD = $reward
LORA = $lora
PRODUCTS = $products  # on a GPU; weights stay float32
CHAT_TEMPLATE = $template  # the tokenizer's own, where it has one
MAX_PROMPT_TOKENS = $most
WARMUP_UPDATES = $warmup
THREADS = $threads


class Trainer(GRPOTrainer):
    """The recipe's optimizer: decay on every parameter, and its warm-up."""

    def get_decay_parameter_names(self, model):
        return [name for name, _ in model.named_parameters()]

    def create_scheduler(self, num_training_steps, optimizer=None):
        if self.lr_scheduler is None:
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer or self.optimizer,
                lambda update: min(1.0, (update + 1) / max(1, WARMUP_UPDATES)),
            )
        return self.lr_scheduler


def reward(prompts, completions, extra, **columns):
    """Our verifier; the options of a row come as JSON, because TRL's columns have one type each."""
    return grade(prompts, completions, extra=[json.loads(text) for text in extra], **columns)


def read_rows(tokenizer):
    """The prompts as the recipe asks them; stops where one is too long."""
    rows = [json.loads(line) for line in (HERE / "rows.jsonl").open(encoding="utf-8")]
    examples = {row["id"]: Example(row["id"], row["prompt"][-1]["content"], row["answer"],
                                   messages=tuple(row["prompt"])) for row in rows}
    kind = "auto" if CHAT_TEMPLATE else "none"
    arguments = SETTINGS.get("chat_template_kwargs")
    encode_prompts(list(examples.values()), tokenizer, MAX_PROMPT_TOKENS, kind, arguments)
    if not (CHAT_TEMPLATE and tokenizer.chat_template):
        for row in rows:
            row["prompt"] = "\\n\\n".join(turn["content"] for turn in row["prompt"])
    return Dataset.from_list(rows)


if __name__ == "__main__":
    if THREADS:
        torch.set_num_threads(THREADS)
    on_gpu = torch.cuda.is_available() and not SETTINGS["use_cpu"]
    types = {name: on_gpu and name == PRODUCTS for name in ("bf16", "fp16")}
    own = {"output_dir": str(HERE / "out"), **SETTINGS, **types}
    config = GRPOConfig(**own)
    if len(sys.argv) > 1:
        given = HfArgumentParser(GRPOConfig)
        asked = {word.partition("=")[0].lstrip("-") for word in sys.argv[1:] if word[:2] == "--"}
        values = vars(given.parse_args(["--output_dir", own["output_dir"], *sys.argv[1:]]))
        config = GRPOConfig(**{**own, **{key: values[key] for key in asked}})
    revision = SETTINGS["model_init_kwargs"]["revision"]
    tokenizer = AutoTokenizer.from_pretrained(MODEL, revision=revision)
    check_tokenizer(tokenizer, MODEL, name=MODEL, revision=revision)
    # TRL ends a completion at the model's end of text alone, not where its template ends a turn.
    trust = SETTINGS["trust_remote_code"]
    ends = list(saved_end_ids(tokenizer, MODEL, template=CHAT_TEMPLATE, revision=revision,
                              trust_remote_code=trust))
    stops = {"stop_token_ids" if config.use_vllm else "eos_token_id": ends}
    config.generation_kwargs = {**stops, **(config.generation_kwargs or {})}
    peft = None
    if LORA is not None:
        from peft import LoraConfig

        peft = LoraConfig(**LORA)
    grade = TrlReward(RewardConfig(**REWARD), seed=config.seed)
    reward.__name__ = grade.__name__
    trainer = Trainer(
        model=MODEL,
        reward_funcs=reward,
        args=config,
        train_dataset=read_rows(tokenizer),
        processing_class=tokenizer,
        peft_config=peft,
    )
    trainer.eos_token_ids = ends  # where TRL cuts what was sampled
    try:
        trainer.train()
    finally:
        grade.close()
    trainer.save_model(str(Path(config.output_dir) / "final"))
''')
