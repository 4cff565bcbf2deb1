package plan_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
)

func TestParseInterval(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in   string
		want int // days; 0 means an error
	}{
		{"daily", 1}, {"weekly", 7}, {"monthly", 30}, {"14d", 14}, {"3", 3},
		{"", 0}, {"0", 0}, {"-1", 0}, {"0d", 0}, {"x", 0}, {"99999999999999999999", 0}, {"1.5", 0},
	} {
		got, err := plan.ParseInterval(tt.in)
		if (err != nil) != (tt.want == 0) || err == nil && got != tt.want {
			t.Errorf("ParseInterval(%q) = %d, %v, want %d", tt.in, got, err, tt.want)
		}
	}
}

func TestNamesOfPackingsAndRebalancing(t *testing.T) {
	t.Parallel()
	_, err := plan.ParsePacking("bins")
	if err == nil || !strings.Contains(err.Error(), "cost") || !strings.Contains(err.Error(), "upstream") {
		t.Errorf("error %v does not list the packings", err)
	}
	cost, costErr := plan.ParsePacking("cost")
	upstream, upstreamErr := plan.ParsePacking("upstream")
	if err := errors.Join(costErr, upstreamErr); err != nil || cost == upstream {
		t.Errorf("packings %v and %v, %v", cost, upstream, err)
	}
	if _, err := plan.ParseRebalance("sometimes"); err == nil {
		t.Error("rebalancing sometimes is understood")
	}
}
