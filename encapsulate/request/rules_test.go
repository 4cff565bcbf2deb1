package request

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"testing"
)

// rulesCase is an entry of testdata/rules.json. The tests of the command line (cmd/ostree-ext) and of the frontend
// read the same file.
type rulesCase struct {
	Name    string            `json:"name"`
	Input   string            `json:"input"`
	Options map[string]string `json:"options"`
	Refused string            `json:"refused"`
}

// TestEveryRuleHasACase checks that the table has an entry for each rule.
func TestEveryRuleHasACase(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/rules.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []rulesCase
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	seen := make([]bool, len(rules))
	for _, c := range cases {
		var o Options
		in := map[string]Input{"tree": Tree, "commit": Commit}[c.Input]
		refused := map[Door]bool{}
		for _, door := range []Door{CommandLine, Frontend} {
			o = Options{}
			for name, value := range c.Options {
				switch {
				case name == "write-ref":
					o.WriteRef = value
				case name == "check-prior":
					o.CheckPrior = true
				case name == "repo" && door == CommandLine:
					o.Store = value
				default:
					refused[door] = o.Set(name, value) != nil || refused[door]
				}
			}
			for i, r := range rules {
				seen[i] = seen[i] || r.applies(door) && r.wrong(&o, in)
			}
			err := o.Check(door, in)
			if err != nil && !errors.Is(err, ErrOption) {
				t.Errorf("%s: %v does not wrap ErrOption", c.Name, err)
			}
			refused[door] = refused[door] || err != nil
		}
		want := map[string][]bool{"": {false, false}, "both": {true, true}, "command line": {true, false}}[c.Refused]
		if got := []bool{refused[CommandLine], refused[Frontend]}; want != nil && !slices.Equal(got, want) {
			t.Errorf("%s: refused at the command line %t, by the frontend %t", c.Name, got[0], got[1])
		}
	}
	for i, r := range rules {
		if !seen[i] {
			t.Errorf("no case breaks the rule %q", r.why)
		}
	}
}
