"""How good the toy world's models are: text-to-image, the autoencoder's round trip, the oracle, the two CLIPs.

    OMP_NUM_THREADS=1 python tests/benchmarks/toy_quality.py --out results/benchmarks/toy_quality.json
    … --model FOLDER --oracle FOLDER --clip-a FOLDER --clip-b FOLDER    others than those that ship
    … --sheets FOLDER    also write numbered sheets of generated pictures, to be labelled by eye
    … --labels tests/benchmarks/toy_labels.csv --card    hold the oracle against such labels, and say so in its card

Every scene is of the benchmark's parts, of which no training saw a combination of attributes. Captions name all seven
attributes. Intervals are 95%, of pictures, which are independent.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageDraw
from scipy.stats import binomtest
from tqdm import tqdm

from tedbench import environment, images, models
from tedbench.datasets import toy, toy_captions
from tedbench.types import EditPair, ImageFile
from tedbench_methods import toy as toy_model
from tedbench_metrics import toy as judges
from tedbench_metrics.lpips import LpipsAlex
from tedbench_metrics.toy import album, cards, clip_checks, clips
from tedbench_metrics.toy.reader import Reader

GUIDANCE, STEPS, BATCH = 3.0, 25, 20
LABELLED = 200


def pipeline(folder: Path) -> Any:
    """The model by diffusers' own door, float32."""
    from diffusers import StableDiffusionPipeline

    with models.quiet():
        pipe = StableDiffusionPipeline.from_pretrained(
            folder, variant="fp16", dtype=torch.float32, safety_checker=None, requires_safety_checker=False
        )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def captioned(n: int) -> list[tuple[toy.Scene, str]]:
    """Held-out scenes, each as often as another, and captions that name everything."""
    found = [toy.sample("test", index)[0] for index in range(n)]
    return [(scene, toy_captions.caption(scene, toy.ATTRIBUTES)) for scene in found]


def generated(pipe: Any, texts: list[str]) -> list[Image.Image]:
    """One picture a text; the noise of picture i is of seed i."""
    made: list[Image.Image] = []
    for start in tqdm(range(0, len(texts), BATCH), "text to image", disable=None):
        some = texts[start : start + BATCH]
        seeds = [torch.Generator().manual_seed(start + i) for i in range(len(some))]
        made += pipe(some, guidance_scale=GUIDANCE, num_inference_steps=STEPS, generator=seeds).images
    return made


def tensor(pictures: list[Image.Image]) -> torch.Tensor:
    pixels = np.stack([images.to_uint8(picture) for picture in pictures])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def accuracy(reader: Reader, pictures: list[Image.Image], scenes: list[toy.Scene]) -> dict[str, Any]:
    """Part of the pictures on which each attribute is read as it is, with Wilson's interval; a refused one is wrong.

    `refused or not` is the same without regard to refusals.
    """
    reading = reader.read(tensor(pictures))
    refused = reading.refused.tolist()
    read = {
        name: [value == getattr(scene, name) for value, scene in zip(reading.values(name), scenes, strict=True)]
        for name in toy.ATTRIBUTES
    }
    right = {name: [hit and not bad for hit, bad in zip(hits, refused, strict=True)] for name, hits in read.items()}
    return {**summed(right), "refused": proportion(refused), "refused or not": summed(read)}


def summed(hits: dict[str, list[bool]]) -> dict[str, Any]:
    found = {name: proportion(each) for name, each in hits.items()}
    parts = [each["part"] for each in found.values()]
    every = [all(each) for each in zip(*hits.values(), strict=True)]
    return {"attributes": found, "mean": statistics.mean(parts), "worst": min(parts), "all seven": proportion(every)}


def proportion(hits: list[bool]) -> dict[str, float]:
    interval = binomtest(sum(hits), len(hits)).proportion_ci(method="wilson")
    return {"part": sum(hits) / len(hits), "low": interval.low, "high": interval.high, "n": len(hits)}


