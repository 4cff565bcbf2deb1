package deploy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/sysroot"
)

// Room is what a kernel needs in /boot, and what there is. All numbers are bytes.
type Room struct {
	// Path is that of /boot.
	Path string `json:"path"`
	// Needed is the room that new files take. It is 0 if the kernel is there already, and if /boot is on the filesystem of
	// the repository, where a kernel is a hard link.
	Needed int64 `json:"needed"`
	// Free is what root may still write.
	Free int64 `json:"free"`
	// Freed is what ostree frees before it writes the new kernel, if that is necessary.
	Freed int64 `json:"freed"`
}

// Check returns a [*RoomError] if there is too little room.
func (r *Room) Check() error {
	if r.Needed > r.Free+r.Freed {
		return &RoomError{Room: *r}
	}
	return nil
}

// RoomError says that /boot has too little room. It wraps ENOSPC.
type RoomError struct{ Room Room }

// Missing is how many bytes are missing.
func (e *RoomError) Missing() int64 { return e.Room.Needed - e.Room.Free - e.Room.Freed }

// Error implements error.
func (e *RoomError) Error() string {
	freed := ""
	if e.Room.Freed > 0 {
		freed = " and " + sizes.Format(e.Room.Freed) + " can be made free"
	}
	return fmt.Sprintf("not enough room in %s: %s missing (the kernel needs %s; %s are free%s): "+
		"remove a deployment with `ostree admin undeploy INDEX`, or other files of %[1]s",
		e.Room.Path, sizes.Format(e.Missing()), sizes.Format(e.Room.Needed), sizes.Format(e.Room.Free), freed)
}

// Unwrap returns ENOSPC.
func (e *RoomError) Unwrap() error { return syscall.ENOSPC }

// MeasureRoom measures /boot for a kernel that is not in the repository yet. It is taken for a new one whose files have
// the given sizes in bytes. Of the options, it uses the sysroot, the stateroot and the host.
func MeasureRoom(ctx context.Context, opts Options, sizes ...int64) (*Room, error) {
	t, err := openTarget(&opts)
	if err != nil {
		return nil, err
	}
	defer t.sysroot.Close()
	return t.room(ctx, object.Checksum{}, sizes)
}

// EstimateRoom estimates what an image that was not fetched needs in /boot. It is sure that the kernel is new and how
// large it is if the image's labels say so. Otherwise it takes the kernel of the deployment that is updated: one of the
// same version counts as the same, and another as one of the same size. Without such a deployment nothing is known, and
// nothing needed.
func EstimateRoom(ctx context.Context, opts Options, img *oci.Image) (room *Room, sure bool, err error) {
	t, err := openTarget(&opts)
	if err != nil {
		return nil, false, err
	}
	defer t.sysroot.Close()
	r, err := repo.Open(t.sysroot.RepoPath())
	if err != nil {
		return nil, false, err
	}
	defer r.Close()
	b, err := t.sysroot.Boot()
	if err != nil {
		return nil, false, err
	}
	return t.estimateIn(ctx, r, b, img)
}

// labelKernel is the label with the version of the kernel. Upstream defines it.
const labelKernel = "ostree.linux"

func (t *target) estimateIn(
	ctx context.Context, r *repo.Repo, b *sysroot.Boot, img *oci.Image,
) (room *Room, sure bool, err error) {
	version := img.Config.Labels[labelKernel]
	size, known := oci.BootBytes(img.Config.Labels)
	if known && version != "" && store.LayersOnTop(img) == 0 {
		present, err := t.hasKernel(ctx, r, version)
		if err != nil {
			return nil, false, err
		}
		if !present {
			room, err := t.roomIn(ctx, b, object.Checksum{}, []int64{size})
			return room, err == nil, err
		}
	}
	if t.merge == nil {
		room, err = t.roomIn(ctx, b, object.Checksum{}, nil)
		return room, false, err
	}
	present, err := sysroot.FindKernel(ctx, r, t.merge.Commit)
	if err != nil {
		return nil, false, err
	}
	if version == present.Version {
		room, err = t.roomIn(ctx, b, t.merge.BootChecksum, nil)
	} else {
		room, err = t.roomIn(ctx, b, object.Checksum{}, present.Sizes())
	}
	return room, false, err
}

