package sysroot

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// Boot is the boot filesystem of a sysroot.
type Boot struct {
	// Path is that of the directory.
	Path string
	// Free is the number of bytes that root may still write, and BlockSize the size of a block: a file takes whole blocks.
	Free, BlockSize int64
	// Shared is whether /boot is on the filesystem of the repository. Kernels are hard links then and take no room.
	Shared bool
	// Kernels are the directories with the files of a kernel.
	Kernels []BootKernel
}

// BootKernel is a kernel in /boot.
type BootKernel struct {
	Stateroot string
	Checksum  object.Checksum
	// Bytes is the room that its files take.
	Bytes int64
}

// Has reports whether the kernel of a stateroot is in /boot.
func (b *Boot) Has(stateroot string, checksum object.Checksum) bool {
	for _, k := range b.Kernels {
		if k.Stateroot == stateroot && k.Checksum == checksum {
			return true
		}
	}
	return false
}

// Room returns how many bytes files of the given sizes take in whole blocks.
func (b *Boot) Room(sizes ...int64) int64 {
	block := max(b.BlockSize, 1)
	var n int64
	for _, size := range sizes {
		n += (size + block - 1) / block * block
	}
	return n
}

// maxKernels is how many kernels in /boot are looked at. There are as many as deployments.
const maxKernels = 1000

// Boot measures the boot filesystem.
func (s *Sysroot) Boot() (*Boot, error) {
	b := &Boot{Path: filepath.Join(s.path, "boot")}
	dir, err := s.root.Open("boot")
	if err != nil {
		return nil, fmt.Errorf("opening the boot directory of the sysroot: %w", err)
	}
	defer dir.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &st); err != nil {
		return nil, fmt.Errorf("measuring the free space of %s: %w", b.Path, err)
	}
	b.BlockSize = int64(st.Bsize) //nolint:unconvert // an int32 on other processors
	// Deploying needs root, who may use reserved blocks too.
	b.Free = int64(min(st.Bfree, 1<<62/uint64(max(b.BlockSize, 1)))) * b.BlockSize
	here, err := dir.Stat()
	if err != nil {
		return nil, err
	}
	repo, err := s.root.Stat("ostree/repo")
	if err != nil {
		return nil, err
	}
	b.Shared = idOf(here).dev == idOf(repo).dev
	b.Kernels, err = s.bootKernels(b)
	return b, err
}

// bootKernels lists boot/ostree/STATEROOT-CHECKSUM.
func (s *Sysroot) bootKernels(b *Boot) ([]BootKernel, error) {
	names, err := s.list("boot/ostree", maxKernels)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []BootKernel
	for _, name := range names {
		i := len(name) - 65
		if i < 1 || name[i] != '-' {
			continue
		}
		checksum, err := object.ParseChecksum(name[i+1:])
		if err != nil {
			continue
		}
		k := BootKernel{Stateroot: name[:i], Checksum: checksum}
		if k.Bytes, err = s.usage(b, path.Join("boot/ostree", name)); err != nil {
			return nil, err
		}
		list = append(list, k)
	}
	return list, nil
}

// usage returns how much room the files of a directory take.
func (s *Sysroot) usage(b *Boot, dir string) (int64, error) {
	var total int64
	err := fs.WalkDir(s.root.FS(), dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		total += b.Room(info.Size())
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("measuring %s: %w", dir, err)
	}
	return total, nil
}
