package release

import (
	"bytes"
	"compress/gzip"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

//go:embed files
var files embed.FS

// Content is what packages have beside the program, which is the same on all processors.
type Content struct {
	// Man has manual pages by the names of their files.
	Man map[string][]byte
	// Bash, Zsh and Fish are the completion for these shells.
	Bash, Zsh, Fish []byte
	// Docs has the documents, and License the licence.
	Docs    map[string][]byte
	License []byte
}

// Formats returns the kinds of packages, as nfpm calls them.
func Formats() []string { return []string{"deb", "rpm", "apk", "archlinux"} }

// file is a file of a package, or a directory if it has no source.
type file struct {
	Source string   `json:"src,omitempty"`
	Path   string   `json:"dst"`
	Type   string   `json:"type,omitempty"`
	Info   fileInfo `json:"file_info"`
}

type fileInfo struct {
	Mode  int    `json:"mode"`
	Owner string `json:"owner"`
	Group string `json:"group"`
}

// config is that of nfpm, https://nfpm.goreleaser.com/docs/configuration/. It reads YAML, of which JSON is a part.
type config struct {
	Name        string            `json:"name"`
	Arch        string            `json:"arch"`
	Platform    string            `json:"platform"`
	Version     string            `json:"version"`
	Release     string            `json:"release"`
	Section     string            `json:"section"`
	Priority    string            `json:"priority"`
	Maintainer  string            `json:"maintainer"`
	Vendor      string            `json:"vendor"`
	Description string            `json:"description"`
	Homepage    string            `json:"homepage"`
	License     string            `json:"license"`
	Time        string            `json:"mtime"`
	Umask       int               `json:"umask"`
	Recommends  []string          `json:"recommends,omitempty"`
	Suggests    []string          `json:"suggests,omitempty"`
	Contents    []file            `json:"contents"`
	Scripts     map[string]string `json:"scripts"`
	RPM         map[string]string `json:"rpm"`
}

// Packager makes packages with nfpm. Close it.
type Packager struct {
	program, dir string
	source       *Source
	content      *Content
}

// NewPackager returns a packager that runs a program nfpm.
func NewPackager(nfpm string, s *Source, c *Content) (*Packager, error) {
	dir, err := os.MkdirTemp("", "ostree-ext-packages-")
	if err != nil {
		return nil, err
	}
	return &Packager{program: nfpm, dir: dir, source: s, content: c}, nil
}

// Close removes temporary files.
func (p *Packager) Close() error { return os.RemoveAll(p.dir) }

// Make writes the package of one format with the program of one architecture into a directory.
func (p *Packager) Make(ctx context.Context, format, arch, program, to string) error {
	dir, err := os.MkdirTemp(p.dir, format)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	c, err := p.config(format, arch, program, dir)
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	name := filepath.Join(dir, "nfpm.yaml")
	if err := os.WriteFile(name, data, 0o644); err != nil {
		return err
	}
	out := filepath.Join(dir, "out")
	if err := os.Mkdir(out, 0o755); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, p.program, "package", "--config="+name, "--packager="+format, "--target="+out)
	// Some of its texts are templates that read the environment.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TZ=UTC", fmt.Sprintf("SOURCE_DATE_EPOCH=%d", p.source.Time.Unix())}
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nfpm: the package %s for %s: %w\n%s", format, arch, err, said)
	}
	return moveFiles(out, to)
}

// moveFiles moves the files of a directory into another one. Their names get a dot for a tilde, which is in versions
// before a release, since GitHub does that too.
func moveFiles(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			return err
		}
		name := filepath.Join(to, strings.ReplaceAll(e.Name(), "~", "."))
		if err := errors.Join(os.WriteFile(name, data, 0o644), os.Chmod(name, 0o644)); err != nil {
			return err
		}
	}
	return nil
}

