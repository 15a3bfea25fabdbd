#!/usr/bin/env python3
"""Which odd files the reference libraries take.

    make_files.py > testdata/io/files.json      (PyPI: safetensors, mlx[cpu]; made with safetensors 0.8.0, mlx 0.32.4)

"safetensors": headers over 16 bytes of data, and whether safetensors takes the file. "saved": the start of a file that
mx.save_safetensors wrote without metadata. "json": texts as Python's json takes them; numbers as repr() writes them.
"""
import importlib.metadata, json, os, struct, sys, tempfile
import mlx.core as mx
import safetensors

def entry(dtype, *shape):
    return {"a": {"dtype": dtype, "shape": list(shape), "data_offsets": [0, 16]}}

HEADERS = [entry("F32", 4) | {"__metadata__": None}, entry("F32", 4) | {"__metadata__": {}}, entry("F32", 4) | {"__metadata__": 5},
           entry("C64", 2), entry("F4", 32), entry("F8_E4M3", 16), entry("F8_E5M2", 16), entry("F8_E8M0", 16),
           entry("F8_E4M3FNUZ", 16), entry("F8_E5M2FNUZ", 16), entry("F13", 16), entry("f32", 4)]
TEXTS = ['{"x": Infinity}', '{"x": -Infinity}', '{"x": NaN}', '{"x": [1, NaN]}', '{"x": "NaN"}', '{"x": Infinityy}', '{"x": -NaN}',
         '{"x": nan}', '{"x": +Infinity}', '{NaN: 1}']

def takes(header):
    text = json.dumps(header).encode()
    try:
        safetensors.deserialize(struct.pack("<Q", len(text)) + text + bytes(16))
        return True
    except Exception:
        return False

def saved():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "x.safetensors")
        mx.save_safetensors(path, {"a": mx.zeros([4])})
        return open(path, "rb").read().hex()

def value(text):
    try:
        return repr(json.loads(text)["x"])
    except ValueError:
        return None

json.dump({"made with": [f"{p} {importlib.metadata.version(p)}" for p in ("safetensors", "mlx")] + [f"Python {sys.version.split()[0]}"],
           "safetensors": [[h, takes(h)] for h in HEADERS], "saved": saved(), "json": [[t, value(t)] for t in TEXTS]}, sys.stdout, indent=0)
print()
