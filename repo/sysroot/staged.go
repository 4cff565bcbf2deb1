package sysroot

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// staged reads the deployment that libostree finishes when the host shuts down. It returns nil if there is none.
func (s *Sysroot) staged() (*Deployment, error) {
	name := filepath.Join(s.host.run(), "ostree/staged-deployment")
	data, err := readHostFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	d, dir, err := parseStaged(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, name, err)
	}
	if d == nil {
		return nil, nil
	}
	if _, err := s.locate(d, dir); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	// Before 2024.5 a file of its own said so.
	d.Locked = d.Locked || hostFileExists(name+"-locked")
	return d, nil
}

// parseStaged parses the file of a staged deployment. It returns what the file says, without what follows from the name
// of the deployment's directory, and that name. If it tells of no deployment, d is nil.
func parseStaged(data []byte) (d *Deployment, name string, err error) {
	dict, err := gvariant.ParseDict(data)
	if err != nil {
		return nil, "", err
	}
	target, ok := dict.Lookup("target")
	if !ok {
		return nil, "", nil
	}
	if d, name, err = parseTarget(target); err != nil {
		return nil, "", fmt.Errorf("target: %w", err)
	}
	if v, ok := dict.Lookup("kargs"); ok {
		args, err := v.Strings()
		if err != nil {
			return nil, "", fmt.Errorf("kargs: %w", err)
		}
		d.KernelArgs = withoutOSTree(args)
	}
	if v, ok := dict.Lookup("locked"); ok {
		if d.Locked, err = v.Bool(); err != nil {
			return nil, "", fmt.Errorf("locked: %w", err)
		}
	}
	return d, name, nil
}

// parseTarget reads the dictionary that names a deployment.
func parseTarget(v gvariant.Value) (d *Deployment, name string, err error) {
	if v.Type() != "a{sv}" {
		return nil, "", fmt.Errorf("it is of type %s", v.Type())
	}
	dict, err := gvariant.ParseDict(v.Data())
	if err != nil {
		return nil, "", err
	}
	text := map[string]string{}
	for _, key := range []string{"name", "osname", "bootcsum"} {
		v, ok := dict.Lookup(key)
		if !ok {
			return nil, "", fmt.Errorf("there is no %s", key)
		}
		if text[key], err = v.Text(); err != nil {
			return nil, "", fmt.Errorf("%s: %w", key, err)
		}
	}
	if err := checkName(text["osname"]); err != nil {
		return nil, "", err
	}
	d = &Deployment{Stateroot: text["osname"], BootSerial: -1, Staged: true}
	if d.BootChecksum, err = object.ParseChecksum(text["bootcsum"]); err != nil {
		return nil, "", fmt.Errorf("bootcsum: %w", err)
	}
	return d, text["name"], nil
}
