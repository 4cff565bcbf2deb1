package setup

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Keys of sections in registries.d.
const (
	useAttachments = "use-sigstore-attachments"
	lookaside      = "lookaside"
	// oldLookaside is the name that lookaside had. It is read if the new one is absent.
	oldLookaside = "sigstore"
)

// registrySection is a section of registries.d. There are more keys.
type registrySection struct {
	file string
	// pairs are all keys, in their order.
	pairs section
	// attachments is nil if the key is absent.
	attachments *bool
	lookaside   string
}

// registriesDir is what all files of registries.d say together.
type registriesDir struct {
	files    map[string]registriesFile // by file name
	sections map[string]*registrySection
	fallback *registrySection // default-docker
}

type registriesFile struct {
	dir  string
	data []byte
}

// readRegistries reads the files that count. A scope in two of them is an error, since no image can be pulled then.
func (l *layout) readRegistries() (*registriesDir, error) {
	r := &registriesDir{files: map[string]registriesFile{}, sections: map[string]*registrySection{}}
	for _, dir := range l.registries {
		names, err := l.list(dir)
		if err != nil {
			return nil, fmt.Errorf("reading registries.d: %w", err)
		}
		for _, name := range names {
			if _, hidden := r.files[name]; hidden {
				continue
			}
			data, exists, err := l.read(dir + "/" + name)
			if err != nil {
				return nil, fmt.Errorf("reading registries.d: %w", err)
			}
			if exists {
				r.files[name] = registriesFile{dir, data}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.files)) {
		if err := r.add(l, name); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	return r, nil
}

// add parses a file.
func (r *registriesDir) add(l *layout, name string) error {
	file := r.files[name].dir + "/" + name
	// The container tools ignore keys that they do not know, and documents after the first.
	type known struct {
		Attachments *bool  `yaml:"use-sigstore-attachments"`
		Lookaside   string `yaml:"lookaside"`
		Old         string `yaml:"sigstore"`
	}
	var typed struct {
		Default *known           `yaml:"default-docker"`
		Docker  map[string]known `yaml:"docker"`
	}
	if err := yaml.Unmarshal(r.files[name].data, &typed); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w", l.show(file), err)
	}
	t, err := parseYAML(r.files[name].data)
	if err != nil {
		return fmt.Errorf("%s: %w", l.show(file), err)
	}
	read := func(k known, n *yaml.Node) (*registrySection, error) {
		s := &registrySection{file: file, attachments: k.Attachments, lookaside: k.Lookaside}
		if s.lookaside == "" {
			s.lookaside = k.Old
		}
		var err error
		s.pairs, err = pairsOf(n)
		return s, err
	}
	if typed.Default != nil {
		if r.fallback != nil {
			return fmt.Errorf("%s and %s both have the section default-docker: merge them",
				l.show(r.fallback.file), l.show(file))
		}
		_, n := entry(t.top, "default-docker")
		if r.fallback, err = read(*typed.Default, n); err != nil {
			return fmt.Errorf("%s: %w", l.show(file), err)
		}
	}
	_, docker := entry(t.top, "docker")
	for _, scope := range slices.Sorted(maps.Keys(typed.Docker)) {
		if other := r.sections[scope]; other != nil {
			return fmt.Errorf("%s and %s both have a section for %s: merge them", l.show(other.file), l.show(file), scope)
		}
		_, n := entry(docker, scope)
		if r.sections[scope], err = read(typed.Docker[scope], n); err != nil {
			return fmt.Errorf("%s: %w", l.show(file), err)
		}
	}
	return nil
}

// pairsOf returns the keys of a section.
func pairsOf(n *yaml.Node) (section, error) {
	var s section
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n == nil || n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		var v any
		if err := n.Content[i+1].Decode(&v); err != nil {
			return nil, err
		}
		s = append(s, pair{n.Content[i].Value, v})
	}
	return s, nil
}

// registries plans the section that leads to the signatures.
func (b *builder) registries(openPGP bool) error {
	r, err := b.layout.readRegistries()
	if err != nil {
		return err
	}
	want := pair{useAttachments, true}
	switch {
	case openPGP && b.opts.Lookaside == "":
		b.wantLookaside(r)
		return nil
	case openPGP:
		want = pair{lookaside, b.opts.Lookaside}
	default:
		defer b.narrower(r)
	}
	if exact := r.sections[b.opts.Scope]; exact != nil {
		return b.changeSection(r, exact, want)
	}
	cover := r.covering(b.opts.Scope)
	if cover != nil && cover != r.fallback && cover.has(want) {
		b.keep(cover.file)
		return nil
	}
	// The new section counts instead of the one that covers the scope, so it takes over what that says.
	s := section{}
	if cover != nil {
		s = slices.DeleteFunc(slices.Clone(cover.pairs), func(p pair) bool {
			return p.key == want.key || want.key == lookaside && p.key == oldLookaside
		})
	}
	s = append(s, want)
	name := b.opts.Name + ".yaml"
	return b.edit(r, name, s, func(t *yamlText) error { return t.addSection(b.opts.Scope, s) })
}