// hasKernel reports whether a deployment of the stateroot may have a kernel of a version. One whose version is not
// known may.
func (t *target) hasKernel(ctx context.Context, r *repo.Repo, version string) (bool, error) {
	for _, d := range t.list {
		if d.Stateroot != t.stateroot {
			continue
		}
		c, err := repo.LoadCommit(ctx, r, d.Commit)
		if err != nil {
			return false, err
		}
		switch found, err := repo.FindKernel(ctx, r, c.Tree); {
		case errors.Is(err, repo.ErrNoKernel) || errors.Is(err, repo.ErrSeveralKernel):
			return true, nil
		case err != nil:
			return false, err
		case found == version:
			return true, nil
		}
	}
	return false, nil
}

// overheadBlocks is what the directory of a kernel and a set of boot loader entries take besides the files.
const overheadBlocks = 16

// room measures /boot for a kernel. A checksum that is zero is that of no kernel.
func (t *target) room(ctx context.Context, kernel object.Checksum, files []int64) (*Room, error) {
	b, err := t.sysroot.Boot()
	if err != nil {
		return nil, err
	}
	return t.roomIn(ctx, b, kernel, files)
}

func (t *target) roomIn(ctx context.Context, b *sysroot.Boot, kernel object.Checksum, files []int64) (*Room, error) {
	r := &Room{Path: b.Path, Free: b.Free}
	current, kept := map[object.Checksum]bool{}, map[object.Checksum]bool{kernel: true}
	for _, d := range t.list {
		current[d.BootChecksum] = true
		if t.keeps(d) {
			kept[d.BootChecksum] = true
		}
	}
	if b.Shared || current[kernel] && b.Has(t.stateroot, kernel) {
		return r, nil
	}
	if len(files) == 0 {
		return r, nil
	}
	r.Needed = b.Room(files...) + overheadBlocks*b.BlockSize
	// Kernels of no deployment are always removed first.
	var dropped int64
	for _, k := range b.Kernels {
		switch {
		case !current[k.Checksum]:
			r.Freed += k.Bytes
		case !kept[k.Checksum]:
			dropped += k.Bytes
		}
	}
	if r.Needed <= r.Free+r.Freed || dropped == 0 {
		return r, nil
	}
	if early, err := t.prunesEarly(ctx); err != nil {
		return nil, err
	} else if early {
		r.Freed += dropped
	}
	return r, nil
}

// prunesEarly reports whether ostree removes the deployments that go before it writes the new kernel, if there is no
// room otherwise. It does so since 2023.7, on the running system.
func (t *target) prunesEarly(ctx context.Context) (bool, error) {
	options := strings.FieldsFunc(os.Getenv("OSTREE_SYSROOT_OPTS"), func(r rune) bool { return r == ',' || r == ' ' })
	if t.list.Booted() == nil || slices.Contains(options, "no-early-prune") {
		return false, nil
	}
	year, release, err := ostreeVersion(ctx)
	return year > 2023 || year == 2023 && release >= 7, err
}

var versionPattern = regexp.MustCompile(`(?m)^\s*Version: '?(\d+)\.(\d+)`)

// ostreeVersion returns the version of the host's ostree, such as 2022 and 7.
func ostreeVersion(ctx context.Context) (year, release int, err error) {
	out, err := runOSTree(ctx, "--version")
	if err != nil {
		return 0, 0, err
	}
	m := versionPattern.FindSubmatch(out)
	if m == nil {
		return 0, 0, fmt.Errorf("asking ostree for its version: it printed %.100q", out)
	}
	year, err = strconv.Atoi(string(m[1]))
	release, err2 := strconv.Atoi(string(m[2]))
	return year, release, errors.Join(err, err2)
}
