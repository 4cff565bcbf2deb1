package gvariant_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/testfiles"
	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// TestValuesHaveGLibsBytes has the bytes that GLib writes.
func TestValuesHaveGLibsBytes(t *testing.T) {
	v := must[gvariant.Value](t)
	say := gvariant.Strings([]string{"a", "bc"})
	for _, c := range []struct {
		value gvariant.Value
		typ   string
		bytes string
		text  string
	}{
		{gvariant.Variant(gvariant.String("x")), "v", "78 00 00 73", "<'x'>"},
		{gvariant.Variant(gvariant.Uint64(1)), "v", "01 00 00 00 00 00 00 00 00 74", "<uint64 1>"},
		{gvariant.Tuple(gvariant.Byte(1), gvariant.Uint32(2)), "(yu)", "01 00 00 00 02 00 00 00", "(byte 0x01, uint32 2)"},
		{say, "as", "61 00 62 63 00 02 05", "['a', 'bc']"},
		{v(gvariant.Array("ay", gvariant.ByteArray([]byte{1, 2}), gvariant.ByteArray([]byte{3}))), "aay", "01 02 03 02 03",
			"[[byte 0x01, 0x02], [0x03]]"},
		{gvariant.Tuple(gvariant.ByteArray([]byte{1, 2}), gvariant.ByteArray([]byte{3})), "(ayay)", "01 02 03 02",
			"([byte 0x01, 0x02], [byte 0x03])"},
		{v(gvariant.Array("(ayay)", gvariant.Tuple(gvariant.ByteArray([]byte{1}), gvariant.ByteArray([]byte{2})))), "a(ayay)",
			"01 02 01 03", "[([byte 0x01], [byte 0x02])]"},
		{v(gvariant.DictEntry(gvariant.String("a"), gvariant.Variant(gvariant.Byte(1)))), "{sv}",
			"61 00 00 00 00 00 00 00 01 00 79 02", "{'a', <byte 0x01>}"},
		{v(gvariant.New("a{sv}", gvariant.Dict{{Key: "a", Value: gvariant.String("b")}}.Encode())), "a{sv}",
			"61 00 000000000000 62 00 00 73 02 0d", "{'a': <'b'>}"},
		{gvariant.Tuple(gvariant.Uint64(1), gvariant.ByteArray([]byte{1}), gvariant.Strings([]string{"q"})), "(tayas)",
			"01 00 00 00 00 00 00 00 01 71 00 02 09", "(uint64 1, [byte 0x01], ['q'])"},
		{v(gvariant.New("(a(say)a(sayay))", []byte{0})), "(a(say)a(sayay))", "00", "(@a(say) [], @a(sayay) [])"},
		{gvariant.Tuple(), "()", "00", "()"},
		{gvariant.ByteArray([]byte("text\x00")), "ay", "74 65 78 74 00", "b'text'"},
		{gvariant.Bool(true), "b", "01", "true"},
		{gvariant.Double(1), "d", "00 00 00 00 00 00 f0 3f", "1.0"},
		{gvariant.Tuple(gvariant.Int32(-1)), "(i)", "ff ff ff ff", "(-1,)"},
	} {
		t.Run(c.typ, func(t *testing.T) {
			if c.value.Type() != c.typ {
				t.Errorf("type %s, want %s", c.value.Type(), c.typ)
			}
			if got := c.value.Data(); !bytes.Equal(got, unhex(t, c.bytes)) {
				t.Errorf("bytes %x, want %s", got, c.bytes)
			}
			if err := c.value.Validate(); err != nil {
				t.Errorf("not in normal form: %v", err)
			}
			if got := c.value.String(); got != c.text {
				t.Errorf("prints as %s, want %s", got, c.text)
			}
		})
	}
}

