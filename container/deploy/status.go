package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/sysroot"
)

// The keys of a commit that was made from an image, and those of its detached metadata about an update that was found.
// They are upstream's.
const (
	keyManifestDigest = "ostree.manifest-digest"
	keyManifest       = "ostree.manifest"
	keyConfig         = "ostree.container.image-config"
	keyVersion        = "version"
	cachedDigest      = "ostree-ext.cached.manifest-digest"
	cachedManifest    = "ostree-ext.cached.manifest"
	cachedConfig      = "ostree-ext.cached.config"
)

// The states of a deployment.
const (
	// StateStaged is the state of the deployment that gets into the boot menu when the host shuts down.
	StateStaged = "staged"
	// StatePending is that of the deployment that is booted next, if no other is staged.
	StatePending = "pending"
	// StateBooted is that of the deployment that the host runs from.
	StateBooted = "booted"
	// StateRollback is that of the deployment to go back to.
	StateRollback = "rollback"
	// StateDefault is that of the first deployment of a sysroot that the host does not run from.
	StateDefault = "default"
	// StateOther is that of all others.
	StateOther = "other"
)

// Status is what a sysroot boots. docs/formats.md specifies its JSON.
type Status struct {
	Sysroot string `json:"sysroot"`
	// BootFree is how many bytes are free in /boot, and 0 if there is none.
	BootFree int64 `json:"boot_free"`
	// Deployments are in the order of the boot menu, after a staged one.
	Deployments []DeploymentStatus `json:"deployments"`
}

// DeploymentStatus is a deployment of a [Status].
type DeploymentStatus struct {
	// Index is the number that `ostree admin undeploy` and `pin` take.
	Index int `json:"index"`
	// State is one of the constants.
	State     string `json:"state"`
	Stateroot string `json:"stateroot"`
	Commit    string `json:"commit"`
	Serial    int    `json:"serial"`
	// Image is the reference that the deployment is updated from. A host without images has a Refspec instead.
	Image   string `json:"image,omitempty"`
	Refspec string `json:"refspec,omitempty"`
	// Digest is that of the image's manifest. It is empty for a commit that was not made from an image.
	Digest digest.Digest `json:"digest,omitempty"`
	// Version is the version of the system, as its image or commit says.
	Version string `json:"version,omitempty"`
	// Created is when the image or commit was made.
	Created time.Time `json:"created,omitzero"`
	// KernelArgs are without ostree=.
	KernelArgs []string `json:"kernel_args"`
	Pinned     bool     `json:"pinned"`
	// Locked is whether a staged deployment is held back.
	Locked bool `json:"locked"`
	// Update is the update that was found last, or nil.
	Update *Update `json:"update,omitempty"`
}

// Update is an update that was found and not fetched.
type Update struct {
	Digest  digest.Digest `json:"digest"`
	Version string        `json:"version,omitempty"`
	// Added is the size in bytes of the layers that the image of the deployment does not have.
	Added int64 `json:"added"`
}

