"""Writes windows.json: what mlx-lm writes greedily with a KV cache of few positions (--max-kv-size), in float32.

Sizes up to 4, what it always keeps, are left out: mlx-lm then fails to broadcast its mask, or loses what it writes.

usage: python make_windows.py    (needs mlx[cpu] and mlx-lm; their versions are written into the file; takes minutes)
"""
import importlib.metadata
import json
import os

import mlx.core as mx
from mlx.utils import tree_map
from mlx_lm import load
from mlx_lm.generate import generate_step

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = os.path.join(HERE, "..", "..", "models", "gutenberg-29m-4bit")
SHORT = "The old house stood"
LONG = ("It was a dark evening in November when the carriage at last drew up before the house, and the young man, who had slept "
        "for the greater part of the way, put out his head and asked whether this was indeed the place. The driver answered that "
        "it was, and that he would go no farther for any money. There was a light in one of the upper windows, and a dog barked.")


def main():
    model, tokenizer = load(MODEL)
    model.update(tree_map(lambda x: x.astype(mx.float32) if mx.issubdtype(x.dtype, mx.floating) else x, model.parameters()))
    cases = []
    for text in (SHORT, LONG):
        prompt = tokenizer.encode(text)
        for size in (5, 7, 16, 33, 100):
            for step in (1, 16, 2048):
                ids = generate_step(mx.array(prompt), model, max_tokens=48, max_kv_size=size, prefill_step_size=step)
                cases.append({"prompt": prompt, "max_kv_size": size, "prefill_step": step, "ids": [int(t) for t, _ in ids]})
    versions = {p: importlib.metadata.version(p) for p in ("mlx", "mlx-lm")}
    with open(os.path.join(HERE, "windows.json"), "w") as f:
        f.write('{"versions": %s,\n"cases": [\n' % json.dumps(versions))
        f.write(",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]}\n")


if __name__ == "__main__":
    main()
