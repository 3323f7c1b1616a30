"""Causal language models of transformers, built small with random weights: the same losses and
gradients without the logits."""

from __future__ import annotations

import copy
import functools
import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

transformers = pytest.importorskip("transformers")

from activations_ext.integrations.transformers import (  # noqa: E402
    Logits,
    use_linear_cross_entropy,
)
from helpers import run_python  # noqa: E402

VOCABULARY = 211
SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "Llama": ("Llama", {**SMALL}),
    "Llama, tied": ("Llama", {**SMALL, "tie_word_embeddings": True}),
    "Qwen2": ("Qwen2", {**SMALL}),
    "Gemma2": ("Gemma2", {**SMALL, "head_dim": 8, "final_logit_softcapping": 5.0}),
    "Cohere": ("Cohere", {**SMALL, "logit_scale": 0.25}),
    "Granite": ("Granite", {**SMALL, "logits_scaling": 3.0}),
    "GPT2": (
        "GPT2",
        {
            "vocab_size": VOCABULARY,
            "n_embd": 32,
            "n_layer": 2,
            "n_head": 4,
            "n_positions": 64,
            "bos_token_id": 1,
            "eos_token_id": 2,
            **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
        },
    ),
    "OPT": (
        "OPT",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": 32,
            "ffn_dim": 48,
            "dropout": 0.0,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "word_embed_proj_dim": 32,
            "max_position_embeddings": 64,
            "pad_token_id": 0,
        },
    ),
}
HEADS = {"GPT2": "GPT2LMHeadModel"}


def make(name: str) -> Any:
    kind, arguments = MODELS[name]
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**arguments)
    return getattr(transformers, HEADS.get(kind, f"{kind}ForCausalLM"))(config).train()


def batch() -> dict[str, Tensor]:
    ids = torch.randint(3, VOCABULARY, (3, 17), generator=torch.Generator().manual_seed(1))
    labels = ids.clone()
    labels[0, :5] = -100
    labels[2, 9:] = -100
    return {"input_ids": ids, "labels": labels}


def step(model: Any, **more: Any) -> list[Tensor]:
    model.zero_grad()
    output = model(**batch(), **more)
    output.loss.backward()
    return [output.loss.detach(), *(p.grad for p in model.parameters() if p.requires_grad)]


