package code

import (
	"strings"
	"testing"
	"time"
)

func TestProgram(t *testing.T) {
	for _, c := range []struct {
		name, text, want string
		ok               bool
	}{
		{"bare", "def f(): pass\n", "def f(): pass\n", true},
		{"fenced", "a\n```python\nx = 1\n```\nb", "x = 1\n", true},
		{"last of two", "```python\nx = 1\n```\n```py\nx = 2\n```", "x = 2\n", true},
		{"marked before plain", "```python\nx = 1\n```\noutput:\n```\n1\n```", "x = 1\n", true},
		{"plain", "```\nx = 1\n```", "x = 1\n", true},
		{"another language only", "```json\n{}\n```", "", false},
		{"never closed", "```python\nx = 1\ny = 2", "x = 1\ny = 2", true},
		{"upper case, attributes", "```Python title=a\nx\n```", "x\n", true},
		{"longer fence", "````python\n```\n````", "```\n", true},
		{"tildes", "~~~python\nx\n~~~", "x\n", true},
		{"fence in a string", "```python\ns = 'a ``` b'\n```", "s = 'a ``` b'\n", true},
		{"code in a line", "use ```x``` here", "use ```x``` here", true},
		{"carriage returns", "```python\r\nx\r\n```\r\n", "x\r\n", true},
		{"empty block", "```python\n```", "", false},
		{"blank", " \n", " \n", false},
		{"indented", "1. So:\n   ```python\n   x\n   ```", "   x\n", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := Program(c.text, "python", "py")
			if got != c.want && c.ok || ok != c.ok {
				t.Errorf("%q, %v; want %q, %v", got, ok, c.want, c.ok)
			}
		})
	}
}

func FuzzProgram(f *testing.F) {
	for _, s := range []string{"", "```python\nx\n```", "~~~\n```\n~~~", "````\n```python\n", "```python", strings.Repeat("```\n", 10)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		start := time.Now()
		got, ok := Program(text, "python")
		if took := time.Since(start); took > time.Second {
			t.Errorf("took %v for %d bytes", took, len(text))
		}
		if ok && (strings.TrimSpace(got) == "" || !strings.Contains(text, got)) {
			t.Errorf("%q is no program in %q", got, text)
		}
	})
}

func TestDiffersAt(t *testing.T) {
	for _, c := range []struct {
		got, want string
		line      int
	}{
		{"", "", 0}, {"3\n", "3", 0}, {"3", "3\n", 0}, {"3 \t\r\n\n \n", "3", 0}, {"1\n2", "1\r\n2\r\n", 0}, {"", "\n\n", 0},
		{"3", "4", 1}, {" 3", "3", 1}, {"1\n2", "1", 2}, {"1", "1\n2", 2}, {"1\n\n2", "1\n2", 2}, {"\n1", "1", 1}, {"1  2", "1 2", 1}, {"3\x00", "3", 1}, {"", "1", 1}, {"1\n", "", 1},
	} {
		if line := differsAt([]byte(c.got), []byte(c.want)); line != c.line {
			t.Errorf("%q against %q: line %d, want %d", c.got, c.want, line, c.line)
		}
	}
	start := time.Now()
	big := strings.Repeat("x\n", 1<<20) + strings.Repeat(" \n", 1<<20)
	if line := differsAt([]byte(big), []byte(big+"y")); line != 1<<20+1 {
		t.Errorf("line %d", line)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
}
