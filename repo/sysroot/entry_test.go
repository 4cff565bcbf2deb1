package sysroot

import "testing"

// The order is that of the manual page strverscmp(3), and of plain numbers.
func TestVersionsAreComparedAsTheCLibraryDoes(t *testing.T) {
	t.Parallel()
	order := []string{
		"", "000", "00", "01", "010", "09", "0", "1", "2", "9", "10", "99", "100", "a", "a1", "a9", "a10", "b",
		"jan1", "jan2", "jan9", "jan10", "jan11",
	}
	for i, a := range order {
		for j, b := range order {
			got := compareVersions(a, b)
			if (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("compareVersions(%q, %q) = %d", a, b, got)
			}
		}
	}
}

func TestEntriesAreParsedAsLibostreeDoes(t *testing.T) {
	t.Parallel()
	e := parseEntry([]byte("# comment\n\ntitle A title with spaces\nversion\t3\n key indented\nlinux /a\nlinux /b\n" +
		"alone\ninitrd /one\ninitrd /two\ninitrd /three\noptions a  b ostree=/x ostree=/y"))
	for key, want := range map[string]string{
		"title": "A title with spaces", "version": "3", "linux": "/b", "initrd": "/one",
		"options": "a  b ostree=/x ostree=/y",
	} {
		if got := e.keys[key]; got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
	if len(e.keys) != 5 {
		t.Errorf("got the keys %q", e.keys)
	}
	if len(e.overlays) != 2 || e.overlays[0] != "/two" || e.overlays[1] != "/three" {
		t.Errorf("got the overlays %q", e.overlays)
	}
	if link, ok := e.bootLink(); !ok || link != "/x" {
		t.Errorf("got the link %q", link)
	}
}
