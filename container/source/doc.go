// Package source reads images: from registries, directories and archives.
//
// [Open] finds the manifest for the wanted platform and returns the image: manifest, configuration and layers. Each is
// checked against its size and SHA-256 digest. Manifests are limited in size and number of layers. Every blob is read
// through a reader that fails with a [oci.BlobError] if it does not match its descriptor. So a blob that was read to
// its end without an error is the right one.
//
// Manifests and configurations in registries, and Docker archives, are read with the containers/image library, so that
// registries.conf with its mirrors, certs.d and credential helpers work as on any container host. Layers in registries
// are read by package fetch, by the same rules: it continues a layer where a connection broke. OCI image directories,
// OCI archives and "dir:" are read by this package. It reads an OCI archive in place and several layers at once, while
// the library unpacks it to a temporary directory and allows one reader at a time. So an OCI archive must be an
// uncompressed regular file. The library decompresses a compressed Docker archive to a temporary file. Images in
// containers-storage are copied to a temporary directory by the host's own skopeo or podman.
//
// Package access has the options for registries: HTTPS, certificates, credentials.
package source
