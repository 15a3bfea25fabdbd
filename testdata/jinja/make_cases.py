"""Writes more_cases.json: small templates and what Jinja2 makes of them in transformers' environment.

usage: python make_cases.py               the committed cases
       python make_cases.py SEED N FILE   N random templates instead, for HALYARD_JINJA_CASES=FILE halyard_text_test
Needs transformers and jinja2; their versions are written into the file.
"""
import copy
import json
import os
import random
import sys

import jinja2
import transformers
from transformers.utils.chat_template_utils import _compile_jinja_template

CONTEXT = {
    "s": "Tom & <b>Jerry</b> 'n \"co\"",
    "u": "Straße ǅ ﬁ İ é東 ²½Ⅷ٣",
    "n": 3,
    "f": 2.5,
    "big": 2**63 + 7,
    "l": [3, 1, 2],
    "words": ["b", "A", "c<", "a&"],
    "d": {"x": 1, "y": "<v>", "z": None},
    "ms": [{"role": "u", "n": 2}, {"role": "A", "n": 1}, {"role": "u", "n": 3}, {"role": "a", "n": 0}],
    "long": "The quick brown-fox jumped over\nthe extra-ordinarily-long lazy dog and visited www.example.com today.",
}

MARKUP = r"""
{{ s|safe }}|{{ s|e }}|{{ s|escape|escape }}|{{ s|e|forceescape }}|{{ s|safe|string|e }}
{{ s|safe + s }}|{{ s + s|safe }}|{{ '<a>'|safe + '<b>'|safe }}
{{ s|safe ~ s }}|{{ s ~ s|safe }}|{{ (s|safe ~ s)|e }}
{{ '<%s>'|safe % s }}|{{ '<%s> %d %.2f %r'|safe % (s, 3, 2.5, s) }}|{{ '<%(x)s %(y)s>'|safe % d }}
{{ '<%s>'|safe|format(s) }}|{{ '%(a)s'|safe|format(a='<') }}|{{ '%s'|format(s|safe) }}
{{ '{}'|safe }}|{{ ('{} {x} {0}'|safe).format('<', x='&') }}|{{ '{}'.format(s|safe) }}|{{ ('{}'|safe).format('<'|safe) }}
{{ ('{:>5}'|safe).format('<') }}|{{ ('{:>5}'|safe).format('<'|safe) }}
{{ ['<'|safe, '<']|join(',<') }}|{{ ['<', '>']|join('&'|safe)|e }}|{{ ('&'|safe).join(['<', '<'|safe]) }}|{{ '&'.join(['<'|safe]) }}
{{ [s|safe, s|e] }}|{{ {'a': s|safe} }}|{{ (s|safe)|tojson }}|{{ [s|e]|tojson }}
{{ (s|safe) is escaped }} {{ s is escaped }} {{ (s|safe) is string }} {{ (s|safe) == s }} {{ (s|safe) in [s] }}
{{ (s|safe)|upper|e }}|{{ (s|safe)|title|e }}|{{ (s|safe)|capitalize|e }}|{{ (s|safe)|lower|e }}|{{ (s|safe)|trim|e }}
{{ (s|safe)|replace('<', '>')|e }}|{{ (s|safe).replace('<', '>')|e }}|{{ (s|safe)|center(40)|e }}|{{ (s|safe)|reverse|e }}
{{ (s|safe)[0:5]|e }}|{{ (s|safe)[4]|e }}|{{ (s|safe)|first|e }}|{{ (s|safe)|last|e }}|{{ (s|safe)|list|first|e }}
{{ (s|safe).split(' ') }}|{{ (s|safe).partition('&') }}|{{ (s|safe).splitlines() }}|{{ (s|safe).rsplit('<', 1) }}
{{ (s|safe) * 2 }}|{{ ((s|safe) * 2)|e }}|{{ (2 * s|safe)|e }}
{{ (s|safe).ljust(40, '.')|e }}|{{ ('<'|safe).center(9, '*')|e }}|{{ ('<'|safe).rjust(9, '<') }}
{{ (s|safe)|truncate(12)|e }}|{{ (s|safe)|truncate(12, true, '<')|e }}|{{ 'a\nb'|safe|indent('<')|e }}|{{ 'a\nb'|indent('<')|e }}
{% set x %}<{{ s|safe }}>{% endset %}{{ x|e }}|{{ x is escaped }}
{% macro m(a) %}<{{ a }}>{% endmacro %}{{ m(s)|e }}|{{ m(s|safe) is escaped }}
{% filter upper %}<{{ s|safe }}>{% endfilter %}|{% call(v) m(1) %}x{% endcall %}
{{ s|safe|length }} {{ s|safe|wordcount }} {{ (s|safe).format() }} {{ (s|safe).unescape() }} {{ (s|e).unescape() }}
{{ (s|safe).striptags() }}|{{ s|striptags }}|{{ '<!-- x --> a  &amp;b &lt;c&gt; <i>d</i> &#39;e&#x41; &copy; <f'|striptags }}
{{ (s|safe).escape('<') }}|{{ (s|safe).upper() is escaped }}|{{ (s|safe) + 1 }}
{{ 1 + (s|safe) }}
{{ none|safe }}|{{ none|e }}|{{ 3|e }}|{{ [1, '<']|e }}|{{ undefined_thing|e }}|{{ undefined_thing|safe }}|{{ undefined_thing|safe is escaped }}
{% autoescape true %}{{ s }}|{{ s|safe }}|{{ s ~ '<' }}|{{ s|safe ~ '<' }}|{{ d }}|{{ words|join('<') }}|{{ [s|safe, '<']|join('<') }}|{{ d|tojson }}{% endautoescape %}{{ s }}
{% autoescape true %}{% set x %}<{{ s }}>{% endset %}{{ x }}{% macro m(a) %}<{{ a }}>{% endmacro %}{{ m(s) }}{% endautoescape %}{{ m(s) }}|{{ x }}
{% autoescape true %}{{ s|replace('<', '>') }}|{{ s|replace('<', '>'|safe) }}|{{ s|upper }}|{% autoescape false %}{{ s }}{% endautoescape %}{% filter upper %}<{{ s }}{% endfilter %}{% endautoescape %}
{% autoescape n == 3 %}{{ s }}<{% endautoescape %}
{% autoescape true %}{% for x in l recursive %}<{{ x }}{% if x == 1 %}{{ loop(['<']) }}{% endif %}{% endfor %}{% endautoescape %}
"""

