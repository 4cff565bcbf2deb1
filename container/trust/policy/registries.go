package policy

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.podman.io/storage/pkg/configfile"
	"go.podman.io/storage/pkg/unshare"
	"go.yaml.in/yaml/v3"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/internal/guarded"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// Registries is what containers-registries.d(5) says: where the signatures of images in registries are. Its scopes are
// those of the transport docker, see [Scopes]. If registries.conf names mirrors, those of the mirror count.
type Registries struct {
	// Files are the files that were read, in that order.
	Files []string

	fallback *Section
	sections map[string]Section
}

// A Section is the part of registries.d for one scope.
type Section struct {
	// File is where the section is, and Scope is its scope, or "" for default-docker.
	File, Scope string
	// Lookaside is the address of simple signatures: file:///… or https://…. It may be empty.
	Lookaside string
	// Attachments says whether Sigstore attachments are looked for. It is nil if the section does not say so.
	Attachments *bool

	content sectionContent
}

// sectionContent is a section as it is written. "sigstore" is the old name of "lookaside".
type sectionContent struct {
	Lookaside        string `yaml:"lookaside,omitempty"`
	LookasideStaging string `yaml:"lookaside-staging,omitempty"`
	SigStore         string `yaml:"sigstore,omitempty"`
	SigStoreStaging  string `yaml:"sigstore-staging,omitempty"`
	Attachments      *bool  `yaml:"use-sigstore-attachments,omitempty"`
}

func newSection(file, scope string, c sectionContent) Section {
	s := Section{File: file, Scope: scope, Lookaside: c.Lookaside, Attachments: c.Attachments, content: c}
	if s.Lookaside == "" {
		s.Lookaside = c.SigStore
	}
	return s
}

// A ConflictError is the error for a scope that two files of registries.d have. No image can be read from a registry
// then.
type ConflictError struct {
	// Scope is the scope, or "" for default-docker.
	Scope string
	Files [2]string
}

// Error implements error.
func (e *ConflictError) Error() string {
	what := "default-docker"
	if e.Scope != "" {
		what = fmt.Sprintf("the scope %q", e.Scope)
	}
	return fmt.Sprintf("registries.d has %s in %s and in %s: leave it in one of them", what, e.Files[0], e.Files[1])
}

// ReadRegistries reads all files of registries.d: the *.yaml below containers/registries.d of the user's configuration,
// of /etc and of /usr/share, and below registries.rootful.d or registries.rootless.d of the latter two. Of several
// files with one name, the first of these counts. A scope that two files have is a [*ConflictError]. A file that others
// than root and the user could change is an error that wraps [guarded.ErrOpen].
func ReadRegistries() (*Registries, error) {
	r := &Registries{sections: map[string]Section{}}
	files := configfile.File{
		Name: "registries", Extension: "yaml", DoNotLoadMainFiles: true, DoNotUseExtensionForConfigName: true,
		UserId: unshare.GetRootlessUID(),
	}
	for item, err := range configfile.Read(&files) {
		if err != nil {
			return nil, fmt.Errorf("registries.d: %w", err)
		}
		if err := guarded.Ours().Check(item.Name); err != nil {
			return nil, fmt.Errorf("registries.d: %w", err)
		}
		data, err := io.ReadAll(io.LimitReader(item.Reader, maxFile+1))
		if err == nil && len(data) > maxFile {
			err = fmt.Errorf("%s has more than %s", item.Name, sizes.Format(maxFile))
		}
		if err == nil {
			err = r.add(item.Name, data)
		}
		if err != nil {
			return nil, err
		}
	}
	return r, nil
}

// add adds the content of a file. Keys that are not known are left to the container tools, which ignore them.
func (r *Registries) add(file string, data []byte) error {
	var content struct {
		Default *sectionContent           `yaml:"default-docker"`
		Docker  map[string]sectionContent `yaml:"docker"`
	}
	if err := yaml.Unmarshal(data, &content); err != nil {
		return fmt.Errorf("registries.d: %s: %w", file, err)
	}
	r.Files = append(r.Files, file)
	if content.Default != nil {
		if r.fallback != nil {
			return &ConflictError{Files: [2]string{r.fallback.File, file}}
		}
		s := newSection(file, "", *content.Default)
		r.fallback = &s
	}
	for _, scope := range slices.Sorted(maps.Keys(content.Docker)) {
		if other, ok := r.sections[scope]; ok {
			return &ConflictError{Scope: scope, Files: [2]string{other.File, file}}
		}
		r.sections[scope] = newSection(file, scope, content.Docker[scope])
	}
	return nil
}

// Sections returns the sections that cover an image in a registry, the most specific first, and default-docker last.
// What a section does not say, the next says.
func (r *Registries) Sections(name string) ([]Section, error) {
	scopes, err := Scopes(imgref.ImageReference{Transport: imgref.Registry, Name: name})
	if err != nil {
		return nil, err
	}
	var found []Section
	for _, scope := range scopes {
		if s, ok := r.sections[scope]; ok {
			found = append(found, s)
		}
	}
	if r.fallback != nil {
		found = append(found, *r.fallback)
	}
	return found, nil
}

// attachments reports whether Sigstore attachments of an image are looked for.
func (r *Registries) attachments(name string) (bool, error) {
	sections, err := r.Sections(name)
	for _, s := range sections {
		if s.Attachments != nil {
			return *s.Attachments, nil
		}
	}
	return false, err
}

// lookaside returns the address of the simple signatures of an image, or "" for the directory that is built in.
func (r *Registries) lookaside(name string) (string, error) {
	sections, err := r.Sections(name)
	for _, s := range sections {
		if s.Lookaside != "" {
			return s.Lookaside, nil
		}
	}
	return "", err
}

// physical returns the name of an image at an endpoint. The library looks for that in registries.d.
func physical(e *access.Endpoint, name string) string {
	base, digested, found := strings.Cut(name, "@")
	if found {
		return e.String() + "@" + digested
	}
	if colon := strings.LastIndexByte(base, ':'); colon > strings.LastIndexByte(base, '/') {
		return e.String() + base[colon:]
	}
	return e.String()
}

// withoutAttachments returns a file for registries.d that says the same, but that attachments are not looked for.
func (r *Registries) withoutAttachments() ([]byte, error) {
	content := struct {
		Default *sectionContent           `yaml:"default-docker,omitempty"`
		Docker  map[string]sectionContent `yaml:"docker,omitempty"`
	}{Docker: map[string]sectionContent{}}
	if r.fallback != nil {
		c := r.fallback.content
		c.Attachments = nil
		content.Default = &c
	}
	for scope, s := range r.sections {
		s.content.Attachments = nil
		content.Docker[scope] = s.content
	}
	data, err := yaml.Marshal(content)
	if err != nil {
		return nil, errors.Join(errors.New("registries.d"), err)
	}
	return data, nil
}
