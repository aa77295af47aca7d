"""Small tokenizers of real kinds, trained on a few words and saved as the hub has them."""

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertTokenizer, CLIPTokenizer, GPT2Tokenizer, PreTrainedTokenizerFast

_WORDS = (
    "this is a photo of the cat dog person car rocket gradient cup coffee one two red green blue small wide "
    "standing sitting on in under near house tree street night day man woman"
)
_CORPUS = [_WORDS, "This is a photo of a cat.", "A person's coffee, isn't it? Two (2) cars!"] * 4


def clip(folder: Path) -> None:
    """CLIP's own: lower case, pieces of words that end in `</w>`, padded with the token that ends a text."""
    special = ["<|startoftext|>", "<|endoftext|>"]
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token=special[1]))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        end_of_word_suffix="</w>",
        special_tokens=special,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    vocabulary = tokenizer.get_vocab()
    for letter in pre_tokenizers.ByteLevel.alphabet():
        vocabulary.setdefault(f"{letter}</w>", len(vocabulary))
    merges = _merges(tokenizer)
    CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77).save_pretrained(folder)


def siglip(folder: Path) -> None:
    """As SigLIP's is converted: lower case, no punctuation, an end but no start, padded with the end, no mask."""
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=["</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(".", "")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator(_CORPUS, trainer)
    end = tokenizer.token_to_id("</s>")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", end)])
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        eos_token="</s>",
        pad_token="</s>",
        unk_token="<unk>",
        model_input_names=["input_ids"],
        model_max_length=64,
    ).save_pretrained(folder)


def bert(folder: Path) -> None:
    """BERT's own: whole words, and their letters for what it doesn't know."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    pieces = [*special, *_WORDS.split(), *letters, *(f"##{letter}" for letter in letters), *".,!?'()"]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    BertTokenizer(vocab=vocabulary, model_max_length=64).save_pretrained(folder)


def gpt2(folder: Path) -> None:
    """GPT-2's own: bytes, and no token to pad with."""
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(_CORPUS, trainer)
    GPT2Tokenizer(vocab=tokenizer.get_vocab(), merges=_merges(tokenizer)).save_pretrained(folder)


def _merges(tokenizer: Tokenizer) -> Any:
    return [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]