TAGS = r"""
{% block a %}A{{ n }}{% endblock %}|{% block b scoped %}B{% endblock b %}|{{ self.a() }}{{ self.b() }}
{% for x in l %}{% block c %}[{{ x }}]{% endblock %}{% endfor %}|{% for x in l %}{% block e scoped %}[{{ x }}]{% endblock %}{% endfor %}
{% set v = 1 %}{% block g %}{{ v }}{% set v = 2 %}{{ v }}{% endblock %}{{ v }}|{% macro m() %}M{% endmacro %}{% block h %}{{ m() }}{% endblock %}
{% block i %}{% block j %}J{% endblock %}I{% endblock %}{{ self.j() }}{{ self.nope }}
{% block k %}{% endblock %}{% block k %}{% endblock %}
{% block k required %}{% endblock %}
{% block %}{% endblock %}
{% generation %}G{{ n }}{% endgeneration %}|{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}|{% raw %}{{ x }}{% endraw %}
"""

GROUPS = """
{{ ms|groupby('role') }}
{{ ms|groupby('role')|first }}|{{ (ms|groupby('role')|first).grouper }}|{{ (ms|groupby('role')|first)['list'] }}|{{ ms|groupby('role')|map('last')|list }}
{{ ms|groupby('role')|tojson }}|{{ ms|groupby('role', case_sensitive=true)|map(attribute='grouper')|list }}
{% for g, list in ms|groupby('n') %}{{ g }}{{ list|length }};{% endfor %}{{ (ms|groupby('role'))[0] is sequence }}{{ (ms|groupby('role'))[0]|length }}
{{ (ms|groupby('role'))[0][0] }}{{ (ms|groupby('role'))[0][-1] }}{{ (ms|groupby('role'))[0][:1] }}{{ (ms|groupby('role'))[0] == ('A', [ms[1], ms[3]]) }}{{ (ms|groupby('role'))[0] + (1,) }}
{{ (ms|groupby('role'))[0].count('A') }}{{ (ms|groupby('role'))[0].index('A') }}{{ ('A' in (ms|groupby('role'))[0]) }}{{ (ms|groupby('missing', default='x')) }}
"""

