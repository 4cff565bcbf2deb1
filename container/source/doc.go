// Package source reads images: from registries, directories and archives.
//
// [Open] finds the manifest for the wanted platform; [Source] hands out manifest, configuration and layers, each checked
// against its size and SHA-256 digest. Nothing that an image says is believed before: manifests are limited in size and
// number of layers, every blob is read through a reader that ends in a [BlobError] where it is not what its descriptor
// promised, and so a blob that was read to its end without error is the right one.
//
// Registries and Docker archives are read with the containers/image library, so that registries.conf with its mirrors,
// certs.d and credential helpers work as on any container host. The directory of an OCI image, an OCI archive and "dir:"
// are read here: the library unpacks OCI archives to a temporary directory and allows one reader at a time, where
// positions in the archive do as well. An OCI archive therefore has to be an uncompressed regular file. A Docker archive
// that is compressed is decompressed to a temporary file by the library. Images in containers-storage are copied out by
// the host's own skopeo or podman to a temporary directory.
//
// Package access says how a registry is spoken to: HTTPS, certificates, credentials.
package source
