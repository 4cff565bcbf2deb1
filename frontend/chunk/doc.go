// Package chunk is the build step that runs in a container of the builder. It reads the root filesystem or the
// repository that the Containerfile left, and writes an image of it as an OCI layout. It does not depend on BuildKit.
// Its input is a [Request], its output a [Result].
package chunk
