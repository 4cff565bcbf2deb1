package aptsources

import (
	"errors"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestTheMirrorIsTheOneThatAptUses(t *testing.T) {
	want := func(archive, security, options string) Debian {
		return Debian{
			Release: []string{"deb " + options + archive + " bookworm main"},
			Updates: []string{
				"deb " + options + archive + " bookworm-updates main", "deb " + options + security + " bookworm-security main",
			},
		}
	}
	const archive, security = "http://mirror.example/debian", "http://security.example/debian-security"
	const lines = "deb " + archive + " bookworm main contrib\ndeb " + security + " bookworm-security main\n"
	tests := []struct {
		name  string
		files map[string]string
		want  Debian
	}{
		{"lines", map[string]string{"sources.list": lines}, want(archive, security, "")},
		{"lines of an older release", map[string]string{
			"sources.list": "deb " + archive + " bullseye main\ndeb " + security + " bullseye-security main\n",
		}, want(archive, security, "")},
		{"lines of a release by its role", map[string]string{
			"sources.list": "deb " + archive + " stable main\ndeb " + security + " stable-security main\n",
		}, want(archive, security, "")},
		{"lines with comments, sources and tabs", map[string]string{
			"sources.list": "# deb http://other.example bookworm main\ndeb-src http://other.example bookworm main\n\n" +
				"deb\t" + archive + "\tbookworm  main # ours\n  deb " + security + " bookworm-security main\n",
		}, want(archive, security, "")},
		{"options about trust stay, others do not", map[string]string{
			"sources.list": "deb [ arch=amd64 trusted=yes ] " + archive + " bookworm main\n" +
				"deb [trusted=yes lang=de] " + security + " bookworm-security main\n",
		}, want(archive, security, "[trusted=yes] ")},
		{"paragraphs", map[string]string{
			"sources.list.d/debian.sources": "Types: deb deb-src\n# the archive\nURIs: " + archive +
				"\nSuites: bookworm bookworm-updates\nComponents: main\n" +
				"Signed-By: /usr/share/keyrings/debian.gpg\n\nTypes: deb\nURIs: " + security +
				"\nSuites: bookworm-security\nComponents: main\nSigned-By: /usr/share/keyrings/debian.gpg\n",
		}, want(archive, security, "[signed-by=/usr/share/keyrings/debian.gpg] ")},
		{"paragraphs with fields of several lines", map[string]string{
			"sources.list.d/debian.sources": "types: deb\nuris:\n " + archive + "\n http://second.example/\nSuites:\n trixie\n" +
				"Components: main\n contrib\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n x\n\n\n" +
				"Types: deb\nURIs: " + security + "\nSuites: trixie-security\nComponents: main\n",
		}, want(archive, security, "")},
		{"a paragraph that is switched off", map[string]string{
			"sources.list.d/a.sources": "Types: deb\nURIs: http://other.example\nSuites: bookworm\nComponents: main\n" +
				"Enabled: no\n",
			"sources.list.d/b.list": lines,
		}, want(archive, security, "")},
		{"the first file counts, and only files that apt reads", map[string]string{
			"sources.list.d/a.list.disabled": "deb http://other.example bookworm main\n",
			"sources.list.d/b.list":          lines,
			"sources.list.d/c.list":          "deb http://other.example bookworm main\n",
		}, want(archive, security, "")},
		{"mirrors of others are passed over", map[string]string{
			"sources.list": "deb http://other.example cloud-sdk-bookworm main\n" +
				"deb http://other.example bookworm stable\n",
			"sources.list.d/x.list": "deb http://other.example nodistro main\n" +
				"deb http://other.example bookworm-pgdg main\n" + lines,
		}, want(archive, security, "")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := find(filesystem(tt.files), "bookworm")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAMachineWithoutAMirrorIsAnError(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"no file":             {},
		"no security updates": {"sources.list": "deb http://mirror.example/debian bookworm main\n"},
		"no archive":          {"sources.list": "deb http://mirror.example/debian bookworm-security main\n"},
		"another distribution": {
			"sources.list": "deb http://mirror.example noble main\ndeb http://mirror.example noble-security main\n",
		},
		"brackets left open": {"sources.list": "deb [trusted=yes http://mirror.example bookworm main\n"},
		"a paragraph of nothing": {
			"sources.list.d/x.sources": " \n:\n continued\nTypes\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := find(filesystem(files), "bookworm"); !errors.Is(err, ErrNone) {
				t.Errorf("got %v, %v, want an error that says that there is none", got, err)
			}
		})
	}
}

func TestAllIsTheReleaseAndItsUpdates(t *testing.T) {
	d := Debian{Release: []string{"a"}, Updates: []string{"b", "c"}}
	if diff := cmp.Diff([]string{"a", "b", "c"}, d.All()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func filesystem(files map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for name, content := range files {
		m[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return m
}

func TestMmdebstrapGetsTheLines(t *testing.T) {
	got := Mmdebstrap("bookworm", "/root", []string{"deb a", "deb b"}, "--include=x")
	want := []string{
		"--quiet", "--variant=minbase", "--dpkgopt=force-unsafe-io", "--include=x", "bookworm", "/root", "deb a", "deb b",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