// TestOffsetsAreAsNarrowAsTheTotalAllows checks that 255 bytes in all have offsets of one byte, and 256 of two.
func TestOffsetsAreAsNarrowAsTheTotalAllows(t *testing.T) {
	for _, c := range []struct{ payload, total int }{{252, 254}, {253, 255}, {254, 257}, {65531, 65534}, {65533, 65538},
		{65534, 65539}} {
		v := gvariant.Tuple(gvariant.ByteArray(make([]byte, c.payload)), gvariant.Byte(7))
		if got := len(v.Data()); got != c.total {
			t.Errorf("%d bytes and one: %d in all, want %d", c.payload, got, c.total)
		}
		last, err := v.Index(1)
		if err != nil || last.Data()[0] != 7 {
			t.Errorf("%d bytes: the last member does not come back: %v %v", c.payload, last, err)
		}
	}
}

func TestWhatIsNotInNormalFormIsReadButNotValid(t *testing.T) {
	for _, c := range []struct{ name, typ, bytes string }{
		{"padding that is not zero", "(yu)", "01 00 ff 00 02 00 00 00"},
		{"a boolean of two", "b", "02"},
		{"a string without its end", "s", "61"},
		{"a string with two ends", "s", "61 00 00"},
		{"offsets wider than needed", "as", "61 00 02 00"},
		{"an offset beyond the data", "as", "61 00 09"},
		{"offsets that go back", "as", "61 00 62 00 04 02"},
		{"a variant without a type", "v", "61"},
		{"a variant of no type", "v", "61 00 3f"},
		{"not UTF-8", "s", "ff 00"},
		{"a tuple that is too short", "(say)", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := gvariant.New(c.typ, unhex(t, c.bytes))
			if err != nil {
				t.Fatal(err)
			}
			if err := v.Validate(); err == nil {
				t.Errorf("%s %s passes", c.typ, c.bytes)
			}
			_ = v.String()
		})
	}
}

func TestOptionalValuesPrintAsGLibPrintsThem(t *testing.T) {
	for _, c := range []struct{ typ, bytes, want string }{
		{"my", "", "@my nothing"}, {"my", "05", "@my 0x05"}, {"ms", "61 00 00", "@ms 'a'"},
		{"mmy", "", "@mmy nothing"}, {"mmy", "00", "@mmy just nothing"}, {"mmy", "05 00", "@mmy 0x05"},
	} {
		v := must[gvariant.Value](t)(gvariant.New(c.typ, unhex(t, c.bytes)))
		if got := v.String(); got != c.want {
			t.Errorf("%s %s prints as %s, want %s", c.typ, c.bytes, got, c.want)
		}
	}
}

func TestNormalFormReachesWhatIsInside(t *testing.T) {
	for _, c := range []struct{ typ, bytes, want string }{
		{"(yu)", "01 00 ff 00 02 00 00 00", "01 00 00 00 02 00 00 00"},
		{"v", "01 00 ff 00 02 00 00 00 00 28 79 75 29", "01 00 00 00 02 00 00 00 00 28 79 75 29"},
		{"m(ys)", "07 61 00 01", "07 61 00 00"},
		{"a(yv)", "01 ff ff ff ff ff ff ff 62 00 00 73 0c", "01 00 00 00 00 00 00 00 62 00 00 73 0c"},
		{"as", "61 00 62 63 00 02 05", "61 00 62 63 00 02 05"},
	} {
		v := must[gvariant.Value](t)(gvariant.New(c.typ, unhex(t, c.bytes)))
		n, err := v.Normal()
		if err != nil || !bytes.Equal(n.Data(), unhex(t, c.want)) {
			t.Errorf("%s %s becomes %x, %v, want %s", c.typ, c.bytes, n.Data(), err, c.want)
		}
	}
	bad := must[gvariant.Value](t)(gvariant.New("as", unhex(t, "61 00 09")))
	if _, err := bad.Normal(); !errors.Is(err, gvariant.ErrFormat) {
		t.Errorf("an offset beyond the data: %v, want ErrFormat", err)
	}
}

