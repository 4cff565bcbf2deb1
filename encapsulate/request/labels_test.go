package request_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/request"
)

func TestChangesOfLabelsApplyInTheirOrder(t *testing.T) {
	t.Parallel()
	base := map[string]string{"a": "base", "b": "base", "-": "base"}
	for _, c := range []struct {
		changes []string
		want    map[string]string
	}{
		{nil, base},
		{[]string{"a=new", "c=1", "c=2"}, map[string]string{"a": "new", "b": "base", "-": "base", "c": "2"}},
		{[]string{"a-", "nothing-"}, map[string]string{"b": "base", "-": "base"}},
		{[]string{"--"}, map[string]string{"a": "base", "b": "base"}},
		{[]string{"empty=", "has=equals=in=value"},
			map[string]string{"a": "base", "b": "base", "-": "base", "empty": "", "has": "equals=in=value"}},
		{[]string{"c=1", "-", "d=2"}, map[string]string{"d": "2"}},
		{[]string{"-", "a-"}, map[string]string{}},
		{[]string{"a-", "a=again"}, map[string]string{"a": "again", "b": "base", "-": "base"}},
		{[]string{"a=again", "a-"}, map[string]string{"b": "base", "-": "base"}},
	} {
		changes, err := request.ParseChanges("label", c.changes)
		if err != nil {
			t.Errorf("%q: %v", c.changes, err)
			continue
		}
		if diff := cmp.Diff(c.want, changes.Apply(base)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.changes, diff)
		}
	}
}

func TestChangesThatAreNone(t *testing.T) {
	t.Parallel()
	for _, change := range []string{"", "no-equals", "=", "=value", "-key", "=-"} {
		if _, err := request.ParseChanges("label", []string{change}); !errors.Is(err, request.ErrOption) {
			t.Errorf("%q: error %v", change, err)
		}
	}
}
