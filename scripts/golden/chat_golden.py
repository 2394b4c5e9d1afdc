"""Writes internal/chat/testdata/{constructs,templates}.json: what jinja2, set up as transformers does, makes of
Jinja constructs that chat templates use, and what transformers makes of chat templates in the shape of
well-known families (written for grouse).

    python scripts/golden/chat_golden.py

Needs transformers and jinja2.
"""
import json
import pathlib

from transformers.utils.chat_template_utils import _compile_jinja_template, render_jinja_template

OUT = pathlib.Path(__file__).resolve().parents[2] / "internal/chat/testdata"

VARS = {
    "messages": [{"role": "user", "content": " Hi 'there' \n"}, {"role": "assistant", "content": "a</think>b"}, {"role": "user", "content": "x"}],
    "n": 7, "f": 2.5, "s": "Hello, Wörld", "t": True, "none": None, "empty": [], "numbers": [3, 1, 2], "words": ["b", "A", "c", "b"],
    "d": {"b": 1, "a": {"k": [1, 2.0, None, True, "é\"<&>"]}}, "deep": [{"x": {"y": 1}}, {"x": {"y": 2}}, {"x": {}}],
}
CONSTRUCTS = [
    "{{ s }}", "a\n{% if t %}\nb\n{% endif %}\nc\n", "  {% if t %}x{% endif %}  \n y", "{%- if t -%}  \n x \n {%- endif -%} z", "x {{- s -}} y", "{# c #}\na{#- c -#} b",
    "{%+ if t %} a{% endif +%}\nb", "   {%+ if t %}a{% endif %}", "{% raw %}{{ no }}{% endraw %}\nx", "line\n    {# note #}\nnext", "a\n\n{{ s }}\n\n", "trailing\n",
    "{% for m in messages %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }} {{ m.role }};{% endfor %}",
    "{% for m in messages if m.role == 'user' %}{{ loop.index }}{{ m['content'] }}{% else %}none{% endfor %}", "{% for x in empty %}{{ x }}{% else %}nothing{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k in d %}{{ k }}{% endfor %}", "{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% for i in range(2, 10, 3) %}{{ i }},{% endfor %}{{ range(3)|list }}", "{% for i in numbers %}{{ loop.previtem }}|{{ loop.nextitem }};{% endfor %}", "{% for i in numbers %}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "{% set x = 1 %}{% for i in numbers %}{% set x = i %}{% endfor %}{{ x }}", "{% set ns = namespace(x=1, y='a') %}{% for i in numbers %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}{{ ns.y }}",
    "{% set a, b = 1, 2 %}{{ a + b }}", "{% set x %}block {{ n }}{% endset %}[{{ x }}]", "{% if t %}{% set y = 5 %}{% endif %}{{ y }}", "{% set x %}  a  {% endset %}{{ x|trim }}",
    "{% macro m(a, b='d') %}<{{ a }}{{ b }}>{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m(b=3, a=4) }}", "{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(4) }}",
    "{% generation %}answer{% endgeneration %}!", "{% if n > 5 and not none %}yes{% elif n %}maybe{% else %}no{% endif %}", "{{ 'a' if none else 'b' }}{{ 'c' if none }}{{ 'x' if t else 'y' if t else 'z' }}",
    "{{ 1 + 2 * 3 - 4 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 2 ** 3 }} {{ 7 % 3 }} {{ 1.5 + 1 }} {{ 10 / 4 }}", "{{ 'a' ~ 1 ~ none ~ true }}", "{{ 'ab' * 3 }}{{ [1] + [2, 3] }}", "{{ -n }}{{ +n }}{{ not n }}",
    "{{ 1 < 2 < 3 }}{{ 1 < 3 < 2 }}{{ 'a' < 'b' }}{{ [1, 2] == [1, 2] }}{{ 1 == 1.0 }}{{ none == none }}", "{{ 'H' in s }}{{ 'z' not in s }}{{ 'b' in d }}{{ 2 in numbers }}", "{{ none or 'x' }}{{ '' or [] or 'y' }}{{ t and 'z' }}{{ 0 and 1 }}",
    "{{ s[0] }}{{ s[-1] }}{{ s[1:3] }}{{ s[::-1] }}{{ s[:-2] }}{{ numbers[1:] }}{{ numbers[::-1] }}{{ messages[-1].role }}{{ messages[1:]|length }}{{ numbers[5:] }}{{ s[7] }}", "{{ d.a.k[4] }}{{ d['a']['k'][0] }}{{ d.missing }}{{ d.get('missing', 'dflt') }}{{ d.get('b') }}{{ d.get('q') }}",
    "{{ undefined_name }}|{{ undefined_name is defined }}|{{ s is defined }}|{{ undefined_name|default('d') }}|{{ none|default('d') }}|{{ ''|default('d', true) }}",
    "{{ d }}{{ numbers }}{{ f }}{{ none }}{{ t }}{{ 'it\\'s' }}{{ ['it\\'s', \"q\\\"\", 'n\\n'] }}", "{{ d|tojson }}", "{{ d|tojson(indent=2) }}", "{{ [] | tojson }}{{ {} | tojson }}{{ {}|tojson(indent=4) }}{{ 1e20|tojson }}{{ 1.0|tojson }}{{ 'é\u0001/'|tojson }}",
    "{{ s|upper }}{{ s|lower }}{{ 'aBC dE'|capitalize }}{{ 'aBC dE-f'|title }}{{ '  x '|trim }}", "{{ s|length }}{{ numbers|length }}{{ d|length }}{{ numbers|first }}{{ numbers|last }}{{ s|first }}", "{{ words|join(', ') }}{{ messages|map(attribute='role')|join('+') }}",
    "{{ numbers|sort|join }}{{ words|sort|join }}{{ words|unique|join }}{{ numbers|sum }}{{ numbers|min }}{{ numbers|max }}{{ numbers|reverse|list }}{{ numbers|sort(reverse=true) }}", "{{ messages|selectattr('role', 'equalto', 'user')|list|length }}{{ messages|rejectattr('role', 'eq', 'user')|map(attribute='content')|first }}",
    "{{ numbers|select('odd')|list }}{{ numbers|reject('odd')|list }}{{ words|map('upper')|list }}{{ [0, 1, '']|select|list }}", "{{ deep|map(attribute='x.y', default='q')|list }}{{ deep|selectattr('x.y', 'defined')|list|length }}",
    "{{ '42'|int }}{{ '4.7'|int }}{{ 'x'|int }}{{ 'x'|int(5) }}{{ '1.5'|float }}{{ 3|float }}{{ 3.7|int }}{{ -3|abs }}{{ 2.567|round(2) }}{{ 3|string }}", "{{ 'a\nb\n\nc'|indent }}|{{ 'a\nb'|indent(2, true) }}", "{{ '<a href=\"x\">\\'&'|e }}", "{{ 'abcabc'|replace('b', 'X') }}{{ s|replace('l', '') }}",
    "{{ d|items|list }}{{ d|dictsort }}{{ d.keys()|list }}{{ d.values()|list|length }}", "{{ s is string }}{{ n is number }}{{ d is mapping }}{{ numbers is iterable }}{{ s is sequence }}{{ none is none }}{{ t is true }}{{ n is integer }}{{ f is float }}{{ t is boolean }}{{ n is odd }}{{ n is divisibleby 7 }}{{ n is not divisibleby(3) }}{{ s is not none }}{{ d is not string }}",
    "{{ 3 is in [1, 3] }}{{ 'a' is eq 'a' }}{{ n is gt 3 }}{{ 'abc' is lower }}{{ undefined_name is undefined }}{{ none is mapping }}{{ true is number }}{{ n is sameas 7 }}", "{{ ' a b '.strip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'xxa'.lstrip('x') }}|{{ 'a\n'.rstrip('\n') }}|{{ 'a\n\n'.rstrip() }}",
    "{{ 'a,b,c'.split(',') }}{{ 'a,b,c'.split(',', 1) }}{{ 'a  b'.split() }}{{ 'a,b,c'.rsplit(',', 1) }}{{ 'a</think>b</think>c'.split('</think>')[-1] }}{{ 'a\nb\n'.splitlines() }}", "{{ s.startswith('He') }}{{ s.endswith(('x', 'rld')) }}{{ s.upper() }}{{ s.replace('l', 'L', 1) }}{{ s.find('W') }}{{ s.count('l') }}{{ '-'.join(words) }}{{ 'abc'.title() }}",
    "{{ '12'.isdigit() }}{{ 'aA'.isalpha() }}{{ ' '.isspace() }}{{ 'a=b=c'.partition('=') }}{{ 'a=b=c'.rpartition('=') }}{{ 'prefix-x'.removeprefix('prefix-') }}", "{{ messages[1].content.split('</think>')[-1].lstrip('\\n') }}", "{% filter upper %}abc{{ s }}{% endfilter %}", "{{ (1, 2)[1] }}{{ (1 if t else 2) + 3 }}{{ [[1, 2], [3]][0][1] }}{{ {'a': [1]}['a'][0] }}",
    "{{ 'a' 'b' }}{{ \"tab\\tnl\\n\\u00e9\\x41\" }}{{ 'back\\\\slash' }}", "{{ messages|last }}", "{{- '' -}}   {{ 5 }}  ", "{%- set loop_messages = messages[1:] %}\n{%- for message in loop_messages %}\n{{- message.role + ': ' + (message.content | trim) }}\n{%- endfor %}", "{{ namespace(a=1).a }}", "{{ 1_000 }}{{ 1e3 }}{{ 12345678901234 }}{{ 0.1 + 0.2 }}{{ 1e16 }}{{ 1e-5 }}",
    "{{ numbers|map('string')|join('') }}{{ n|string + 'x' }}", "{% for a, b in [[1, 2], [3, 4]] %}{{ a }}{{ b }}{% endfor %}", "{% for x in 'aé🙂' %}[{{ x }}]{% endfor %}", "{{ s.missing is defined }}{{ 'items' in d }}{{ messages[0]['nope'] is defined }}", "{% if messages[0].tool_calls %}a{% else %}b{% endif %}", "{{ 5 if n is defined and n > 3 else 6 }}", "{{ not t or not n }}{{ not (t and n) }}{{ n == 7 and s }}",
    "{{ 'x' is defined and 'y' }}{{ 2 * -1 }}{{ 2 - -1 }}{{ -2 ** 2 }}{{ 'ab'|length * 2 }}{{ 'a' + 'b'|upper }}{{ -n|abs }}", "{{ raise_exception is defined }}{{ messages|length > 2 }}", "a{% if true %}\n\nb{% endif %}\n\nc", "\t{% if t %}\n\tx\n\t{% endif %}\n", "{{ 'a' }}\n{{ 'b' }}\n", "x\r\n{% if t %}\r\ny\r\n{% endif %}\r\nz\r\n",
]
FAILS = [
    "{{ raise_exception('roles must alternate') }}", "{{ undefined_name.attr }}", "{{ undefined_name() }}", "{{ 1 + 'a' }}", "{{ 1 / 0 }}", "{% if %}", "{{ a", "{% for x in %}{% endfor %}", "{% nope %}", "{{ x|nope }}", "{{ x is nope }}", "{% endif %}", "{% if a %}", "{{ 'a }}",
    "{{ numbers.append(1) }}", "{% include 'x' %}", "{{ ''.__class__ }}{{ ''.__class__.__mro__ }}", "{{ 'a' < 1 }}", "{% set numbers.x = 1 %}", "{% break %}", "{{ n() }}", "{% for i in 5 %}{% endfor %}", "{# x",
]

