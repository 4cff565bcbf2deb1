package jsonkeys_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/jsonkeys"
)

var schema = jsonkeys.Schema{"": {"layers", "annotations"}, ".layers[]": {"digest"}, ".annotations": {"*"}}

func TestDocumentsThatTwoReadersWouldReadInTwoWays(t *testing.T) {
	t.Parallel()
	for doc, ambiguous := range map[string]bool{
		`{"layers":[],"other":1}`:                           false,
		`{"layers":[],"layers":[]}`:                         true,
		`{"layers":[],"Layers":[]}`:                         true,
		`{"Layers":[]}`:                                     true,
		`{"other":1,"Other":1}`:                             true,
		`{"layers":[{"digest":"a"},{"digest":"b"}]}`:        false,
		`{"layers":[{"digest":"a","digest":"b"}]}`:          true,
		`{"layers":[{"Digest":"a"}]}`:                       true,
		`{"annotations":{"a":"1","A":"2"}}`:                 false,
		`{"annotations":{"a":"1","a":"2"}}`:                 true,
		`{"deep":{"er":{"a":1,"a":2}}}`:                     true,
		`{"l\u0061yers":[],"layers":[]}`:                    true,
		`{"ſ":1,"s":1}`:                                     true,
		strings.Repeat("[", 300) + strings.Repeat("]", 300): true,
		`[1,2]`: false, `{`: false, `nonsense`: false, ``: false,
	} {
		if err := jsonkeys.Check([]byte(doc), schema); errors.Is(err, jsonkeys.ErrAmbiguous) != ambiguous {
			t.Errorf("%.60s: %v", doc, err)
		}
	}
}

func TestADocumentIsDecodedIfItHasOnlyWhatTheFormatHas(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`{"layers":[{"digest":"x"}],"annotations":{"a":1}}`: "",
		`{"layers":[{"digest":"x"}]} `:                      "",
		`{"layers":[{"digest":"x"}]}{}`:                     "something follows",
		`{"layers":[{"digest":"x","size":1}]}`:              "size",
		`{"Layers":[]}`:                                     "ambiguous",
		`{"layers":{}}`:                                     "line 1, column 11",
		"{\"annotations\":{\"a\":\"\xff\"}}":                "not UTF-8",
		`[]`:                                                "object", ``: "not JSON",
	} {
		var to struct {
			Layers []struct {
				Digest string `json:"digest"`
			} `json:"layers"`
			Annotations map[string]any `json:"annotations"`
		}
		err := jsonkeys.Decode([]byte(doc), schema, &to)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", doc, err, want)
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, s := range []string{`{"layers":[{"digest":"x"}]}`, `{"a":1,"A":2}`, `[[{}]]`, `{"a`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := jsonkeys.Check(data, schema); err != nil && !errors.Is(err, jsonkeys.ErrAmbiguous) {
			t.Errorf("%v does not wrap ErrAmbiguous", err)
		}
	})
}
