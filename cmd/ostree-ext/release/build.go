package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/commandimage"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/programs"
	frontendimage "github.com/ostree-ext/ostree-ext-go/frontend/image"
	"github.com/ostree-ext/ostree-ext-go/internal/gobuild"
	"github.com/ostree-ext/ostree-ext-go/internal/release"
)

// The names of programs and images.
const (
	command  = "ostree-ext"
	shell    = "ostree-ext-sh"
	frontend = "ostree-ext-frontend"
)

// The files of a release that are not about one program.
const (
	sumsFile       = "SHA256SUMS"
	provenanceFile = "provenance.intoto.json"
	versionFile    = "VERSION"
	imagesDir      = "images"
)

// builder makes a release.
type builder struct {
	source *release.Source
	arches []string
	nfpm   string
	// programs has the programs by name and architecture.
	programs map[string]map[string][]byte
}

// build makes the release in a directory beside dist, which is then replaced.
func (b *builder) build(ctx context.Context, dist string) (err error) {
	for _, arch := range b.arches {
		if !slices.Contains(release.Arches(), arch) {
			return fmt.Errorf("there are no releases for %q: choose from %s", arch, strings.Join(release.Arches(), ", "))
		}
	}
	if err := checkReplaceable(dist); err != nil {
		return err
	}
	if b.source.Modified {
		fmt.Fprintln(os.Stderr, "warning: files differ from those of the commit, and the release says so")
	}
	dist = filepath.Clean(dist)
	if err := os.MkdirAll(filepath.Dir(dist), 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Dir(dist), ".release-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	for _, step := range []func(context.Context, string) error{
		b.compile, b.packages, b.images, b.documents,
	} {
		if err := step(ctx, dir); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(dist); err != nil {
		return err
	}
	return os.Rename(dir, dist)
}

// checkReplaceable returns an error if a directory has something else than a release.
func checkReplaceable(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err == nil {
		_, err = os.Stat(filepath.Join(dir, sumsFile))
	}
	if err != nil {
		return fmt.Errorf("%s is not a release and would be deleted: %w", dir, err)
	}
	return nil
}

// fileOf is the name of a program, without what is before the version.
func (b *builder) fileOf(name, arch string) string {
	return name + "-" + b.source.Version + "-linux-" + arch
}

// compile compiles all programs, and writes those of the command.
func (b *builder) compile(ctx context.Context, dir string) error {
	b.programs = map[string]map[string][]byte{command: {}, shell: {}, frontend: {}}
	for _, arch := range b.arches {
		for name := range b.programs {
			program, err := b.compileOne(ctx, name, arch)
			if err != nil {
				return err
			}
			b.programs[name][arch] = program
			bom, err := release.SBOM(program, b.source)
			if err != nil {
				return err
			}
			if err := writeFile(filepath.Join(dir, b.fileOf(name, arch)+".cdx.json"), bom, 0o644); err != nil {
				return err
			}
		}
		if err := writeFile(filepath.Join(dir, b.fileOf(command, arch)), b.programs[command][arch], 0o755); err != nil {
			return err
		}
	}
	return nil
}

// tags are the build tags with which images are judged by policies.
const tags = "containers_image_openpgp"

func (b *builder) compileOne(ctx context.Context, name, arch string) ([]byte, error) {
	switch name {
	case shell:
		return gobuild.Build(ctx, "./cmd/ostree-ext/sh", arch, "")
	case frontend:
		return gobuild.Build(ctx, "./cmd/frontend", arch, tags)
	}
	flags := []string{"-X", "main.release=" + b.source.Version}
	if r := b.source.Revision(); r != "" {
		flags = append(flags, "-X", "main.revision="+r)
	}
	return gobuild.Build(ctx, "./cmd/ostree-ext", arch, tags, flags...)
}

// packages writes the packages of distributions.
func (b *builder) packages(ctx context.Context, dir string) (err error) {
	tmp, err := os.MkdirTemp("", "ostree-ext-release-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	content, err := b.content(ctx, tmp)
	if err != nil {
		return err
	}
	nfpm := b.nfpm
	if nfpm == "" {
		nfpm = filepath.Join(tmp, "nfpm")
		cmd := exec.CommandContext(ctx, "go", "build", "-C", "tools/nfpm", "-trimpath", "-buildvcs=false", "-o", nfpm,
			"github.com/goreleaser/nfpm/v2/cmd/nfpm")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("compiling nfpm: %w", err)
		}
	}
	p, err := release.NewPackager(nfpm, b.source, content)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	for _, arch := range b.arches {
		program, err := filepath.Abs(filepath.Join(dir, b.fileOf(command, arch)))
		if err != nil {
			return err
		}
		for _, format := range release.Formats() {
			if err := p.Make(ctx, format, arch, program, dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// content returns what the program and the sources have for packages.
func (b *builder) content(ctx context.Context, tmp string) (*release.Content, error) {
	program, ok := b.programs[command][runtime.GOARCH]
	if !ok {
		var err error
		if program, err = b.compileOne(ctx, command, runtime.GOARCH); err != nil {
			return nil, err
		}
	}
	file := filepath.Join(tmp, command)
	if err := writeFile(file, program, 0o755); err != nil {
		return nil, err
	}
	output := func(args ...string) ([]byte, error) {
		cmd := exec.CommandContext(ctx, file, args...)
		cmd.Env = []string{fmt.Sprintf("SOURCE_DATE_EPOCH=%d", b.source.Time.Unix())}
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", command, args[0], err)
		}
		return out, nil
	}
	c := &release.Content{}
	var err error
	for shell, to := range map[string]*[]byte{"bash": &c.Bash, "zsh": &c.Zsh, "fish": &c.Fish} {
		if *to, err = output("completion", shell); err != nil {
			return nil, err
		}
	}
	man := filepath.Join(tmp, "man")
	if _, err := output("man", "--directory="+man); err != nil {
		return nil, err
	}
	if c.Man, err = readFiles(filepath.Join(man, "*")); err != nil {
		return nil, err
	}
	if c.Docs, err = readFiles("docs/*.md", "README.md", "CHANGELOG.md", "SECURITY.md"); err != nil {
		return nil, err
	}
	c.License, err = os.ReadFile("LICENSE")
	return c, err
}

// readFiles returns the content of files by their names without directories.
func readFiles(patterns ...string) (map[string][]byte, error) {
	all := map[string][]byte{}
	for _, pattern := range patterns {
		names, err := filepath.Glob(pattern)
		if err == nil && len(names) == 0 {
			err = fmt.Errorf("no file %s", pattern)
		}
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if all[filepath.Base(name)], err = os.ReadFile(name); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// images writes the images of the command and of the frontend, each as an OCI layout.
func (b *builder) images(ctx context.Context, dir string) error {
	annotations := func(title string) map[string]string {
		a := map[string]string{
			"org.opencontainers.image.title":    title,
			"org.opencontainers.image.version":  b.source.Version,
			"org.opencontainers.image.source":   release.URL,
			"org.opencontainers.image.licenses": "Apache-2.0",
		}
		if b.source.Commit != "" {
			a["org.opencontainers.image.revision"] = b.source.Revision()
		}
		return a
	}
	labels := annotations(command)
	ofCommand := commandimage.Options{Created: b.source.Time, Labels: labels, Annotations: labels}
	ofFrontend := frontendimage.Options{Created: b.source.Time, Annotations: annotations(frontend)}
	images := map[string][]programs.Image{}
	for _, arch := range b.arches {
		p := ocispec.Platform{OS: "linux", Architecture: arch}
		images[command] = append(images[command], commandimage.Of(commandimage.Platform{
			Platform: p, Command: b.programs[command][arch], Shell: b.programs[shell][arch],
		}, ofCommand))
		images[frontend] = append(images[frontend], frontendimage.Of(frontendimage.Platform{
			Platform: p, Program: b.programs[frontend][arch],
		}, ofFrontend))
	}
	for name, of := range images {
		index, err := programs.Index(ctx, of, annotations(name))
		if err != nil {
			return err
		}
		if err := programs.WriteLayout(filepath.Join(dir, imagesDir, name), index, b.source.Version); err != nil {
			return err
		}
	}
	return nil
}

// documents writes what describes all the rest.
func (b *builder) documents(_ context.Context, dir string) error {
	top := func(name string) bool { return !strings.Contains(name, "/") }
	if err := writeFile(filepath.Join(dir, versionFile), []byte(b.source.Version+"\n"), 0o644); err != nil {
		return err
	}
	subjects, err := release.Files(dir, top)
	if err != nil {
		return err
	}
	for _, name := range []string{command, frontend} {
		index, err := programs.ReadLayout(filepath.Join(dir, imagesDir, name))
		if err != nil {
			return err
		}
		digest, err := index.Digest()
		if err != nil {
			return err
		}
		subjects = append(subjects, release.Subject{
			Name: imagesDir + "/" + name, Digest: map[string]string{digest.Algorithm: digest.Hex},
		})
	}
	statement, err := release.Provenance(b.source, b.arches, runtime.Version(), subjects)
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(dir, provenanceFile), statement, 0o644); err != nil {
		return err
	}
	files, err := release.Files(dir, top)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, sumsFile), release.Sums(files), 0o644)
}

// writeFile writes a file with a mode on which the umask has no influence.
func writeFile(name string, data []byte, mode os.FileMode) error {
	if err := os.WriteFile(name, data, mode); err != nil {
		return err
	}
	return os.Chmod(name, mode)
}
