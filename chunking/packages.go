package chunking

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	"github.com/ostree-ext/ostree-ext-go/internal/canonjson"
	"github.com/ostree-ext/ostree-ext-go/internal/jsonkeys"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// LabelPackages is the label of an image's configuration that holds its [Packages].
const LabelPackages = "ostree-ext.packages"

// Packages are the versions of installed packages by system and name. A package that is installed for several
// architectures has a name of the form NAME.ARCH for each. Several versions of one name are sorted and separated by
// spaces. All texts are printable.
type Packages map[string]map[string]string

// Errors about labels with packages.
var (
	// ErrPackages is wrapped by errors about an invalid label.
	ErrPackages = errors.New("invalid list of packages")
	// ErrPackagesTooLong says that the packages need a label that is too long to be written.
	ErrPackagesTooLong = errors.New("the list of packages is too long for a label")
)

// Limits on labels in bytes: on those that are written, and on those that are read.
const (
	maxPackagesWritten = 256 << 10
	maxPackagesRead    = 1 << 20
	// maxPackageText is the length of a name or version.
	maxPackageText = 512
)

// NewPackages returns the packages of a list, in any order.
func NewPackages(list []component.Installed) Packages {
	archs := map[[2]string]map[string]bool{}
	for _, i := range list {
		n := [2]string{printed(i.System), printed(i.Name)}
		if archs[n] == nil {
			archs[n] = map[string]bool{}
		}
		archs[n][i.Arch] = true
	}
	versions := map[[2]string][]string{}
	for _, i := range list {
		n := [2]string{printed(i.System), printed(i.Name)}
		if len(archs[n]) > 1 && i.Arch != "" {
			n[1] = printed(n[1] + "." + i.Arch)
		}
		versions[n] = append(versions[n], i.Version)
	}
	p := Packages{}
	for n, list := range versions {
		slices.Sort(list)
		p.set(n[0], n[1], strings.Join(slices.Compact(list), " "))
	}
	return p
}

// set sets the version of a package. All texts are printable.
func (p Packages) set(system, name, version string) {
	if p[system] == nil {
		p[system] = map[string]string{}
	}
	p[system][name] = printed(version)
}

// printed returns text in printable form, without what is beyond the limit.
func printed(s string) string {
	s = printable.Line(s[:min(len(s), maxPackageText)])
	if len(s) > maxPackageText {
		s = strings.ToValidUTF8(s[:maxPackageText], "") // without a part of a character
	}
	return s
}

// Encode returns the value of the label: canonical JSON. The error may be [ErrPackagesTooLong].
func (p Packages) Encode() (string, error) {
	data, err := canonjson.Marshal(p)
	if err != nil {
		return "", err
	}
	if len(data) > maxPackagesWritten {
		return "", fmt.Errorf("%w: %s, more than %s", ErrPackagesTooLong, sizes.Format(int64(len(data))),
			sizes.Format(maxPackagesWritten))
	}
	return string(data), nil
}

// ParsePackages parses the value of the label. The error wraps [ErrPackages].
func ParsePackages(label string) (Packages, error) {
	p, err := parsePackages(label)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPackages, err)
	}
	return p, nil
}

func parsePackages(label string) (Packages, error) {
	if len(label) > maxPackagesRead {
		return nil, fmt.Errorf("the label has %d bytes", len(label))
	}
	var systems map[string]json.RawMessage
	if err := json.Unmarshal([]byte(label), &systems); err != nil {
		return nil, err
	}
	// Names of packages are told apart by case.
	schema := jsonkeys.Schema{"": {"*"}}
	for system := range systems {
		schema["."+system] = []string{"*"}
	}
	if err := jsonkeys.Check([]byte(label), schema); err != nil {
		return nil, err
	}
	p := Packages{}
	for system, data := range systems {
		var versions map[string]string
		if err := json.Unmarshal(data, &versions); err != nil {
			return nil, err
		}
		for name, version := range versions {
			if name == "" || printed(name) != name || printed(system) != system {
				return nil, fmt.Errorf("%.80q is not the name of a package", name)
			}
			p.set(system, name, version)
		}
	}
	return p, nil
}
