package dpkg_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/dpkg"
	tree "github.com/ostree-ext/ostree-ext-go/chunking/component/internal/treetest"
)

func compressed(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(text))
	_ = z.Close()
	return b.String()
}

func TestDatesOfChangelogs(t *testing.T) {
	t.Parallel()
	const entry = "x (1-1) unstable; urgency=medium\n\n  * Change.\n\n" +
		" -- Jane Doe <jane@example.org>  Thu, 01 Feb 2024 22:30:00 -0500\n"
	date := time.Date(2024, 2, 2, 3, 30, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		data string
		want []time.Time
	}{
		"plain":      {entry, []time.Time{date}},
		"compressed": {compressed(entry), []time.Time{date}},
		"two": {entry + "\n" + strings.Replace(entry, "01 Feb", "31 Jan", 1),
			[]time.Time{date, date.AddDate(0, 0, -1)}},
		"the day of the week missing": {" -- A <a>  1 Feb 2024 22:30:00 -0500\n", []time.Time{date}},
		"the day of the week wrong":   {" -- A <a>  Mon, 01 Feb 2024 22:30:00 -0500\n", []time.Time{date}},
		"a name with >":               {" -- A > B <a@b>  Thu, 01 Feb 2024 22:30:00 -0500\n", []time.Time{date}},
		"dates that make no sense": {" -- A <a>  yesterday\n -- A <a> Thu, 01 Feb 2024 22:30:00 -0500\n" +
			" -- A <a>  Thu, 31 Feb 2024 22:30:00 -0500\n -- A <a>  Thu, 01 Feb 9999 00:00:00 +0000\n -- A\n --\n", nil},
		"an upstream changelog": {"2024-02-01  Jane Doe  <jane@example.org>\n\n\t* file.c: Change.\n", nil},
		"no gzip after all":     {"\x1f\x8b\x00", nil},
		"nothing":               {"", nil},
	} {
		got := dpkg.Changes([]byte(test.data))
		if diff := cmp.Diff(test.want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	long := compressed(strings.Repeat(entry, 1000))
	if n := len(dpkg.Changes([]byte(long[:len(long)/2]))); n == 0 || n == 1000 {
		t.Errorf("%d dates of the first half of a compressed changelog", n)
	}
	if n := len(dpkg.Changes([]byte(strings.Repeat(entry, 3000)))); n != 2000 {
		t.Errorf("%d dates of 3000 entries, want the first 2000", n)
	}
}

func TestTheFirstChangelogWithEntriesCounts(t *testing.T) {
	t.Parallel()
	entry := func(year int) tree.File {
		return tree.Text(fmt.Sprintf(" -- A <a@b>  01 Feb %d 00:00:00 +0000\n", year))
	}
	status := tree.Files{
		"/var/lib/dpkg/status": tree.Text("Package: x\nStatus: install ok installed\nArchitecture: all\n\n"),
	}
	const doc = "/usr/share/doc/x/"
	for name, test := range map[string]struct {
		files tree.Files
		year  int
	}{
		"Debian's before upstream's": {tree.Files{doc + "changelog.Debian.gz": entry(2020),
			doc + "changelog.gz": entry(2021)}, 2020},
		"of a native package": {tree.Files{doc + "changelog.gz": entry(2021)}, 2021},
		"not compressed": {tree.Files{doc + "changelog.Debian": entry(2022), doc + "changelog": entry(2023)},
			2022},
		"an empty one is passed over": {tree.Files{doc + "changelog.Debian.gz": {}, doc + "changelog": entry(2023)}, 2023},
		"one that leads nowhere": {tree.Files{doc + "changelog.Debian.gz": tree.Symlink("changelog.Debian.gz"),
			doc + "changelog": entry(2023)}, 2023},
	} {
		if got := read(t, status.And(test.files))[0]; got.Built.Year() != test.year || len(got.Changes) != 1 {
			t.Errorf("%s: %v", name, got.Changes)
		}
	}
}
