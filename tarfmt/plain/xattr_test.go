package plain

import (
	"strings"
	"testing"
)

func TestNamesOfAttributesAreEncodedAsGNUTarDoesAndComeBack(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"user.a": "user.a", "user.a%b": "user.a%b", "user.a%25": "user.a%25",
		"user.a=b": "user.a%3Db", "user.%=": "user.%25%3D",
		"user.a%3Db": "user.a%253Db", "user.a%253Db": "user.a%25253Db",
	} {
		if got := encodeXattr(name); got != want || decodeXattr(got) != name {
			t.Errorf("%s is written as %s, want %s, and comes back as %s", name, got, want, decodeXattr(got))
		}
	}
}

func FuzzXattrNames(f *testing.F) {
	for _, s := range []string{"user.a=b", "%3D", "%25%3D", "%%253D="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got := encodeXattr(name)
		if strings.Contains(got, "=") || decodeXattr(got) != name {
			t.Errorf("%q is written as %q and comes back as %q", name, got, decodeXattr(got))
		}
	})
}
