package dpkg

import "time"

// Changes returns the dates of a changelog.
func Changes(data []byte) []time.Time {
	list, _ := changes(data)
	return list
}
