"""1-shot RLVR in one file: sample, grade, advantage, loss, step. No class of the package is used.

    python docs/one_shot_in_one_file.py 40     # forty steps, some minutes on a laptop

One problem is asked again and again, the answers are graded, and answers that did better than
their group become more likely: GRPO as in arXiv 2504.20571, which is the recipe `tiny_one_shot`.
With the same seed the package draws the same answers and finds the same losses; a test holds both
together. What the package adds: speed, verifiers, records, resuming, evaluation, a report.

Letters in names: P rows, G rollouts a row, N = P * G rollouts, T tokens, V vocabulary.
"""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import log_softmax
from transformers import AutoModelForCausalLM, AutoTokenizer

QUESTION, GOLD = "Ana has 28 cards and buys 83 more. How many cards now?", "111"
HELD_OUT = [  # asked after training: the same kind of problem, then others
    ("Tom has 57 coins and buys 36 more. How many coins now?", "93"),
    ("Mia has 64 books and buys 19 more. How many books now?", "83"),
    ("What is 47 + 38?", "85"),
    ("What is 91 - 36?", "55"),
]

ROWS_P, GROUP_G, MAX_TOKENS_T = 16, 8, 144
TEMPERATURE = 0.8  # of sampling, and of every log-probability below
CLIP, KL_COEFFICIENT, ENTROPY_COEFFICIENT = 0.2, 0.001, 0.001
LEARNING_RATE, BETAS, WEIGHT_DECAY, GRADIENT_CLIP = 2e-4, (0.9, 0.99), 0.01, 1.0

# The model: 0.86 million weights in the format of Hugging Face, which lie in the package's folder.
WEIGHTS = Path(importlib.util.find_spec("oneshot_rlvr").origin).parent / "tiny" / "weights"


def prompt_of(tokenizer, question: str) -> list[int]:
    """The question as a chat, up to where the model's answer begins."""
    chat = [{"role": "user", "content": question}]
    encoded = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)
    return encoded["input_ids"]


# ---- 1. Sample -----------------------------------------------------------------------------------


