package archive

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
)

// cpioHeader is the length of a header of the "newc" format: the mark and 13 numbers of 8 hexadecimal digits. The
// format is that of Documentation/driver-api/early-userspace/buffer-format.rst in the Linux sources.
const cpioHeader = 110

// The numbers of a header.
const (
	cpioInode = iota
	cpioMode
	cpioUID
	cpioGID
	cpioLinks
	cpioTime
	cpioSize
	cpioMajor
	cpioMinor
	cpioDeviceMajor
	cpioDeviceMinor
	cpioNameSize
)

const trailer = "TRAILER!!!"

// cpio reads one archive up to its trailer.
func (a *reader) cpio(in *bufio.Reader) error {
	var head [cpioHeader]byte
	for first := true; ; first = false {
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return broken(err)
		}
		if mark := string(head[:6]); mark != "070701" && mark != "070702" {
			return fmt.Errorf("%w: a member of cpio begins with %q", ErrBroken, mark)
		}
		var f [13]uint64
		for i := range f {
			var err error
			if f[i], err = strconv.ParseUint(string(head[6+8*i:14+8*i]), 16, 32); err != nil {
				return broken(err)
			}
		}
		size := f[cpioNameSize]
		if size == 0 || size > maxName {
			return fmt.Errorf("%w: a name of %d bytes", ErrBroken, size)
		}
		// The header with the name, and the content, are padded to multiples of four bytes.
		name := make([]byte, size+pad(cpioHeader+size))
		if _, err := io.ReadFull(in, name); err != nil {
			return broken(err)
		}
		m := Member{
			Name: strings.TrimRight(string(name[:size]), "\x00"), Time: int64(f[cpioTime]), Inode: f[cpioInode],
			Dir: f[cpioMode]&0o170000 == 0o040000, First: first,
		}
		if m.Name == trailer {
			return nil
		}
		if err := a.content(&m, in, int64(f[cpioSize]), f[cpioMode], f[cpioUID], f[cpioGID], f[cpioLinks],
			f[cpioDeviceMajor], f[cpioDeviceMinor]); err != nil {
			return err
		}
		if _, err := in.Discard(int(pad(f[cpioSize]))); err != nil {
			return broken(err)
		}
		if err := a.add(m); err != nil {
			return err
		}
	}
}

// pad returns how many bytes are missing to a multiple of four.
func pad(n uint64) uint64 { return -n & 3 }

// content reads or passes over the content of a member. fields are what else is in its header.
func (a *reader) content(m *Member, r io.Reader, size int64, fields ...any) error {
	var h hash.Hash
	w := io.Discard
	if a.opts.Sums {
		h = sha256.New()
		fmt.Fprintln(h, append(fields, size)...)
		w = h
	}
	n, err := io.CopyN(w, r, size)
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: %d bytes of a member of %d", ErrBroken, n, size)
		}
		return broken(err)
	}
	if h != nil {
		h.Sum(m.Sum[:0])
	}
	return nil
}

// tar reads a tar archive.
func (a *reader) tar(in io.Reader) error {
	t := tar.NewReader(in)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return broken(err)
		}
		m := Member{Name: h.Name, Time: h.ModTime.Unix(), Dir: h.Typeflag == tar.TypeDir}
		if len(m.Name) > maxName {
			return fmt.Errorf("%w: a name of %d bytes", ErrBroken, len(m.Name))
		}
		if err := a.content(&m, t, h.Size, h.Typeflag, h.Mode, h.Uid, h.Gid, h.Uname, h.Gname, h.Linkname, h.Devmajor,
			h.Devminor); err != nil {
			return err
		}
		if err := a.add(m); err != nil {
			return err
		}
	}
}

// ar reads an archive of ar. Its headers have 60 bytes of text: name, time, owner, group, mode, size.
func (a *reader) ar(in *bufio.Reader) error {
	if _, err := in.Discard(8); err != nil {
		return broken(err)
	}
	var head [60]byte
	for {
		if _, err := io.ReadFull(in, head[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return broken(err)
		}
		number := func(from, to int) int64 {
			n, err := strconv.ParseInt(strings.TrimSpace(string(head[from:to])), 10, 64)
			if err != nil {
				return 0
			}
			return n
		}
		size := number(48, 58)
		if string(head[58:]) != "`\n" || size < 0 {
			return fmt.Errorf("%w: the header of a member of ar", ErrBroken)
		}
		m := Member{Name: strings.TrimSpace(string(head[:16])), Time: number(16, 28)}
		if err := a.content(&m, in, size, string(head[28:48])); err != nil {
			return err
		}
		if size%2 == 1 {
			if _, err := in.Discard(1); err != nil && !errors.Is(err, io.EOF) {
				return broken(err)
			}
		}
		if err := a.add(m); err != nil {
			return err
		}
	}
}

// zip reads a zip archive, such as a jar or a wheel.
func (a *reader) zip(in io.Reader) error {
	data, err := io.ReadAll(io.LimitReader(in, maxZip+1))
	if err != nil {
		return broken(err)
	}
	if len(data) > maxZip {
		return fmt.Errorf("%w: a zip archive of more than %d bytes", ErrTooLarge, maxZip)
	}
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return broken(err)
	}
	for _, f := range z.File {
		m := Member{Name: f.Name, Time: f.Modified.Unix(), Dir: f.FileInfo().IsDir()}
		if len(m.Name) > maxName {
			return fmt.Errorf("%w: a name of %d bytes", ErrBroken, len(m.Name))
		}
		if a.opts.Sums {
			if err := a.zipped(&m, f); err != nil {
				return err
			}
		}
		if err := a.add(m); err != nil {
			return err
		}
	}
	return nil
}

func (a *reader) zipped(m *Member, f *zip.File) error {
	r, err := f.Open()
	if err != nil {
		return broken(err)
	}
	defer r.Close()
	size := int64(min(f.UncompressedSize64, 1<<62))
	return a.content(m, &limited{r, &a.left}, size, f.Method, f.CreatorVersion, f.ExternalAttrs, f.Comment)
}
