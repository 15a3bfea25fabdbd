"""Writes suite.json: chat templates in the manner of the model families × conversations, as transformers'
apply_chat_template renders them. The templates were written for this file.

usage: python make_suite.py    (needs transformers, tokenizers, jinja2; their versions are written into the file)
"""
import copy
import json
import os

import jinja2
import transformers
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

TEMPLATES = {
    "llama3": r"""{{- bos_token }}
{%- if custom_tools is defined %}{%- set tools = custom_tools %}{%- endif %}
{%- if tools_in_user_message is not defined %}{%- set tools_in_user_message = true %}{%- endif %}
{%- if messages[0].role == 'system' %}
    {%- set lead = messages[0]['content'] if messages[0]['content'] is string else messages[0]['content'] | map(attribute='text') | join %}
    {%- set lead = lead | trim %}{%- set messages = messages[1:] %}
{%- else %}{%- set lead = "" %}{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\n" }}
{%- if tools is not none and not tools_in_user_message %}{{- "Functions:\n" }}{%- for t in tools %}{{- t | tojson(indent=4) }}{{- "\n\n" }}{%- endfor %}{%- endif %}
{{- lead }}{{- "<|eot_id|>" }}
{%- if tools_in_user_message and tools %}
    {%- if messages | length != 0 %}{%- set first = messages[0]['content'] | trim %}{%- set messages = messages[1:] %}
    {%- else %}{{- raise_exception("no first user message for the tools") }}{%- endif %}
    {{- '<|start_header_id|>user<|end_header_id|>\n\n' -}}{{- "Answer with a call:\n\n" }}
    {%- for t in tools %}{{- t | tojson(indent=4) }}{{- "\n\n" }}{%- endfor %}{{- first + "<|eot_id|>" }}
{%- endif %}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}
        {%- if message['content'] is string %}{{- message['content'] | trim }}{%- else %}
        {%- for part in message['content'] %}{%- if part['type'] == 'image' %}{{- '<|image|>' }}{%- elif part['type'] == 'text' %}{{- part['text'] }}{%- endif %}{%- endfor %}{%- endif %}
        {{- '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if message.tool_calls | length != 1 %}{{- raise_exception("one call at a time") }}{%- endif %}
        {%- set call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' -}}{{- '{"name": "' + call.name + '", "parameters": ' }}{{- call.arguments | tojson }}{{- "}" }}{{- "<|eot_id|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\n\n" }}
        {%- if message.content is mapping or message.content is iterable %}{{- message.content | tojson }}{%- else %}{{- message.content }}{%- endif %}{{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}
""",
    "qwen2.5": r"""{%- if tools %}
    {{- '<|im_start|>system\n' }}{%- if messages[0]['role'] == 'system' %}{{- messages[0]['content'] }}{%- else %}{{- 'Be of help.' }}{%- endif %}
    {{- "\n\n# Tools\n<tools>" }}{%- for tool in tools %}{{- "\n" }}{{- tool | tojson }}{%- endfor %}{{- "\n</tools><|im_end|>\n" }}
{%- elif messages[0]['role'] == 'system' %}{{- '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}{%- if message.content %}{{- '\n' + message.content }}{%- endif %}
        {%- for tool_call in message.tool_calls %}{%- if tool_call.function is defined %}{%- set tool_call = tool_call.function %}{%- endif %}
            {{- '\n<tool_call>\n{"name": "' }}{{- tool_call.name }}{{- '", "arguments": ' }}{{- tool_call.arguments | tojson }}{{- '}\n</tool_call>' }}{%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\n<tool_response>\n' }}{{- message.content }}{{- '\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<|im_end|>\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}
""",
    "qwen3": r"""{%- set ns = namespace(multi_step=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}{%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step and message.role == "user" and message.content is string and not (message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step = false %}{%- set ns.last = index %}{%- endif %}{%- endfor %}
{%- if tools %}{{- '<|im_start|>system\n<tools>' }}{%- for tool in tools %}{{- "\n" + (tool | tojson) }}{%- endfor %}{{- '\n</tools><|im_end|>\n' }}{%- endif %}
{%- for message in messages %}
    {%- if message.content is string %}{%- set content = message.content %}{%- else %}{%- set content = '' %}{%- endif %}
    {%- if message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}{%- set reasoning_content = message.reasoning_content %}
        {%- elif '</think>' in content %}{%- set reasoning_content = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}{%- set content = content.split('</think>')[-1].lstrip('\n') %}{%- endif %}
        {%- if loop.index0 > ns.last and (loop.last or reasoning_content) %}{{- '<|im_start|>' + message.role + '\n<think>\n' + reasoning_content.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}
        {%- else %}{{- '<|im_start|>' + message.role + '\n' + content }}{%- endif %}
        {%- for tool_call in message.tool_calls or [] %}{%- if (loop.first and content) or (not loop.first) %}{{- '\n' }}{%- endif %}
            {%- set f = tool_call.function or tool_call %}{{- '<tool_call>\n{"name": "' ~ f.name ~ '", "arguments": ' }}{%- if f.arguments is string %}{{- f.arguments }}{%- else %}{{- f.arguments | tojson }}{%- endif %}{{- '}\n</tool_call>' }}{%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- elif message.role == "tool" %}{%- if loop.first or loop.previtem.role != "tool" %}{{- '<|im_start|>user' }}{%- endif %}{{- '\n<tool_response>\n' + content + '\n</tool_response>' }}{%- if loop.last or loop.nextitem.role != "tool" %}{{- '<|im_end|>\n' }}{%- endif %}
    {%- else %}{{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>\n' }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}{%- endif %}
""",
    "mistral": r"""{%- if messages[0]["role"] == "system" %}{%- set system_message = messages[0]["content"] %}{%- set loop_messages = messages[1:] %}{%- else %}{%- set loop_messages = messages %}{%- endif %}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}{%- set ns.index = 0 %}
{%- for message in loop_messages %}{%- if not (message.role == "tool" or (message.tool_calls is defined and message.tool_calls is not none)) %}
    {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}{{- raise_exception("roles must alternate") }}{%- endif %}{%- set ns.index = ns.index + 1 %}{%- endif %}{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}{{- "[AVAILABLE_TOOLS] [" }}{%- for tool in tools %}{%- set tool = tool.function %}{{- '{"type": "function", "function": {' }}
            {%- for key, val in tool.items() if key != "return" %}{%- if val is string %}{{- '"' + key + '": "' + val + '"' }}{%- else %}{{- '"' + key + '": ' + val|tojson }}{%- endif %}{%- if not loop.last %}{{- ", " }}{%- endif %}{%- endfor %}{{- "}}" }}
            {%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" }}{%- endif %}{%- endfor %}{{- "[/AVAILABLE_TOOLS]" }}{%- endif %}
        {%- if loop.last and system_message is defined %}{{- "[INST] " + system_message + "\n\n" + message["content"] + "[/INST]" }}{%- else %}{{- "[INST] " + message["content"] + "[/INST]" }}{%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}{{- "[TOOL_CALLS] [" }}{%- for tool_call in message.tool_calls %}{%- set out = tool_call.function|tojson %}{{- out[:-1] }}
        {%- if not tool_call.id is defined or tool_call.id|length != 9 %}{{- raise_exception("ids have 9 characters") }}{%- endif %}{{- ', "id": "' + tool_call.id|safe + '"}' }}{%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" + eos_token }}{%- endif %}{%- endfor %}
    {%- elif message["role"] == "assistant" %}{{- " " + message["content"]|trim + eos_token }}
    {%- elif message["role"] == "tool" %}{{- '[TOOL_RESULTS] {"content": ' + message.content|string + ', ' }}{{- '"call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- else %}{{- raise_exception("unknown role " + message.role) }}{%- endif %}
{%- endfor %}
""",
    "gemma": r"""{{ bos_token }}{%- if messages[0]['role'] == 'system' -%}{%- if messages[0]['content'] is string -%}{%- set prefix = messages[0]['content'] + '\n\n' -%}{%- else -%}{%- set prefix = messages[0]['content'][0]['text'] + '\n\n' -%}{%- endif -%}{%- set rest = messages[1:] -%}{%- else -%}{%- set prefix = "" -%}{%- set rest = messages -%}{%- endif -%}
{%- for message in rest -%}{%- if (message['role'] == 'assistant') -%}{%- set role = "model" -%}{%- else -%}{%- set role = message['role'] -%}{%- endif -%}
{{ '<start_of_turn>' + role + '\n' + (prefix if loop.first else "") }}
{%- if message['content'] is string -%}{{ message['content'] | trim }}
{%- elif message['content'] is iterable -%}{%- for item in message['content'] -%}{%- if item['type'] == 'image' -%}{{ '<start_of_image>' }}{%- elif item['type'] == 'text' -%}{{ item['text'] | trim }}{%- endif -%}{%- endfor -%}
{%- else -%}{{ raise_exception("bad content") }}{%- endif -%}{{ '<end_of_turn>\n' }}{%- endfor -%}
{%- if add_generation_prompt -%}{{'<start_of_turn>model\n'}}{%- endif -%}
""",
    "phi": r"""{% for message in messages %}{% if message['role'] == 'system' and 'tools' in message and message['tools'] is not none %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|tool|>' + message['tools'] + '<|/tool|>' + '<|end|>' }}{% else %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}""",
    "deepseek": r"""{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, system_prompt='') %}
{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system_prompt = ns.system_prompt + message['content'] %}{%- endif %}{%- endfor %}{{ bos_token }}{{ ns.system_prompt }}
{%- for message in messages %}
{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{ '<｜User｜>' ~ message['content'] }}{%- endif %}
{%- if message['role'] == 'assistant' and message['tool_calls'] %}{%- set ns.is_tool = false -%}{%- for tool in message['tool_calls'] %}
{%- if not ns.is_first %}{{ '<｜Assistant｜><｜calls｜>' + tool['type'] + '<｜sep｜>' + tool['function']['name'] + '\n```json\n' + (tool['function']['arguments'] if tool['function']['arguments'] is string else tool['function']['arguments'] | tojson) + '\n```' }}{%- set ns.is_first = true -%}{%- else %}{{ '\n<｜call｜>' + tool['function']['name'] }}{%- endif %}{%- endfor %}{{ '<｜end｜>' }}{%- endif %}
{%- if message['role'] == 'assistant' and not message['tool_calls'] %}{%- if ns.is_tool %}{{ '<｜outputs end｜>' + message['content'] + eos_token }}{%- set ns.is_tool = false -%}{%- else %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{ '<｜Assistant｜>' + content + eos_token }}{%- endif %}{%- endif %}
{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{%- if ns.is_output_first %}{{ '<｜outputs｜><｜output｜>' ~ message['content'] }}{%- set ns.is_output_first = false %}{%- else %}{{ '\n<｜output｜>' ~ message['content'] }}{%- endif %}{%- endif %}
{%- endfor -%}{% if ns.is_tool %}{{ '<｜outputs end｜>' }}{% endif %}{% if add_generation_prompt and not ns.is_tool %}{{ '<｜Assistant｜><think>\n' }}{% endif %}""",
    "glm": r"""[gMASK]<sop>{%- if tools -%}<|system|>
# Tools
{% for tool in tools %}{{ tool | tojson(ensure_ascii=False) }}
{% endfor %}{%- endif -%}
{%- macro visible_text(content) -%}{%- if content is string -%}{{- content }}{%- elif content is iterable and content is not mapping -%}{%- for item in content -%}{%- if item is mapping and item.type == 'text' -%}{{- item.text }}{%- elif item is string -%}{{- item }}{%- endif -%}{%- endfor -%}{%- else -%}{{- content }}{%- endif -%}{%- endmacro -%}
{%- set ns = namespace(last_user_index=-1) %}{%- for m in messages %}{%- if m.role == 'user' %}{% set ns.last_user_index = loop.index0 -%}{%- endif %}{%- endfor %}
{% for m in messages %}{%- if m.role == 'user' -%}<|user|>
{{ visible_text(m.content) }}{{- '/nothink' if (enable_thinking is defined and not enable_thinking and not visible_text(m.content).endswith("/nothink")) else '' -}}
{%- elif m.role == 'assistant' -%}<|assistant|>
{%- set reasoning_content = '' %}{%- if m.reasoning_content is string %}{%- set reasoning_content = m.reasoning_content %}{%- endif %}
{%- if loop.index0 > ns.last_user_index and reasoning_content -%}{{ '\n<think>' + reasoning_content.strip() + '</think>' }}{%- else -%}{{ '\n<think></think>' }}{%- endif -%}
{%- if visible_text(m.content).strip() -%}{{ '\n' + visible_text(m.content).strip() }}{%- endif -%}
{% if m.tool_calls %}{% for tc in m.tool_calls %}{%- if tc.function %}{%- set tc = tc.function %}{%- endif %}{{ '\n<tool_call>' + tc.name }}
{% set _args = tc.arguments %}{% if _args is mapping %}{% for k, v in _args.items() %}<arg_key>{{ k }}</arg_key>
<arg_value>{{ v | tojson(ensure_ascii=False) if v is not string else v }}</arg_value>
{% endfor %}{% endif %}</tool_call>{% endfor %}{% endif %}
{%- elif m.role == 'tool' -%}{%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}{{- '<|observation|>' }}{%- endif %}{{- '\n<tool_response>\n' }}{{- m.content }}{{- '\n</tool_response>' }}
{%- elif m.role == 'system' -%}<|system|>
{{ visible_text(m.content) }}{%- endif -%}{%- endfor -%}
{%- if add_generation_prompt -%}<|assistant|>{{- '\n<think></think>' if (enable_thinking is defined and not enable_thinking) else '' -}}{%- endif -%}
""",
    "gpt-oss": r"""{%- macro render_type(spec) -%}
    {%- if spec.type == "array" -%}{%- if spec['items'] -%}{{- render_type(spec['items']) + "[]" }}{%- else -%}{{- "any[]" }}{%- endif -%}
    {%- elif spec.type is defined and spec.type is iterable and spec.type is not string -%}{{- spec.type | join(" | ") }}
    {%- elif spec.enum -%}{{- '"' + spec.enum|join('" | "') + '"' -}}
    {%- elif spec.type in ("integer", "number") -%}{{- "number" }}
    {%- elif spec.type == "object" -%}{%- if spec.properties -%}{{- "{\n" }}{%- for name, p in spec.properties.items() -%}{{- "  " + name }}{%- if name not in (spec.required or []) -%}{{- "?" }}{%- endif -%}{{- ": " + render_type(p) }}{%- if not loop.last -%}{{- ", " }}{%- endif -%}{%- endfor -%}{{- "\n}" }}{%- else -%}{{- "object" }}{%- endif -%}
    {%- else -%}{{- spec.type or "any" }}{%- endif -%}{%- endmacro -%}
{{- "<|start|>system<|message|>Knowledge cutoff: 2024-06\nReasoning: " ~ (reasoning_effort | default("medium")) ~ "\n" }}{{- "# Valid channels: analysis, commentary, final." }}{{- "<|end|>" }}
{%- if messages[0].role in ("developer", "system") %}{%- set developer = messages[0].content %}{%- set loop_messages = messages[1:] %}{%- else %}{%- set developer = "" %}{%- set loop_messages = messages %}{%- endif %}
{%- if developer or tools %}{{- "<|start|>developer<|message|>" }}{%- if developer %}{{- "# Instructions\n\n" ~ developer ~ "\n\n" }}{%- endif %}
{%- if tools -%}{{- "namespace functions {\n\n" }}{%- for tool in tools %}{%- set tool = tool.function or tool %}{{- "// " ~ tool.description ~ "\ntype " ~ tool.name ~ " = " }}
{%- if tool.parameters and tool.parameters.properties %}{{- "(_: {\n" }}{%- for name, spec in tool.parameters.properties.items() %}{%- if spec.description %}{{- "// " + spec.description + "\n" }}{%- endif %}{{- name ~ ("" if name in (tool.parameters.required or []) else "?") ~ ": " ~ render_type(spec) ~ ",\n" }}{%- endfor %}{{- "}) => any;\n\n" }}{%- else %}{{- "() => any;\n\n" }}{%- endif %}{%- endfor %}{{- "}" }}{%- endif -%}{{- "<|end|>" }}{%- endif %}
{%- set last = namespace(tool=none) %}
{%- for message in loop_messages -%}
{%- if message.role == 'assistant' -%}
    {%- if "tool_calls" in message -%}{%- if message.thinking %}{{- "<|start|>assistant<|channel|>analysis<|message|>" + message.thinking + "<|end|>" }}{%- elif message.content %}{{- "<|start|>assistant<|channel|>analysis<|message|>" ~ message.content ~ "<|end|>" }}{%- endif %}
        {%- set call = message.tool_calls[0].function or message.tool_calls[0] %}{{- "<|start|>assistant to=functions." + call.name + "<|channel|>commentary json<|message|>" }}{{- call.arguments|tojson }}{{- "<|call|>" }}{%- set last.tool = call.name %}
    {%- else -%}{%- if loop.last and message.thinking -%}{{- "<|start|>assistant<|channel|>analysis<|message|>" ~ message.thinking ~ "<|end|>" }}{%- endif -%}{{- "<|start|>assistant<|channel|>final<|message|>" ~ message.content ~ "<|end|>" }}{%- set last.tool = none %}{%- endif -%}
{%- elif message.role == 'tool' -%}{%- if last.tool is none %}{{- raise_exception("a tool's result without a call") }}{%- endif %}{{- "<|start|>functions." ~ last.tool ~ " to=assistant<|channel|>commentary<|message|>" ~ message.content|tojson ~ "<|end|>" }}
{%- elif message.role == 'user' -%}{{- "<|start|>user<|message|>" ~ message.content ~ "<|end|>" }}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|start|>assistant{%- endif -%}
""",
    "granite": r"""{%- if messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content'] %}{%- set loop_messages = messages[1:] %}
{%- else %}{%- set system_message = "Cutoff: April 2024." %}{%- if tools and documents %}{%- set system_message = system_message + " Tools and documents." %}{%- elif tools %}{%- set system_message = system_message + " Tools." %}{%- elif documents %}{%- set system_message = system_message + " Documents." %}{%- endif %}{%- set loop_messages = messages %}{%- endif %}
{{- '<|start_of_role|>system<|end_of_role|>' + system_message + '<|end_of_text|>\n' }}
{%- if tools %}{{- '<|start_of_role|>tools<|end_of_role|>' }}{{- tools | tojson(indent=4) }}{{- '<|end_of_text|>\n' }}{%- endif %}
{%- if documents %}{%- for document in documents %}{{- '<|start_of_role|>document {"document_id": "' + (document['doc_id'] | default(loop.index) | string) + '"}<|end_of_role|>\n' }}{{- document['text'] }}{{- '<|end_of_text|>\n' }}{%- endfor %}{%- endif %}
{%- for message in loop_messages %}{{- '<|start_of_role|>' + message['role'] + '<|end_of_role|>' + (message['content'] | default('', true) | string) + '<|end_of_text|>\n' }}
    {%- if loop.last and add_generation_prompt %}{{- '<|start_of_role|>assistant' }}{%- if thinking %}{{- ' {"thinking": true}' }}{%- endif %}{{- '<|end_of_role|>' }}{%- endif %}{%- endfor %}
""",
    "command-r": r"""{{ bos_token }}{%- macro json_to_python_type(json_spec) %}{%- set basic = {"string": "str", "number": "float", "integer": "int", "boolean": "bool"} %}
{%- if basic[json_spec.type] is defined %}{{- basic[json_spec.type] }}{%- elif json_spec.type == "array" %}{{- "List[" + json_to_python_type(json_spec['items']) + "]" }}{%- elif json_spec.type == "object" %}{{- "Dict" }}{%- elif json_spec.type is iterable and json_spec.type is not string %}{{- "Union[" }}{%- for t in json_spec.type %}{{- json_to_python_type({"type": t}) }}{%- if not loop.last %}{{- "," }}{%- endif %}{%- endfor %}{{- "]" }}{%- else %}{{- "Any" }}{%- endif %}{%- endmacro %}
{%- for tool in tools or [] %}{%- set f = tool.function or tool %}{{- "def " + f.name + "(" }}{%- for name, p in f.parameters.properties.items() %}{{- name + ": " }}{%- if name not in (f.parameters.required or []) %}{{- "Optional[" + json_to_python_type(p) + "] = None" }}{%- else %}{{- json_to_python_type(p) }}{%- endif %}{%- if not loop.last %}{{- ", " }}{%- endif %}{%- endfor %}{{- ")\n" }}{{- '"""' + f.description | default("none") + '"""\n' }}{%- endfor %}
{%- for message in messages %}{%- if message.role == 'system' %}{{ '<|START|><|SYSTEM|>' + message.content + '<|END|>' }}{%- elif message.role == 'user' %}{{ '<|START|><|USER|>' + (message.content | string).strip() + '<|END|>' }}
{%- elif message.role == 'assistant' %}{{ '<|START|><|BOT|>' + (message.content or '') + '<|END|>' }}{%- for c in message.tool_calls or [] %}{{ "Action: " ~ [{"tool_name": c.function.name, "parameters": c.function.arguments}] | tojson(indent=2) }}{%- endfor %}
{%- elif message.role == 'tool' %}{{ '<results>\n' }}{% for k, g in [message] | groupby('role') %}{{ k }}: {{ (g | first).content }}{% endfor %}{{ '</results>' }}{%- endif %}{%- endfor %}
{%- for d in documents or [] %}{{ 'Document: ' ~ loop.index0 ~ '\n' }}{%- for k, v in d | dictsort %}{{ k | title ~ ': ' ~ v ~ '\n' }}{%- endfor %}{%- endfor %}{%- if add_generation_prompt %}{{ '<|START|><|BOT|>' }}{%- endif %}
""",
    "functionary": r"""{%- for message in messages %}{%- if message['role'] == 'user' or message['role'] == 'system' %}{{ '<|from|>' + message['role'] + '\n<|recipient|>all\n<|content|>' + message['content'] | e + '\n' }}
{%- elif message['role'] == 'tool' %}{{ '<|from|>' ~ message['name'] | default('f') | safe ~ '\n<|content|>' ~ message['content'] | escape + '\n' }}
{%- else %}{% set contain_content = 'no' %}{%- if message['content'] is not none and message['content'] %}{{ '<|from|>assistant\n<|content|>' | safe + message['content'] }}{% set contain_content = 'yes' %}{%- endif %}
{%- if 'tool_calls' in message and message['tool_calls'] is not none %}{%- for tool_call in message['tool_calls'] %}{%- set prompt = '<|from|>assistant\n<|recipient|>%s\n<|content|>%s'|safe|format(tool_call['function']['name'], tool_call['function']['arguments'] | tojson) %}{{ prompt + '<|stop|>' if loop.last else prompt ~ '\n' }}{%- endfor %}{%- else %}{{ '<|stop|>\n' }}{%- endif %}{%- endif %}{%- endfor %}
{%- for t in tools or [] %}{{ ['// ' | safe, t.function.description or '<none>', '\n'] | join | safe + t.function.name }}{%- endfor %}{% if add_generation_prompt %}{{ '<|from|>assistant\n<|recipient|>' }}{% endif %}""",
    "chatml-generation": r"""{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n'}}{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] | default('', true) }}{{ '<|im_end|>' }}{% endgeneration %}{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}{% if loop.index >= 9 %}{% break %}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}
""",
    "reasoning": r"""{%- for m in messages %}{%- if m.role == 'system' %}{% continue %}{% endif %}<{{ m.role }}{{ ' thinks' if m.thinking }}>{% if m.reasoning_content is defined %}[{{ m.reasoning_content }}]{% endif %}{{ m.content }}{% if 'content' not in m %}-{% endif %}{{ m | tojson }}{{ m.keys() | list }}</{{ m.role }}>{% endfor %}{{ enable_thinking }}{{ tools }}{{ documents }}""",
}

WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "The weather <now> & then",
    "parameters": {"type": "object", "required": ["city"], "properties": {
        "city": {"type": "string", "description": "Where, é.g. Zürich"},
        "days": {"type": "integer", "maximum": 2**63, "minimum": -5},
        "unit": {"type": "string", "enum": ["c", "f"]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "odd": {"type": ["string", "null"], "default": None, "x": 1e16, "y": 0.1}}}}}
PING = {"type": "function", "function": {"name": "ping", "description": "", "parameters": {"type": "object", "properties": {}}}}
DOCS = [{"title": "One", "text": "First <doc>."}, {"title": "Two", "text": "Second\ndoc.", "doc_id": 7}]


def system(content):
    return {"role": "system", "content": content}


def user(content, **more):
    return {"role": "user", "content": content, **more}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def call(name, arguments, n=0):
    return {"id": "call0000%d" % n, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(content, n=0):
    return {"role": "tool", "name": "get_weather", "tool_call_id": "call0000%d" % n, "content": content}


ARGUMENTS = {"city": "Zürich", "days": 18446744073709551615, "x": None, "y": [1.5, True, "<&'\">"]}
CONVERSATIONS = {
    "one": {"messages": [user("Hi é東京 <b>\"x\"</b>\n\nyou're ")]},
    "system": {"messages": [system("  Be brief. "), user("2 < 3 & 4?")]},
    "turns": {"messages": [system("S"), user("a"), assistant(" b "), user("c"), assistant("d"), user("e")]},
    "answered": {"messages": [user("a"), assistant("<think>\nhm\n</think>\n\nb")]},
    "parts": {"messages": [user([{"type": "text", "text": "See "}, {"type": "image", "url": None}, {"type": "text", "text": " this"}])]},
    "system parts": {"messages": [system([{"type": "text", "text": "P"}]), user([{"type": "text", "text": "q"}])]},
    "tools": {"messages": [system("S"), user("Weather?")], "tools": [WEATHER, PING]},
    "tool call": {"messages": [user("Weather?"), assistant(None, tool_calls=[call("get_weather", ARGUMENTS)]), result("{\"t\": 21.0}"),
                               assistant("It is <21°>"), user("Thanks")], "tools": [WEATHER]},
    "tool call text": {"messages": [user("W?"), assistant("Let me see", tool_calls=[call("get_weather", "{\"city\": \"X\"}")]), result("21")]},
    "two calls": {"messages": [user("W?"), assistant("", tool_calls=[call("get_weather", {"city": "A"}), call("ping", {}, 1)]),
                               result("1"), result("2", 1)], "tools": [WEATHER, PING]},
    "nulls": {"messages": [system("S"), user("a", name=None), assistant("b", tool_calls=None, refusal=None, reasoning=None), user("c")]},
    "null content": {"messages": [user("a"), assistant(None), user("b")]},
    "reasoning": {"messages": [user("a"), assistant("b", reasoning="why\n"), user("c"), assistant("d", thinking="then")]},
    "reasoning content": {"messages": [user("a"), assistant("d", reasoning_content="\nso ")]},
    "reasoning call": {"messages": [user("a"), assistant(None, thinking="t", tool_calls=[call("ping", {})]), result("ok")], "tools": [PING]},
    "documents": {"messages": [user("Which?")], "documents": DOCS},
    "tools and documents": {"messages": [user("Which?")], "documents": DOCS, "tools": [PING]},
    "no thinking": {"messages": [user("Hi")], "enable_thinking": False},
    "thinking": {"messages": [user("Hi")], "enable_thinking": True, "kwargs": {"thinking": True, "reasoning_effort": "high"}},
    "no tools": {"messages": [user("Hi")], "tools": []},
    "wrong order": {"messages": [assistant("a"), user("b")]},
    "lone result": {"messages": [user("a"), result("r")]},
}


def main():
    vocabulary = {"a": 0, "<s>": 1, "</s>": 2}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(vocabulary, "a")), bos_token="<s>", eos_token="</s>")
    cases = []
    for name, template in TEMPLATES.items():
        for conversation, given in CONVERSATIONS.items():
            for prompt in (True, False):
                arguments = {k: copy.deepcopy(v) for k, v in given.items() if k not in ("messages", "kwargs")}
                arguments.update(given.get("kwargs", {}))
                case = [name, conversation, prompt]
                try:
                    case.append(tokenizer.apply_chat_template(copy.deepcopy(given["messages"]), chat_template=template, tokenize=False,
                                                              add_generation_prompt=prompt, **arguments))
                except Exception as e:  # whatever the template refuses
                    case += [None, str(e)[:60]]
                cases.append(case)
    versions = {"transformers": transformers.__version__, "jinja2": jinja2.__version__}
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "suite.json")
    with open(path, "w") as f:
        head = {"versions": versions, "tokens": {"bos_token": "<s>", "eos_token": "</s>"}, "templates": TEMPLATES, "conversations": CONVERSATIONS}
        f.write(json.dumps(head, ensure_ascii=False, indent=0)[:-2] + ',\n"cases": [\n')
        f.write(",\n".join(json.dumps(c, ensure_ascii=False) for c in cases) + "\n]}\n")
    print(len(cases), "cases,", sum(c[3] is None for c in cases), "refused")


if __name__ == "__main__":
    main()
