#!/usr/bin/env python3
"""Where the tokenizers library's Unicode tables are not those of other versions of Unicode.

    make_unicode.py tables > halyard/text/unicode_exceptions.h
    make_unicode.py cases  > testdata/text/unicode.json

Needs PyPI's tokenizers and unicodedata2. Both files were made with tokenizers 0.23.3, Unicode 14.0 (Python 3.11) and 18.0
(unicodedata2 18.0). Properties of a code point do not change once it is assigned, so a code point whose answer the two
versions and tokenizers agree on needs no entry, whatever version utf8proc has; all others are listed with the answer that
tokenizers gives.
"""
import json, random, sys, unicodedata as old
import unicodedata2 as new
import tokenizers
from tokenizers import normalizers, pre_tokenizers

ALL = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
FORMS = {n: getattr(normalizers, n)() for n in ("NFC", "NFD", "NFKC", "NFKD")}
STRIP, LOWER = normalizers.StripAccents(), normalizers.Lowercase()
PUNCT, DIGITS, WORDS = pre_tokenizers.Punctuation(), pre_tokenizers.Digits(), pre_tokenizers.Whitespace()
ASCII_PUNCT = set("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")

def cuts(pre, c):
    return len(pre.pre_tokenize_str("a" + c + "a")) > 1

def is_word(c):
    return not cuts(WORDS, c)

def word_by_category(u, c):
    return u.category(c)[0] in "LM" or u.category(c) in ("Nd", "Nl", "Pc") or c in "\u200c\u200d" or any(
        a <= ord(c) <= b for a, b in ((0x24b6, 0x24e9), (0x1f130, 0x1f149), (0x1f150, 0x1f169), (0x1f170, 0x1f189)))

# name -> (tokenizers' answer, the answer by a version's categories)
CLASSES = {
    "mark": (lambda c: STRIP.normalize_str(c) == "", lambda u, c: u.category(c)[0] == "M"),
    "punctuation": (lambda c: cuts(PUNCT, c), lambda u, c: c in ASCII_PUNCT or u.category(c)[0] == "P"),
    "numeric": (lambda c: cuts(DIGITS, c), lambda u, c: u.category(c) in ("Nd", "Nl", "No")),
    "word": (is_word, word_by_category),
}

def differing(name):
    """[(code point, tokenizers' answer)]"""
    answer, by_category = CLASSES[name]
    return [(ord(c), a) for c in ALL for a in [answer(c)] if c >= "\x80" and not a == by_category(old, c) == by_category(new, c)]

def unknown_to_normal_forms():
    """code points that tokenizers leaves alone under every form: no decomposition, no class, no part of a composition"""
    out = set()
    for c in ALL:
        if any(f.normalize_str(c) != new.normalize(n, c) for n, f in FORMS.items()):
            assert FORMS["NFKD"].normalize_str(c) == c, hex(ord(c))
            out.add(ord(c))
        s = "a\u0345" + c                              # U+0345 has the highest class: everything else moves before it
        if FORMS["NFD"].normalize_str(s) != new.normalize("NFD", s):
            assert FORMS["NFD"].normalize_str(s) == s, hex(ord(c))
            out.add(ord(c))
        parts = new.decomposition(c).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            pair = "".join(chr(int(p, 16)) for p in parts)
            if FORMS["NFC"].normalize_str(pair) != new.normalize("NFC", pair):
                out.add(int(parts[0], 16))             # what is composed later than a version starts with a late character
    return out

def ranges(points):
    """[(first, last, answer)] of [(code point, answer)]"""
    out = []
    for c, a in sorted(points):
        if out and out[-1][1] == c - 1 and out[-1][2] == a:
            out[-1][1] = c
        else:
            out.append([c, c, a])
    return out

def tables():
    print("// Made by testdata/text/make_unicode.py with tokenizers", tokenizers.__version__, "Unicode", old.unidata_version, "and",
          new.unidata_version + ".")
    print("// clang-format off")
    print("""#pragma once

#include <cstdint>

namespace halyard::text {

/// Code points from `first` to `last`, and the tokenizers library's answer for them.
struct CodePointRange {
  std::uint32_t first, last;
  bool answer;
};
""")
    def table(name, what, points):
        print(f"/// {what}\ninline constexpr CodePointRange {name}_exceptions[] = {{")
        line = "   "
        for a, b, v in ranges(points):
            item = f" {{{a:#x}, {b:#x}, {'true' if v else 'false'}}},"
            if len(line) + len(item) > 120:
                print(line)
                line = "   "
            line += item
        print(line + "\n};\n")
    table("unassigned", "Left alone by all normal forms.", [(c, True) for c in unknown_to_normal_forms()])
    table("mark", "General category M.", differing("mark"))
    table("punctuation", "General category P.", differing("punctuation"))
    table("numeric", "General category N.", differing("numeric"))
    table("word", r"\w.", differing("word"))
    print("/// Lower case, where versions of Unicode differ.\ninline constexpr std::uint32_t lowercase_exceptions[][2] = {")
    for c in ALL:
        low = LOWER.normalize_str(c)
        if len(low) == 1 and low != c.lower():         # pairs of letters are never undone, so the old version shows all
            print(f"    {{{ord(c):#x}, {ord(low):#x}}},")
    print("};\n\n}  // namespace halyard::text")

def compact(points):
    return ranges([(ord(c), True) for c in points])

def fnv(texts):
    """64-bit FNV-1a of the texts' UTF-8"""
    h = 0xcbf29ce484222325
    for t in texts:
        for b in t.encode():
            h = (h ^ b) * 0x100000001b3 & 0xffffffffffffffff
    return str(h)

def cases():
    """for every code point: which classes it is in; texts with marks in every order under every form"""
    out = {"made with": f"tokenizers {tokenizers.__version__}",
           **{n: [[a, b] for a, b, _ in compact([c for c in ALL if answer(c)])] for n, (answer, _) in CLASSES.items()}}
    random.seed(5)
    late = [chr(c) for c in sorted(unknown_to_normal_forms())]
    marks = [c for c in ALL if new.combining(c)]
    pairs = [c for c in ALL if new.decomposition(c) and not 0xAC00 <= ord(c) < 0xD7A4]
    texts = ["a" + "".join(random.choice(marks + late) for _ in range(6)) + random.choice(late) + "\u0301" + "".join(
        random.choice(pairs) for _ in range(3)) + "\u0323\u0301" for _ in range(400)]
    texts += ["a\u0345" + c + "\u0316" + c for c in late]
    texts += ["".join(chr(int(p, 16)) for p in new.decomposition(c).split()) for c in late if new.decomposition(c) and "<" not in new.decomposition(c)]
    out["texts"] = [[t] + [f.normalize_str(t) for f in FORMS.values()] + [STRIP.normalize_str(t)] for t in texts]
    out["lower"] = [[c, LOWER.normalize_str(c)] for c in ALL if LOWER.normalize_str(c) != c]
    # "every": of the results for every code point between marks of the highest and a middle class
    out["every"] = {n: fnv(f.normalize_str("a\u0345" + c + "\u0316") for c in ALL) for n, f in FORMS.items()}
    json.dump(out, sys.stdout, separators=(",", ":"))
    print()

{"tables": tables, "cases": cases}[sys.argv[1]]()
