package release

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Subject is what a statement is about: a file of the release, or an image by the digest of its index.
type Subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

// statement is an in-toto statement, https://in-toto.io/Statement/v1, with provenance of SLSA,
// https://slsa.dev/spec/v1.0/provenance.
type statement struct {
	Type          string     `json:"_type"`
	Subject       []Subject  `json:"subject"`
	PredicateType string     `json:"predicateType"`
	Predicate     provenance `json:"predicate"`
}

type provenance struct {
	Definition struct {
		Type         string               `json:"buildType"`
		External     map[string]any       `json:"externalParameters"`
		Internal     map[string]string    `json:"internalParameters"`
		Dependencies []resourceDescriptor `json:"resolvedDependencies"`
	} `json:"buildDefinition"`
	Run struct {
		Builder struct {
			ID string `json:"id"`
		} `json:"builder"`
	} `json:"runDetails"`
}

type resourceDescriptor struct {
	URI         string            `json:"uri"`
	Digest      map[string]string `json:"digest,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Provenance returns a statement that says from which commit and with which version of Go the subjects were made. It
// names no machine and no time, so that everybody who makes the release gets the same.
func Provenance(s *Source, arches []string, goVersion string, subjects []Subject) ([]byte, error) {
	st := statement{
		Type: "https://in-toto.io/Statement/v1", Subject: slices.Clone(subjects),
		PredicateType: "https://slsa.dev/provenance/v1",
	}
	slices.SortFunc(st.Subject, func(a, b Subject) int { return strings.Compare(a.Name, b.Name) })
	d := &st.Predicate.Definition
	d.Type = URL + "/blob/" + s.Version + "/docs/install.md#releases"
	d.External = map[string]any{"version": s.Version, "architectures": arches}
	d.Internal = map[string]string{"go": goVersion, "SOURCE_DATE_EPOCH": fmt.Sprint(s.Time.Unix())}
	source := resourceDescriptor{URI: "git+" + URL + "@refs/tags/" + s.Version}
	if s.Commit != "" {
		source.Digest = map[string]string{"gitCommit": s.Commit}
	}
	if s.Modified {
		source.Annotations = map[string]string{"modified": "true"}
	}
	d.Dependencies = []resourceDescriptor{
		source, {URI: "pkg:generic/go@" + strings.TrimPrefix(goVersion, "go")},
	}
	st.Predicate.Run.Builder.ID = URL + "/tree/" + s.Version + "/cmd/ostree-ext/release"
	return indented(st)
}

// Files returns the regular files of a directory and of those below it that accept is true for, by their paths in it.
// Their order is that of the names.
func Files(dir string, accept func(name string) bool) ([]Subject, error) {
	var subjects []Subject
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil || !d.Type().IsRegular() || !accept(filepath.ToSlash(rel)) {
			return err
		}
		sum, err := sumOf(name)
		subjects = append(subjects, Subject{Name: filepath.ToSlash(rel), Digest: map[string]string{"sha256": sum}})
		return err
	})
	return subjects, err
}

func sumOf(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Sums returns the checksums of files as `sha256sum --check` reads them.
func Sums(files []Subject) []byte {
	var b bytes.Buffer
	for _, f := range files {
		fmt.Fprintf(&b, "%s  %s\n", f.Digest["sha256"], f.Name)
	}
	return b.Bytes()
}