FILTERS = r"""
{{ d|xmlattr }}|{{ d|xmlattr(false) }}|{{ {}|xmlattr }}|{{ {'a': s|safe, 'b': none, 'c': nope}|xmlattr }}|{% autoescape true %}{{ d|xmlattr }}{% endautoescape %}
{{ {'a b': 1}|xmlattr }}
{{ long|wordwrap(20) }}|{{ long|wordwrap(10, false) }}|{{ long|wordwrap(10, true, '/') }}|{{ long|wordwrap(12, break_on_hyphens=false) }}
{{ 'aaaaaaaaaaaa bb'|wordwrap(5) }}|{{ ''|wordwrap }}|{{ '  lead and   trail  '|wordwrap(8, wrapstring='|') }}|{{ 'a-b-c--d e--f'|wordwrap(3, wrapstring='|') }}
{{ 'x'|wordwrap(0) }}
{{ long|urlize }}|{{ long|urlize(10) }}|{{ long|urlize(nofollow=true, target='_blank') }}|{{ long|urlize(rel='b a') }}
{{ '(http://a.example.org/x?y=1&z=2). <https://b.io:80/p>, me@x.org mailto:me@x.org! foo.com x.net/y http://1.2.3.4/ @a@b.c ftp://x.org'|urlize }}
{{ 'ftp://x.org tel:1'|urlize(extra_schemes=['ftp://', 'tel:']) }}|{{ 'a.b.edu. (see http://en.wikipedia.org/wiki/A_(b)) xn--p1ai www.xn--p1ai'|urlize }}
{{ 0|filesizeformat }}|{{ 1|filesizeformat }}|{{ 999|filesizeformat }}|{{ 1000|filesizeformat }}|{{ 1234567|filesizeformat }}|{{ 1024|filesizeformat(true) }}|{{ (10**25)|filesizeformat }}|{{ '5000'|filesizeformat }}|{{ 2.5|filesizeformat }}
{{ 'x'|filesizeformat }}
{{ d|pprint }}|{{ ms|pprint }}|{{ s|pprint }}|{{ (l * 20)|pprint }}|{{ long|pprint }}|{{ [long, {'b': [long], 'a': (1,)}]|pprint }}|{{ {'k' * 30: 'v' * 60, 'a' * 20: [1, 2, {'z': ['q' * 40, 'r' * 40]}]}|pprint }}
{{ [7]|random }}|{{ []|random }}|{{ 'a'|random }}
{{ ['a', 'b'] | random in ['a', 'b'] }}|{{ lipsum(1, false)|length > 20 }}|{{ lipsum() is escaped }}
"""

