"""How the captioner beside this file was made, and what it says of the pictures beside it, by a loop of our own.

PyTorch 2.15.0, onnx 1.23.2, onnxscript 0.7.2, tokenizers 0.23.3, Pillow 13.0.0, Python 3.11, once:  python make.py
An encoder and a decoder without a cache, under the names of files, inputs and outputs that Hugging Face's optimum gives
an exported vision-encoder-decoder. Trained on drawn squares and crosses, so that its sentences are about the pictures.
The sentences in expected.json come from ONNX's reference evaluator, one token at a time, and from the tokenizers library.
"""

import json
import pathlib

import numpy as np
import torch
from onnx.reference import ReferenceEvaluator
from PIL import Image, ImageDraw
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from torch.nn import functional

HERE = pathlib.Path(__file__).parent
SIDE, PATCH, WIDTH, LONGEST, START = 32, 8, 48, 32, "<|endoftext|>"
COLOURS = {"red": (200, 40, 40), "green": (50, 160, 60), "blue": (50, 80, 200), "yellow": (220, 200, 60)}
GROUNDS = {"dark": (40, 40, 44), "light": (205, 205, 200)}
CASES = [
    (shape, colour, ground, place)
    for shape in ("square", "cross")
    for colour in COLOURS
    for ground in GROUNDS
    for place in ("left", "right")
]


def said(shape: str, colour: str, ground: str, place: str) -> str:
    """The sentence about such a picture."""
    return f"a {colour} {shape} on the {place} of a {ground} wall"


def drawn(case: tuple[str, ...], size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Such a picture: a shape somewhere in its half, colours a little off."""
    shape, colour, ground, place = case
    off = lambda base: tuple(int(c) for c in np.clip(np.array(base) + rng.integers(-25, 26, 3), 0, 255))  # noqa: E731
    width, height = size
    picture = Image.new("RGB", size, off(GROUNDS[ground]))
    draw, fill = ImageDraw.Draw(picture), off(COLOURS[colour])
    half = height * rng.uniform(0.2, 0.3)
    x = width * (rng.uniform(0.22, 0.3) + (0.48 if place == "right" else 0))
    y = height * rng.uniform(0.4, 0.6)
    across = half * width / height / 1.2
    if shape == "square":
        draw.rectangle((x - across, y - half, x + across, y + half), fill)
    else:
        draw.rectangle((x - across, y - half / 3, x + across, y + half / 3), fill)
        draw.rectangle((x - across / 3, y - half, x + across / 3, y + half), fill)
    return picture


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x: torch.Tensor, y: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        scores = self.q(x) @ self.k(y).transpose(1, 2) / WIDTH**0.5
        if mask is not None:
            scores = scores + mask
        return self.o(scores.softmax(-1) @ self.v(y))


def wide() -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH)
    )


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.places = nn.Parameter(torch.randn(1, (SIDE // PATCH) ** 2, WIDTH) * 0.02)
        self.norm, self.look, self.wide = nn.LayerNorm(WIDTH), Attention(), wide()

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        x = self.patches(pixel_values).flatten(2).transpose(1, 2) + self.places
        y = self.norm(x)
        x = x + self.look(y, y)
        return x + self.wide(x)


class Decoder(nn.Module):
    def __init__(self, words: int) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(words, WIDTH), nn.Embedding(LONGEST, WIDTH)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(3))
        self.own, self.seen, self.wide = Attention(), Attention(), wide()
        self.out = nn.Linear(WIDTH, words)

    def forward(self, input_ids: torch.Tensor, encoder_hidden_states: torch.Tensor) -> torch.Tensor:
        length = input_ids.shape[1]
        place = torch.arange(length, device=input_ids.device)
        x = self.words(input_ids) + self.places(place)
        y = self.norms[0](x)
        before = (place[None, :] > place[:, None]).float() * -1e4
        x = x + self.own(y, y, before)
        x = x + self.seen(self.norms[1](x), encoder_hidden_states)
        x = x + self.wide(x)
        return self.out(self.norms[2](x))


def bytes_of(sentences: list[str]) -> Tokenizer:
    """GPT-2's kind of tokenizer, of a small vocabulary."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + 40,
        special_tokens=[START],
        initial_alphabet=sorted(alphabet),
        show_progress=False,
    )
    made.train_from_iterator(sentences, trainer)
    return made