// has reports whether a section sets a key as it should.
func (s *registrySection) has(want pair) bool {
	if want.key == lookaside {
		return s.lookaside == want.value
	}
	return s.attachments != nil && *s.attachments == want.value
}

// sets reports whether a section sets a key at all.
func (s *registrySection) sets(key string) bool {
	if key == lookaside {
		return s.lookaside != ""
	}
	return s.attachments != nil
}

// covering returns the section that counts for a scope that has none, or nil.
func (r *registriesDir) covering(scope string) *registrySection {
	for _, s := range wider(scope) {
		if found := r.sections[s]; found != nil {
			return found
		}
	}
	return r.fallback
}

// changeSection plans to set a key in the section that the scope has.
func (b *builder) changeSection(r *registriesDir, s *registrySection, want pair) error {
	switch {
	case s.has(want):
		b.keep(s.file)
		return nil
	case s.sets(want.key) && !b.opts.Replace:
		return fmt.Errorf("%w: %s has another value than %v for %s in the section of %s: give --replace to change it",
			ErrConflict, b.layout.show(s.file), want.value, want.key, b.opts.Scope)
	}
	pairs := slices.DeleteFunc(slices.Clone(s.pairs), func(p pair) bool { return p.key == want.key })
	return b.edit(r, path.Base(s.file), append(pairs, want), func(t *yamlText) error {
		return t.setMember(b.opts.Scope, want)
	})
}

// edit plans to change a file, so that the section of the scope is s. A file in a directory that belongs to somebody
// else is copied to ours, where it hides the original.
func (b *builder) edit(r *registriesDir, name string, s section, change func(*yamlText) error) error {
	ours := b.layout.ours
	old, exists := r.files[name]
	target, base := ours[len(ours)-1]+"/"+name, ""
	switch {
	case exists && slices.Contains(ours, old.dir):
		target = old.dir + "/" + name
	case exists:
		base, exists = old.dir+"/"+name, false
		b.note("%s is a copy of %s with the change, and will count instead of it", b.layout.show(target),
			b.layout.show(base))
	}
	data, err := editYAML(old.data, b.opts.Scope, s, change)
	if err != nil {
		source := target
		if base != "" {
			source = base
		}
		text, _ := renderSection(b.opts.Scope, s, "  ", "  ")
		return fmt.Errorf("%s: %w, so that it has this: docker: %s", b.layout.show(source), err, oneLine(text))
	}
	b.put(target, exists, base, old.data, data)
	if b.opts.Host.User && !b.layout.exists(ours[0]) && len(r.files) > 0 {
		b.note("older versions of podman and skopeo read %s alone once it exists: for this user, they then take no notice "+
			"of /etc/containers/registries.d", ours[0])
	}
	return nil
}

// oneLine returns YAML as a part of a message.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// narrower notes sections for parts of the scope. One that says no counts instead of the scope's own. One that says
// nothing does so by the manual page, while podman and skopeo then take what the section of the scope says.
func (b *builder) narrower(r *registriesDir) {
	for _, scope := range slices.Sorted(maps.Keys(r.sections)) {
		s := r.sections[scope]
		if !slices.Contains(wider(scope), b.opts.Scope) || s.has(pair{useAttachments, true}) {
			continue
		}
		if s.attachments != nil {
			b.note("%s has a section for %s in which %s is false: the signatures of that part of %s are not looked for",
				b.layout.show(s.file), scope, useAttachments, b.opts.Scope)
			continue
		}
		b.note("%s has a section for %s without \"%s: true\": add it, because programs that go by the manual page do not "+
			"look for the signatures of that part of %s", b.layout.show(s.file), scope, useAttachments, b.opts.Scope)
	}
}

// wantLookaside notes that nothing says where signatures by keys of OpenPGP are.
func (b *builder) wantLookaside(r *registriesDir) {
	s := r.sections[b.opts.Scope]
	if s == nil {
		s = r.covering(b.opts.Scope)
	}
	if s != nil && s.lookaside != "" {
		b.keep(s.file)
		return
	}
	b.note("no file in registries.d says where the signatures of %s are: give --lookaside, unless the registry or this "+
		"host keeps them itself", b.opts.Scope)
}