METHODS = r"""
{{ s.encode() }}|{{ u.encode() }}|{{ u.encode('utf-8')|length }}|{{ 'é'.encode('utf-8').hex() }}|{{ 'é'.encode().decode() }}|{{ 'a'.encode('ascii') }}|{{ 'ab'.encode()[0] }}
{{ 'é'.encode('ascii') }}
{{ 'é€'.encode('latin-1', 'replace') }}|{{ 'é'.encode('ascii', 'ignore') }}
{{ 'abc'.translate({97: 'x', 98: none}) }}|{{ 'abc'.translate('x'.maketrans('ab', 'cd')) }}|{{ 'abc'.maketrans({'a': 'b'}) }}|{{ 'abc'.translate('x'.maketrans('a', 'b', 'c')) }}
{{ '{x} {y}'.format_map(d) }}|{{ ('{y}'|safe).format_map(d) }}|{{ 'Hello World'.istitle() }}{{ 'Hello world'.istitle() }}{{ u.istitle() }}{{ 'A1b'.istitle() }}
{{ 'a1'.isidentifier() }}{{ '1a'.isidentifier() }}{{ 'é_'.isidentifier() }}{{ ''.isidentifier() }}{{ 'class'.isidentifier() }}|{{ 'abc'.isascii() }}{{ 'é'.isascii() }}{{ ''.isascii() }}|{{ 'a b'.isprintable() }}{{ 'a\nb'.isprintable() }}{{ ''.isprintable() }}
{{ '²'.isdigit() }}{{ '²'.isdecimal() }}{{ '½'.isnumeric() }}{{ '½'.isdigit() }}{{ '٣'.isdecimal() }}{{ 'Ⅷ'.isnumeric() }}{{ '東'.isalpha() }}{{ '三'.isnumeric() }}{{ '²'.isalnum() }}{{ '½'.isalnum() }}
{{ 'Straße'.casefold() }}|{{ 'ﬁ'.casefold() }}|{{ 'ß'.upper() }}|{{ 'ﬁ'.title() }}|{{ 'ﬁx'.capitalize() }}|{{ 'ǆ'.title() }}|{{ 'İ'.lower()|length }}|{{ 'ŉ'.upper()|length }}|{{ 'ΑΣ'.lower() }}
{{ 'aXbX'.swapcase() }}|{{ 'a,b'.rpartition(',') }}|{{ 'x'.zfill(3) }}|{{ '-x'.zfill(4) }}|{{ 'a\tb'.expandtabs(4) }}
{{ l.copy() }}{{ l.count(1) }}{{ l.index(2) }}{{ l.index(2, 1) }}{{ l.index(2, -1, 9) }}{{ (1, 2).index(2) }}
{{ l.index(3, 1) }}
{{ d.copy() }}|{{ d.fromkeys(['a', 'b'], 1) }}|{{ dict.fromkeys(['a']) }}|{{ d.keys() }}{{ d.values() }}{{ d.items() }}|{{ d.get('q', 5) }}{{ d.keys().isdisjoint(['q']) }}
{{ 5 .bit_length() }}|{{ n.bit_length() }}{{ n.bit_count() }}{{ n.real }}{{ n.imag }}{{ n.numerator }}{{ n.denominator }}{{ n.conjugate() }}{{ n.as_integer_ratio() }}{{ true.bit_length() }}{{ true.real }}
{{ f.is_integer() }}{{ f.real }}{{ f.imag }}{{ f.conjugate() }}{{ f.as_integer_ratio() }}{{ f.hex() }}{{ 3.0.is_integer() }}{{ (-0.1).hex() }}{{ 0.0.hex() }}
{{ n.to_bytes(2, 'big') }}{{ n.to_bytes(2, 'little').hex() }}
{{ range(5).start }}{{ range(2, 9, 3).step }}{{ range(5).stop }}{{ range(5).index(3) }}{{ range(5).count(9) }}
{{ s.__class__ }}|{{ l.append }}|{{ d.update }}|{{ l.sort }}
{{ l.append(1) }}
{{ d.pop('x') }}
"""

