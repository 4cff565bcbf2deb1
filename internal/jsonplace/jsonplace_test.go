package jsonplace_test

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/jsonplace"
)

func TestErrorsSayWhereAndWhatIsExpected(t *testing.T) {
	t.Parallel()
	type form struct {
		Name   string            `json:"name"`
		List   []string          `json:"list"`
		On     *bool             `json:"on"`
		Count  uint32            `json:"count"`
		Share  float64           `json:"share"`
		Labels map[string]string `json:"labels"`
		Inner  struct {
			Sizes []struct{ N int }
		} `json:"inner"`
	}
	for _, c := range []struct{ in, want string }{
		{`{"name": 7}`, "line 1, column 10: name: a string is expected, not a number"},
		{"{\n  \"list\": \"a\"\n}", "line 2, column 11: list: a list of strings is expected, not a string"},
		{`{"list": ["a", {"b": 1}]}`, "line 1, column 16: list: a string is expected, not an object"},
		{`{"name": "ä", "on": "yes"}`, "line 1, column 21: on: true or false is expected, not a string"},
		{`{"count": -1}`, "line 1, column 11: count: a whole number that is not negative is expected, not number -1"},
		{`{"share": []}`, "line 1, column 11: share: a number is expected, not a list"},
		{`{"labels": {"a": true}}`, "line 1, column 18: labels: a string is expected, not true or false"},
		{`{"labels": 1}`, "line 1, column 12: labels: an object of strings is expected, not a number"},
		{`{"inner": {"Sizes": [{"N": 1}, {"N": 1.5}]}}`,
			"line 1, column 38: inner.Sizes.N: a whole number is expected, not number 1.5"},
		{`[1]`, "line 1, column 1: an object is expected, not a list"},
		{"{\n'name': 1}",
			"line 2, column 1: this is not JSON: invalid character '\\'' looking for beginning of object key string"},
		{`{"name": `, "line 1, column 9: this is not JSON: unexpected end of JSON input"},
	} {
		err := jsonplace.Unmarshal([]byte(c.in), new(form))
		if err == nil || err.Error() != c.want {
			t.Errorf("%s:\n got %v\nwant %s", c.in, err, c.want)
		}
		if _, ok := errors.AsType[*jsonplace.Error](err); !ok {
			t.Errorf("%s: %T", c.in, err)
		}
	}
}

func TestOtherErrorsStay(t *testing.T) {
	t.Parallel()
	other := errors.New("other")
	if got := jsonplace.Explain(nil, other); !errors.Is(got, other) || got.Error() != "other" {
		t.Errorf("got %v", got)
	}
	if got := jsonplace.Explain(nil, nil); got != nil {
		t.Errorf("got %v", got)
	}
	err := json.NewDecoder(strings.NewReader("[1")).Decode(new(any))
	if got := jsonplace.Explain([]byte("[1"), err); !errors.Is(got, io.ErrUnexpectedEOF) ||
		got.Error() != "line 1, column 3: this is not JSON: it ends too early" {
		t.Errorf("got %v", got)
	}
}

func TestValueFindsTheValueOfAKey(t *testing.T) {
	t.Parallel()
	doc := `{"a": {"b": 1}, "b" : [2], "c": "x"}`
	for key, want := range map[string]string{"a": `{"b"`, "b": `[2]`, "c": `"x"}`, "d": `{"a"`} {
		if at := jsonplace.Value([]byte(doc), key); !strings.HasPrefix(doc[at:], want) {
			t.Errorf("%s is at %d", key, at)
		}
	}
}

func FuzzExplain(f *testing.F) {
	f.Add([]byte(`{"Name": [1], "List": {"a": 2}}`))
	f.Add([]byte("{\"Name\":\n\"x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var form struct {
			Name string
			List []int
		}
		var e *jsonplace.Error
		if err := jsonplace.Unmarshal(data, &form); err != nil && (!errors.As(err, &e) || e.Line < 1 || e.Column < 1) {
			t.Errorf("%q: %v", data, err)
		}
		jsonplace.Value(data, "Name")
	})
}
