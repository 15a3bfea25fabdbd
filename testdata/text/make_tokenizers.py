#!/usr/bin/env python3
"""What transformers makes of the files that describe a tokenizer.

    make_tokenizers.py > testdata/text/tokenizer_files.json        (PyPI: transformers; made with 5.24.0, tokenizers 0.23.3)
    make_tokenizers.py defaults        the bos and eos of transformers' classes, for halyard/text/tokenizer_config.cc

Each case is a folder: "files" over the "tokenizer.json" all share. "ids" are those of "text", "skipped" is their text without
special tokens, "special_tokens" what chat templates see, "template" and "tool_template" the chosen chat templates.
"""
import inspect, json, os, sys, tempfile
import tokenizers, transformers
from transformers import AutoTokenizer

def base():
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in keep]
    of = {b: chr(b) for b in keep} | {b: chr(256 + i) for i, b in enumerate(rest)}
    vocab = {of[b]: b for b in range(256)} | {t: 256 + i for i, t in enumerate(("he", "</s>", "<s>", "<|end|>", "<|endoftext|>", "<pad>"))}
    token = lambda i, c: {"id": i, "content": c, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [token(259, "<|end|>")], "normalizer": None,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            "post_processor": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                      "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": vocab, "merges": [["h", "e"]]}}

TEXT = "he  </s>  <s> x<|end|> y <|endoftext|><a>b <b> <pad> <c>"
tok = lambda content, **flags: {"content": content, **{k: False for k in ("lstrip", "rstrip", "normalized", "single_word", "special")}, **flags}
added = lambda content, **flags: {"__type": "AddedToken", **tok(content, **flags)}
C, M, A = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
CASES = {
    "nothing": {},
    "eos only in the config": {C: {"eos_token": "</s>", "bos_token": "<s>"}},
    "eos as an added token": {C: {"eos_token": added("</s>", lstrip=True), "pad_token": None}},
    "decoder": {C: {"added_tokens_decoder": {"257": tok("</s>", special=True), "258": tok("<s>")}}},
    "decoder overrides strip": {C: {"added_tokens_decoder": {"259": tok("<|end|>", special=True, lstrip=True, rstrip=True), "257": tok("</s>", rstrip=True)}}},
    "decoder single word": {C: {"added_tokens_decoder": {"259": tok("<|end|>", special=True, single_word=True)}}},
    "decoder takes special away": {C: {"added_tokens_decoder": {"259": tok("<|end|>", normalized=True)}}},
    "decoder adds new ones": {C: {"added_tokens_decoder": {"300": tok("<b>", special=True), "299": tok("<a>"), "9": tok("<c>")}, "eos_token": "<b>"}},
    "decoder keeps the map out": {C: {"added_tokens_decoder": {}, "eos_token": "<s>"}, M: {"eos_token": "</s>"}, A: {"<a>": 262}},
    "map": {M: {"eos_token": "</s>", "bos_token": {"content": "<s>", "lstrip": True, "rstrip": False, "normalized": False, "single_word": False}}},
    "map over the config": {C: {"eos_token": "<s>"}, M: {"eos_token": "</s>"}},
    "map with more": {M: {"additional_special_tokens": ["<a>", "<s>"], "eos_token": "</s>"}},
    "added tokens": {A: {"<a>": 262, "<b>": 263}},
    "added tokens that are special": {A: {"<a>": 262, "</s>": 257}, C: {"eos_token": "</s>", "additional_special_tokens": ["<a>"]}},
    "added tokens out of order": {A: {"<a>": 270, "<b>": 262}},
    "additional": {C: {"additional_special_tokens": ["<a>", "<s>"]}},
    "extra list": {C: {"extra_special_tokens": ["<a>", "<b>"], "additional_special_tokens": ["<c>"]}},
    "extra of objects": {C: {"extra_special_tokens": [added("<a>", rstrip=True), added("<b>", lstrip=True, special=True)]}},
    "extra dict": {C: {"extra_special_tokens": {"image_token": "<a>", "audio_token": "<b>"}, "additional_special_tokens": ["<c>"]}},
    "own name": {C: {"image_token": "<a>", "eos_token": "</s>"}},
    "split": {C: {"split_special_tokens": True, "eos_token": "</s>"}},
    "prefix space ignored": {C: {"add_prefix_space": True}},
    "gpt2 class": {C: {"tokenizer_class": "GPT2Tokenizer"}},
    "gpt2 class with space": {C: {"tokenizer_class": "GPT2TokenizerFast", "add_prefix_space": True}},
    "gpt2 class, other eos": {C: {"tokenizer_class": "GPT2Tokenizer", "eos_token": "</s>"}},
    "llama class, byte level": {C: {"tokenizer_class": "LlamaTokenizerFast"}},
    "template string": {C: {"chat_template": "S"}},
    "template list": {C: {"chat_template": [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "T"}]}},
    "template dict": {C: {"chat_template": {"default": "D", "tool_use": "T"}}},
    "template dict without default": {C: {"chat_template": {"other": "D", "tool_use": "T"}}},
    "template file": {C: {"chat_template": "S"}, "chat_template.jinja": "F"},
    "template file and more": {C: {"chat_template": "S"}, "chat_template.jinja": "F", "additional_chat_templates/tool_use.jinja": "A"},
    "template more alone": {C: {"chat_template": "S"}, "additional_chat_templates/tool_use.jinja": "A"},
}

def write(folder, files):
    for name, content in files.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as o:
            o.write(content if isinstance(content, str) else json.dumps(content))

def template(t, tools):
    try:
        return t.get_chat_template(tools=tools)
    except ValueError:
        return None

def run(files):
    with tempfile.TemporaryDirectory() as folder:
        write(folder, {"tokenizer.json": base(), **files})
        t = AutoTokenizer.from_pretrained(folder)
        ids = t.encode(TEXT, add_special_tokens=False)
        return {"files": files, "ids": ids, "skipped": t.decode(ids, skip_special_tokens=True),
                "special_tokens": t.special_tokens_map, "eos": t.eos_token_id, "class": type(t).__name__,
                "template": template(t, None), "tool_template": template(t, [{}])}

def defaults():
    names = set(filter(None, transformers.models.auto.tokenization_auto.TOKENIZER_MAPPING_NAMES.values()))
    for name in sorted(names):
        try:
            p = inspect.signature(getattr(transformers, name).__init__).parameters
            print(name, *(repr(p[k].default) if k in p else "-" for k in ("bos_token", "eos_token")), "add_prefix_space" in p)
        except Exception as e:
            print(name, "not here:", type(e).__name__)

if sys.argv[1:] == ["defaults"]:
    defaults()
else:
    out = {"made with": f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}", "text": TEXT, "tokenizer.json": base(), "cases": {}}
    for name, files in CASES.items():
        try:
            out["cases"][name] = run(files)
        except Exception as e:
            print(f"{name}: {type(e).__name__}: {e}", file=sys.stderr)
    json.dump(out, sys.stdout, separators=(",", ":"))
    print()
