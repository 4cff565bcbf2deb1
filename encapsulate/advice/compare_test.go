package advice_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/advice"
)

func TestTwoBuildsAreComparedByReason(t *testing.T) {
	t.Parallel()
	first := map[string]string{
		"usr/bin/same": "same", "usr/share/list": "a\nb\n", "var/log/x": "made 2023-11-14\n", "srv/old": "old",
		"etc/mode": "x", "usr/share/doc/made": "made 2023-11-14\n", "boot/initrd.img-1": "first", "usr/lib/x": "one",
		"etc/link": "",
	}
	second := map[string]string{
		"usr/bin/same": "same", "usr/share/list": "b\na\n", "var/log/x": "made 2023-11-15\n", "srv/new": "new!",
		"etc/mode": "x", "usr/share/doc/made": "made 2023-11-15\n", "boot/initrd.img-1": "other", "usr/lib/x": "two and",
		"etc/link": "",
	}
	a, b := write(t, first), write(t, second)
	if err := os.Chmod(filepath.Join(b, "etc/mode"), 0o600); err != nil {
		t.Fatal(err)
	}
	for root, target := range map[string]string{a: "one", b: "two"} {
		if err := os.Remove(filepath.Join(root, "etc/link")); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, filepath.Join(root, "etc/link")); err != nil {
			t.Fatal(err)
		}
	}
	r, err := advice.Compare(t.Context(), advice.Build{Tree: open(t, a)}, advice.Build{Tree: open(t, b)})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range r.Advice {
		for _, f := range a.Files {
			got = append(got, fmt.Sprintf("%s %s %d: %s", a.Name, f.Path, f.Bytes, f.Why))
		}
	}
	want := []string{
		`embedded-times /usr/share/doc/made 16: line 1: "made 2023-11-14", and "made 2023-11-15"`,
		`logs /var/log/x 16: embedded-times: line 1: "made 2023-11-14", and "made 2023-11-15"`,
		`content /usr/lib/x 7: `, `only-in-one /srv/new 4: only in the second`, `only-in-one /srv/old 3: only in the first`,
		`initramfs /boot/initrd.img-1 5: content: 5 bytes at 1 place: the first at offset 0`,
		`line-order /usr/share/list 4: the same lines come in another order`,
		`metadata /etc/mode 1: mode 0644, and 0600`, `metadata /etc/link 0: link to "one", and to "two"`,
	}
	if diff := cmp.Diff(want, got); diff != "" || r.Bytes != 16+16+7+7+5+4+1 {
		t.Errorf("%d bytes (-want +got)\n%s", r.Bytes, diff)
	}
}

func TestEqualBuildsDoNotDiffer(t *testing.T) {
	t.Parallel()
	files := map[string]string{"usr/bin/same": "same", "var/log/x": "log", "big": string(make([]byte, 300000))}
	a, b := tree(t, files), tree(t, files)
	r, err := advice.Compare(t.Context(), advice.Build{Tree: a}, advice.Build{Tree: b})
	if err != nil || len(r.Advice) != 0 {
		t.Errorf("got %+v, %v", r, err)
	}
	known := func(int, int) bool { return true }
	r, err = advice.Compare(t.Context(), advice.Build{Tree: unread{a, t}}, advice.Build{Tree: unread{b, t}, Same: known})
	if err != nil || len(r.Advice) != 0 {
		t.Errorf("got %+v, %v", r, err)
	}
}
