package setup

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/internal/jsonkeys"
)

func TestWhatIsNewInJSONIsWrittenLikeTheRest(t *testing.T) {
	t.Parallel()
	keys := []string{"transports", "docker", "b"}
	for _, c := range []struct{ doc, want string }{
		{`{}`, "{\n    \"transports\": {\n        \"docker\": {\n            \"b\": 1\n        }\n    }\n}"},
		{`{"default":[]}`, `{"default":[], "transports": {"docker":{"b":1}}}`},
		{"{\n\t\"default\": []}\n",
			"{\n\t\"default\": [],\n\t\"transports\": {\n\t\t\"docker\": {\n\t\t\t\"b\": 1\n\t\t}\n\t}}\n"},
		{"{ \"transports\": {\"docker\": {\"a\": 0}}}", "{ \"transports\": {\"docker\": {\"a\": 0, \"b\": 1}}}"},
		{"{\n\"transports\": {\n\"docker\": {\n\"a\": 0\n}\n}\n}",
			"{\n\"transports\": {\n\"docker\": {\n\"a\": 0,\n\"b\": 1\n}\n}\n}"},
		{`{"transports": {"docker": {"b": [{"c": "}"}], "\u0062b": 2}}}`,
			`{"transports": {"docker": {"b": 1, "\u0062b": 2}}}`},
	} {
		got, err := setJSON([]byte(c.doc), keys, 1)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: got %s, %v, want %s", c.doc, got, err, c.want)
		}
	}
	for _, doc := range []string{
		``, `[]`, `{"transports": []}`, `{"transports": {"docker": 1}}`, `{"a"`, `{"a": 1`, `{1`,
	} {
		if got, err := setJSON([]byte(doc), keys, 1); err == nil {
			t.Errorf("%s: got %s", doc, got)
		}
	}
}

func TestWhatIsNewInYAMLIsWrittenLikeTheRest(t *testing.T) {
	t.Parallel()
	add := func(y *yamlText) error { return y.addSection("b", section{{"x", true}}) }
	set := func(y *yamlText) error { return y.setMember("b", pair{"x", true}) }
	replace := func(y *yamlText) error { return y.replaceSection("b", section{{"x", true}}) }
	for _, c := range []struct {
		name, doc string
		edit      func(*yamlText) error
		want      string // "" if it cannot be done
	}{
		{"an empty file", "", add, "docker:\n  b:\n    x: true\n"},
		{"comments alone", "# a\n# docker:", add, "# a\n# docker:\ndocker:\n  b:\n    x: true\n"},
		{"another key", "other: 1", add, "other: 1\ndocker:\n  b:\n    x: true\n"},
		{"no sections", "docker:  # none\nother: 1\n", add, "docker:  # none\n  b:\n    x: true\nother: 1\n"},
		{"null", "docker: null\n", add, ""},
		{"braces", "docker: {} # none\n", add, "docker: {b: {x: true}} # none\n"},
		{"braces with sections", "docker: {a: {y: 1}}\n", add, "docker: {b: {x: true}, a: {y: 1}}\n"},
		{"braces on many lines", "docker: {\n  a: {y: 1}}\n", add, ""},
		{"all in braces", "{other: 1}\n", add, ""},
		{"a list", "- docker\n", add, ""},
		{"deep", "docker:\n   a:\n       y: 1\n\n# end\nother: 1\n", add,
			"docker:\n   a:\n       y: 1\n   b:\n       x: true\n\n# end\nother: 1\n"},
		{"a text of many lines", "docker:\n  a:\n    y: |\n      one\n      # two\n\n      three\n", add,
			"docker:\n  a:\n    y: |\n      one\n      # two\n\n      three\n  b:\n    x: true\n"},
		{"a text that ends in what looks like a comment", "docker:\n  a:\n    y: |\n      one\n      # two\n", add, ""},
		{"a second document", "docker:\n  a:\n    y: 1\n---\ndocker: {}\n", add,
			"docker:\n  a:\n    y: 1\n  b:\n    x: true\n---\ndocker: {}\n"},
		{"a second document without sections in the first", "other: 1\n---\nother: 2\n", add, ""},

		{"a section with nothing", "docker:\n  b: # mine\n  a:\n     y: 1\n", set,
			"docker:\n  b: # mine\n     x: true\n  a:\n     y: 1\n"},
		{"a section that is null", "docker:\n  b: ~\n", set, ""},
		{"a section in braces", "docker:\n  'b': { y: 1 }\n", set, "docker:\n  'b': {x: true,  y: 1 }\n"},
		{"a section in empty braces", "docker: {b: {}}\n", set, "docker: {b: {x: true}}\n"},
		{"a value in quotes", "docker:\n  b: {x: \"no\", y: 1}\n", set, "docker:\n  b: {x: true, y: 1}\n"},
		{"a value with letters beyond ASCII before it", "docker: {\"ü\": {y: 1}, b: {z: é, x: false}}\n", set,
			"docker: {\"ü\": {y: 1}, b: {z: é, x: true}}\n"},
		{"a value on another line", "docker:\n  b:\n    x:\n      false\n", set, "docker:\n  b:\n    x:\n      true\n"},
		{"a value that is a list", "docker:\n  b:\n    x: [1]\n", set, ""},
		{"a value without text", "docker:\n  b:\n    x:\n", set, ""},
		{"a section that another one shares", "docker:\n  b: &b {y: 1}\n  c: *b\n", set, ""},
		{"a section of another", "docker:\n  c: &c {y: 1}\n  b: *c\n", set, ""},
		{"a section that merges another", "docker:\n  c: &c {y: 1}\n  b:\n    <<: *c\n", set,
			"docker:\n  c: &c {y: 1}\n  b:\n    <<: *c\n    x: true\n"},
		{"no section", "docker:\n  c: {}\n", set, ""},

		{"an old rule",
			"docker:\n  b: # mine\n    y:\n    - 1\n\n    # more\n    z: |\n      text\n\n  # next\n  c: {}\n", replace,
			"docker:\n  b: # mine\n    x: true\n\n  # next\n  c: {}\n"},
		{"an old rule at the end", "docker:\n  b:\n    y: 1", replace, "docker:\n  b:\n    x: true\n"},
		{"an old rule in braces", "docker:\n  b: {y: 1}\n", replace, ""},
	} {
		want := section{{"x", true}}
		old, _ := decodeYAML([]byte(c.doc)) // a list is an error
		if docker, ok := old["docker"].(map[string]any); ok {
			if b, ok := docker["b"].(map[string]any); ok && !strings.HasPrefix(c.name, "an old rule") {
				for k, v := range b {
					if k != "x" {
						want = append(want, pair{k, v})
					}
				}
			}
		}
		got, err := editYAML([]byte(c.doc), "b", want, c.edit)
		if c.want == "" {
			if !errors.Is(err, errByHand) {
				t.Errorf("%s: got %q, %v", c.name, got, err)
			}
			continue
		}
		if diff := cmp.Diff(c.want, string(got)); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", c.name, err, diff)
		}
	}
}

