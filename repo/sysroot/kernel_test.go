package sysroot_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
	"github.com/ostree-ext/ostree-ext-go/repo/sysroot"
)

func TestFindKernelFindsWhatLibostreeBoots(t *testing.T) {
	t.Parallel()
	const modules = "usr/lib/modules/" + repotest.KernelVersion + "/"
	c := sum(7).String()
	older := map[string]string{
		"usr/lib/ostree-boot/vmlinuz-5.1-x-" + c: "older", "usr/lib/ostree-boot/initramfs-5.1-x.img-" + c: "ini",
	}
	for _, tc := range []struct {
		name              string
		kernel, initramfs string
		files             map[string]string
		want              object.Checksum
		version           string
		sizes             []int64
	}{
		{"a kernel and an initramfs", "kernel", "initramfs!", nil,
			repotest.BootChecksum("kernel", "initramfs!"), "", []int64{6, 10}},
		{"a kernel alone", "kernel", "", nil, repotest.BootChecksum("kernel", ""), "", []int64{6}},
		{"the other name of an initramfs", "kernel", "", map[string]string{modules + "initramfs": "abc"},
			repotest.BootChecksum("kernel", "abc"), "", []int64{6, 3}},
		{"a device tree", "kernel", "i", map[string]string{modules + "devicetree": "dt"},
			repotest.BootChecksum("kernel", "idt"), "", []int64{6, 1, 2}},
		{"a directory of device trees", "kernel", "i",
			map[string]string{modules + "dtb/b": "22", modules + "dtb/a/x": "1", modules + "dtb/c": "333"},
			repotest.BootChecksum("kernel", "i122333"), "", []int64{6, 1, 1, 2, 3}},
		{"files that do not count for the checksum", "kernel", "i",
			map[string]string{modules + ".vmlinuz.hmac": "h", modules + "aboot.img": "aa"},
			repotest.BootChecksum("kernel", "i"), "", []int64{6, 1, 1, 2}},
		{"an older layout with an initramfs beside a kernel without one", "kernel", "",
			older,
			sum(7), "5.1-x", []int64{3, 5}},
		{"an older layout beside a complete one", "kernel", "i",
			older,
			repotest.BootChecksum("kernel", "i"), "", []int64{6, 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := repotest.Init(t, repo.ModeArchive)
			commit := repotest.Commit(t, r, repotest.BootTree(tc.kernel, tc.initramfs, tc.files), "")
			k, err := sysroot.FindKernel(t.Context(), r, commit)
			if err != nil {
				t.Fatal(err)
			}
			if tc.version == "" {
				tc.version = repotest.KernelVersion
			}
			if k.Checksum != tc.want || k.Version != tc.version || !slices.Equal(k.Sizes(), tc.sizes) {
				t.Errorf("got %+v, want checksum %s, version %s and sizes %v", k, tc.want, tc.version, tc.sizes)
			}
			var total int64
			for _, size := range tc.sizes {
				total += size
			}
			if n, err := sysroot.BootBytes(t.Context(), r, commit); n != total || err != nil {
				t.Errorf("got %d bytes and %v, want %d", n, err, total)
			}
		})
	}
}

func TestFindKernelRefusesWhatCannotBeBooted(t *testing.T) {
	t.Parallel()
	a, b := sum(7).String(), sum(8).String()
	for _, tc := range []struct {
		name string
		tree []repotest.Entry
		want error
	}{
		{"several kernels", repotest.BootTree("kernel", "i", map[string]string{"usr/lib/modules/7/vmlinuz": "other"}),
			repo.ErrSeveralKernel},
		{"no kernel", repotest.Vectors(), repo.ErrNoKernel},
		{"checksums that differ", repotest.BootTree("kernel", "", map[string]string{
			"usr/lib/ostree-boot/vmlinuz-5-" + a: "k", "usr/lib/ostree-boot/initramfs-5.img-" + b: "i",
		}), sysroot.ErrInvalid},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := repotest.Init(t, repo.ModeArchive)
			commit := repotest.Commit(t, r, tc.tree, "")
			if k, err := sysroot.FindKernel(t.Context(), r, commit); !errors.Is(err, tc.want) {
				t.Errorf("got %+v and %v, want %v", k, err, tc.want)
			}
			if n, err := sysroot.BootBytes(t.Context(), r, commit); !errors.Is(err, tc.want) {
				t.Errorf("got %d bytes and %v, want %v", n, err, tc.want)
			}
		})
	}
}