// config returns what a package is made from. The files are written into dir.
func (p *Packager) config(format, arch, program, dir string) (*config, error) {
	s := staging{dir: dir, time: p.source.Time}
	s.files = append(s.files, file{Source: program, Path: "/usr/bin/ostree-ext", Info: rootOwned(0o755)})
	s.embedded("/usr/lib/systemd/system/ostree-ext-update.service")
	s.embedded("/usr/lib/systemd/system/ostree-ext-update.timer")
	s.embedded("/usr/lib/systemd/system-preset/95-ostree-ext.preset")
	for name, page := range p.content.Man {
		s.compressed("/usr/share/man/man1/"+name, page)
	}
	zsh, license := "/usr/share/zsh/site-functions/_ostree-ext", "/usr/share/licenses/ostree-ext/LICENSE"
	if format == "deb" {
		zsh, license = "/usr/share/zsh/vendor-completions/_ostree-ext", "/usr/share/doc/ostree-ext/copyright"
	} else {
		s.directory("/usr/share/licenses/ostree-ext")
	}
	s.add("/usr/share/bash-completion/completions/ostree-ext", p.content.Bash)
	s.add(zsh, p.content.Zsh)
	s.add("/usr/share/fish/vendor_completions.d/ostree-ext.fish", p.content.Fish)
	s.add(license, p.content.License)
	s.directory("/usr/share/doc/ostree-ext")
	for name, doc := range p.content.Docs {
		s.add("/usr/share/doc/ostree-ext/"+name, doc)
	}
	scripts := s.scripts(format)
	if s.err != nil {
		return nil, s.err
	}
	slices.SortFunc(s.files, func(a, b file) int { return strings.Compare(a.Path, b.Path) })
	return &config{
		Name: "ostree-ext", Arch: arch, Platform: "linux", Version: p.source.Version, Release: "1",
		Section: "admin", Priority: "optional", Homepage: URL, License: "Apache-2.0",
		Maintainer: "ostree-ext for Go <ostree-ext-go@users.noreply.github.com>", Vendor: "ostree-ext for Go",
		Description: "Container images of operating systems, in layers that follow their packages\n" +
			"Makes images of root filesystems and of OSTree commits whose updates are small,\n" +
			"and has hosts boot such images.",
		Time: p.source.Time.Format(time.RFC3339), Umask: 0,
		Recommends: recommends(format), Suggests: suggests(format),
		Contents: s.files, Scripts: scripts,
		// Otherwise it is the name of this machine.
		RPM: map[string]string{"buildhost": "localhost", "group": "System Environment/Base"},
	}, nil
}

func recommends(format string) []string {
	if format == "deb" || format == "rpm" {
		return []string{"ca-certificates"}
	}
	return nil
}

// suggests returns the packages that only some commands need: deploying, and images in containers-storage.
func suggests(format string) []string {
	if format == "apk" {
		return nil
	}
	return []string{"ostree", "skopeo"}
}

// staging collects the files of a package.
type staging struct {
	dir   string
	time  time.Time
	files []file
	err   error
}

func rootOwned(mode int) fileInfo { return fileInfo{Mode: mode, Owner: "root", Group: "root"} }

// add adds a file, which is not a program.
func (s *staging) add(path string, data []byte) {
	s.files = append(s.files, file{Source: s.write(path, data), Path: path, Info: rootOwned(0o644)})
}

func (s *staging) directory(path string) {
	s.files = append(s.files, file{Path: path, Type: "dir", Info: rootOwned(0o755)})
}

// embedded adds the file of this package with the name that the path has.
func (s *staging) embedded(path string) {
	data, err := files.ReadFile("files/" + filepath.Base(path))
	s.err = errors.Join(s.err, err)
	s.add(path, data)
}

// compressed adds a file that is compressed with gzip.
func (s *staging) compressed(path string, data []byte) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err == nil {
		_, err = w.Write(data)
		err = errors.Join(err, w.Close())
	}
	s.err = errors.Join(s.err, err)
	s.add(path+".gz", b.Bytes())
}

// scripts returns what runs when the package is installed and removed. An update runs the second of them too, if it is
// not that of Alpine or Arch Linux, and must leave the timer as it is.
func (s *staging) scripts(format string) map[string]string {
	reload, err := files.ReadFile("files/reload.sh")
	s.err = errors.Join(s.err, err)
	disable, err := files.ReadFile("files/disable.sh")
	s.err = errors.Join(s.err, err)
	head := "#!/bin/sh\n"
	switch format {
	case "deb":
		disable = append([]byte(head+"[ \"$1\" = remove ] || exit 0\n"), disable...)
		reload = append([]byte(head), reload...)
	case "rpm":
		disable = append([]byte("[ \"$1\" = 0 ] || exit 0\n"), disable...)
	case "apk":
		disable, reload = append([]byte(head), disable...), append([]byte(head), reload...)
	}
	return map[string]string{
		"preremove":   s.write("preremove", disable),
		"postinstall": s.write("postinstall", reload),
		"postremove":  s.write("postremove", reload),
	}
}

// write writes a file into the directory and returns its name there. The scripts of an apk have the time of their
// files.
func (s *staging) write(path string, data []byte) string {
	name := filepath.Join(s.dir, strings.ReplaceAll(strings.Trim(path, "/"), "/", "+"))
	s.err = errors.Join(s.err, os.WriteFile(name, data, 0o644), os.Chtimes(name, s.time, s.time))
	return name
}
