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
	dict, err := gvariant.ParseDict(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, name, err)
	}
	v, ok := dict.Lookup("target")
	if !ok {
		return nil, nil
	}
	d, err := s.stagedTarget(v)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if v, ok := dict.Lookup("kargs"); ok {
		args, err := v.Strings()
		if err != nil {
			return nil, fmt.Errorf("%w: %s: kargs: %w", ErrInvalid, name, err)
		}
		d.KernelArgs = withoutOSTree(args)
	}
	if v, ok := dict.Lookup("locked"); ok {
		if d.Locked, err = v.Bool(); err != nil {
			return nil, fmt.Errorf("%w: %s: locked: %w", ErrInvalid, name, err)
		}
	}
	if !d.Locked {
		// Before 2024.5 a file of its own said so.
		d.Locked = hostFileExists(name + "-locked")
	}
	return d, nil
}

// stagedTarget reads the dictionary that names a deployment.
func (s *Sysroot) stagedTarget(v gvariant.Value) (*Deployment, error) {
	if v.Type() != "a{sv}" {
		return nil, fmt.Errorf("%w: target is of type %s", ErrInvalid, v.Type())
	}
	dict, err := gvariant.ParseDict(v.Data())
	if err != nil {
		return nil, fmt.Errorf("%w: target: %w", ErrInvalid, err)
	}
	text := map[string]string{}
	for _, key := range []string{"name", "osname", "bootcsum"} {
		v, ok := dict.Lookup(key)
		if !ok {
			return nil, fmt.Errorf("%w: target has no %s", ErrInvalid, key)
		}
		if text[key], err = v.Text(); err != nil {
			return nil, fmt.Errorf("%w: target: %s: %w", ErrInvalid, key, err)
		}
	}
	if err := checkName(text["osname"]); err != nil {
		return nil, err
	}
	d := &Deployment{Stateroot: text["osname"], BootSerial: -1, Staged: true}
	if d.BootChecksum, err = object.ParseChecksum(text["bootcsum"]); err != nil {
		return nil, fmt.Errorf("%w: target: bootcsum: %w", ErrInvalid, err)
	}
	_, err = s.locate(d, text["name"])
	return d, err
}
