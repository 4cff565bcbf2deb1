package gvariant_test

import (
	"testing"

	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
)

// TestTextNotation parses what GLib's notation allows. Printed values parse as the same values.
func TestTextNotation(t *testing.T) {
	for _, c := range []struct{ in, typ, printed string }{
		{"'x'", "s", "'x'"},
		{`"it's"`, "s", `"it's"`},
		{`'tab\t ué \u00e9 \'q\''`, "s", `"tab\t ué é 'q'"`},
		{"true", "b", "true"},
		{"12", "i", "12"},
		{"-0x10", "i", "-16"},
		{"1.5", "d", "1.5"},
		{"0.1", "d", "0.10000000000000001"},
		{"1e6", "d", "1000000.0"},
		{"1e300", "d", "1.0000000000000001e+300"},
		{"-inf", "d", "-inf"},
		{"double nan", "d", "nan"},
		{"'\\u00a0\\u2028\\ufffd\\u200b'", "s", "'\u00a0\u2028\ufffd\\u200b'"},
		{"b'\\a\\v\"'", "ay", `b'\007\v\"'`},
		{"uint32 7", "u", "uint32 7"},
		{"byte 0x1f", "y", "byte 0x1f"},
		{"int64 -1", "x", "int64 -1"},
		{"uint64 18446744073709551615", "t", "uint64 18446744073709551615"},
		{"objectpath '/a/b'", "o", "objectpath '/a/b'"},
		{"['a', 'b']", "as", "['a', 'b']"},
		{"@as []", "as", "@as []"},
		{"[byte 1, 2]", "ay", "[byte 0x01, 0x02]"},
		{"b'text\\n'", "ay", `b'text\n'`},
		{"(1, 'x')", "(is)", "(1, 'x')"},
		{"(true,)", "(b)", "(true,)"},
		{"()", "()", "()"},
		{"<'boxed'>", "v", "<'boxed'>"},
		{"{'k': <'v'>, 'l': <uint32 1>}", "a{sv}", "{'k': <'v'>, 'l': <uint32 1>}"},
		{"@a{sv} {}", "a{sv}", "@a{sv} {}"},
		{"@a(uu) [(1, 2)]", "a(uu)", "[(uint32 1, uint32 2)]"},
	} {
		t.Run(c.in, func(t *testing.T) {
			v, err := gvariant.ParseText(c.in)
			if err != nil {
				t.Fatal(err)
			}
			if v.Type() != c.typ || v.String() != c.printed {
				t.Errorf("%s: %s, want %s: %s", v.Type(), v, c.typ, c.printed)
			}
			again, err := gvariant.ParseText(v.String())
			if err != nil || again.Type() != v.Type() || string(again.Data()) != string(v.Data()) {
				t.Errorf("what is printed reads as %s: %v, %v", again.Type(), again, err)
			}
		})
	}
}

func TestTextThatIsNoValue(t *testing.T) {
	for _, s := range []string{
		"", "x", "'", "[]", "{}", "[1, 'x']", "(1", "uint32 -1", "byte 256", "uint32 'x'", "@s 1", "1 2", "'a' 'b'",
		"@a{sv} {'a': 'b'}",
		"objectpath 'x'", "<", "@", "[1,", "'\\", "'\\u12'", "99999999999", "@(ss) ('a',)", "maybe 1",
		"(1)", "(1,2,)", "1_000", "0b11", "0o17", "1E5",
	} {
		if v, err := gvariant.ParseText(s); err == nil {
			t.Errorf("%q reads as %s: %s", s, v.Type(), v)
		}
	}
}

// shown is what "ostree show --raw" printed for a commit.
const shown = `({'buildsys.checksum': <'41af286dc0b172ed2f1ca934fd2278de4a1192302ffa07087cea2682e7d372e3'>, ` +
	`'version': <'41.202601.0'>, 'ostree.bootable': <true>, 'ostree.linux': <'6.12.3-100.x86_64'>, ` +
	`'ostree.ref-binding': <['exampleos/x86_64/stable']>}, @ay [], @a(say) [], 'Release 1', ` +
	`'Body of release 1', uint64 1768043533, [byte 0xdb, 0xcc, 0x97, 0xa3], [byte 0x44, 0x6a, 0x0e, ` +
	`0xf1])`

func TestWhatOstreeShowsIsReadAndPrintedTheSame(t *testing.T) {
	v, err := gvariant.ParseText(shown)
	if err != nil || v.String() != shown || v.Type() != "(a{sv}aya(say)sstayay)" {
		t.Errorf("got %s of type %s, %v", v, v.Type(), err)
	}
}

func FuzzParseText(f *testing.F) {
	for _, s := range []string{"'x'", "{'k': <[1, 2]>}", "@a(uu) [(1, 2)]", "b'\\101'", "(byte 1, 2.5e3, true)", shown} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := gvariant.ParseText(s)
		if err != nil {
			return
		}
		again, err := gvariant.ParseText(v.String())
		if err != nil || again.Type() != v.Type() {
			t.Errorf("%q prints as %s, which reads as %v", s, v, err)
		}
	})
}
