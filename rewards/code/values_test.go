package code

import "testing"

// TestValues: what may cross between a program and its tests, and what may not.
func TestValues(t *testing.T) {
	r := open(t, nil)
	const program = `
import collections, dataclasses, itertools
def same(x): return x
def kind(x): return type(x).__name__
def call(f, *args): return f(*args)
def count(xs): return collections.Counter(xs)
def group(xs):
    d = collections.defaultdict(list)
    for x in xs: d[x % 2].append(x)
    return d
def only(xs, t): return [x for x in xs if isinstance(x, t)]
def numbers(n): return (i * i for i in range(n))
def adder(n): return lambda x: x + n
def twice(f): return lambda *a: f(f(*a))
def bad(): raise ValueError("no")
def clash(xs): xs.clear()
@dataclasses.dataclass
class Node:
    value: int
    next: object = None
    def sum(self): return self.value + (self.next.sum() if self.next else 0)
class Stack:
    def __init__(self): self.items = []
    def push(self, x): self.items.append(x)
    def pop(self): return self.items.pop()
LIMIT = 7
`
	for name, test := range map[string]string{
		"ints":              "for x in [0, 1, -1, 127, 128, -128, -129, 255, 256, 2**63, -2**63, 10**40, -10**40]:\n    assert same(x) == x and kind(x) == 'int', x",
		"floats":            "for x in [0.0, 1.5, -2.25, 1e308, 5e-324, float('inf'), 0.1]:\n    assert same(x) == x and type(same(x)) is float\nassert str(same(-0.0)) == '-0.0' and same(float('nan')) != same(float('nan'))",
		"text":              "for x in ['', 'a', 'é', '👍', '\\ud800', 'a\\0b']:\n    assert same(x) == x",
		"bytes":             "assert same(b'\\x00\\xff') == b'\\x00\\xff'",
		"bool is no int":    "assert same(True) is True and kind(True) == 'bool' and kind(1) == 'int'",
		"containers":        "x = [(1, [2.5, {'a': {1, 2}, (3, 4): frozenset([5])}]), None, 1j]\nassert same(x) == x and kind((1,)) == 'tuple' and kind({1}) == 'set'",
		"counter":           "assert count('aab') == {'a': 2, 'b': 1}",
		"defaultdict":       "assert group([1, 2, 3]) == {1: [1, 3], 0: [2]}",
		"builtins":          "assert only([1, 'a', 2.0], int) == [1] and call(len, [1, 2]) == 2 and call(sorted, [2, 1]) == [1, 2]",
		"a test's function": "seen = []\nassert call(lambda x: x + 1, 2) == 3\ncall(seen.append, 5)\nassert seen == [5]",
		"function back":     "assert adder(2)(3) == 5 and twice(adder(2))(1) == 5 and twice(lambda x: x * 2)(3) == 12",
		"recursion":         "def fact(n): return 1 if n == 0 else n * call(fact, n - 1)\nassert fact(20) == 2432902008176640000",
		"generator":         "assert list(numbers(4)) == [0, 1, 4, 9] and next(numbers(3)) == 0",
		"objects":           "a = Node(1)\na.next = Node(2)\nassert a.sum() == 3 and a.next.value == 2\ns = Stack()\ns.push(4)\nassert s.pop() == 4",
		"constants":         "assert LIMIT == 7",
		"exceptions":        "try:\n    bad()\nexcept ValueError as e:\n    assert str(e) == 'no'\nelse:\n    assert False",
		"by value":          "x = [1]\nclash(x)\nassert x == [1]",
		"modules":           "assert math.isclose(same(0.1) + same(0.2), 0.3)",
		"identity only":     "a = Node(1)\nassert a == a and a != Node(1) and a != 1 and not a == 1",
	} {
		t.Run(name, func(t *testing.T) {
			if got := score(t, r, program, map[string]any{"tests": test}); got.Value != 1 {
				t.Error(got.Explanation)
			}
		})
	}
	for name, test := range map[string]string{
		"operators":       "assert numbers(3) + 1",
		"length":          "assert len(numbers(3)) == 3",
		"index":           "assert numbers(3)[0] == 0",
		"iterated twice":  "g = numbers(3)\nassert list(g) == [0, 1, 4]\nassert list(g) == []",
		"hidden names":    "assert Node(1).__dataclass_fields__",
		"a test's object": "class A: pass\nassert same(A()) is not None",
	} {
		t.Run("not "+name, func(t *testing.T) {
			if got := score(t, r, program, map[string]any{"tests": test}); got.Value != 0 {
				t.Errorf("passes")
			}
		})
	}
}

// TestSetup: what the setup defines is the tests' own, whatever the program calls so.
func TestSetup(t *testing.T) {
	r := open(t, nil)
	columns := map[string]any{"entry_point": "inverse", "setup": "def double(x): return 2 * x\ndef inverse(x): pass",
		"tests": "def check(candidate):\n    assert candidate(double(3)) == 3\n    assert inverse(double(4)) == 4"}
	if got := score(t, r, "def inverse(x): return x // 2", columns); got.Value != 1 {
		t.Errorf("%+v", got)
	}
	if got := score(t, r, "def double(x): return x\ndef inverse(x): return x", columns); got.Value != 0 {
		t.Errorf("%+v", got)
	}
}

func TestPrefix(t *testing.T) {
	r := open(t, func(o *Options) { o.Prefix = "prompt" })
	columns := map[string]any{"prompt": "import math\n\ndef area(r):\n    \"\"\"of a circle\"\"\"\n", "entry_point": "area", "tests": "assert round(area(2), 3) == 12.566"}
	for _, completion := range []string{"    return math.pi * r * r\n", "```python\nfrom math import pi\ndef area(r):\n    return pi * r ** 2\n```"} {
		if got := score(t, r, completion, columns); got.Value != 1 {
			t.Errorf("%q: %s", completion, got.Explanation)
		}
	}
}

func TestCommand(t *testing.T) {
	r := open(t, func(o *Options) { o.Command, o.File, o.Language = []string{"sh", "main.sh"}, "main.sh", "bash" })
	pairs := map[string]any{"tests": []any{map[string]any{"input": "1 2\n", "output": "3\n"}}}
	if got := score(t, r, "```bash\nread a b\necho $((a + b))\n```", pairs); got.Value != 1 {
		t.Errorf("%+v", got)
	}
	if got := score(t, r, "echo 4", pairs); got.Value != 0 {
		t.Errorf("%+v", got)
	}
}