INTEGERS = """
{{ big }}|{{ big + 1 }}|{{ big * big }}|{{ big // 10 }}|{{ big % 10 }}|{{ -big }}|{{ big - big }}|{{ (-big) // 7 }}|{{ (-big) % 7 }}|{{ big // -7 }}|{{ big % -7 }}
{{ 9223372036854775807 + 1 }}|{{ -9223372036854775807 - 2 }}|{{ 10 ** 30 }}|{{ 3037000500 * 3037000500 }}|{{ 99999999999999999999 }}|{{ 0xffffffffffffffffffff }}|{{ 2 ** 64 == 18446744073709551616 }}|{{ (-2) ** 63 }}|{{ (-2) ** 65 }}
{{ big|tojson }}|{{ [big]|tojson }}|{{ {big: big} }}|{{ big|string|length }}|{{ big|int }}|{{ big|float }}|{{ '123456789012345678901234567890'|int }}|{{ '-0x1ffffffffffffffffff'|int(0, 16) }}|{{ 1e30|int }}|{{ -1e20|int }}
{{ big is integer }}{{ big is number }}{{ big is even }}{{ big is odd }}{{ big is divisibleby(3) }}{{ big > 5 }}{{ big < 1e30 }}{{ big == big }}{{ big > big - 1 }}{{ -big < 0 }}{{ big|abs }}{{ (-big)|abs }}
{{ big / 3 }}|{{ (2 ** 70) / (2 ** 69) }}|{{ (10 ** 400) / (10 ** 399) }}|{{ big / 2.0 }}|{{ big * 1.5 }}|{{ 2 ** 0.5 }}|{{ 2 ** -1 }}|{{ 9007199254740993 / 1 }}|{{ 9007199254740993 == 9007199254740992.0 }}|{{ 9007199254740993 > 9007199254740992.0 }}
{{ '%d' % big }}|{{ '%x' % big }}|{{ '%o' % big }}|{{ '{:,}'.format(big) }}|{{ '{:x}'.format(big) }}|{{ '{:#b}'.format(big) }}|{{ '{:_}'.format(10 ** 20) }}|{{ '%30d|%-30d|%030d' % (big, big, big) }}|{{ '%.1f' % big }}|{{ '{:e}'.format(big) }}|{{ '%d' % 1e25 }}
{{ [1, big, 5]|sort }}|{{ [1, big]|max }}|{{ [1, big, 3]|sum }}|{{ [big, big]|unique|list }}|{{ {18446744073709551616: 1}[2 ** 64] }}|{{ big.bit_length() }}|{{ (2 ** 64) in [2 ** 64] }}|{{ big|round }}|{{ big|round(-2) }}|{{ big and 1 }}
{{ 0 - 9223372036854775807 - 1 }}|{{ -9223372036854775808 }}|{{ (-9223372036854775807 - 1) // -1 }}|{{ ((-9223372036854775807 - 1)|abs) }}|{{ -(-9223372036854775807 - 1) }}|{{ 7 // 2 }}{{ -7 // 2 }}{{ 7 % -2 }}|{{ true + big }}
{{ big // 0 }}
{{ 10 ** 5000 }}
{{ (10 ** 400) * 1.0 }}
{{ l[big] }}|{{ l[2 ** 64] }}|{{ 'abc'[:2 ** 64] }}|{{ l[-(2 ** 64):] }}
{{ range(2 ** 64) }}
{{ 'a' * 2 ** 64 }}
"""

SLICES = """
{{ range(5)[1:] }}|{{ range(10, 0, -3)[::-1] }}|{{ range(5)[9:] }}|{{ range(5)[3:1] }}|{{ range(5)[-2:] }}|{{ range(1, 9, 2)[1:3][0] }}|{{ range(5)[::2] == range(0, 5, 2) }}|{{ range(0)[1:] }}|{{ range(9)[::-2]|list }}
{{ none[1:] }}|{{ true[1:] }}|{{ 5[:1] }}|{{ {}[1:] }}|{{ 2.5[::2] }}
{{ (7 // 2)[1:] }}|{{ (-0.5)[1:] }}|{{ ('a'|title > 'b'|last)[1:] }}|{{ ('a' is string)[:1] }}|{{ ('abc'|length)[1:] }}
{{ (7 // n)[1:] }}
{{ ('a' == s|last)[1:] }}
{{ n[1:] }}
{{ d.z[1:] }}
{{ d[1:] }}
{{ (n > 1)[:1] }}
{{ nope[1:] }}
{{ namespace(a=1)[1:] }}
{{ cycler(1)[1:] }}
{{ d.items()[1:] }}
{{ (l|map('string'))[1:] }}
"""

