package rootfs

import "math"

// sizes holds the sizes of files in 32 bits each. The few larger sizes are kept in a map.
type sizes struct {
	list  []uint32
	large map[uint32]int64
}

// isLarge marks a size that is kept in the map.
const isLarge = math.MaxUint32

func (s *sizes) at(i int) int64 {
	if n := s.list[i]; n != isLarge {
		return int64(n)
	}
	return s.large[uint32(i)]
}

func (s *sizes) set(i int, size int64) {
	if size >= 0 && size < isLarge {
		s.list[i] = uint32(size)
		return
	}
	if s.large == nil {
		s.large = map[uint32]int64{}
	}
	s.list[i], s.large[uint32(i)] = isLarge, size
}

func (s *sizes) add(size int64) {
	s.list = append(s.list, 0)
	s.set(len(s.list)-1, size)
}

// reorder returns sizes whose element i is element order[i] of the old ones.
func (s *sizes) reorder(order []uint32) sizes {
	out := sizes{list: reorder(s.list, order)}
	for i, from := range order {
		if out.list[i] == isLarge {
			out.set(i, s.at(int(from)))
		}
	}
	return out
}
