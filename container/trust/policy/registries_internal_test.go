package policy

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/container/access"
)

// registriesD reads files as those of the user's registries.d.
func registriesD(t *testing.T, files map[string]string) (*Registries, error) {
	t.Helper()
	dir := t.TempDir()
	d := filepath.Join(dir, "containers", "registries.d")
	if err := os.MkdirAll(d, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(d, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("XDG_CONFIG_HOME", dir)
	return ReadRegistries()
}

func TestSectionsOfRegistriesD(t *testing.T) {
	r, err := registriesD(t, map[string]string{
		"default.yaml": "default-docker:\n  lookaside: file:///default\n  use-sigstore-attachments: true\n",
		"a.yaml": "docker:\n  a.example: {sigstore: https://old.example}\n" +
			"  a.example/off: {use-sigstore-attachments: false}\n" +
			"  a.example/off/x: {lookaside: https://x.example, future: 1}\n",
		"ignored.txt": "docker: [",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, lookaside string
		attachments     bool
		sections        int
	}{
		{"b.example/os", "file:///default", true, 1},
		{"a.example/os:1", "https://old.example", true, 2},
		{"a.example/off/y", "https://old.example", false, 3},
		// What the most specific section does not say, the next says.
		{"a.example/off/x", "https://x.example", false, 4},
	} {
		lookaside, err := r.lookaside(c.name)
		if err != nil || lookaside != c.lookaside {
			t.Errorf("%s: lookaside %q, %v; want %q", c.name, lookaside, err, c.lookaside)
		}
		if on, err := r.attachments(c.name); err != nil || on != c.attachments {
			t.Errorf("%s: attachments %v, %v; want %v", c.name, on, err, c.attachments)
		}
		if s, err := r.Sections(c.name); err != nil || len(s) != c.sections {
			t.Errorf("%s: %d sections, %v; want %d", c.name, len(s), err, c.sections)
		}
	}
}

func TestAttachmentsAreOffWhereNothingIsSaid(t *testing.T) {
	r, err := registriesD(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	if on, err := r.attachments("a.example/os"); err != nil || on {
		t.Errorf("got %v, %v", on, err)
	}
}

func TestAScopeInTwoFilesIsAnError(t *testing.T) {
	for _, section := range []string{"docker: {a.example/os: {lookaside: x}}", "default-docker: {lookaside: x}"} {
		_, err := registriesD(t, map[string]string{"1.yaml": section, "2.yaml": section})
		conflict, ok := errors.AsType[*ConflictError](err)
		if !ok || filepath.Base(conflict.Files[0]) != "1.yaml" || filepath.Base(conflict.Files[1]) != "2.yaml" {
			t.Errorf("%s: got %v", section, err)
		}
	}
	for _, text := range []string{"docker: [", "docker: {a: {use-sigstore-attachments: maybe}}", "docker:\n  a: 1\n"} {
		if _, err := registriesD(t, map[string]string{"1.yaml": text}); err == nil {
			t.Errorf("%s is not an error", text)
		}
	}
}

func TestTheNameOfThePlaceHasTheTagOrTheDigest(t *testing.T) {
	for name, want := range map[string]string{
		"a.example:5000/os":              "a.example:5000/os",
		"a.example:5000/os:1":            "a.example:5000/os:1",
		"a.example/os:1@sha256:" + zeros: "a.example/os@sha256:" + zeros,
	} {
		places, err := access.Options{}.Endpoints(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := physical(places[0], name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

func TestAttachmentsCanBeLeftOut(t *testing.T) {
	r, err := registriesD(t, map[string]string{
		"1.yaml": "default-docker: {sigstore: 'https://d.example', use-sigstore-attachments: true}\n",
		"2.yaml": "docker: {a.example: {lookaside: 'https://a.example', use-sigstore-attachments: true}}\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	file, err := r.withoutAttachments()
	if err != nil {
		t.Fatal(err)
	}
	again, err := registriesD(t, map[string]string{"0.yaml": string(file)})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"a.example/os": "https://a.example", "b.example/os": "https://d.example"} {
		on, err := again.attachments(name)
		if lookaside, err2 := again.lookaside(name); on || lookaside != want || err != nil || err2 != nil {
			t.Errorf("%s: attachments %v, lookaside %q, %v, %v", name, on, lookaside, err, err2)
		}
	}
}