func TestTypesThatAreNone(t *testing.T) {
	for _, typ := range []string{"", "?", "a", "(", "(s", "{vs}", "{s}", "ss", ")", "a{s(}",
		strings.Repeat("a", 80) + "y"} {
		if _, err := gvariant.New(typ, nil); !errors.Is(err, gvariant.ErrType) {
			t.Errorf("type %q: %v, want ErrType", typ, err)
		}
	}
}

func TestDictKeepsItsOrderAndRefusesDuplicates(t *testing.T) {
	d := gvariant.Dict{{Key: "z", Value: gvariant.String("1")}, {Key: "a", Value: gvariant.Bool(true)}}
	d = d.Set("m", gvariant.Uint32(3)).Set("z", gvariant.String("2"))
	back, err := gvariant.ParseDict(d.Encode())
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, e := range back {
		keys = append(keys, e.Key)
	}
	if got := strings.Join(keys, " "); got != "z a m" {
		t.Errorf("keys %s, want z a m", got)
	}
	if v, ok := back.Lookup("z"); !ok || v.String() != "'2'" {
		t.Errorf("z is %v", v)
	}
	twice := gvariant.Dict{d[0], d[0]}
	if _, err := gvariant.ParseDict(twice.Encode()); err == nil {
		t.Error("a repeated key passes")
	}
}

// objectTypes are the types of objects by file name extension.
var objectTypes = map[string]string{
	".commit": "(a{sv}aya(say)sstayay)", ".dirtree": "(a(say)a(sayay))", ".dirmeta": "(uuua(ayay))",
	".commitmeta": "a{sv}",
}

// FuzzValue checks that reading does not panic, whatever the type and the bytes are, and that a valid value is written
// again as the same bytes.
func FuzzValue(f *testing.F) {
	f.Add("a{sv}", gvariant.Dict{{Key: "version", Value: gvariant.String("1.0")}}.Encode())
	f.Add("(a(say)a(sayay))", []byte{0})
	f.Add("(uuua(ayay))", unhex(f, "00000000 00000000 000041ed 757365722e6469726174747200 6431 0d 10"))
	f.Add("(uuuusa(ayay))", unhex(f, "000003e8 000003e9 000081a4 00000000 00 11"))
	f.Add("v", []byte("x\x00\x00s"))
	f.Add("mmas", []byte{0})
	for _, seed := range testfiles.Read(f, "../object/testdata/objects/*") {
		if typ := objectTypes[filepath.Ext(seed.Name)]; typ != "" {
			f.Add(typ, seed.Data)
		}
	}
	f.Fuzz(func(t *testing.T, typ string, data []byte) {
		v, err := gvariant.New(typ, data)
		if err != nil {
			return
		}
		_ = v.String()
		for i := range min(v.Len(), 100) {
			_, _ = v.Index(i)
		}
		if n, err := v.Normal(); err == nil {
			if err := n.Validate(); err != nil {
				t.Errorf("%s %x becomes %x: %v", typ, data, n.Data(), err)
			}
			if v.Validate() == nil && !bytes.Equal(n.Data(), data) {
				t.Errorf("a valid %s %x becomes %x", typ, data, n.Data())
			}
		} else if v.Validate() == nil {
			t.Errorf("a valid %s %x has no normal form: %v", typ, data, err)
		}
		if v.Validate() != nil {
			return
		}
		boxed := gvariant.Variant(v)
		inner, err := boxed.Variant()
		if err != nil || inner.Type() != typ || !bytes.Equal(inner.Data(), data) {
			t.Errorf("a valid %s %x does not come back from a variant: %v", typ, data, err)
		}
		if typ == "a{sv}" {
			if d, err := gvariant.ParseDict(data); err == nil && !bytes.Equal(d.Encode(), data) {
				t.Errorf("dictionary %x comes back as %x", data, d.Encode())
			}
		}
	})
}
