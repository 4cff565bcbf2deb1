package policy_test

import (
	"errors"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/container/trust/policy"
)

func FuzzParse(f *testing.F) {
	f.Add([]byte(everything))
	for _, c := range wrongPolicies(f) {
		f.Add([]byte(c[1]))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := policy.Parse(data)
		if err != nil {
			if !errors.Is(err, policy.ErrInvalid) {
				t.Errorf("%v does not wrap ErrInvalid", err)
			}
			return
		}
		r, err := p.Rule(docker("registry.example/team/os:Stable"))
		if err != nil || len(r.Requirements) == 0 || r.AcceptsAnything() && r.Rejects() {
			t.Errorf("the rule is %+v, %v", r, err)
		}
		for _, q := range r.Requirements {
			// Each requirement alone is a policy, too.
			again, err := policy.Parse([]byte(`{"default":[` + string(q.Raw) + `]}`))
			if err != nil {
				t.Fatalf("%s: %v", q.Raw, err)
			}
			if r, err := again.Rule(docker("a.example/b")); err != nil || r.Requirements[0].String() != q.String() {
				t.Errorf("%s: got %v, %v", q.Raw, r, err)
			}
		}
	})
}
