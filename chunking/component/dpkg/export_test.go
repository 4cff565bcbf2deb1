package dpkg

import "time"

// Changes is for tests.
func Changes(data []byte) []time.Time {
	list, _ := changes(data)
	return list
}