BITS = {
    "operand": ["s", "u", "n", "f", "big", "l", "words", "d", "ms", "none", "true", "nope", "'<'", "'a-b c'", "7", "-2", "0.1",
                "2 ** 70", "(s|safe)", "('<%s>'|safe)", "d.y", "ms[0]", "l[0]", "(1, 'x')", "[s|e, 2]", "long", "''"],
    "filter": ["abs", "batch(2)|list", "capitalize", "center(9)", "count", "default('z')", "d('z', true)", "dictsort", "e", "escape",
               "filesizeformat", "first", "float", "forceescape", "format(1)", "int", "items|list", "join('<')", "join", "last", "length",
               "list", "lower", "map('upper')|list", "max", "min", "pprint", "reject('none')|list", "replace('a', '<')", "reverse|list",
               "reverse", "round", "round(1)", "safe", "select|list", "slice(2)|list", "sort", "string", "striptags", "sum", "title",
               "tojson", "trim", "truncate(5)", "unique|list", "upper", "urlencode", "urlize", "wordcount", "wordwrap(6)", "xmlattr",
               "indent(2)", "groupby('role')", "map(attribute='n')|list", "selectattr('n')|list", "tojson(indent=2)", "list|tojson"],
    "method": ["upper()", "split()", "strip('<')", "title()", "join(words)", "encode()", "items()", "keys()|list", "get('x')", "count('a')",
               "index(1)", "isdigit()", "format(1, 2)", "replace('<', '>')", "partition(' ')", "casefold()", "istitle()", "swapcase()",
               "startswith('T')", "bit_length()", "copy()", "is_integer()", "zfill(12)", "ljust(9, '<')", "splitlines()"],
    "binary": ["+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", ">", "<=", "in", "and", "or"],
    "test": ["defined", "none", "string", "number", "integer", "float", "mapping", "sequence", "iterable", "escaped", "even", "odd",
             "lower", "upper", "boolean", "callable", "true", "false", "divisibleby(3)", "eq(7)", "in(l)", "sameas(none)"],
}


def expression(r, depth=0):
    pick = r.choice
    kind = r.randrange(6 if depth < 3 else 1)
    if kind == 0:
        return pick(BITS["operand"])
    inner = expression(r, depth + 1)
    if kind in (1, 2):
        return "(%s)|%s" % (inner, pick(BITS["filter"]))
    if kind == 3:
        return "(%s).%s" % (inner, pick(BITS["method"]))
    if kind == 4:
        return "(%s) %s (%s)" % (inner, pick(BITS["binary"]), expression(r, depth + 1))
    return "(%s) is %s" % (inner, pick(BITS["test"]))


def template(r):
    body = "{{ %s }}" % expression(r)
    wrap = r.randrange(9)
    if wrap == 0:
        return "{% autoescape true %}" + body + "{% endautoescape %}"
    if wrap == 1:
        return "{% set x %}" + body + "{% endset %}{{ x|e }}"
    if wrap == 2:
        return "{% for y in " + expression(r, 2) + " %}{{ y }}" + body + "{% endfor %}"
    if wrap == 3:
        return "{% macro m(a) %}" + body + "{{ a }}{% endmacro %}{{ m(" + expression(r, 2) + ") }}"
    return body


def case(source):
    try:
        return {"template": source, "rendered": _compile_jinja_template(source).render(**copy.deepcopy(CONTEXT))}
    except Exception as e:  # whatever Jinja refuses
        return {"template": source, "error": ("%s: %s" % (type(e).__name__, e))[:60]}


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    if len(sys.argv) == 4:
        r = random.Random(int(sys.argv[1]))
        sources, path = [template(r) for _ in range(int(sys.argv[2]))], sys.argv[3]
    else:
        texts = (MARKUP, TAGS, GROUPS, FILTERS, METHODS, INTEGERS, SLICES)
        sources, path = [line for text in texts for line in text.strip("\n").split("\n")], os.path.join(here, "more_cases.json")
    head = {"transformers": transformers.__version__, "jinja2": jinja2.__version__}
    with open(path, "w") as out:
        out.write('{"versions": %s,\n"context": %s,\n"cases": [\n' % (json.dumps(head), json.dumps(CONTEXT, ensure_ascii=False)))
        cases = [c for c in map(case, sources) if "object at" not in c.get("rendered", "").lower()]
        out.write(",\n".join(json.dumps(c, ensure_ascii=False) for c in cases) + "\n]}\n")


if __name__ == "__main__":
    main()