// ReadStatus reads the status of the sysroot at a path, "/" if it is empty. It does not need ostree, and needs
// root only where /boot is closed to others.
func ReadStatus(ctx context.Context, host sysroot.Host, path string) (*Status, error) {
	if path == "" {
		path = "/"
	}
	s, err := host.Open(path)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	list, err := s.Deployments()
	if err != nil {
		return nil, fmt.Errorf("reading the deployments of %s: %w", path, err)
	}
	r, err := repo.Open(s.RepoPath())
	if err != nil {
		return nil, err
	}
	defer r.Close()
	st := &Status{Sysroot: path, Deployments: []DeploymentStatus{}}
	boot, err := s.Boot()
	switch {
	case err == nil:
		st.BootFree = boot.Free
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	for _, d := range list {
		ds := DeploymentStatus{
			Index: d.Index, State: state(list, d), Stateroot: d.Stateroot, Commit: d.Commit.String(), Serial: d.Serial,
			KernelArgs: d.KernelArgs, Pinned: d.Pinned(), Locked: d.Locked,
		}
		if d.Staged && d.KernelArgs == nil {
			ds.KernelArgs = inherited(list, d)
		}
		if ds.KernelArgs == nil {
			ds.KernelArgs = []string{}
		}
		if d.Origin != nil {
			ds.Image, ds.Refspec = d.Origin.Image, d.Origin.Refspec
		}
		if err := ds.readCommit(ctx, r, d); err != nil {
			return nil, fmt.Errorf("reading the commit of deployment %d: %w", d.Index, err)
		}
		st.Deployments = append(st.Deployments, ds)
	}
	return st, nil
}

// inherited returns the kernel arguments that a staged deployment takes over.
func inherited(list sysroot.Deployments, staged *sysroot.Deployment) []string {
	for _, d := range list {
		if d.Stateroot == staged.Stateroot && d.Booted {
			return d.KernelArgs
		}
	}
	for _, d := range list {
		if d.Stateroot == staged.Stateroot && !d.Staged {
			return d.KernelArgs
		}
	}
	return nil
}

// state returns the state of a deployment.
func state(list sysroot.Deployments, d *sysroot.Deployment) string {
	booted := list.Booted()
	switch {
	case d.Staged:
		return StateStaged
	case d.Booted:
		return StateBooted
	case booted == nil:
		if list[0] == d {
			return StateDefault
		}
		return StateOther
	}
	others := list
	if list[0].Staged {
		others = list[1:]
	}
	switch pending, rollback := others.Around(booted.Stateroot); d {
	case pending:
		return StatePending
	case rollback:
		return StateRollback
	}
	return StateOther
}

// readCommit sets what the commit says. A commit that the repository lacks says nothing.
func (s *DeploymentStatus) readCommit(ctx context.Context, r *repo.Repo, d *sysroot.Deployment) error {
	c, err := repo.LoadCommit(ctx, r, d.Commit)
	if errors.Is(err, repo.ErrObjectNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	s.Created = c.Time().UTC()
	s.Digest = digest.Digest(text(c.Metadata, keyManifestDigest))
	s.Version = configVersion(text(c.Metadata, keyConfig))
	if s.Version == "" {
		s.Version = text(c.Metadata, keyVersion)
	}
	detached, err := repo.LoadDetachedMetadata(ctx, r, d.Commit)
	if err != nil {
		return err
	}
	s.Update = readUpdate(c.Metadata, detached)
	return nil
}

// readUpdate returns the update that the detached metadata of a commit tells of, or nil. The next pull looks again, so
// one that cannot be read is none.
func readUpdate(metadata, detached gvariant.Dict) *Update {
	d := digest.Digest(text(detached, cachedDigest))
	found, ok := manifest(text(detached, cachedManifest))
	if !ok || d.Validate() != nil {
		return nil
	}
	// Without the manifest of the deployment, all layers are new.
	deployed, _ := manifest(text(metadata, keyManifest))
	return &Update{
		Digest: d, Version: configVersion(text(detached, cachedConfig)),
		Added: container.Compare(deployed, found).AddedSize,
	}
}

// manifest parses a manifest and reports whether it is one.
func manifest(data string) (ocispec.Manifest, bool) {
	var m ocispec.Manifest
	err := oci.CheckManifest([]byte(data))
	if err == nil {
		err = json.Unmarshal([]byte(data), &m)
	}
	return m, err == nil && len(m.Layers) > 0
}

// text returns the value of a key that is a string, or "".
func text(d gvariant.Dict, key string) string {
	v, ok := d.Lookup(key)
	if !ok {
		return ""
	}
	s, err := v.Text()
	if err != nil {
		return ""
	}
	return s
}

// configVersion returns the version in the labels of an image's configuration, or "". Nothing depends on it, so a
// configuration that cannot be read has none.
func configVersion(config string) string {
	var c oci.Config
	if config == "" || c.Parse([]byte(config)) != nil {
		return ""
	}
	if v := c.Labels[ocispec.AnnotationVersion]; v != "" {
		return v
	}
	return c.Labels["version"]
}
