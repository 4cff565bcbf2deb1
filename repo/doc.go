// Package repo reads and writes OSTree repositories in pure Go, interchangeably with libostree.
package repo