@pytest.mark.parametrize("num_items", [None, 7, torch.tensor(31)], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_losses_and_gradients(name: str, num_items: Any) -> None:
    model = make(name)
    more = {} if num_items is None else {"num_items_in_batch": num_items}
    expected = step(model, **more)
    undo = use_linear_cross_entropy(model)
    torch.testing.assert_close(step(model, **more), expected, rtol=2e-5, atol=1e-6)
    assert isinstance(model(**batch()).logits, Logits)
    undo()
    again = step(model, **more)
    assert all(torch.equal(a, b) for a, b in zip(again, expected, strict=True))
    assert isinstance(model(**batch()).logits, Tensor)


@pytest.mark.parametrize("name", MODELS)
def test_evaluation_and_generation_are_untouched(name: str) -> None:
    model = make(name).eval()
    ids = batch()["input_ids"][:, :5]
    before = model(**batch())
    tokens = model.generate(ids, max_new_tokens=4, do_sample=False)
    use_linear_cross_entropy(model)
    after = model(**batch())
    assert torch.equal(after.logits, before.logits)
    assert torch.equal(after.loss, before.loss)
    assert torch.equal(model.generate(ids, max_new_tokens=4, do_sample=False), tokens)
    model.train()
    with torch.no_grad():
        assert isinstance(model(**batch()).logits, Tensor)
    assert isinstance(model(input_ids=ids).logits, Tensor)


@pytest.mark.parametrize("name", ["Llama", "Gemma2", "Cohere"])
def test_logits_become_a_tensor_for_whoever_looks(name: str) -> None:
    model = make(name)
    expected = model(**batch()).logits
    use_linear_cross_entropy(model)
    logits = model(**batch()).logits
    assert logits.shape == expected.shape
    assert logits.device == expected.device
    torch.testing.assert_close(torch.relu(logits), torch.relu(expected), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits[:, :2], expected[:, :2], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits.detach(), expected.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits * -2.0, expected * -2.0, rtol=1e-4, atol=1e-5)


def test_bfloat16_has_a_loss_of_float32() -> None:
    model = make("Llama").bfloat16()
    expected = step(model)
    use_linear_cross_entropy(model)
    ours = step(model)
    assert ours[0].dtype == torch.float32
    torch.testing.assert_close(ours[0], expected[0], rtol=2e-3, atol=0)
    for mine, theirs in zip(ours[1:], expected[1:], strict=True):
        off = (mine.double() - theirs.double()).norm() / theirs.double().norm()
        assert off < 0.05


def test_autocast() -> None:
    model = make("Llama")
    with torch.autocast("cpu", torch.bfloat16):
        expected = step(model)[0]
    use_linear_cross_entropy(model)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(step(model)[0], expected, rtol=2e-3, atol=0)


def test_a_copy_is_independent() -> None:
    model = make("Llama")
    use_linear_cross_entropy(model)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.lm_head.weight.zero_()
    loss = twin(**batch()).loss
    torch.testing.assert_close(loss, torch.tensor(float(VOCABULARY)).log())
    assert model(**batch()).loss != loss


def test_each_model_keeps_the_signature_of_its_forward() -> None:
    """The Trainer reads it. The second model's was shown for the first, too."""
    models = [make("GPT2"), make("Llama")]
    expected = [inspect.signature(model.forward) for model in models]
    for model in models:
        use_linear_cross_entropy(model)
    assert [inspect.signature(model.forward) for model in models] == expected
    assert expected[0] != expected[1]


def test_a_forward_that_is_no_method_is_refused_and_nothing_changed() -> None:
    model = make("Llama")
    model.lm_head.forward = functools.partial(torch.nn.Linear.forward, model.lm_head)
    with pytest.raises(TypeError, match=r"Linear.forward to be a method"):
        use_linear_cross_entropy(model)
    assert isinstance(model(**batch()).logits, Tensor)


def test_what_is_no_causal_language_model() -> None:
    for wrong in (torch.nn.Linear(2, 2), transformers.BertModel(tiny_bert())):
        with pytest.raises(TypeError, match="causal language model"):
            use_linear_cross_entropy(wrong)
    model = make("Llama")
    use_linear_cross_entropy(model)
    with pytest.raises(TypeError, match="not been called yet"):
        use_linear_cross_entropy(model)


def tiny_bert() -> Any:
    return transformers.BertConfig(
        vocab_size=10,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
    )


@pytest.mark.parametrize("how", ["lora", "modules_to_save"])
def test_heads_of_peft(how: str) -> None:
    peft = pytest.importorskip("peft")
    arguments = {
        "lora": {"target_modules": ["q_proj", "lm_head"]},
        "modules_to_save": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
    }[how]
    config = peft.LoraConfig(r=2, task_type="CAUSAL_LM", init_lora_weights=False, **arguments)
    model = peft.get_peft_model(make("Llama"), config).train()
    expected = step(model)
    undo = use_linear_cross_entropy(model)
    torch.testing.assert_close(step(model), expected, rtol=5e-5, atol=1e-6)
    undo()
    torch.testing.assert_close(step(model), expected, rtol=0, atol=0)


@pytest.mark.slow
def test_trainer_with_gradient_accumulation(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    ids = torch.randint(3, VOCABULARY, (16, 12), generator=torch.Generator().manual_seed(2))
    data = [{"input_ids": row, "labels": row} for row in ids]
    weights = []
    for ours in (False, True):
        model = make("Llama")
        if ours:
            use_linear_cross_entropy(model)
        arguments = transformers.TrainingArguments(
            output_dir=str(tmp_path),
            per_device_train_batch_size=2,
            gradient_accumulation_steps=4,
            num_train_epochs=1,
            learning_rate=1e-2,
            report_to=[],
            use_cpu=True,
            save_strategy="no",
            seed=0,
        )
        transformers.Trainer(model, arguments, train_dataset=data).train()
        weights.append({k: v.detach() for k, v in model.named_parameters()})
    torch.testing.assert_close(weights[1], weights[0], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_the_memory_of_the_logits_is_not_needed() -> None:
    code = """
import sys, torch, transformers
from activations_ext.integrations.transformers import use_linear_cross_entropy
def peak():  # ru_maxrss begins with the parent's
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(status["VmHWM"].split()[0])
config = transformers.LlamaConfig(
    vocab_size=32000, hidden_size=32, intermediate_size=32, num_hidden_layers=1,
    num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=4096)
model = transformers.LlamaForCausalLM(config).train()
if sys.argv[1] == "ours":
    use_linear_cross_entropy(model)
ids = torch.randint(0, 32000, (1, 2048))
before = peak()
model(input_ids=ids, labels=ids).loss.backward()
print((peak() - before) // 1024)
"""
    theirs, ours = (int(run_python(code, which).split()[-1]) for which in ("theirs", "ours"))
    logits = 2048 * 32000 * 4 // 2**20
    assert theirs > 2 * logits
    assert ours < theirs - logits
