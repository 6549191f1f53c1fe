"""Log-probabilities and entropies against the plain computation, values and gradients."""

import random

import pytest
import torch

from oneshot_rlvr.policy import Reference, head, logprobs, sequence_logprobs
from oneshot_rlvr.policy.head import token_scores
from oneshot_rlvr.policy.random_model import random_policy

DOUBLE = torch.float64


def plain_scores(model, prompts, responses, temperature):
    """Row by row, unpadded, from the model's own logits: ragged lists of logprobs and entropies."""
    rows = []
    for prompt, response in zip(prompts, responses, strict=True):
        logits = model(torch.tensor([[*prompt, *response]])).logits[0, len(prompt) - 1 : -1]
        logs = (
            logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
        ).log_softmax(-1)
        chosen = logs.gather(1, torch.tensor(response)[:, None])[:, 0]
        rows.append((chosen, -(logs.exp() * logs).sum(-1)))
    return rows


def ragged(seed=0):
    r = random.Random(seed)
    first, second = (1, 2, 3, 4), (9, 8, 7)
    prompts = [first] * 4 + [second] * 3 + [first, (5,)]
    return prompts, [tuple(r.randrange(259) for _ in range(r.randint(1, 12))) for _ in prompts]


MODELS = ["qwen2", "qwen3", "llama", "gpt2", "gemma2"]  # gemma2 caps its logits after the head


@pytest.mark.parametrize("architecture", MODELS)
def test_scores_equal_the_plain_computation(architecture):
    policy = random_policy(architecture, seed=1)
    prompts, responses = ragged()
    scores = sequence_logprobs(policy.model, prompts, responses, 0.7, pad_id=0)
    N, T = len(prompts), max(map(len, responses))
    assert scores.logprobs_N_T.shape == scores.entropy_N_T.shape == (N, T)
    for n, (expected, entropy) in enumerate(plain_scores(policy.model, prompts, responses, 0.7)):
        length = len(responses[n])
        assert scores.generated_mask_N_T[n].tolist() == [t < length for t in range(T)]
        assert torch.allclose(scores.logprobs_N_T[n, :length], expected, atol=1e-5)
        assert torch.allclose(scores.entropy_N_T[n, :length], entropy, atol=1e-5)
        assert not scores.logprobs_N_T[n, length:].any()
        assert not scores.entropy_N_T[n, length:].any()


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("architecture", MODELS)
def test_gradients_equal_those_of_the_plain_computation(architecture, tied):
    model = random_policy(architecture, seed=2, scale=0.1, tie_word_embeddings=tied).model
    prompts, responses = ragged(1)

    def gradient(rows):
        model.zero_grad()
        generator = torch.Generator().manual_seed(0)
        loss = 0.0
        for chosen, entropy in rows:
            weights = torch.randn(2, len(chosen), generator=generator)
            loss = loss + (weights[0] * chosen).sum() + (weights[1] * entropy).sum()
        loss.backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    scores = sequence_logprobs(model, prompts, responses, 0.7, pad_id=0)
    rows = [
        (scores.logprobs_N_T[n, : len(r)], scores.entropy_N_T[n, : len(r)])
        for n, r in enumerate(responses)
    ]
    got, expected = gradient(rows), gradient(plain_scores(model, prompts, responses, 0.7))
    assert (got - expected).norm() < 1e-5 * expected.norm()


def test_a_shared_prompt_gives_the_gradients_of_the_padded_computation(monkeypatch):
    model = random_policy("qwen2", seed=2, scale=0.1).model
    prompts, responses = ragged(3)

    def gradient():
        model.zero_grad()
        sequence_logprobs(model, prompts, responses, 1.0, pad_id=0).logprobs_N_T.sum().backward()
        return {name: p.grad.clone() for name, p in model.named_parameters()}

    shared = gradient()
    monkeypatch.setattr(logprobs, "unsupported", lambda model: "told not to")
    padded = gradient()
    scale = max(float(g.norm()) for g in padded.values())
    for name in padded:
        assert (shared[name] - padded[name]).norm() < 1e-5 * scale, name


@pytest.mark.parametrize("threads", [1, 2])
def test_a_prompt_is_computed_once_for_all_rows_that_share_it(monkeypatch, threads):
    policy = random_policy("qwen2")
    embedded, normed = [], []
    embed, final_norm = logprobs.Decoder.embed, logprobs.Decoder.final_norm
    monkeypatch.setattr(
        logprobs.Decoder, "embed", lambda self, t: (embedded.append(t.numel()), embed(self, t))[1]
    )
    monkeypatch.setattr(
        logprobs.Decoder,
        "final_norm",
        lambda self, x: (normed.append(len(x)), final_norm(self, x))[1],
    )
    prompts, responses = [(1, 2, 3, 4, 5)] * 6, [(7, 8, 9)] * 6
    torch.set_num_threads(threads)
    try:
        sequence_logprobs(policy.model, prompts, responses, 1.0, pad_id=0)
    finally:
        torch.set_num_threads(1)
    # 5 prompt tokens and, of each response, the 2 tokens that are read; then 18 at the head.
    assert sum(embedded) == 5 + 6 * 2
    assert len(embedded) == 1 + threads
    assert normed == [6 * 3]


@pytest.mark.parametrize("responses", [[(7,), (8,)], [(7,), (8, 9, 10)]])
def test_responses_of_one_token_are_scored_from_the_prompt_alone(responses):
    model = random_policy("qwen2").model
    prompts = [(1, 2, 3)] * len(responses)
    scores = sequence_logprobs(model, prompts, responses, 1.0, pad_id=0)
    for n, (expected, _) in enumerate(plain_scores(model, prompts, responses, 1.0)):
        assert torch.allclose(scores.logprobs_N_T[n, : len(expected)], expected, atol=1e-5)


