"""Writes halyard/text/jinja/tables.h: HTML's named characters, and which characters are numbers, upper or lower to Python.

usage: python make_tables.py > ../../halyard/text/jinja/tables.h
"""
import html.entities
import sys
import unicodedata


def ranges(test):
    out, start = [], None
    for c in range(0x110000):
        if test(chr(c)):
            start = c if start is None else start
        elif start is not None:
            out.append((start, c - 1))
            start = None
    return out


def table(name, comment, pairs):
    print("/// %s\ninline constexpr char32_t %s[][2] = {" % (comment, name))
    line = "   "
    for first, last in pairs:
        item = " {0x%x, 0x%x}," % (first, last)
        if len(line) + len(item) > 124:
            print(line)
            line = "   "
        line += item
    print(line + "\n};\n")


def main():
    category = unicodedata.category
    print("// Written by testdata/jinja/make_tables.py with Python %d.%d, Unicode %s." %
          (*sys.version_info[:2], unicodedata.unidata_version))
    print("#pragma once\n\nnamespace halyard::jinja {\n")
    table("digit_ranges", "str.isdigit but not str.isdecimal.", ranges(lambda c: c.isdigit() and not c.isdecimal()))
    table("numeric_ranges", "str.isnumeric, though the category is no number's.",
          ranges(lambda c: c.isnumeric() and category(c)[0] != "N"))
    table("upper_ranges", "str.isupper, though the category is not Lu.", ranges(lambda c: c.isupper() and category(c) != "Lu"))
    table("lower_ranges", "str.islower, though the category is not Ll.", ranges(lambda c: c.islower() and category(c) != "Ll"))
    print("/// HTML 5's named characters, sorted: name and text in turns, each ended by a space.")
    print("inline constexpr char html_entities[] =")
    line = ""
    for name, text in sorted(html.entities.html5.items()):
        shown = "".join("\\%03o" % b if b < 0x21 or b > 0x7e or chr(b) in "\"\\?" else chr(b) for b in text.encode())
        item = name + " " + shown + " "
        if len(line) + len(item) > 118:
            print('    "%s"' % line)
            line = ""
        line += item
    print('    "%s";\n\n}  // namespace halyard::jinja' % line)


if __name__ == "__main__":
    main()
