// Package programs makes images of static programs, for one platform or several. Equal files give equal images, with
// every version of Go: this project's own packages write and compress the layers.
package programs