CHATML = """{% for message in messages %}{% if loop.first and message['role'] != 'system' %}{{ '<|im_start|>system\nBe helpful.<|im_end|>\n' }}{% endif %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
QWEN25 = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'A default prompt.' }}
    {%- endif %}
    {{- "\\n\\n# Tools\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}
            {{- '\\n' + message.content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
QWEN3 = """{%- set ns = namespace(multi_step=true, last_query=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step = false %}
        {%- set ns.last_query = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}
    {%- if message.role == "user" or message.role == "system" %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query and (loop.last or reasoning) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""
LLAMA3 = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{#- The system message comes first. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
DEEPSEEK = """{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% if not thinking is defined %}{% set thinking = false %}{% endif %}{% set ns = namespace(is_first=false, system_prompt='', is_first_sp=true, is_last_user=false) %}{%- for message in messages %}{%- if message['role'] == 'system' %}{%- if ns.is_first_sp %}{% set ns.system_prompt = ns.system_prompt + message['content'] %}{% set ns.is_first_sp = false %}{%- else %}{% set ns.system_prompt = ns.system_prompt + '\n\n' + message['content'] %}{%- endif %}{%- endif %}{%- endfor %}{{ bos_token }}{{ ns.system_prompt }}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_last_user = true -%}{{'<｜User｜>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' %}{%- if ns.is_last_user %}{{'<｜Assistant｜>'}}{%- if message['prefix'] is defined and message['prefix'] and thinking %}{{'<think>'}}{%- else %}{{'</think>'}}{%- endif %}{%- endif %}{%- set ns.is_last_user = false -%}{%- set content = message['content'] -%}{%- if '</think>' in content %}{%- set content = content.split('</think>', 1)[1] -%}{%- endif %}{{content + '<｜end▁of▁sentence｜>'}}{%- endif %}{%- endfor -%}{%- if add_generation_prompt and ns.is_last_user %}{{'<｜Assistant｜>'}}{%- if not thinking %}{{'</think>'}}{%- else %}{{'<think>'}}{%- endif %}{% endif %}"""
TEMPLATES = {"chatml": CHATML, "qwen25": QWEN25, "qwen3": QWEN3, "llama3": LLAMA3, "deepseek": DEEPSEEK}

CONVERSATIONS = [
    [{"role": "user", "content": "What is 2+2?"}],
    [{"role": "system", "content": " Be brief. "}, {"role": "user", "content": "Hi\n"}],
    [{"role": "user", "content": "q1"}, {"role": "assistant", "content": "<think>\nhm\n</think>\n\na1"}, {"role": "user", "content": "q2 é 🙂 \"quoted\" {{ no }}"}],
    [{"role": "system", "content": "S"}, {"role": "user", "content": "q"}, {"role": "assistant", "content": "<think>w</think>a"}],
]
TOOL_CONVERSATION = [
    {"role": "user", "content": "weather?"},
    {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {"name": "get", "arguments": {"city": "Zürich", "days": 2, "x": None}}}]},
    {"role": "tool", "content": "sunny"}, {"role": "tool", "content": "21"}, {"role": "assistant", "content": "fine"},
]
TOOLS = [{"type": "function", "function": {"name": "get", "description": "Weather of a \"city\"", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}]
EXTRAS = [{}, {"enable_thinking": False}, {"enable_thinking": True}, {"thinking": True}, {"date_string": "1 Jan 2030"}]


def render(template, conversation, generation, tools=None, **kwargs):
    texts, _ = render_jinja_template(conversations=[conversation], tools=tools, chat_template=template, add_generation_prompt=generation, bos_token="<BOS>", eos_token="<EOS>", **kwargs)
    return texts[0]


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    rows = [{"template": src, "want": _compile_jinja_template(src).render(**VARS)} for src in CONSTRUCTS]
    for src in FAILS:
        try:
            got = _compile_jinja_template(src).render(**VARS)
        except Exception:
            rows.append({"template": src, "fails": True})
        else:
            raise SystemExit(f"{src!r} did not fail: {got!r}")
    (OUT / "constructs.json").write_text(json.dumps({"vars": VARS, "rows": rows}, indent=1))
    cases = []
    for name, template in TEMPLATES.items():
        for c in CONVERSATIONS:
            for generation in (False, True):
                for extra in EXTRAS:
                    if name == "llama3" and "date_string" not in extra:
                        continue  # the date of today is not golden
                    cases.append({"template": name, "messages": c, "generation": generation, "vars": extra, "want": render(template, c, generation, **extra)})
    cases.append({"template": "qwen25", "messages": TOOL_CONVERSATION, "generation": True, "vars": {}, "tools": TOOLS, "want": render(QWEN25, TOOL_CONVERSATION, True, tools=TOOLS)})
    (OUT / "templates.json").write_text(json.dumps({"templates": TEMPLATES, "cases": cases}, indent=1))
    print(len(rows), len(cases))


if __name__ == "__main__":
    main()
