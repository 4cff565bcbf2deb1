// Package chunk is the step of a build that runs in a container of the builder: it reads the root filesystem or the
// repository that the Containerfile left, and writes an image of it as an OCI layout. It knows nothing of BuildKit. What it
// is to do comes in a [Request], and what became of it is told in a [Result].
package chunk