def pieces_of(sentences: list[str]) -> Tokenizer:
    """BERT's kind, for the test of what ids are read as."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.pre_tokenizer, made.decoder = (
        pre_tokenizers.BertPreTokenizer(),
        decoders.WordPiece(prefix="##", cleanup=True),
    )
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    made.train_from_iterator(
        sentences, trainers.WordPieceTrainer(vocab_size=120, special_tokens=special, show_progress=False)
    )
    return made


def normal(picture: Image.Image) -> np.ndarray:
    """As preprocessor_config.json says it."""
    small = np.asarray(picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32)
    return ((small / 255 - 0.5) / 0.5).transpose(2, 0, 1)[None]


def trained(tokens: Tokenizer) -> tuple[Encoder, Decoder]:
    """Both networks, fitted to the drawn pictures."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    encoder, decoder = Encoder(), Decoder(tokens.get_vocab_size())
    weights = [*encoder.parameters(), *decoder.parameters()]
    rounds = 900
    climb = torch.optim.AdamW(weights, 2e-3)
    slower = torch.optim.lr_scheduler.OneCycleLR(climb, 3e-3, total_steps=rounds)
    end = tokens.token_to_id(START)
    ids = {case: [end, *tokens.encode(said(*case)).ids, end] for case in CASES}
    longest = max(map(len, ids.values()))
    shown = [(case, normal(drawn(case, (64, 48), rng))) for case in CASES * 30]
    for step in range(rounds):
        picked = [shown[i] for i in rng.integers(0, len(shown), 32)]
        some, seen = (
            [case for case, _ in picked],
            torch.from_numpy(np.concatenate([one for _, one in picked])),
        )
        given = torch.tensor([ids[case] + [end] * (longest - len(ids[case])) for case in some])
        counts = torch.tensor([[float(n < len(ids[case]) - 1) for n in range(longest - 1)] for case in some])
        logits = decoder(given[:, :-1], encoder(seen))
        loss = functional.cross_entropy(logits.transpose(1, 2), given[:, 1:], reduction="none")
        loss = (loss * counts).sum() / counts.sum()
        climb.zero_grad()
        loss.backward()
        climb.step()
        slower.step()
        if step % 100 == 0:
            print(step, float(loss.detach()), flush=True)
    return encoder.eval(), decoder.eval()


def export(encoder: Encoder, decoder: Decoder) -> None:
    """As optimum names and leaves open what goes in and out."""
    batch, length, seen = (
        torch.export.Dim(name, min=1, max=most)
        for name, most in (
            ("batch_size", 64),
            ("decoder_sequence_length", LONGEST),
            ("encoder_sequence_length", 1024),
        )
    )
    torch.onnx.export(
        encoder, (torch.zeros(2, 3, SIDE, SIDE),), str(HERE / "encoder_model.onnx"), dynamo=True, external_data=False,
        input_names=["pixel_values"], output_names=["last_hidden_state"], dynamic_shapes=({0: batch},),
    )  # fmt: skip
    torch.onnx.export(
        decoder, (torch.zeros(2, 7, dtype=torch.int64), torch.zeros(2, 16, WIDTH)), str(HERE / "decoder_model.onnx"),
        dynamo=True, external_data=False, input_names=["input_ids", "encoder_hidden_states"], output_names=["logits"],
        dynamic_shapes=({0: batch, 1: length}, {0: batch, 1: seen}),
    )  # fmt: skip


def greedy(picture: Image.Image, end: int) -> tuple[list[int], list[float]]:
    """The likeliest token after the other, each from the whole beginning; with the chance that it was given."""
    encoder, decoder = (
        ReferenceEvaluator(str(HERE / f"{name}_model.onnx")) for name in ("encoder", "decoder")
    )
    (seen,) = encoder.run(None, {"pixel_values": normal(picture)})
    ids, chances = [end], []
    while len(ids) <= LONGEST and (len(ids) == 1 or ids[-1] != end):
        (logits,) = decoder.run(None, {"input_ids": np.array([ids]), "encoder_hidden_states": seen})
        last = np.asarray(logits[0, -1], np.float64)
        shares = np.exp(last - last.max())
        ids.append(int(last.argmax()))
        chances.append(float(shares.max() / shares.sum()))
    return ids[1:], chances


def main() -> None:
    """Write everything that lies here."""
    sentences = [said(*case) for case in CASES]
    tokens = bytes_of(sentences)
    tokens.save(str(HERE / "tokenizer.json"))
    end = tokens.token_to_id(START)
    mean = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    size = {"do_resize": True, "size": {"height": SIDE, "width": SIDE}, "resample": 2}
    given = {**size, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, **mean}
    (HERE / "preprocessor_config.json").write_text(json.dumps(given, indent=1) + "\n")
    told = {"decoder_start_token_id": end, "eos_token_id": end, "pad_token_id": end}
    (HERE / "generation_config.json").write_text(json.dumps(told, indent=1) + "\n")
    export(*trained(tokens))

    rng, expected = np.random.default_rng(11), {}
    for name, case in {"1": CASES[0], "2": CASES[13], "3": CASES[22], "4": CASES[31]}.items():
        picture = drawn(case, (320, 240), rng)
        picture.save(HERE / f"picture-{name}.png", optimize=True)
        ids, chances = greedy(picture, end)
        words = tokens.decode(ids, skip_special_tokens=True)
        print(said(*case), "->", words)
        expected[f"picture-{name}.png"] = {"ids": ids, "chances": chances, "words": words}

    read, mixed = {}, ["a woman's dog isn't here, is it?", "بيت أحمر يحترق", "naïve café – 12 %"]
    read["byte level"] = [[tokens.encode(one).ids, tokens.decode(tokens.encode(one).ids)] for one in mixed]
    pieces = pieces_of([*sentences, "a woman ' s dog isn ' t here , is it ?", "half of the wall ."])
    pieces.save(str(HERE / "wordpiece.json"))
    spoken = [*sentences[:2], "a woman's wall, half left.", "dog isn't here", "is it a dog?"]
    ids = [[2, *pieces.encode(one).ids, 3] for one in spoken]
    read["wordpiece"] = [[one, pieces.decode(one, skip_special_tokens=True)] for one in ids]
    (HERE / "expected.json").write_text(
        json.dumps({"said": expected, "read": read}, indent=1, ensure_ascii=False) + "\n"
    )


if __name__ == "__main__":
    main()
