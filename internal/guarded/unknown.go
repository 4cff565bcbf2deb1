package guarded

import (
	"os"
	"strconv"
	"strings"
	"sync"
)

// isUnknown reports whether an owner is one that the user namespace of the process does not know. In a container
// without privileges, root of the host is such an owner.
func isUnknown(uid uint32) bool {
	overflow, ok := unknownOwner()
	return ok && uid == overflow
}

// unknownOwner returns the number that stands for all owners which are not known, if there are some.
var unknownOwner = sync.OnceValues(func() (uint32, bool) {
	ids, err := os.ReadFile("/proc/self/uid_map")
	if err != nil || knowsEverybody(string(ids)) {
		return 0, false
	}
	overflow, err := os.ReadFile("/proc/sys/kernel/overflowuid")
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(overflow)), 10, 32)
	return uint32(n), err == nil
})

// knowsEverybody reports whether a user namespace is the first one, or has the same users.
func knowsEverybody(uidMap string) bool {
	fields := strings.Fields(uidMap)
	return len(fields) == 3 && fields[0] == "0" && fields[1] == "0" && fields[2] == "4294967295"
}
