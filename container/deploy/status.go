package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/sysroot"
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
	// Signatures are those that were verified when the image was pulled.
	Signatures []oci.Signature `json:"signatures,omitempty"`
	// Update is the update that was found last, or nil.
	Update *Update `json:"update,omitempty"`
}

// Update is an update that was found and is not deployed.
type Update struct {
	Digest  digest.Digest `json:"digest"`
	Version string        `json:"version,omitempty"`
	// LayersAdded is the number of layers that the image of the deployment does not have, and BytesAdded their size.
	LayersAdded int   `json:"layers_added"`
	BytesAdded  int64 `json:"bytes_added"`
	// Signatures are those that were verified when the update was found.
	Signatures []oci.Signature `json:"signatures,omitempty"`
}

// Current returns the deployment that the host runs from, or else that it boots first, or nil if there is none.
func (s *Status) Current() *DeploymentStatus { return s.first(StateBooted, StateDefault) }

// Next returns the deployment that the host boots next instead of the current one, or nil if there is none.
func (s *Status) Next() *DeploymentStatus { return s.first(StateStaged, StatePending) }

// ErrNotFollowing says that the deployment that is booted next did not come from an image.
var ErrNotFollowing = errors.New("the deployment that is booted next is not updated from an image")

// Followed returns the deployment from whose image the host is updated: the one that is booted next. It returns
// [ErrNotFollowing] if there is no such image.
func (s *Status) Followed() (*DeploymentStatus, error) {
	d := cmp.Or(s.Next(), s.Current())
	if d == nil || d.Image == "" {
		return nil, fmt.Errorf("%s: %w", s.Sysroot, ErrNotFollowing)
	}
	return d, nil
}

// first returns the first deployment in one of the states.
func (s *Status) first(states ...string) *DeploymentStatus {
	i := slices.IndexFunc(s.Deployments, func(d DeploymentStatus) bool { return slices.Contains(states, d.State) })
	if i < 0 {
		return nil
	}
	return &s.Deployments[i]
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
	st.dropDeployed()
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
	if v, ok := c.Metadata.Lookup("version"); ok {
		s.Version, _ = v.Text()
	}
	img, err := store.Load(ctx, r, d.Commit)
	if err != nil {
		// It is not that of an image.
		return nil
	}
	s.Digest = img.ManifestDigest
	if v := store.Version(img.Image); v != "" {
		s.Version = v
	}
	// What cannot be read is only not shown.
	s.Signatures, _ = store.Signatures(ctx, r, img)
	// The next pull looks for an update again, so one that cannot be read is none.
	if update, err := store.CachedUpdate(ctx, r, img); err == nil && update != nil {
		d := container.Compare(img.Manifest, update.Manifest)
		s.Update = &Update{
			Digest: update.ManifestDigest, Version: store.Version(update.Image), LayersAdded: d.NAdded, BytesAdded: d.AddedSize,
		}
		s.Update.Signatures, _ = store.Signatures(ctx, r, update)
	}
	return nil
}

// dropDeployed removes the updates that are deployed already.
func (s *Status) dropDeployed() {
	deployed := map[digest.Digest]bool{}
	for _, d := range s.Deployments {
		deployed[d.Digest] = true
	}
	for i := range s.Deployments {
		if u := s.Deployments[i].Update; u != nil && deployed[u.Digest] {
			s.Deployments[i].Update = nil
		}
	}
}
