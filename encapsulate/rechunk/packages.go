package rechunk

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	"github.com/ostree-ext/ostree-ext-go/internal/canonjson"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
)

// Packages are the versions of the installed packages by name, as VERSION-RELEASE without an epoch. A package that is
// installed several times is there once.
type Packages map[string]string

// NewPackages returns the packages of a list. Of several versions of a package it takes the last of the list.
func NewPackages(list []component.Installed) Packages {
	p := Packages{}
	for _, i := range list {
		p[printable.Line(i.Name)] = printable.Line(withoutEpoch(i.Version))
	}
	return p
}

// withoutEpoch returns a version without the number and the colon before it.
func withoutEpoch(version string) string {
	epoch, rest, ok := strings.Cut(version, ":")
	if !ok || strings.Trim(epoch, "0123456789") != "" {
		return version
	}
	return rest
}

// split splits a version into the version proper and the release, which may be empty.
func split(version string) (proper, release string) {
	if i := strings.LastIndexByte(version, '-'); i >= 0 {
		return version[:i], version[i+1:]
	}
	return version, ""
}

// Previous is what is known about the image that hosts have now. Its fields may be empty.
type Previous struct {
	Version, Revision string
	Packages          Packages
	// Tags are the tags in the image's repository.
	Tags []string
}

// maxInfo bounds the label with packages that is read, in bytes.
const maxInfo = 4 << 20

// PreviousOf reads the labels of an image that this package or hhd-dev/rechunk described. Without [LabelInfo], the
// packages are those of [chunking.LabelPackages]. The warnings are about labels that cannot be read.
func PreviousOf(labels map[string]string) (p *Previous, warnings []string) {
	p = &Previous{Version: labels[LabelVersion], Revision: labels[LabelRevision]}
	if text := labels[LabelInfo]; text != "" {
		i, err := parseInfo(text)
		if err == nil {
			p.Packages = i.Packages
			if i.Revision != nil && *i.Revision != "" {
				p.Revision = *i.Revision
			}
			return p, nil
		}
		warnings = append(warnings, fmt.Sprintf("the label %s of the previous image cannot be read: %v", LabelInfo, err))
	}
	text := labels[chunking.LabelPackages]
	if text == "" {
		return p, warnings
	}
	all, err := chunking.ParsePackages(text)
	if err != nil {
		return p, append(warnings, fmt.Sprintf("the packages of the previous image cannot be read: %v", err))
	}
	p.Packages = Packages{}
	for _, system := range slices.Sorted(maps.Keys(all)) {
		for name, versions := range all[system] {
			last := strings.Fields(versions)
			if len(last) == 0 {
				last = []string{""}
			}
			p.Packages[withoutArch(name)] = withoutEpoch(last[len(last)-1])
		}
	}
	return p, warnings
}

// architectures are those that names in the label of packages end with.
var architectures = []string{"x86_64", "i686", "noarch", "aarch64", "ppc64le", "s390x", "riscv64", "amd64", "i386",
	"arm64", "armhf", "ppc64el", "all"}

func withoutArch(name string) string {
	if i := strings.LastIndexByte(name, '.'); i > 0 && slices.Contains(architectures, name[i+1:]) {
		return name[:i]
	}
	return name
}

// info is the content of [LabelInfo], version 2. Without layers, hhd-dev/rechunk continues from the annotations of the
// layers.
type info struct {
	Version  int        `json:"version"`
	Uniq     string     `json:"uniq"`
	Layers   [][]string `json:"layers"`
	Packages Packages   `json:"packages"`
	Revision *string    `json:"revision"`
}

func parseInfo(text string) (i info, err error) {
	if len(text) > maxInfo {
		return i, fmt.Errorf("it has %d bytes", len(text))
	}
	// Lists of layers are large, and not needed.
	var read struct {
		Packages Packages `json:"packages"`
		Revision *string  `json:"revision"`
	}
	if err := json.Unmarshal([]byte(text), &read); err != nil {
		return i, err
	}
	i.Packages, i.Revision = Packages{}, read.Revision
	for name, version := range read.Packages {
		i.Packages[printable.Line(name)] = printable.Line(version)
	}
	return i, nil
}

// encodeInfo returns the value of [LabelInfo].
func encodeInfo(version, revision string, packages Packages) (string, error) {
	i := info{Version: 2, Uniq: version, Layers: [][]string{}, Packages: packages}
	if revision != "" {
		i.Revision = &revision
	}
	if i.Packages == nil {
		i.Packages = Packages{}
	}
	data, err := canonjson.Marshal(i)
	return string(data), err
}
