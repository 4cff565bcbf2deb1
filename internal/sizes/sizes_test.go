package sizes

import (
	"errors"
	"testing"
)

func TestUpstream_SizesPrintAsGLibDoes(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 bytes", 1: "1 byte", 999: "999 bytes", 1000: "1.0\u00a0kB", 1950: "1.9\u00a0kB", 1951: "2.0\u00a0kB",
		999949: "999.9\u00a0kB", 999950: "1000.0\u00a0kB", 1000000: "1.0\u00a0MB", 1 << 62: "4.6\u00a0EB",
	} {
		if got := Format(n); got != want {
			t.Errorf("Format(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestSizesAreReadWithOrWithoutAUnit(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "12": 12, "1.5kB": 1500, "500MB": 500e6, "500 mb": 500e6, "2GiB": 2 << 30, "3T": 3e12, "1\u00a0kB": 1000,
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("Parse(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MB", "-1", "1XB", "1e30", "1..2", "9999999TB", "NaN", "0x10"} {
		if got, err := Parse(text); !errors.Is(err, ErrInvalid) {
			t.Errorf("Parse(%q) = %d, %v, want ErrInvalid", text, got, err)
		}
	}
}
