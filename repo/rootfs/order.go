package rootfs

import (
	"cmp"
	"slices"
)

// permute brings what stands at order[i] to i, for all i, by swaps: a second list would be too large. It clobbers order.
func permute(order []int, swap func(i, j int)) {
	for i := range order {
		at := i
		for order[at] != i {
			from := order[at]
			swap(at, from)
			order[at], at = at, from
		}
		order[at] = at
	}
}

// link makes entries that are one file, as compare says of their indexes, links of the first of them. It returns the indexes of
// all files, those of one file next to each other and ascending. A map of a million files would be larger.
func link(entries []Entry, compare func(a, b int) int) []int {
	var files []int
	for i := range entries {
		if entries[i].Link = i; !entries[i].IsDir() {
			files = append(files, i)
		}
	}
	slices.SortFunc(files, func(a, b int) int { return cmp.Or(compare(a, b), cmp.Compare(a, b)) })
	for n := 1; n < len(files); n++ {
		if before := files[n-1]; compare(before, files[n]) == 0 {
			entries[files[n]].Link = entries[before].Link
		}
	}
	return files
}

// linkObjects makes names of one object links of one file.
func linkObjects(entries []Entry) []int {
	return link(entries, func(a, b int) int { return entries[a].Object.Compare(entries[b].Object) })
}