def uniforms_T_N(seed: int, step: int, rows: int, group: int) -> np.ndarray:
    """A number in (0, 1) for every token of every rollout, which depends on its place alone.

    Philox4x32-10 (Salmon et al. 2011): a hash of (position, index, row, step) under a key made of
    the seed. Nobody's draw depends on who else is in the batch, and a resumed run draws the same.
    """
    digest = hashlib.blake2b(f"{seed}:rollouts".encode(), digest_size=8).digest()
    k0, k1 = (np.uint64(int.from_bytes(half, "little")) for half in (digest[:4], digest[4:]))
    low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    places = np.indices((MAX_TOKENS_T, rows, group)).reshape(3, MAX_TOKENS_T, -1).astype(np.uint64)
    c0, c1, c2, c3 = places[0], places[2], places[1], np.full_like(places[0], step)
    for _ in range(10):
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (p1 >> shift) ^ c1 ^ k0, p1 & low, (p0 >> shift) ^ c3 ^ k1, p0 & low
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & low, (k1 + np.uint64(0xBB67AE85)) & low
    return ((((c0 << shift) | c1) >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


@torch.inference_mode()
def sample(model, prompt: list[int], end: int, uniforms: np.ndarray) -> list[list[int]]:
    """N answers to one prompt, token by token, each up to and including its end-of-text."""
    N = uniforms.shape[1]
    drawn_T: list[torch.Tensor] = []
    running_N = torch.ones(N, dtype=torch.bool)
    out = model(torch.tensor([prompt]).expand(N, -1), use_cache=True)
    for uniforms_N in torch.from_numpy(uniforms):
        logits_N_V = out.logits[:, -1] / TEMPERATURE
        # Inversion: the token in whose share of the cumulative probability the number falls.
        weights_N_V = (logits_N_V - logits_N_V.amax(-1, keepdim=True)).exp()
        cumulative_N_V = weights_N_V.cumsum(-1, dtype=torch.float64)
        target_N_1 = (uniforms_N * cumulative_N_V[:, -1])[:, None]
        tokens_N_1 = torch.searchsorted(cumulative_N_V, target_N_1, right=True)
        drawn_T.append(tokens_N_1[:, 0])
        running_N &= drawn_T[-1] != end
        if not running_N.any():
            break
        out = model(tokens_N_1, past_key_values=out.past_key_values, use_cache=True)
    answers = torch.stack(drawn_T, 1).tolist()
    return [row[: row.index(end) + 1] if end in row else row for row in answers]


# ---- 2. Grade ------------------------------------------------------------------------------------


def grade(answer: str, gold: str) -> float:
    """1 where the last box holds the gold, else 0. The package's verifiers know more spellings."""
    boxes = re.findall(r"\\boxed\{([^{}]*)\}", answer)
    return float(bool(boxes) and boxes[-1].strip() == gold)


# ---- 3. Advantage --------------------------------------------------------------------------------


def advantages(rewards_P_G: torch.Tensor) -> torch.Tensor:
    """How much better than its group (GRPO, arXiv 2402.03300): (r - mean) / std, (P, G).

    A row of equal rewards has nothing to compare and gets exactly 0.
    """
    centred = rewards_P_G - rewards_P_G.mean(1, keepdim=True)
    equal_P_1 = rewards_P_G.amax(1, keepdim=True) == rewards_P_G.amin(1, keepdim=True)
    return (centred / (rewards_P_G.std(1, keepdim=True) + 1e-6)).masked_fill(equal_P_1, 0.0)


# ---- 4. Loss -------------------------------------------------------------------------------------


def log_probabilities(model, prompt: list[int], answers: list[list[int]]):
    """Every token's log-probability, the entropy where it was drawn, the mask; each (N, T)."""
    T = max(map(len, answers))
    padded_N_T = torch.tensor([row + [0] * (T - len(row)) for row in answers])
    mask_N_T = torch.arange(T)[None] < torch.tensor([[len(row)] for row in answers])
    prompt_N_T = torch.tensor([prompt]).expand(len(answers), -1)
    # Padding stands on the right and attention looks left, so it needs no mask.
    logits = model(torch.cat([prompt_N_T, padded_N_T], 1)).logits[:, len(prompt) - 1 : -1]
    logs_N_T_V = log_softmax(logits / TEMPERATURE, -1)
    entropy_N_T = -(logs_N_T_V.exp() * logs_N_T_V).sum(-1)
    return logs_N_T_V.gather(-1, padded_N_T[..., None])[..., 0], entropy_N_T, mask_N_T


def loss_terms(model, reference, prompt, answers, advantages_N) -> dict[str, torch.Tensor]:
    """The loss and its three terms, each a mean over all generated tokens."""
    logprobs_N_T, entropy_N_T, mask_N_T = log_probabilities(model, prompt, answers)
    with torch.no_grad():
        reference_N_T = log_probabilities(reference, prompt, answers)[0]
    A_N_1 = advantages_N[:, None].float()
    # PPO's clipped ratio. With one update a step the sampler is the policy: the ratio is 1, and
    # its gradient that of A log p.
    ratio_N_T = (logprobs_N_T - logprobs_N_T.detach()).exp()
    policy_N_T = torch.maximum(-ratio_N_T * A_N_1, -ratio_N_T.clamp(1 - CLIP, 1 + CLIP) * A_N_1)
    # Divergence from the model that training began with, never negative (Schulman's k3).
    d_N_T = reference_N_T - logprobs_N_T
    kl_N_T = d_N_T.exp() - d_N_T - 1
    terms = {"policy_loss": policy_N_T, "kl": kl_N_T, "entropy_nats": entropy_N_T}
    means = {name: (term * mask_N_T).sum() / mask_N_T.sum() for name, term in terms.items()}
    regularisers = KL_COEFFICIENT * means["kl"] - ENTROPY_COEFFICIENT * means["entropy_nats"]
    return {"loss": means["policy_loss"] + regularisers, **means}


# ---- 5. Step -------------------------------------------------------------------------------------


def train(steps: int, rows: int = ROWS_P, group: int = GROUP_G, seed: int = 0) -> Iterator[dict]:
    """What happened in each step; the trained model comes with the last one."""
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS)
    model = AutoModelForCausalLM.from_pretrained(WEIGHTS).eval()
    reference = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, betas=BETAS, weight_decay=WEIGHT_DECAY
    )
    prompt, end = prompt_of(tokenizer, QUESTION), tokenizer.eos_token_id
    for step in range(1, steps + 1):
        answers = sample(model, prompt, end, uniforms_T_N(seed, step, rows, group))
        texts = tokenizer.batch_decode(answers, skip_special_tokens=True)
        rewards_N = torch.tensor([grade(text, GOLD) for text in texts], dtype=torch.float64)
        # All P rows ask the one problem, yet each is a group of its own, as in the paper's batch of
        # 128 copies: an answer is compared with the G - 1 drawn beside it, not with all N - 1.
        advantages_N = advantages(rewards_N.view(rows, group)).flatten()
        terms = loss_terms(model, reference, prompt, answers, advantages_N)
        optimizer.zero_grad()
        terms["loss"].backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_CLIP)
        optimizer.step()
        told = {name: value.item() for name, value in terms.items()}
        told |= {"reward": rewards_N.mean().item(), "gradient_norm": norm.item()}
        yield {"step": step, **told, "answers": answers, "model": model, "tokenizer": tokenizer}


if __name__ == "__main__":
    for now in train(int(sys.argv[1]) if len(sys.argv) > 1 else 40):
        print("step {step}  reward {reward:.2f}  loss {loss:+.4f}".format(**now), flush=True)
    for question, gold in HELD_OUT:
        tokenizer, drawn = now["tokenizer"], uniforms_T_N(1, 0, 1, 32)
        prompt, end = prompt_of(tokenizer, question), tokenizer.eos_token_id
        texts = tokenizer.batch_decode(sample(now["model"], prompt, end, drawn))
        print(f"{np.mean([grade(text, gold) for text in texts]):4.0%} right: {question}")