@pytest.mark.parametrize("with_bias", [False, True])
def test_the_head_passes_finite_differences_in_float64(with_bias, monkeypatch):
    monkeypatch.setattr(head, "_PART_CPU", 1)
    monkeypatch.setattr(head, "_LEAST_TOKENS", 3)  # several parts, the last one smaller
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(7, 4, generator=generator, dtype=DOUBLE, requires_grad=True)
    weight = torch.randn(6, 4, generator=generator, dtype=DOUBLE, requires_grad=True)
    bias = (
        torch.randn(6, generator=generator, dtype=DOUBLE, requires_grad=True) if with_bias else None
    )
    tokens = torch.tensor([0, 5, 2, 2, 1, 3, 4])
    assert torch.autograd.gradcheck(
        lambda *inputs: token_scores(*inputs, tokens, 0.6), (hidden, weight, bias)
    )


@pytest.mark.parametrize(("kept", "calls"), [(0, 10), (1 << 20, 5)])
def test_the_head_makes_a_part_of_the_logits_at_once(monkeypatch, kept, calls):
    monkeypatch.setattr(head, "_PART_CPU", 2_000)
    monkeypatch.setattr(head, "KEPT_BYTES", kept)
    largest = []
    plain = head._log_softmax
    monkeypatch.setattr(
        head, "_log_softmax", lambda h, *rest: (largest.append(len(h)), plain(h, *rest))[1]
    )
    hidden = torch.randn(1000, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(10, 4, dtype=torch.float64)
    logprob, _ = token_scores(hidden, weight, None, torch.zeros(1000).long(), 1.0)
    logprob.sum().backward()
    # 2,000 logits at once, forward, and backward where they were not kept
    assert largest == [200] * calls


def test_an_impossible_token_gives_no_nan():
    hidden = torch.ones(2, 1, requires_grad=True)
    weight = torch.tensor([[0.0], [-torch.inf], [0.0]])
    logprob, entropy = token_scores(hidden, weight, None, torch.tensor([0, 2]), 1.0)
    assert torch.allclose(logprob, torch.full((2,), 0.5).log())
    assert torch.allclose(entropy, torch.full((2,), 2.0).log())


def test_entropy_without_gradient_has_the_same_value():
    model = random_policy("qwen2").model
    prompts, responses = ragged()
    with_it = sequence_logprobs(model, prompts, responses, 1.0, pad_id=0)
    without = sequence_logprobs(model, prompts, responses, 1.0, pad_id=0, with_entropy=False)
    assert torch.equal(with_it.entropy_N_T, without.entropy_N_T)
    assert with_it.entropy_N_T.requires_grad
    assert not without.entropy_N_T.requires_grad


def test_bfloat16_weights_give_float32_scores():
    policy = random_policy("qwen2", dtype=torch.bfloat16)
    scores = sequence_logprobs(policy.model, [(1, 2)], [(3, 4)], 1.0, pad_id=0)
    assert scores.logprobs_N_T.dtype == torch.float32


@pytest.mark.parametrize(
    ("prompts", "responses"), [([], []), ([(1,)], [(2,), (3,)]), ([()], [(2,)])]
)
def test_rows_that_do_not_pair_up_are_refused(prompts, responses):
    with pytest.raises(ValueError, match="prompt"):
        sequence_logprobs(random_policy("qwen2").model, prompts, responses, 1.0, pad_id=0)


def test_the_reference_stays_where_it_was_and_has_no_gradient():
    policy = random_policy("qwen2")
    reference = Reference(policy.model)
    prompts, responses = ragged()
    before = reference.logprobs(prompts, responses, 0.6, pad_id=0).logprobs_N_T
    now = sequence_logprobs(policy.model, prompts, responses, 0.6, pad_id=0).logprobs_N_T
    assert torch.equal(before, now)
    assert not before.requires_grad
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.add_(1.0)
    assert torch.equal(reference.logprobs(prompts, responses, 0.6, pad_id=0).logprobs_N_T, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logits_that_are_kept_give_the_gradients_of_those_made_again(monkeypatch, dtype):
    generator = torch.Generator().manual_seed(0)
    hidden, weight = (
        torch.randn(n, 9, generator=generator).to(dtype).requires_grad_() for n in (70, 60_000)
    )
    tokens = torch.randint(60_000, (70,), generator=generator)
    # Too large for the compiled loops, in two parts.
    monkeypatch.setattr(head, "LARGEST_COMPILED", 0)

    def scored(kept_bytes):
        monkeypatch.setattr(head, "KEPT_BYTES", kept_bytes)
        hidden.grad = weight.grad = None
        logprobs, entropy = token_scores(hidden, weight, None, tokens, 0.7)
        saved = logprobs.grad_fn.saved_tensors[-1]
        (logprobs.sum() + 0.3 * entropy.square().sum()).backward()
        return saved.numel(), [logprobs, entropy, hidden.grad, weight.grad]

    held, kept = scored(70 * 60_000 * 4)
    none, again = scored(70 * 60_000 * 4 - 1)
    assert (held, none) == (70 * 60_000, 0)
    assert all(torch.equal(a, b) for a, b in zip(kept, again, strict=True))
    with torch.no_grad():
        assert token_scores(hidden, weight, None, tokens, 0.7)[0].equal(kept[0])
