package rechunk

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/chunking/component"
)

var noon = time.Date(2024, 3, 5, 12, 30, 1, 0, time.UTC)

// The versions without a comment are those that hhd-dev/rechunk 1.2.3 gives.
func TestVersionsCountTheImagesOfADay(t *testing.T) {
	for _, c := range []struct {
		template, previous string
		tags               []string
		want               string
	}{
		{"<date>", "", nil, "240305"},
		{"<date>", "240304.1", []string{"240304"}, "240305"},
		{"3.1_<date>", "3.1_240304", nil, "3.1_240305"},
		{"<date>", "240305", nil, "240305.1"},
		{"<date>", "240305", []string{"240305", "latest"}, "240305.1"},
		{"<date>", "240305.1", []string{"240305", "240305.1"}, "240305.2"},
		{"<date>", "240304", []string{"240305"}, "240305.1"},
		{"3.1", "3.1", []string{"3.1"}, "3.1.1"},
		{"1.2", "1.2", nil, "1.2.1"},
		{"rc40.3", "rc40.3", []string{"rc40", "rc40.3", "rc40.1", "rc40.2"}, "rc40.4"},
		{"<date>", "240305.2", nil, "240305.3"},                 // it does not look at suffixes, and returns to 240305
		{"<date>", "240305.9", []string{"240305"}, "240305.10"}, // it ends with 9
		{"<date>", "240305.x", nil, "240305"},
		{"<date>", "240305.01", nil, "240305"},
	} {
		if got := Version(c.template, noon, &Previous{Version: c.previous, Tags: c.tags}); got != c.want {
			t.Errorf("%s after %q with the tags %q: got %s, want %s", c.template, c.previous, c.tags, got, c.want)
		}
	}
	if got := Version("<date>", noon.Add(24*time.Hour), nil); got != "240306" {
		t.Errorf("without a previous image: got %s", got)
	}
}

const template = `# Deck <pretty>
## Version: <version> (<timestamp>)
 - Kernel: <relver:kernel>
 - HHD: <version:hhd>
 - x: <version:none> <odd>
## Since <previous>
### Commits
<commits>
### Packages
<pkgupd>
`

// everyInput is an image with everything that can be described.
func everyInput() Inputs {
	return Inputs{
		Version: "41.<date>", Pretty: "Stable", Changelog: template, Revision: "abc", Now: noon,
		Labels: map[string]string{
			"a.kernel": "<relver:kernel>", "a.title": "Image <pretty>",
			"org.opencontainers.image.created": "<timestamp>", "a.changes": "<changelog>",
		},
		Formatters: map[string]string{"pkgupd.add": "+ <package> <new>\n"},
		Packages:   Packages{"kernel": "6.9.9-206.fsync.fc40", "hhd": "3.3.4-1.fc40", "same": "1-1", "rebuilt": "2.0-2.fc40"},
		Previous: &Previous{Version: "41.20240304", Packages: Packages{
			"kernel": "6.9.8-205.fc40", "same": "1-1", "rebuilt": "2.0-1.fc40", "gone": "7-3",
		}},
	}
}

// TestTextsAreThoseOfThePeer compares with what hhd-dev/rechunk 1.2.3 wrote for these inputs.
func TestTextsAreThoseOfThePeer(t *testing.T) {
	d, err := Describe(everyInput())
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/changelog.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), d.Changelog); diff != "" {
		t.Errorf("the changelog (-want +got): %s", diff)
	}
	labels := map[string]string{
		"a.changes": string(want), "a.kernel": "6.9.9-206.fsync.fc40", "a.title": "Image Stable",
		"org.opencontainers.image.created":  "2024-03-05T12:30:01Z",
		"org.opencontainers.image.revision": "abc",
		"org.opencontainers.image.version":  "41.240305",
	}
	if diff := cmp.Diff(labels, d.Labels); diff != "" {
		t.Errorf("labels (-want +got): %s", diff)
	}
	warning := "the changelog has <version:none>, and no package of that name is installed"
	if len(d.Warnings) == 0 || d.Warnings[0] != warning {
		t.Errorf("warnings: %q", d.Warnings)
	}
	const info = `{"layers":[],"packages":{"hhd":"3.3.4-1.fc40","kernel":"6.9.9-206.fsync.fc40","rebuilt":"2.0-2.fc40",` +
		`"same":"1-1"},"revision":"abc","uniq":"41.240305","version":2}`
	if d.Info != info {
		t.Errorf("info: %s", d.Info)
	}
	p, warnings := PreviousOf(map[string]string{LabelInfo: d.Info, LabelVersion: d.Version})
	if diff := cmp.Diff(&Previous{Version: "41.240305", Revision: "abc", Packages: everyInput().Packages}, p); diff != "" {
		t.Errorf("the next image knows (-want +got): %s %q", diff, warnings)
	}
}

func TestWhatIsFilledInIsNotFilledInAgain(t *testing.T) {
	in := everyInput()
	in.Commits = []Commit{{"abc", "abcdef", "a <pkgupd> of <hash> \x1b[31m <pretty>"}}
	in.Changelog, in.Pretty = "<commits>", "<version> <pretty>"
	in.Formatters["commits.commit"] = "<short> <hash>: <subject>;"
	d, err := Describe(in)
	if err != nil {
		t.Fatal(err)
	}
	if want := `abc abcdef: a <pkgupd> of <hash> \x1b[31m <pretty>;`; d.Changelog != want {
		t.Errorf("got %q, want %q", d.Changelog, want)
	}
	if want := "Image 41.240305 <pretty>"; d.Labels["a.title"] != want {
		t.Errorf("got %q, want %q", d.Labels["a.title"], want)
	}
}

