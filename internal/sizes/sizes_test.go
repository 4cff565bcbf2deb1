package sizes

import "testing"

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
