package upstream

import "testing"

// TestUpstream_Statistics runs the test vectors of upstream's unit tests.
func TestUpstream_Statistics(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		values []float64
		sigma  float64
	}{
		{[]float64{1, 4}, 1.5},
		{[]float64{1, 20, 300, 4000, 50000, 600000, 7000000, 80000000}, 26193874.56387471},
		{nil, 0},
	} {
		if _, sigma := meanAndDeviation(c.values); sigma != c.sigma {
			t.Errorf("deviation of %v is %v, want %v", c.values, sigma, c.sigma)
		}
	}
	for _, c := range []struct {
		values   []float64
		med, mad float64
	}{
		{[]float64{1, 4}, 2.5, 1.5},
		{[]float64{1, 2, 3, 3, 4, 4, 4, 5, 5, 6, 6, 6, 7, 7, 7, 8, 9, 12, 52, 90}, 6, 2},
		{[]float64{0, 1, 1, 1, 1, 1, 1, 1, 0}, 1, 0},
		{nil, 0, 0},
	} {
		if med, mad := medianAbsoluteDeviation(c.values); med != c.med || mad != c.mad {
			t.Errorf("median and deviation of %v are %v and %v, want %v and %v", c.values, med, mad, c.med, c.mad)
		}
	}
}
