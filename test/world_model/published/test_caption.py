"""Captions: the published way of encoding a prompt, and a small file that stands for the text encoder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sana_wm_ros.world_model.checkpoint import BadCheckpoint
from sana_wm_ros.world_model.published.caption import (
    Caption,
    encode_caption,
    instruction_of,
    load_caption,
    save_caption,
)


@torch.no_grad()
def test_a_prompt_is_encoded_behind_its_instruction(encoder: Path) -> None:
    import transformers

    instruction, prompt = "Given a user prompt describe the scene : User Prompt: ", "grey corridor"
    caption = encode_caption(prompt, encoder, instruction, tokens=6, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(encoder)
    network = transformers.AutoModel.from_pretrained(encoder)
    # The instruction's tokens and its start, then room for 6 - 2 more, padded on the right.
    ids = tokenizer(instruction + prompt).input_ids
    length = len(tokenizer(instruction).input_ids) + 4
    assert length == 11 + 4 and len(ids) == 13
    padded = torch.tensor([ids + [0] * (length - len(ids))])
    mask = (torch.arange(length) < len(ids))[None]
    hidden = network(input_ids=padded, attention_mask=mask.long()).last_hidden_state
    rows = [0, 10, 11, 12, 13, 14]  # the first token and the last five
    torch.testing.assert_close(caption.embedding_1LE[:, mask[0, rows]], hidden[:, rows][:, mask[0, rows]])
    assert caption.mask_1L.tolist() == [[True, True, True, True, False, False]]


def test_an_empty_prompt_is_its_first_token(encoder: Path) -> None:
    caption = encode_caption("", encoder, "Given a user prompt", tokens=6)
    assert caption.embedding_1LE.shape == (1, 6, 16)
    assert caption.mask_1L.tolist() == [[True, False, False, False, False, False]]


def test_a_long_prompt_is_cut(encoder: Path) -> None:
    caption = encode_caption("grey doors " * 40, encoder, "Given a scene", tokens=8)
    assert caption.embedding_1LE.shape == (1, 8, 16) and caption.mask_1L.all()


def test_a_folder_that_is_no_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no text encoder"):
        encode_caption("", tmp_path)


def test_a_caption_survives_its_file(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    embedding = torch.randn(1, 5, 16, generator=generator)
    mask = torch.tensor([[True, False, True, True, False]])
    save_caption(tmp_path / "c.safetensors", Caption(embedding_1LE=embedding, mask_1L=mask), "a hall")
    loaded = load_caption(tmp_path / "c.safetensors", 16)
    # Only the tokens that count are kept; the others change nothing.
    assert loaded.mask_1L.tolist() == [[True, True, True]]
    torch.testing.assert_close(loaded.embedding_1LE, embedding[:, [0, 2, 3]], atol=2e-3, rtol=1e-3)


def test_embedding_files_of_others_are_read(tmp_path: Path) -> None:
    held = {"embedding": torch.ones(4, 16), "mask": torch.tensor([1, 1, 0, 0])}
    save_file(held, tmp_path / "c.safetensors")
    assert load_caption(tmp_path / "c.safetensors", 16).mask_1L.tolist() == [[True, True, False, False]]


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ({"prompt_embeds": torch.ones(4, 16)}, "expected 'embedding'"),
        ({"embedding": torch.ones(4, 15)}, r"expected \(tokens, 16\)"),
        ({"embedding": torch.ones(2, 4, 16)}, r"expected \(1, L, E\)"),
        ({"embedding": torch.full((4, 16), torch.nan)}, "finite"),
        ({"embedding": torch.ones(4, 16), "mask": torch.zeros(4)}, "let some token through"),
        ({"embedding": torch.ones(4, 16), "mask": torch.ones(3)}, r"\(1, L\)"),
    ],
)
def test_bad_caption_files_are_refused(tmp_path: Path, held: dict[str, torch.Tensor], words: str) -> None:
    save_file(held, tmp_path / "c.safetensors")
    with pytest.raises(BadCheckpoint, match=words):
        load_caption(tmp_path / "c.safetensors", 16)


def test_truncated_and_missing_caption_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "c.safetensors").write_bytes(b"\x00" * 7)
    for name in ("c.safetensors", "d.safetensors"):
        with pytest.raises(BadCheckpoint, match="sana_wm prompt"):
            load_caption(tmp_path / name, 16)


def test_the_instruction_comes_from_the_weights_own_configuration(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "text_encoder:\n  chi_prompt:\n  - 'First line: '\n  - '- second'\n  - 'User Prompt: '\n"
    )
    assert instruction_of(config) == "First line: \n- second\nUser Prompt: "
    for text in ("text_encoder: {}", "text_encoder: {chi_prompt: 3}", "[", "- a"):
        config.write_text(text)
        with pytest.raises(BadCheckpoint, match="chi_prompt|expected lines"):
            instruction_of(config)
