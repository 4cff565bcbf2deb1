package printable_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ostree-ext/ostree-ext-go/internal/printable"
)

func TestWhatIsNotPrintedIsEscaped(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, line, text string }{
		{"deb/libc6 … ü 漢字 e\u0301", "deb/libc6 … ü 漢字 e\u0301", "deb/libc6 … ü 漢字 e\u0301"},
		{"\x1b]0;pwned\a\x1b[2J", `\x1b]0;pwned\a\x1b[2J`, `\x1b]0;pwned\a\x1b[2J`},
		{"a\r\nerror: spoof\tb", `a\r\nerror: spoof\tb`, "a\\r\nerror: spoof\tb"},
		{"\u009b31m\x7f", `\u009b31m\x7f`, `\u009b31m\x7f`},
		{"\u202egnp.exe\u2066\u200f", `\u202egnp.exe\u2066\u200f`, `\u202egnp.exe\u2066\u200f`},
		{"\u2028\u2029\ufeff\u00ad", `\u2028\u2029\ufeff\u00ad`, `\u2028\u2029\ufeff\u00ad`},
		{"a\xff\x9bb", `a\xff\x9bb`, `a\xff\x9bb`},
		{"", "", ""},
	} {
		if got := printable.Line(c.in); got != c.line {
			t.Errorf("Line(%q) is %q, want %q", c.in, got, c.line)
		}
		if got := printable.Text(c.in); got != c.text {
			t.Errorf("Text(%q) is %q, want %q", c.in, got, c.text)
		}
	}
}

func TestJSONKeepsItsMeaning(t *testing.T) {
	t.Parallel()
	want := map[string]any{"a\u009b\u202e": []any{"\x1b\x7f\U000e0041 ü \ufffd", 1.0}}
	for _, indent := range []string{"", "  "} {
		data, err := json.MarshalIndent(want, "", indent)
		if err != nil {
			t.Fatal(err)
		}
		text := printable.JSON(string(data))
		if safe := printable.Text(text); safe != text {
			t.Errorf("%q is not safe to show", text)
		}
		var got map[string]any
		if err := json.Unmarshal([]byte(text), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s means %q, %v", text, got, err)
		}
	}
}

func TestLongTextIsCutBetweenCharacters(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"short\n":                     `short\n`,
		strings.Repeat("a", 120):      strings.Repeat("a", 120),
		strings.Repeat("a", 121):      strings.Repeat("a", 120) + "…",
		"a" + strings.Repeat("ü", 60): "a" + strings.Repeat("ü", 59) + "…",
	} {
		if got := printable.Short(s); got != want {
			t.Errorf("%q: got %q, want %q", s, got, want)
		}
	}
}

func FuzzLine(f *testing.F) {
	for _, s := range []string{"name", "\x1b[31m", "\u202e", "\xff", "\ufffd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := printable.Line(s)
		if !utf8.ValidString(got) || strings.ContainsAny(got, "\x00\x1b\r\n\t\x7f\u0085\u009b\u202e\u2066") {
			t.Errorf("%q becomes %q", s, got)
		}
		if again := printable.Line(got); again != got {
			t.Errorf("%q becomes %q the second time", got, again)
		}
	})
}
