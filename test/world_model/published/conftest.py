"""A text encoder that tests of captions share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

WORDS = "Given a user prompt describe the scene : User Prompt corridor with grey doors and a window".split()


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real Gemma-2 of two small layers and a tokenizer of a few words, on disk."""
    transformers = pytest.importorskip("transformers", reason="needs transformers (extra sana_wm)")
    tokenizers = pytest.importorskip("tokenizers", reason="needs transformers (extra sana_wm)")
    folder = tmp_path_factory.mktemp("gemma")
    vocabulary = {word: i for i, word in enumerate(["<pad>", "<bos>", "<unk>", *dict.fromkeys(WORDS)])}
    raw = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    raw.post_processor = tokenizers.processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", 1)]
    )
    # As Gemma's own: it would pad on the left.
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", bos_token="<bos>", unk_token="<unk>", padding_side="left"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.Gemma2Config(
        vocab_size=len(vocabulary), hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=8, pad_token_id=0, bos_token_id=1,
        eos_token_id=None,
    )  # fmt: skip
    transformers.Gemma2Model(config).save_pretrained(folder)
    return folder