// FuzzJSONKeepsWhatItSays checks that a document that was changed has the new value, and otherwise what it had.
func FuzzJSONKeepsWhatItSays(f *testing.F) {
	for _, doc := range []string{
		`{}`, defaultPolicy, `{"transports":{"docker":{"b":[]}},"default":1}`, "{\n\t\"transports\": { \"docker\":\n{}}}",
	} {
		f.Add([]byte(doc))
	}
	keys := []string{"transports", "docker", "b"}
	f.Fuzz(func(t *testing.T, doc []byte) {
		got, err := setJSON(doc, keys, "new")
		if err != nil || !json.Valid(doc) || jsonkeys.Check(doc, nil) != nil {
			return
		}
		var v map[string]any
		err = json.Unmarshal(got, &v)
		transports, _ := v["transports"].(map[string]any)
		docker, _ := transports["docker"].(map[string]any)
		if err != nil || docker["b"] != "new" {
			t.Fatalf("%q became %q: %v", doc, got, err)
		}
		if again, err := setJSON(got, keys, "new"); err != nil || string(again) != string(got) {
			t.Fatalf("%q became %q the second time, %v", got, again, err)
		}
	})
}

// FuzzYAMLKeepsWhatItSays checks that a document that was changed still is one. That it means the same is checked by
// the code itself.
func FuzzYAMLKeepsWhatItSays(f *testing.F) {
	for _, doc := range []string{
		"", "docker:\n  b:\n    x: false\n", "docker: {b: {x: no}}", "docker:\n  a: |\n    # x\n",
		"docker:\n\n  ? b\n  : {}\n",
		"docker:\n  \"b\": &x {}\n  c: *x\n", "---\n...\n", "docker:\n- b\n", "{docker: {b: ~}}", "docker:\n\tb: 1",
	} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		for _, edit := range []func(*yamlText) error{
			func(y *yamlText) error { return y.addSection("b", section{{"x", true}}) },
			func(y *yamlText) error { return y.setMember("b", pair{"x", true}) },
			func(y *yamlText) error { return y.replaceSection("b", section{{"x", true}}) },
		} {
			got, err := editYAML(doc, "b", section{{"x", true}}, edit)
			if err != nil {
				continue
			}
			m, err := decodeYAML(got)
			docker, _ := m["docker"].(map[string]any)
			if err != nil || !cmp.Equal(docker["b"], any(map[string]any{"x": true})) {
				t.Fatalf("%q became %q: %v", doc, got, err)
			}
		}
	})
}
