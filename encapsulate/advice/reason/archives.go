package reason

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/advice/archive"
)

// archives compares two files as archives. It reports false if one of them is not an archive that can be read.
func archives(a, b File) (r Reason, ok bool, err error) {
	var lists [2]*archive.Contents
	for i, f := range []File{a, b} {
		in, err := f.Open()
		if err != nil {
			return r, false, err
		}
		lists[i], err = archive.Read(in, archive.Options{Members: maxMembers, Bytes: maxBytes, Sums: true})
		closed := in.Close()
		switch {
		case errors.Is(err, archive.ErrFormat), errors.Is(err, archive.ErrBroken), errors.Is(err, archive.ErrTooLarge):
			return r, false, closed
		case err != nil || closed != nil:
			return r, false, errors.Join(err, closed)
		}
	}
	return compareMembers(lists[0], lists[1]), true, nil
}

// compareMembers says what differs between two archives, the weightiest difference first.
func compareMembers(a, b *archive.Contents) Reason {
	if a.Format != b.Format {
		return Reason{Content, "one is " + named(a.Format) + ", the other " + named(b.Format)}
	}
	byName := func(list []archive.Member) []archive.Member {
		list = slices.Clone(list)
		slices.SortStableFunc(list, func(x, y archive.Member) int { return cmp.Compare(x.Name, y.Name) })
		return list
	}
	x, y := byName(a.Members), byName(b.Members)
	if !slices.EqualFunc(x, y, func(p, q archive.Member) bool { return p.Name == q.Name }) {
		return Reason{Members, a.Format + ": it has other members" + after(firstOther(x, y))}
	}
	var changed, times, inodes []string
	for i := range x {
		switch {
		case x[i].Sum != y[i].Sum:
			changed = append(changed, x[i].Name)
		case x[i].Time != y[i].Time:
			times = append(times, x[i].Name)
		case x[i].Inode != y[i].Inode:
			inodes = append(inodes, x[i].Name)
		}
	}
	sameOrder := slices.EqualFunc(a.Members, b.Members, func(p, q archive.Member) bool { return p.Name == q.Name })
	switch {
	case len(changed) > 0:
		return Reason{Members, fmt.Sprintf("%s: %s of %d have other content, the first %.200q", a.Format,
			members(len(changed)), len(x), changed[0])}
	case !sameOrder:
		return Reason{MemberOrder, a.Format + ": the same members come in another order"}
	case len(times) > 0:
		return Reason{MemberTimes, fmt.Sprintf("%s: only the times of %s differ", a.Format, members(len(times)))}
	case len(inodes) > 0:
		return Reason{MemberInodes, fmt.Sprintf("%s: only the inode numbers of %s differ", a.Format, members(len(inodes)))}
	case !slices.Equal(a.GzipTimes, b.GzipTimes):
		return Reason{GzipTimes, a.Format + ": only the time in the header of gzip differs"}
	case a.Opaque:
		return Reason{Content, a.Format + ": what is compressed in it differs"}
	}
	return Reason{Compression, a.Format + ": all members are the same, and were compressed or padded in another way"}
}

func members(n int) string { return count(n, "member") }

// firstOther names the first member that only one of two sorted lists has.
func firstOther(x, y []archive.Member) string {
	for i := 0; i < len(x) || i < len(y); i++ {
		switch {
		case i >= len(y) || i < len(x) && x[i].Name < y[i].Name:
			return fmt.Sprintf("%.200q is only in the first", x[i].Name)
		case i >= len(x) || x[i].Name > y[i].Name:
			return fmt.Sprintf("%.200q is only in the second", y[i].Name)
		}
	}
	return ""
}

func clock(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(time.RFC3339) }