def round_trips(pipe: Any, reader: Reader, n: int) -> dict[str, Any]:
    """Held-out renderings through the autoencoder and back: what is read on them, LPIPS and PSNR to the input."""
    sampled = [toy.sample("test", index) for index in range(n)]
    drawn = [toy.draw(scene, seed) for scene, seed in sampled]
    back = []
    for some in torch.split(tensor(drawn), 64):
        with torch.inference_mode():
            y = pipe.vae.decode(pipe.vae.encode(some * 2 - 1).latents).sample
        back += list(((y.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy())
    decoded = [Image.fromarray(one) for one in back]
    errors = [np.mean((np.asarray(a, float) - np.asarray(b, float)) ** 2) for a, b in zip(drawn, decoded, strict=True)]
    pairs = [pair(str(i), picture) for i, picture in enumerate(drawn)]
    scenes = [scene for scene, _ in sampled]
    lpips = {f"lpips-alex@{size}": statistics.mean(LpipsAlex(size=size).score(pairs, decoded)) for size in (64, 256)}
    psnr = statistics.mean(float(10 * np.log10(255**2 / error)) for error in errors)
    return {"as drawn": accuracy(reader, drawn, scenes), "decoded": accuracy(reader, decoded, scenes), **lpips,
            "psnr": psnr}  # fmt: skip


def pair(uid: str, picture: Image.Image) -> EditPair:
    data = images.encode_png(picture)
    return EditPair(uid, ImageFile(f"{uid}.png", images.sha256(data), data=data), "", uid)


ENLARGED, ACROSS = 4, 5


def sheets(pictures: list[Image.Image], folder: Path) -> None:
    """What an observer needs: legends of the world's values, numbered pictures by 25, and a labels.csv to fill in."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, drawn in legends().items():
        sheet(drawn, len(drawn)).save(folder / f"legend-{name}.png")
    for start in range(0, len(pictures), ACROSS**2):
        some = {str(i): picture for i, picture in enumerate(pictures[start : start + ACROSS**2], start)}
        sheet(some, ACROSS).save(folder / f"sheet-{start:03d}.png")
    lines = [f"{i},{images.pixel_sha256(picture)}{',' * len(toy.ATTRIBUTES)}" for i, picture in enumerate(pictures)]
    head = ",".join(("picture", "sha256", *toy.ATTRIBUTES))
    (folder / "labels.csv").write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")


def sheet(pictures: dict[str, Image.Image], columns: int) -> Image.Image:
    """Captioned pictures, enlarged without blur."""
    side, head = ENLARGED * toy.SIDE, 14
    page = Image.new("RGB", (columns * (side + 4), -(-len(pictures) // columns) * (side + head)), "white")
    pen = ImageDraw.Draw(page)
    for i, (name, picture) in enumerate(pictures.items()):
        x, y = i % columns * (side + 4), i // columns * (side + head)
        page.paste(picture.resize((side, side), Image.Resampling.NEAREST), (x, y + head))
        pen.text((x + 2, y + 1), name, fill="black")
    return page


def legends() -> dict[str, dict[str, Image.Image]]:
    """True drawings of every value, by what a legend is about."""
    scene = toy.Scene("dog", "brown", "standing", "one", "none", "grass", "large")
    posed = {animal: [replace(scene, subject=animal, pose=pose) for pose in toy.POSES] for animal in toy.ANIMALS}
    shown = {
        **posed, "things": [replace(scene, subject=thing, pose="still") for thing in toy.OBJECTS],
        "colours": [replace(scene, colour=colour) for colour in toy.ATTRIBUTES["colour"]],
        "places": [replace(scene, background=place) for place in toy.ATTRIBUTES["background"]],
        "sizes": [replace(scene, size=s, count=n) for s in toy.ATTRIBUTES["size"] for n in toy.ATTRIBUTES["count"]],
        "hats": [replace(scene, accessory=worn, size=size) for worn in toy.ATTRIBUTES["accessory"]
                 for size in toy.ATTRIBUTES["size"]],
    }  # fmt: skip
    return {
        name: {" ".join(dataclasses.astuple(one)): toy.draw(one, 7) for one in each} for name, each in shown.items()
    }


def by_eye(reader: Reader, pictures: list[Image.Image], file: Path) -> dict[str, Any]:
    """The oracle's readings of generated pictures against labels given by looking; empty where the eye cannot tell."""
    labels = pd.read_csv(file, dtype=str, keep_default_na=False).set_index("picture")
    labelled = [pictures[int(i)] for i in labels.index]
    if [images.pixel_sha256(picture) for picture in labelled] != labels["sha256"].tolist():
        raise SystemExit(f"{file} labels other pictures than these: label them anew (--sheets), or use those weights")
    reading = reader.read(tensor(labelled))
    found: dict[str, Any] = {"pictures": len(labels), "refused": proportion(reading.refused.tolist())}
    every, hits = np.ones(len(labels), bool), list[bool]()
    for name, values in toy.ATTRIBUTES.items():
        told = (labels[name] != "").to_numpy()
        seen, read = labels[name][told], np.array(reading.values(name))[told]
        every[told] &= (seen == read).to_numpy()
        counts = pd.crosstab(pd.Categorical(seen, values), pd.Categorical(read, values), dropna=False)
        found[name] = {**proportion((seen == read).tolist()), "seen, read": counts.to_numpy().tolist()}
        hits += (seen == read).tolist()
    return {**found, "all labels": proportion(hits), "every label of a picture": proportion(every.tolist())}


EYE = "## Generated pictures, labelled by eye"


def write_card(found: dict[str, Any], folder: Path) -> None:
    """Put the comparison with labels by eye at the end of the oracle's card, in place of an earlier one."""
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8").partition(f"\n{EYE}")[0].rstrip()
    shown = (*toy.ATTRIBUTES, "all labels")
    rows = [(name, f"{found[name]['part']:.3f}", str(found[name]["n"])) for name in shown]
    said = (
        f"{found['pictures']} pictures of the toy model, made from captions that name everything (guidance "
        f"{GUIDANCE:g}, {STEPS} steps), labelled by an observer who saw neither captions nor readings "
        "(`tests/benchmarks/toy_labels.csv`); what the eye cannot tell has no label. The oracle refused "
        f"{found['refused']['part']:.3f}; readings of those count too."
    )
    tables = [
        cards.table((f"{name} ↓ read as →", *values),
                    [(v, *map(str, row)) for v, row in zip(values, found[name]["seen, read"], strict=True)])
        for name, values in toy.ATTRIBUTES.items()
    ]  # fmt: skip
    sections = [text, EYE, said, cards.table(("attribute", "read as seen", "labels"), rows), *tables]
    card.write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def duels(style: str, folder: Path, n: int) -> dict[str, Any]:
    """Captions that differ in one attribute, in the CLIP's own wordings and the benchmark's; see `clip_checks`."""
    with tempfile.TemporaryDirectory() as scratch:
        unseen = album.open_album(album.Pages("test", n, each=1), Path(scratch))
    network = clips.load(folder)
    found = {one: clip_checks.accuracy(network, unseen, one, "cpu") for one in (style, "photo")}
    won = [part for each in found.values() for kinds in each.values() for part in kinds.values()]
    return {**found, "worst": min(won)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=toy_model.FOLDER)
    parser.add_argument("--oracle", type=Path, default=judges.ORACLE)
    parser.add_argument("--clip-a", type=Path, default=judges.CLIP_A)
    parser.add_argument("--clip-b", type=Path, default=judges.CLIP_B)
    parser.add_argument("--pictures", type=int, default=400)
    parser.add_argument("--sheets", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--card", action="store_true")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    pipe, reader = pipeline(asked.model), Reader.load(asked.oracle)
    told = captioned(asked.pictures)
    made = generated(pipe, [text for _, text in told])
    again = generated(pipe, [text for _, text in told[:BATCH]])
    if asked.sheets:
        sheets(made[:LABELLED], asked.sheets)
    found = {
        "text to image": {
            "guidance": GUIDANCE, "steps": STEPS, **accuracy(reader, made, [scene for scene, _ in told]),
            "same seed, same bytes": all(a.tobytes() == b.tobytes() for a, b in zip(made, again, strict=False)),
        },
        "round trip": round_trips(pipe, reader, asked.pictures),
        "minimal pairs": {
            style: duels(style, folder, asked.pictures)
            for style, folder in (("clip-a", asked.clip_a), ("clip-b", asked.clip_b))
        },
        "versions": environment.versions(),
    }  # fmt: skip
    if asked.labels:
        found["by eye"] = by_eye(reader, made, asked.labels)
        if asked.card:
            write_card(found["by eye"], asked.oracle)
    text = json.dumps(found, indent=1)
    if asked.out:
        asked.out.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
