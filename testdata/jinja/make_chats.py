"""Writes contexts.json: what transformers' apply_chat_template hands to a chat template.

usage: python make_chats.py    (needs transformers, jinja2; their versions are written into the file)
"""
import json
import os

import jinja2
import transformers

HERE = os.path.dirname(os.path.abspath(__file__))
SEEN = ("messages", "tools", "documents", "add_generation_prompt")
TEMPLATE = "{{ {%s} | tojson }}" % ", ".join("'%s': %s" % (name, name) for name in SEEN)


def tokenizer():
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, "a")))


def user(**fields):
    return {"role": "user", "content": "Hi", **fields}


def assistant(**fields):
    return {"role": "assistant", **fields}


CALL = {"id": None, "type": "function", "function": {"name": "f", "arguments": {"x": None, "y": 1.5}}}
TOOL = {"type": "function", "function": {"name": "f", "description": None, "parameters": {"type": "object", "properties": {}}}}

# An empty conversation is not among them: transformers refuses it since 5.x, and rendered it before, as the goldens have it.
INPUTS = [
    {"messages": [user()]},
    {"messages": [user(name=None)]},
    {"messages": [user(), assistant(content=None, tool_calls=[CALL])]},
    {"messages": [user(), assistant(content="a", tool_calls=None, refusal=None)]},
    {"messages": [user(content=[{"type": "text", "text": "a"}, {"type": "image", "url": None}])]},
    {"messages": [user(), assistant(content="a", reasoning_content="r")]},
    {"messages": [user(), assistant(content="a", thinking="t")]},
    {"messages": [user(), assistant(thinking="t", content="a")]},
    {"messages": [user(), assistant(content="a", reasoning="r")]},
    {"messages": [user(), assistant(content="a", reasoning_content="c", thinking="t", reasoning="r")]},
    {"messages": [user(), assistant(content="a", reasoning="r", thinking="t")]},
    {"messages": [user(), assistant(content="a", reasoning_content=None, thinking=None, reasoning="r")]},
    {"messages": [user(), assistant(content="a", reasoning_content="", thinking="t")]},
    {"messages": [user(), assistant(content="a", reasoning={"steps": [1, None]})]},
    {"messages": [user(reasoning="why")]},
    {"messages": [user()], "tools": [TOOL]},
    {"messages": [user()], "tools": []},
    {"messages": [user()], "tools": [{"name": "bare"}]},
    {"messages": [user()], "tools": ["f"]},
    {"messages": [user()], "documents": [{"title": "t", "text": None}]},
    {"messages": [user()], "documents": ["d"]},
    {"messages": [user()], "add_generation_prompt": True},
    {"messages": ["Hi"]},
    {"messages": [{}]},
]


def main():
    t = tokenizer()
    cases = []
    for given in INPUTS:
        case = {"input": given}
        try:
            arguments = {k: v for k, v in given.items() if k != "messages"}
            case["seen"] = json.loads(
                t.apply_chat_template(given["messages"], chat_template=TEMPLATE, tokenize=False, **arguments))
        except Exception as e:  # whatever the reference refuses
            case["error"] = str(e)[:80]
        cases.append(case)
    versions = {"transformers": transformers.__version__, "jinja2": jinja2.__version__}
    with open(os.path.join(HERE, "contexts.json"), "w") as f:
        f.write('{"versions": %s,\n"cases": [\n' % json.dumps(versions))
        f.write(",\n".join(json.dumps(c, ensure_ascii=False) for c in cases) + "\n]}\n")


if __name__ == "__main__":
    main()