func TestAFirstImageHasNoUpdates(t *testing.T) {
	in := everyInput()
	in.Previous, in.Version = nil, ""
	in.Changelog = "<previous> <version> <pkgupd>"
	d, err := Describe(in)
	if err != nil {
		t.Fatal(err)
	}
	if d.Changelog != "<previous> <version> -\n" || d.Version != "" {
		t.Errorf("got %q, version %q", d.Changelog, d.Version)
	}
}

func TestPackagesOfOtherImages(t *testing.T) {
	installed := NewPackages([]component.Installed{
		{System: "rpm", Name: "glibc", Arch: "i686", Version: "2.39-1"},
		{System: "rpm", Name: "glibc", Arch: "x86_64", Version: "2.39-2"},
		{System: "rpm", Name: "openssl", Arch: "x86_64", Version: "1:3.2.2-9.fc41"},
	})
	if diff := cmp.Diff(Packages{"glibc": "2.39-2", "openssl": "3.2.2-9.fc41"}, installed); diff != "" {
		t.Errorf("installed (-want +got): %s", diff)
	}
	for _, c := range []struct {
		name    string
		labels  map[string]string
		want    Packages
		warning string
	}{
		{"none", map[string]string{}, nil, ""},
		{"hhd-dev/rechunk", map[string]string{LabelInfo: `{"version": 1, "uniq": "", "packages": {"a": "1-2"}}`},
			Packages{"a": "1-2"}, ""},
		{"ours", map[string]string{chunking.LabelPackages: `{"rpm":{"glibc.i686":"2.39-1","kernel":"6.1 6.2","o":"1:3-9"}}`},
			Packages{"glibc": "2.39-1", "kernel": "6.2", "o": "3-9"}, ""},
		{"broken", map[string]string{LabelInfo: `{"packages": []}`}, nil, "cannot be read"},
		{"too long", map[string]string{LabelInfo: strings.Repeat(" ", maxInfo+1)}, nil, "bytes"},
		{"ours, broken", map[string]string{chunking.LabelPackages: `[]`}, nil, "cannot be read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, warnings := PreviousOf(c.labels)
			if diff := cmp.Diff(c.want, p.Packages); diff != "" {
				t.Errorf("(-want +got): %s", diff)
			}
			if got := strings.Join(warnings, "\n"); !strings.Contains(got, c.warning) || (c.warning == "") != (got == "") {
				t.Errorf("warnings: %q, want %q", got, c.warning)
			}
		})
	}
}

func TestFormatters(t *testing.T) {
	name, format, err := ParseFormatter(`commits.commit=- [<short>](https://h/?a=<hash>)\n\t`)
	if err != nil || name != "commits.commit" || format != "- [<short>](https://h/?a=<hash>)\n\t" {
		t.Errorf("got %q, %q, %v", name, format, err)
	}
	for _, s := range []string{"commits.commit", "commits.other=x", ""} {
		if _, _, err := ParseFormatter(s); err == nil {
			t.Errorf("%q is accepted", s)
		}
	}
}

func TestAMetaFileIsConverted(t *testing.T) {
	data, err := os.ReadFile("testdata/meta.yml")
	if err != nil {
		t.Fatal(err)
	}
	m, err := ConvertMeta(data)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/mapping.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(m.Mapping)); diff != "" {
		t.Errorf("(-want +got): %s", diff)
	}
	if m.MaxLayers != 69 {
		t.Errorf("max layers: %d", m.MaxLayers)
	}
	warnings := []string{
		"group firmware: the files /usr/etc/firmware* are left out: such groups never had what is in /etc",
		"group firmware: the files relative are left out: nothing can have that path",
	}
	if diff := cmp.Diff(warnings, m.Warnings); diff != "" {
		t.Errorf("warnings (-want +got): %s", diff)
	}
}

func TestInvalidMetaFilesAreRefused(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "no object meta"},
		{"meta: [a]", "no object meta"},
		{"meta: {a: {packages: {}}}", `line 1: group "a"`},
		{"meta: {a: {files: ['/a[']}}", "bracket"},
		{"max_layers: -1\nmeta: {a: {}}", "max_layers"},
		{"meta: {a: {dedicated: maybe}}", `group "a"`},
		{"meta: {\" , \": {}}", "a name is needed"},
		{"meta: {" + strings.Repeat("a: {}, ", maxGroups+1) + "}", "groups"},
		{strings.Repeat("#", maxMeta+1), "bytes"},
		{"\x00", "control characters"},
	} {
		if _, err := ConvertMeta([]byte(c.text)); !errors.Is(err, ErrMeta) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.40q: got %v, want %q", c.text, err, c.want)
		}
	}
}

func TestCommitsAreThoseBetweenTwoRevisions(t *testing.T) {
	dir := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		c := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=n", "-c", "user.email=e@x",
			"-c", "commit.gpgSign=false"}, args...)...)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
	}
	git("init", "-q")
	for _, subject := range []string{"first", "second", "third/with \"quotes\" $(x)"} {
		git("commit", "-q", "--allow-empty", "-m", subject)
	}
	list, err := Commits(t.Context(), dir, "HEAD~2", "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	var subjects []string
	for _, c := range list {
		if len(c.Hash) != 40 || !strings.HasPrefix(c.Hash, c.Short) {
			t.Errorf("commit %+v", c)
		}
		subjects = append(subjects, c.Subject)
	}
	if diff := cmp.Diff([]string{`third/with "quotes" $(x)`, "second"}, subjects); diff != "" {
		t.Errorf("(-want +got): %s", diff)
	}
	for _, since := range []string{"absent", "--output=/tmp/written", "HEAD HEAD"} {
		if _, err := Commits(t.Context(), dir, since, "HEAD"); err == nil {
			t.Errorf("%q is accepted", since)
		}
	}
}
