package canonjson_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/canonjson"
	"github.com/ostree-ext/ostree-ext-go/internal/testfiles"
)

func TestCanonicalForm(t *testing.T) {
	for in, want := range map[string]string{
		` { "b" : [1, 2 , {}], "a": null } `: `{"a":null,"b":[1,2,{}]}`,
		`"\u0041\u00e9\/<\u2028"`:            "\"Aé/<\u2028\"",
		`"\u0001\n\"\\\u007f"`:               "\"\\u0001\\n\\\"\\\\\u007f\"",
		// Keys are sorted by UTF-16 units, not by bytes.
		`{"\ufb33":1,"\ud83d\ude00":2,"\u20ac":3}`: "{\"€\":3,\"😀\":2,\"\ufb33\":1}",
	} {
		got, err := canonjson.Canonicalize([]byte(in))
		if err != nil || string(got) != want {
			t.Errorf("%s becomes %s, %v, want %s", in, got, err, want)
		}
	}
}

func TestWhatHasNoCanonicalForm(t *testing.T) {
	for _, in := range []string{`1.5`, `1e400`, `99999999999999999999`, "\"\xff\"", `1 2`, `{} }`, `1 ]`} {
		if got, err := canonjson.Canonicalize([]byte(in)); !errors.Is(err, canonjson.ErrUnsupported) {
			t.Errorf("%s becomes %s, %v", in, got, err)
		}
	}
}

func FuzzCanonicalize(f *testing.F) {
	f.Add([]byte(`{"b":[1,true,null,"x"],"a":{"c":"\u0000"}}`))
	for _, seed := range testfiles.Read(f, "../../container/testdata/*.json") {
		f.Add(seed.Data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		once, err := canonjson.Canonicalize(data)
		if err != nil {
			return
		}
		twice, err := canonjson.Canonicalize(once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Errorf("%s becomes %s, then %s, %v", data, once, twice, err)
		}
	})
}
