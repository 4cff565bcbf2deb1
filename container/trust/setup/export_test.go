package setup

// At returns the host whose root is a directory, for users as well.
func (h Host) At(top string) Host {
	h.top = top
	return h
}
